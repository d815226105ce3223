"""Find the public names of the library that a chapter uses, for links between chapters and the API reference."""

from __future__ import annotations

import ast
import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import stamps

import gencaps_lib


def modules() -> list[str]:
    """The names of the library's public modules and rooms, without ``gencaps_lib``: ``results``, ``results.record``."""
    found = pkgutil.walk_packages(gencaps_lib.__path__, "gencaps_lib.")
    return [module.name.removeprefix("gencaps_lib.") for module in found if not module.name.endswith("__main__")]


def canonical(module: ModuleType, name: str) -> str | None:
    """The full name of a module's `name`, with the module that defines it; None if it is not the library's."""
    thing = getattr(module, name, None)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)) or thing.__qualname__.startswith("_"):
        return None
    full = f"{thing.__module__}.{thing.__qualname__}"
    return full if full.startswith("gencaps_lib.") else None


@cache
def public() -> dict[str, str]:
    """The names of all public classes and functions: name in prose → full name.

    `fit`, `training.fit`, `loop.fit` and `training.loop.fit` are the same function. A short name that two modules
    define is left out.
    """
    found: dict[str, str] = {}
    bare: dict[str, set[str]] = {}
    for module in modules():
        loaded = import_module(f"gencaps_lib.{module}")
        for name in dir(loaded):
            full = canonical(loaded, name)
            if full and not name.startswith("_"):
                found[f"{module}.{name}"] = found[f"{module.rpartition('.')[2]}.{name}"] = full
                bare.setdefault(name, set()).add(full)
    return found | {name: fulls.pop() for name, fulls in bare.items() if len(fulls) == 1}


def used(notebook: Mapping[str, Any]) -> list[str]:
    """The full names that a chapter's code uses from the library, in the order of first use."""
    aliases: dict[str, str] = {}
    found: dict[str, None] = {}
    for node in (node for tree in stamps.trees(notebook) for node in ast.walk(tree)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "gencaps_lib":
            inner = node.module.removeprefix("gencaps_lib").lstrip(".")
            names = {name.asname or name.name: f"{inner}.{name.name}".lstrip(".") for name in node.names}
            aliases |= {alias: name for alias, name in names.items() if name in modules()}
            found |= dict.fromkeys(public()[name] for name in names.values() if name in public())
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            name = f"{aliases[node.value.id]}.{node.attr}"
            found |= dict.fromkeys([public()[name]] if name in public() else [])
    return list(found)
