"""Draw README's picture from the published runs: ``python tools/readme_picture.py``."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gencaps_lib import figures, results
from gencaps_lib.extras import GALLERY, IMAGES
from gencaps_lib.files import digest

KEPT = Path(__file__).parent.parent / "_static" / "shift-transfer.png"
EXPERIMENT, DIGIT = "shift-transfer", 4
MODELS = ("autoencoder", "continuous-capsules")
MADE_FROM = "made-from"  # names the digest of the galleries in the file


def galleries() -> dict[str, Path]:
    """The file with the drawings of each model."""
    return {
        name: results.beside(results.result_path(results.PUBLISHED / "quick", EXPERIMENT, name, 0), GALLERY)
        for name in MODELS
    }


def made_from() -> str:
    """A digest of what the picture shows."""
    return digest(b"".join(path.read_bytes() for path in galleries().values()))


def picture() -> figures.Picture:
    """The first '4' of the galleries over all shifts: what was asked for, and what each model drew."""
    runs = {name: results.load(results.PUBLISHED / "quick", EXPERIMENT, name) for name in MODELS}
    first = runs[MODELS[0]]
    column = IMAGES * first.task.held_out.index(DIGIT)
    stored = {name: np.load(path) for name, path in galleries().items()}
    rows = [stored[MODELS[0]]["target"][:, column], *(stored[name]["drawn"][:, column] for name in MODELS)]
    images = torch.from_numpy(np.stack(rows)) / 127.5 - 1  # (3,P,side,side)
    points = [figures.signed(point) for point in first.task.some_points()]
    low, high = first.task.inside
    with matplotlib.rc_context(figures.STYLE):
        return figures.image_table(
            images,
            ["asked for", *(name.replace("-", "\n") for name in MODELS)],
            points,
            f"A '{DIGIT}', shifted further than any '{DIGIT}' in training",
            "",
            f"{first.task.transform.axis_label}; '{DIGIT}' was seen from {low:+g} to {high:+g}\n"
            f"{first.label}, of which seed 0 is shown",
            f"A handwritten {DIGIT} at shifts of {', '.join(points)} pixels: what was asked for, what an autoencoder "
            "drew, and what continuous capsules drew.",
        )


def main() -> None:
    """Write the picture, and in it what it was made from."""
    said = PngInfo()
    said.add_text(MADE_FROM, made_from())
    content = io.BytesIO()
    Image.open(io.BytesIO(picture().png())).save(content, format="png", optimize=True, pnginfo=said)
    KEPT.write_bytes(content.getvalue())


if __name__ == "__main__":
    main()
