"""Print the size of the built book's pages: ``python tools/weights.py _build/html``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Addresses that a page loads: of images, scripts and style sheets.
IMAGES = re.compile(r"<img\b[^>]*?\bsrc=\"([^\"]+)\"")
ASSETS = re.compile(r"<script\b[^>]*?\bsrc=\"([^\"]+)\"|<link\b[^>]*?\bhref=\"([^\"]+\.css[^\"]*)\"")


@dataclass(frozen=True)
class Weight:
    """The size of a page in bytes.

    Attributes
    ----------
    html : the page itself, with embedded pictures
    images : the page's picture files
    assets : scripts and style sheets; nearly every page has the same ones, so a reader loads them once
    """

    html: int
    images: int
    assets: int

    @property
    def own(self) -> int:
        """The bytes that a reader loads for this page alone."""
        return self.html + self.images


def weigh(page: Path) -> Weight:
    """The weight of a built page.

    Raises
    ------
    FileNotFoundError : a picture, script or style sheet of the page does not exist
    """
    text = page.read_text(encoding="utf-8")
    assets = (first or second for first, second in ASSETS.findall(text))
    return Weight(page.stat().st_size, _size(page, IMAGES.findall(text)), _size(page, assets))


def _size(page: Path, addresses: Iterable[str]) -> int:
    """Total bytes of the book's files at these addresses, each counted once, without embedded and remote ones."""
    local = {urlsplit(address).path for address in addresses if not re.match(r"\w+:|//", address)}
    return sum((page.parent / unquote(path)).stat().st_size for path in local)


def main() -> None:
    """The command line: print one row for each page, in kB."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("book", type=Path, help="the folder of the built book")
    book = parser.parse_args().book
    if not (book / "index.html").is_file():
        parser.exit(2, f"no built book at {book}: run `make book`\n")
    print(f"{'kB':>8} {'scripts, styles':>16}  page")
    for page in sorted(path for path in book.rglob("*.html") if "_static" not in path.parts):
        weight = weigh(page)
        print(f"{weight.own / 1000:8.0f} {weight.assets / 1000:16.0f}  {page.relative_to(book)}")


if __name__ == "__main__":
    main()
