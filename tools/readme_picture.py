"""Draw README's picture from the published runs: ``python tools/readme_picture.py``."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gencaps_lib import results
from gencaps_lib.book import figures
from gencaps_lib.files import digest
from gencaps_lib.results import GALLERY

KEPT = Path(__file__).parent.parent / "_static" / "shift-transfer.png"
FOLDER, EXPERIMENT, SEED, DIGIT = results.PUBLISHED / "full", "shift-transfer", 10, 4
MODELS = ("autoencoder", "continuous-capsules")
MADE_FROM = "made-from"  # key of the galleries' digest in the file


def galleries() -> dict[str, Path]:
    """The file with the drawings of each model."""
    return {name: results.beside(results.result_path(FOLDER, EXPERIMENT, name, SEED), GALLERY) for name in MODELS}


def made_from() -> str:
    """A digest of the galleries that the picture shows."""
    return digest(b"".join(path.read_bytes() for path in galleries().values()))


def picture() -> figures.Picture:
    """The first '4' of the galleries over all shifts: the targets, and what each model drew."""
    title = f"A '{DIGIT}', shifted further than any '{DIGIT}' in training"
    with figures.own_style():
        return figures.gallery(FOLDER, EXPERIMENT, MODELS, SEED, DIGIT, title)


def main() -> None:
    """Write the picture, with the digest of its galleries in the file."""
    information = PngInfo()
    information.add_text(MADE_FROM, made_from())
    content = io.BytesIO()
    Image.open(io.BytesIO(picture().png())).save(content, format="png", optimize=True, pnginfo=information)
    KEPT.write_bytes(content.getvalue())


if __name__ == "__main__":
    main()
