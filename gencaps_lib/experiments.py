"""The registry: every experiment as one frozen dataclass, at the reference's sizes and at smaller ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from gencaps_lib.models import Autoencoder, build
from gencaps_lib.tasks import Shift, Task, training_ranges
from gencaps_lib.training import REFERENCE, Optimiser

PROFILES = {
    "smoke": "embedded digits, tens of steps: does everything run?",
    "quick": "MNIST, minutes on a CPU: is the effect visible?",
    "full": "MNIST, the reference's protocol: 100,000 steps at batch 128, for a GPU",
}


def current_profile() -> str:
    """The profile that ``$GENCAPS_PROFILE`` names; ``"quick"`` if it is not set.

    Raises
    ------
    ValueError
        It names none.
    """
    return check_profile(os.environ.get("GENCAPS_PROFILE") or "quick")


def check_profile(name: str) -> str:
    """The name of a profile, or a ValueError that lists them."""
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}: choose one of {', '.join(PROFILES)}")
    return name


@dataclass(frozen=True)
class Experiment:
    """One experiment at one profile.

    Attributes
    ----------
    task : what is learned and how it is judged; it carries the models' sizes
    title : a line for people
    figures : the figures of the article that it makes
    models : names of the models, in the order in which they are shown
    steps : training steps
    optimisers : how each model is trained; the reference's optimiser where a model is not named
    batch : images in a batch
    seeds : the seeds that are run; a run's seed is that of its weights and of its batches
    test_digits : images of each test digit that are judged, all if None
    source : data set, as in `load_digits`
    profile : name of the profile
    smaller : the same experiment at other profiles
    """

    task: Task
    title: str
    figures: tuple[str, ...]
    models: tuple[str, ...]
    steps: int = 100_000
    optimisers: Mapping[str, Optimiser] = field(default_factory=dict)
    batch: int = 128
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    test_digits: int | None = None
    source: str = "mnist"
    profile: str = "full"
    smaller: Mapping[str, Experiment] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "optimisers", MappingProxyType(dict(self.optimisers)))
        object.__setattr__(self, "smaller", MappingProxyType(dict(self.smaller)))

    @property
    def name(self) -> str:
        return self.task.name

    def at(self, profile: str | None = None) -> Experiment:
        """The experiment at a profile, by default the current one. Sizes change, and nothing else."""
        profile = check_profile(profile) if profile else current_profile()
        return self if profile == self.profile else self.smaller[profile]

    def optimiser(self, model: str) -> Optimiser:
        """How a model is trained here."""
        return self.optimisers.get(model, REFERENCE)

    def build(self, model: str, seed: int = 0) -> Autoencoder:
        """Build one of the experiment's models."""
        if model not in self.models:
            raise ValueError(f"unknown model {model!r} in {self.name}: choose one of {', '.join(self.models)}")
        return build(model, self.task, seed)


def _adam(lr: float) -> Optimiser:
    """What short runs on a CPU are trained with: it reaches the effect soonest."""
    return Optimiser("adam", lr, "one-cycle", {"fused": True})


# The encoder of every short run: where most of a CPU step goes, and not what differs between models.
_SMALL_ENCODER = {"maps": (32, 64), "hidden": 256}


def _shift_transfer() -> Experiment:
    def task(margin: int, slight: tuple[int, int], step: int, sizes: Mapping[str, Mapping]) -> Task:
        """Shifts up to `margin`, of which 4 and 9 see `slight`; judged every `step` pixels."""
        inside = (-slight[1], slight[1])
        return Task(
            name="shift-transfer",
            transform=Shift(margin),
            seen=training_ranges((-margin, margin - 1), {4: slight, 9: slight}),
            grid=tuple(range(-margin, margin, step)),
            inside=inside,
            outside=2 * slight[1],
            sizes=sizes,
        )

    full = Experiment(
        task=task(
            margin=20,
            slight=(-5, 4),
            step=2,
            sizes={
                "autoencoder": {"z": 10},
                "autoencoder-matched": {"z": 10},
                "continuous-capsules": {"z": 10},
                "digit-capsules": {"z": 20},
            },
        ),
        title="shift a '4' to where only other digits were seen",
        figures=("A1", "A2", "A3"),
        models=("autoencoder", "autoencoder-matched", "continuous-capsules", "digit-capsules"),
    )
    capsule_sizes = {"hidden": 512, "capsules": 64, "encoder": _SMALL_ENCODER}
    quick = replace(
        full,
        profile="quick",
        task=task(
            margin=8,
            slight=(-2, 2),
            step=1,
            sizes={
                "autoencoder": {"channels": 64, "maps": 32, "hidden": 512, "encoder": _SMALL_ENCODER},
                "autoencoder-matched": capsule_sizes,
                "continuous-capsules": capsule_sizes,
                "digit-capsules": {
                    "z": 20,
                    "capsules": 40,
                    "channels": 16,
                    "maps": 16,
                    "hidden": 64,
                    "encoder": _SMALL_ENCODER,
                },
            },
        ),
        steps=1400,
        batch=64,
        # Learning rates: the best of a few for the training loss, for each model by itself.
        optimisers={
            "autoencoder": _adam(6e-3),
            "autoencoder-matched": _adam(6e-3),
            "continuous-capsules": _adam(8e-3),
            "digit-capsules": _adam(8e-3),
        },
        seeds=(0,),
        test_digits=100,
        source="auto",
    )
    tiny = {"hidden": 64, "channels": 8, "maps": 8, "encoder": {"maps": (8, 16), "hidden": 64}}
    smoke = replace(
        quick,
        profile="smoke",
        task=task(
            margin=8,
            slight=(-2, 2),
            step=2,
            sizes={
                "autoencoder": tiny,
                "autoencoder-matched": {**tiny, "capsules": 16},
                "continuous-capsules": {**tiny, "capsules": 16},
                "digit-capsules": {**tiny, "z": 20, "capsules": 10},
            },
        ),
        steps=20,
        batch=32,
        test_digits=5,
        source="embedded",
    )
    return replace(full, smaller={"quick": quick, "smoke": smoke})


EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType(
    {experiment.name: experiment for experiment in [_shift_transfer()]}
)
