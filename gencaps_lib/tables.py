"""Tables as text: columns that are aligned, numbers to the right."""

from __future__ import annotations

import re
from collections.abc import Sequence

NUMBER = re.compile(r"[-+–−]?[\d.,/:]*\d[\d.,/:]*([eE][-+]?\d+)?\s?[%×x]?")  # 1,234 or 0.5 or 2/3 or 1e-3 or 12 %


def lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text, the first of them the columns' names, as lines with aligned columns.

    A column stands to the right if nothing but numbers, or nothing at all, is under its name.
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
