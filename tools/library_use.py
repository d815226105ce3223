"""A Sphinx extension: names of the library, in chapters' prose and in docstrings, link to the API reference.

Docstrings are read by numpydoc, and links between chapters' code and the reference are sphinx-codeautolink's.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx_codeautolink.extension.backref import SummaryNode

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


def link_prose(app: Sphinx, doctree: nodes.document) -> None:
    """Turn the first mention of each of the library's names in a chapter's prose into a link."""
    if not app.env.docname.startswith("chapters/"):
        return
    linked = set()
    for literal in list(doctree.findall(nodes.literal)):
        name = literal.astext()
        full = public().get(name)
        if full and full not in linked and not isinstance(literal.parent, (nodes.reference, addnodes.pending_xref)):
            linked.add(full)
            shown = nodes.literal(name, name)
            literal.replace_self(
                addnodes.pending_xref("", shown, refdomain="py", reftype="obj", reftarget=full, refwarn=True)
            )


def find_elsewhere(app: Sphinx, env: Any, node: addnodes.pending_xref, shown: nodes.Element) -> nodes.Element | None:
    """Resolve a docstring's name of another module: `fit`, `training.fit`. Sphinx looks in the same module only."""
    full = public().get(node["reftarget"])
    if not full or node.get("refdomain") != "py":
        return None
    return env.get_domain("py").resolve_xref(env, node["refdoc"], app.builder, "obj", full, node, shown)


def keep_out_headings(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Make rubrics of a module's sections. numpydoc leaves them, and Sphinx would make headings of them."""
    if what == "module":
        lines[:] = re.sub(r"(?m)^(\w+)\n-+$", r".. rubric:: \1\n", "\n".join(lines)).split("\n")


def shorten_summaries(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Say what a fold of links to chapters holds. sphinx-codeautolink puts a link on it: a button in a button."""
    for summary in doctree.findall(SummaryNode):
        summary[:] = [nodes.Text("Used in chapters")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", keep_out_headings)
    app.connect("doctree-read", link_prose)
    app.connect("doctree-resolved", shorten_summaries, priority=900)  # after sphinx-codeautolink
    app.connect("missing-reference", find_elsewhere)
    return {"parallel_read_safe": True}
