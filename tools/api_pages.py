"""A Sphinx extension that rewrites the library's short numpy docstrings for autodoc.

In ``name : what it is``, numpydoc and napoleon would read the sentence as a type. Here each entry of a section becomes
an item of a list, and names in backticks become links.
"""

from __future__ import annotations

import inspect
import json
import re
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import FunctionType
from typing import Any

import library_use
from sphinx.application import Sphinx

LISTS = {"Parameters": " : ", "Attributes": " : ", "Raises": None}  # the text between a name and its description
SECTIONS = {*LISTS, "Returns", "References"}
NAMED = re.compile(r"(?<![`:\w])`([\w.]+)`(?![`_])")


def sections_of(lines: list[str]) -> list[tuple[str, list[str]]]:
    """A docstring's parts: the heading and the lines of each; the first part has an empty heading."""
    parts: list[tuple[str, list[str]]] = [("", [])]
    for line, below in pairwise([*lines, ""]):
        if line in SECTIONS and set(below) == {"-"}:
            parts.append((line, []))
        elif parts[-1][1] or set(line) != {"-"}:
            parts[-1][1].append(line)
    return parts


def listed(lines: list[str], divider: str | None) -> list[str]:
    """The entries of a section as a list; a line without indentation begins a new entry."""
    found: list[str] = []
    for line in lines:
        if line.startswith(" ") or not line:
            found.append(f"  {line.strip()}" if line else "")
        elif divider:
            name, _, what = line.partition(divider)
            found.append(f"* **{name}**: {what}" if what else f"* {name}")
        else:
            found.append(f"* **{line}**:")
    return found


def link_names(line: str, place: str) -> str:
    """Turn `name` in backticks into a link if the library has this name, and otherwise into code.

    Parameters
    ----------
    line : a line of a docstring
    place : full name of the object with this docstring; names are looked up in its class and module first
    """

    def replaced(match: re.Match) -> str:
        name = match[1]
        parts = place.split(".")
        for known in (".".join([*parts[:end], name]) for end in range(len(parts), 1, -1)):
            if known in members():
                return f":py:obj:`~{known}`" if "." not in name else f":py:obj:`{name} <{known}>`"
        full = library_use.public().get(name)
        return f":py:obj:`{name} <{full}>`" if full else f"``{name}``"

    return NAMED.sub(replaced, line)


@cache
def members() -> frozenset[str]:
    """The full names of all public classes, functions and documented methods."""
    found = set(library_use.public().values())
    for module in library_use.modules():
        for name, kind in inspect.getmembers(import_module(f"gencaps_lib.{module}"), inspect.isclass):
            full = f"{kind.__module__}.{name}"
            if full in found:
                found |= {
                    f"{full}.{key}"
                    for key, value in vars(kind).items()
                    if key[0] != "_" and isinstance(value, (FunctionType, property)) and value.__doc__
                }
    return frozenset(found)


@cache
def uses(folder: Path) -> dict[str, list[str]]:
    """For each chapter in a folder, the names of the library that it uses."""
    return {
        path.stem: library_use.used(json.loads(path.read_text(encoding="utf-8")))
        for path in sorted(folder.glob("*.ipynb"))
    }


def rewrite(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Rewrite a docstring: sections as lists, names as links, and links to the chapters that use the object."""
    found: list[str] = []
    for heading, content in sections_of(lines):
        body = [link_names(line, name) for line in content]
        if heading:
            found += ["", f".. rubric:: {heading}", ""]
        found += listed(body, LISTS[heading]) if heading in LISTS else body
    chapters = uses(Path(app.srcdir) / "chapters")
    links = [f":doc:`{stem[:2].lstrip('0')} </chapters/{stem}>`" for stem, used in chapters.items() if name in used]
    if links:
        found += ["", f"Used in {'chapter' if len(links) == 1 else 'chapters'} {', '.join(links)}.", ""]
    lines[:] = found


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", rewrite)
    return {"parallel_read_safe": True}
