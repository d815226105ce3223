"""Line drawings of networks, as SVG: their text scales, and they take the page's colours, in the dark too.

A drawing is rows of boxes, from top to bottom, and arrows between them; the places follow from the texts. It is as wide
as a phone's column, so that its text is as large there as the page's.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from gencaps_lib.book.captions import Captioned
from gencaps_lib.models import Autoencoder, ContinuousCapsules, ConvDecoder, Decoder, DigitCapsules, LearnedAddresses
from gencaps_lib.routing import route_by_address

WIDTH = 340  # units; a phone's column has about as many pixels
FONT = 14
CHARACTER, BOLD = 7.3, 8.3  # width of one, about
LINE = 17  # height of a line of text
PADDING = 8
GAP = 22  # between rows, for the arrows
ACCENT = "#0072B2"


@dataclass(frozen=True)
class Drawing(Captioned):
    """A line drawing with its alt text.

    Attributes
    ----------
    body : what the SVG element holds
    height : in units, of which the width has `WIDTH`
    alt, number, caption : as in `Captioned`
    """

    body: str
    height: float

    def element(self) -> str:
        """The drawing as an SVG element with the alt text."""
        return (
            f'<svg class="gencaps-drawing" role="img" aria-label="{html.escape(self.alt)}" '
            f'viewBox="0 0 {WIDTH} {self.height:g}" xmlns="http://www.w3.org/2000/svg" '
            f'style="display:block;width:100%;max-width:{1.25 * WIDTH:g}px;height:auto;font-family:sans-serif" '
            f'font-size="{FONT}" fill="currentColor" stroke="none">{self.body}</svg>'
        )


@dataclass(frozen=True)
class Box:
    """A box of a drawing.

    Attributes
    ----------
    text : what is in it; lines are divided by line breaks
    name : what arrows call it; its text by default
    strong : it is what the drawing is about
    plain : a value without a frame, such as an image or a code
    """

    text: str
    name: str = ""
    strong: bool = False
    plain: bool = False

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    @property
    def width(self) -> float:
        return max(map(len, self.lines)) * (BOLD if self.strong else CHARACTER) + 2 * PADDING

    @property
    def height(self) -> float:
        return len(self.lines) * LINE + PADDING


@dataclass(frozen=True)
class Arrow:
    """An arrow between two boxes.

    Attributes
    ----------
    start, end : the boxes' names
    label : text beside it
    weight : its width, from 0 to 1
    """

    start: str
    end: str
    label: str = ""
    weight: float = 0.3


def _text(x: float, y: float, text: str, anchor: str = "middle", **more: object) -> str:
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{html.escape(text)}</text>'


def _box(box: Box, x: float, y: float, height: float) -> str:
    """A box whose upper edge has its middle at (x, y)."""
    frame = "" if box.plain else ' stroke="currentColor"'
    fill = f'fill="{ACCENT}" fill-opacity="0.22"' if box.strong else 'fill="none"'
    rectangle = (
        f'<rect x="{x - box.width / 2:.1f}" y="{y:.1f}" width="{box.width:.1f}" height="{height:.1f}" rx="5" '
        f"{fill}{frame}/>"
    )
    top = y + (height - len(box.lines) * LINE) / 2 + 0.75 * LINE
    weight = {"font_weight": "bold"} if box.strong else {}
    return rectangle + "".join(_text(x, top + row * LINE, line, **weight) for row, line in enumerate(box.lines))


def _arrow(arrow: Arrow, start: tuple[float, float], end: tuple[float, float]) -> str:
    (x0, y0), (x1, y1) = start, end
    length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
    along, across = ((x1 - x0) / length, (y1 - y0) / length), ((y0 - y1) / length, (x1 - x0) / length)
    back = (x1 - 7 * along[0], y1 - 7 * along[1])
    head = " ".join(f"{back[0] + side * 4 * across[0]:.1f},{back[1] + side * 4 * across[1]:.1f}" for side in (1, -1))
    line = (
        f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{back[0]:.1f}" y2="{back[1]:.1f}" stroke="currentColor" '
        f'stroke-width="{0.5 + 3 * arrow.weight:.2f}"/><polygon points="{x1:.1f},{y1:.1f} {head}"/>'
    )
    if not arrow.label:
        return line
    # A third of the way: where arrows end, they meet. On the arrow's upper side, so that it does not cross its text.
    side = -1 if x1 < x0 else 1
    x, y = x0 + 0.36 * (x1 - x0) + 5 * side * along[1], y0 + 0.36 * (y1 - y0) - 5 * abs(along[0]) + 4
    return line + _text(x, y, arrow.label, "end" if side < 0 else "start")


def graph(rows: Sequence[Sequence[Box]], arrows: Sequence[Arrow], alt: str, gap: float = GAP) -> Drawing:
    """Rows of boxes from top to bottom, and arrows from lower edges to upper edges.

    Parameters
    ----------
    rows : the boxes of each row, from left to right
    arrows : between boxes of different rows
    alt : the alt text
    gap : between rows, in units

    Raises
    ------
    ValueError
        A row is too wide, two boxes have one name, or an arrow's box is not there.
    """
    body, places, y = [], {}, 1.0
    for row in rows:
        free = WIDTH - 2 - sum(box.width for box in row)
        if free < 0:
            raise ValueError(f"the boxes {[box.text for box in row]} are {-free:.0f} units too wide: shorten the texts")
        height, x = max(box.height for box in row), 1.0
        for box in row:
            x += free / len(row) / 2
            middle, name = x + box.width / 2, box.name or box.text
            if name in places:
                raise ValueError(f"two boxes are called {name!r}: give one of them a name")
            places[name] = (middle, y, y + height)
            body.append(_box(box, middle, y, height))
            x += box.width + free / len(row) / 2
        y += height + gap
    for arrow in arrows:
        if not {arrow.start, arrow.end} <= set(places):
            raise ValueError(f"no boxes for the arrow from {arrow.start!r} to {arrow.end!r}: there are {list(places)}")
        (start, _, bottom), (end, top, _) = places[arrow.start], places[arrow.end]
        body.append(_arrow(arrow, (start, bottom + 1), (end, top - 1)))
    return Drawing("".join(body), y - gap + 1, alt=alt)


def schematic(
    middle: Sequence[Sequence[str]],
    z: int,
    code: int,
    maps: tuple[int, int, int] | None,
    image: int,
    transform: str = "shift",
) -> Drawing:
    """The recurring drawing: encoder → z, and z with the transform code → *middle* → feature maps → painter.

    Only the middle differs between the book's models.

    Parameters
    ----------
    middle : rows of boxes' texts; every box is joined to every box of the row before it
    z, code : lengths of the latent code and of the transform code
    maps : (C, S, S) of the feature maps; None where the middle draws the image by itself
    image : side of the drawn image in pixels
    transform : what the transform code tells
    """
    rows: list[list[Box]] = [
        [Box("image 1 × 28 × 28", "in", plain=True)],
        [Box("encoder")],
        [Box(f"z ({z})", "z", plain=True), Box(f"transform code ({code})", "code", plain=True)],
        *([Box(text, strong=True) for text in row] for row in middle),
    ]
    if maps is not None:
        rows += [[Box(f"maps {' × '.join(map(str, maps))}", plain=True)], [Box("painter")]]
    rows.append([Box(f"drawn 1 × {image} × {image}", plain=True)])
    arrows = [
        Arrow(above.name or above.text, below.name or below.text)
        for upper, lower in pairwise(rows)
        for above in upper
        for below in lower
        if (above.text, below.name) != ("encoder", "code")
    ]
    told = " and ".join(", ".join(row).replace("\n", " ") for row in middle)
    end = "" if maps is None else f", then {' by '.join(map(str, maps))} feature maps and the painter"
    alt = (
        f"From top to bottom: an image of 28 by 28 pixels enters the encoder, which makes the latent code z of {z} "
        f"numbers. z and the transform code of {code} numbers, which tells the {transform}, enter the middle: {told}"
        f"{end}. The drawn image has {image} by {image} pixels."
    )
    return graph(rows, arrows, alt, gap=17)


@torch.no_grad()
def of(model: Autoencoder, transform: str = "shift") -> Drawing:
    """The `schematic` of one of the article's models, with the shapes that it has.

    Parameters
    ----------
    model : an autoencoder or capsules, see `models.article`; or learned addresses
    transform : what the transform code tells

    Raises
    ------
    ValueError
        The decoder is of another kind, whose middle is not known here.
    """
    decoder = model.decoder
    given = next(model.parameters()).new_zeros(1, model.z + model.code_length).split([model.z, model.code_length], 1)
    maps = len(decoder.maps(*given)[0]), decoder.size, decoder.size
    side = decoder.stride * decoder.size
    return schematic(_middle(decoder, *given), model.z, model.code_length, maps, side, transform)


def _middle(decoder: Decoder, latent: torch.Tensor, code: torch.Tensor) -> list[list[str]]:
    """The rows of a decoder's middle. What capsules write has its shapes from one call."""
    if type(decoder) is ConvDecoder:
        return [[_dense(layer)] for layer in decoder.dense if isinstance(layer, torch.nn.Linear)]
    if type(decoder) is ContinuousCapsules:
        return [[_dense(decoder.dense[0])], _written(*decoder.write(latent, code)), ["routing by address"]]
    if type(decoder) is DigitCapsules:
        wholes, parts, pose_of_parts, pose = decoder.parts.weight.shape
        told = [[f"{wholes} wholes, pose {pose}"], [f"{parts} parts, pose {pose_of_parts}"]]
        return [*told, _written(*decoder.write(latent, code)), ["routing by address"]]
    if type(decoder) is LearnedAddresses:
        softmax = f"softmax over all {len(decoder.cells)} cells,\nby their learned addresses"
        return [[_dense(decoder.dense[0])], _written(*decoder.write(latent, code)), [softmax]]
    raise ValueError(f"the middle of {type(decoder).__name__} is not known here: draw it with `schematic` or `graph`")


def _dense(layer: torch.nn.Module) -> str:
    return f"dense {layer.out_features:,}, ReLU"


def _written(*written: torch.Tensor) -> list[str]:
    """The boxes for addresses (1, N, …) and activations (1, N, …)."""
    shapes = (" × ".join(map(str, each.shape[1:])) for each in written)
    return [f"{name}\n{shape}" for name, shape in zip(("addresses", "activations"), shapes, strict=True)]


def address(row: float, column: float, size: int = 4) -> Drawing:
    """A capsule's address between the cells of a map, with the share of its activation that each cell gets."""
    side = (WIDTH - 40) / size
    shares = route_by_address(torch.tensor([[[row, column]]]), torch.ones(1, 1, 1), size)[0, 0].tolist()
    body, told = [], []
    for i, shares_of_row in enumerate(shares):
        body.append(_text(14, 20 + (i + 0.5) * side + 5, str(i)))
        body.append(_text(26 + (i + 0.5) * side, 14, str(i)))
        for j, share in enumerate(shares_of_row):
            x, y = 26 + j * side, 20 + i * side
            body.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{side:.1f}" height="{side:.1f}" fill="{ACCENT}" '
                f'fill-opacity="{0.6 * share:.2f}" stroke="currentColor" stroke-width="0.7"/>'
            )
            if share:
                body.append(_text(x + side / 2, y + side / 2 + 5, f"{share:.2f}"))
                told.append(f"row {i}, column {j}: {share:.2f}")
    x, y = 26 + (column + 0.5) * side, 20 + (row + 0.5) * side
    body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="#D55E00"/>')
    alt = (
        f"A map of {size} by {size} cells and a capsule whose address is row {row:g}, column {column:g}. "
        f"Each cell near it gets a share: {'; '.join(told)}."
    )
    return Drawing("".join(body), 22 + size * side, alt=alt)
