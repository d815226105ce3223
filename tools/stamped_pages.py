"""A Sphinx extension: each chapter shows its stamp at the foot; a directive shows the execution statistics."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import smoke_times
import stamps
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

STATISTICS = "statistics"  # the page that has the directive


def duration(seconds: float) -> str:
    """Seconds as text, with minutes if needed."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def day(stamp: dict[str, Any]) -> str:
    """The date of an execution."""
    return datetime.fromisoformat(stamp["date"]).date().isoformat()


def made_from(stamp: dict[str, Any] | None) -> str:
    """One line that says how a chapter's outputs were made."""
    if stamp is None:
        return "The outputs of this page carry no stamp: what made them is not known."
    return (
        f"The outputs of this page: {stamp['profile']} profile, data {stamp['source']}, made on {day(stamp)} in "
        f"{duration(stamp['seconds'])} ({stamp['device']}; PyTorch {stamp['versions']['torch']}; "
        f"commit {stamp['commit']})."
    )


def foot(notebook: dict[str, Any]) -> nodes.container:
    """The foot of a chapter's page: its stamp."""
    said = nodes.paragraph("", made_from(notebook["metadata"].get(stamps.NAME)) + " ")
    said += addnodes.pending_xref(
        "",
        nodes.inline("", "Times and versions of all chapters"),
        refdomain="std",
        reftype="doc",
        reftarget=f"/{STATISTICS}",
        refexplicit=True,
        refwarn=True,
    )
    return nodes.container("", said, classes=["gencaps-foot"])


def finish_page(app: Sphinx, doctree: nodes.document) -> None:
    """Add a foot to a chapter."""
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix != ".ipynb":
        return
    sections = list(doctree.findall(nodes.section))
    (sections[-1] if sections else doctree).append(foot(json.loads(path.read_text(encoding="utf-8"))))


class ExecutionStatistics(SphinxDirective):
    """Two tables from the stamps: how each chapter's outputs were made, and how long it took."""

    COLUMNS: ClassVar[list[str]] = ["chapter", "quick", "smoke", "data", "day", "commit", "device"]

    def run(self) -> list[nodes.Node]:
        folder = Path(self.env.srcdir) / "chapters"
        kept = folder / smoke_times.KEPT.name
        self.env.note_dependency(str(kept))
        smoke = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {"seconds": {}}
        rows, versions = [], {}
        for path in sorted(folder.glob("*.ipynb")):
            self.env.note_dependency(str(path))
            stamp = json.loads(path.read_text(encoding="utf-8"))["metadata"].get(stamps.NAME)
            seconds = smoke["seconds"].get(path.stem)
            rows.append([f"/chapters/{path.stem}", *self._cells(stamp, seconds)])
            for package, version in (stamp or {"versions": {}})["versions"].items():
                versions.setdefault(package, {}).setdefault(version, []).append(path.stem[:2])
        said = (
            f"Times at smoke: {smoke['date']}, {smoke['device']}, PyTorch {smoke['torch']}."
            if smoke["seconds"]
            else "No times at smoke are kept: make smoke-times."
        )
        everywhere = [
            [package, "; ".join(f"{version} ({', '.join(chapters)})" for version, chapters in found.items())]
            for package, found in versions.items()
        ]
        return [
            table(self.COLUMNS, rows),
            nodes.paragraph("", said),
            *([table(["package", "versions (chapters)"], everywhere)] if everywhere else []),
        ]

    @staticmethod
    def _cells(stamp: dict[str, Any] | None, smoke: float | None) -> list[str]:
        quick = [duration(stamp["seconds"])] if stamp else ["no stamp"]
        made = [stamp["source"], day(stamp), stamp["commit"], stamp["device"]] if stamp else [""] * 4
        return [*quick, duration(smoke) if smoke else "", *made]


def table(header: list[str], rows: list[list[str]]) -> nodes.container:
    """A table of texts. A cell that begins with a slash becomes a link to that page, with the page's title."""

    def row(cells: list[str]) -> nodes.row:
        return nodes.row("", *[nodes.entry("", nodes.paragraph("", "", *content(cell))) for cell in cells])

    def content(cell: str) -> list[nodes.Node]:
        if not cell.startswith("/"):
            return [nodes.Text(cell)]
        return [
            addnodes.pending_xref(
                "",
                nodes.inline("", cell),
                refdomain="std",
                reftype="doc",
                reftarget=cell,
                refexplicit=False,
                refwarn=True,
            )
        ]

    group = nodes.tgroup("", cols=len(header))
    group += [nodes.colspec(colwidth=1) for _ in header]
    group += [nodes.thead("", row(header)), nodes.tbody("", *[row(cells) for cells in rows])]
    return nodes.container("", nodes.table("", group), classes=["gencaps-table"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("execution-statistics", ExecutionStatistics)
    app.connect("doctree-read", finish_page)
    return {"parallel_read_safe": True}
