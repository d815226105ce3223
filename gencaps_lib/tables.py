"""Tables: as text with aligned columns, and as HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

NUMBER = re.compile(r"[-+–−]?[\d.,/:]*\d[\d.,/:]*([eE][-+]?\d+)?\s?[%×x]?")  # 1,234 or 0.5 or 2/3 or 1e-3 or 12 %


def lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text as lines with aligned columns; the first row has the columns' names.

    A column is aligned to the right if all its cells are numbers or empty, and not all are empty.
    """
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    numbers = [any(column[1:]) and all(NUMBER.fullmatch(cell) for cell in column[1:] if cell) for column in columns]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numbers, strict=True)
        ).rstrip()
        for row in rows
    ]


@dataclass(frozen=True)
class Table:
    """A small table of computed values, shown as HTML in notebooks and as plain text elsewhere.

    Attributes
    ----------
    header : names of the columns
    rows : cells, as text or numbers; the caller formats floats
    caption : a line above the table
    """

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""

    def _repr_html_(self) -> str:
        def line(cells: Sequence[object], tag: str) -> str:
            scope = ' scope="col"' if tag == "th" else ""
            # No line break between the two numbers of a change.
            texts = [html.escape(str(cell)).replace(" → ", "&nbsp;→&nbsp;") for cell in cells]
            return "<tr>" + "".join(f"<{tag}{scope}>{text}</{tag}>" for text in texts) + "</tr>"

        body = "".join(line(row, "td") for row in self.rows)
        caption = f"<caption>{html.escape(self.caption)}</caption>" if self.caption else ""
        return (
            '<div class="gencaps-table" style="overflow-x:auto"><table class="table">'
            f"{caption}<thead>{line(self.header, 'th')}</thead><tbody>{body}</tbody></table></div>"
        )

    def __repr__(self) -> str:
        text = lines([[str(cell) for cell in row] for row in (self.header, *self.rows)])
        return "\n".join([self.caption, *text] if self.caption else text)
