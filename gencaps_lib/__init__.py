"""Generative capsule networks with routing by address: the library under the book."""

from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"
_MODULES = (
    "adversarial",
    "autoencoder",
    "bench",
    "capsnet",
    "capsules",
    "costs",
    "data",
    "decoders",
    "evaluation",
    "experiments",
    "figures",
    "learned_addresses",
    "models",
    "port",
    "results",
    "routing",
    "tasks",
    "training",
    "transforms",
)


def __getattr__(name: str) -> ModuleType:
    # Modules load when they are first used: routing alone needs no matplotlib.
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
