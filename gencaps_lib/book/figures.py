"""All pictures of the book. Each function returns a `Picture`: a figure and its alt text.

Pictures have a white background and colours that colour-blind readers can distinguish (Okabe and Ito, 2008). Their own
text names the data and the run.
"""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count, zip_longest

import matplotlib.style
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image
from torch import Tensor, nn

from gencaps_lib.book.captions import Captioned
from gencaps_lib.data import Digits
from gencaps_lib.evaluation import Curve, DrawingModel, held_out_ratio, mean_inside, mean_outside, transfer_ratio
from gencaps_lib.experiments import named
from gencaps_lib.results import GALLERY, IMAGES, Runs, read, read_beside, result_path
from gencaps_lib.tables import Table
from gencaps_lib.tasks import Task

WIDTH = 5.0  # inches; small, so that text of 10 points has 9.5 pixels in a phone's column of 343
DOTS_PER_INCH = 190
STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "gencaps",  # the same picture is the same file
}


@contextmanager
def own_style() -> Iterator[None]:
    """Use matplotlib's defaults and the book's style, for any style of the host; also a decorator."""
    with matplotlib.style.context(["default", STYLE]):
        yield


# Colour and line of each model, the same in every picture.
LOOK = {
    "autoencoder": ("#D55E00", "-"),
    "autoencoder-matched": ("#E69F00", "--"),
    "adversarial-autoencoder": ("#CC79A7", "--"),
    "continuous-capsules": ("#0072B2", "-"),
    "digit-capsules": ("#009E73", "-."),
    "learned-addresses": ("#CC79A7", ":"),
    "learned-addresses-pretrained": ("#CC79A7", "-"),
    "composed-capsules-map": ("#0072B2", ":"),
    "composed-capsules": ("#000000", "-"),
    "composed-capsules-known": ("#000000", "--"),
    "composed-capsules-linear": ("#009E73", "--"),
    "composed-capsules-growing": ("#56B4E9", "--"),
    "composed-capsules-oriented": ("#56B4E9", "-"),
    "composed-capsules-depth": ("#0072B2", "--"),
    "autoencoder-warp": ("#E69F00", "-."),
    "autoencoder-warp-generator": ("#CC79A7", "-."),
    "autoencoder-warp-affine": ("#56B4E9", ":"),
    "linear-parts": ("#56B4E9", "-."),
    "coordinate-decoder": ("#009E73", "-"),
    "coordinate-decoder-generator": ("#009E73", ":"),
    "spatial-broadcast": ("#E69F00", "-"),
    "capsnet": ("#0072B2", "-"),
    "plain-classifier": ("#D55E00", "--"),
    "spatial-transformer": ("#CC79A7", "--"),
    "surest-upright": ("#E69F00", ":"),
    "capsules-backwards": ("#000000", "-"),
    "capsules-backwards-known": ("#000000", "--"),
    "capsules-backwards-linear": ("#009E73", "--"),
    "capsules-backwards-map": ("#0072B2", ":"),
    "warp-backwards": ("#009E73", "-."),
}
LOOK_OF_OTHERS = ("#CC79A7", "-")
# Models that differ in the length of their code (…-z10) or in their precision share their architecture's colour.
VARIANT_LINES = {"z10": ":", "z20": "--", "z32": "-.", "z128": "-", "tf32": "--", "bf16": ":"}
BOUND_LOOKS = (("#444444", ":"), ("#888888", (0, (6, 2))))
LINE_LOOKS = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"), ("#E69F00", "-"))
OTHER_COLOURS = ("#CC79A7", "#0072B2", "#D55E00", "#009E73", "#E69F00", "#000000", "#56B4E9")
RANGE_COLOUR = "#56B4E9"
CHANGE_COLOURS = ("#D55E00", "#0072B2")  # ink that is gone without a part, and ink that comes: as in the explorers


def look(name: str) -> tuple[str, str]:
    """Colour and line of a model."""
    architecture, _, variant = name.rpartition("-")
    if variant in VARIANT_LINES:
        return LOOK.get(architecture, LOOK_OF_OTHERS)[0], VARIANT_LINES[variant]
    return LOOK.get(name, LOOK_OF_OTHERS)


def different(wanted: Iterable[tuple | None]) -> list[tuple]:
    """Different looks for the lines of a picture: the wanted look, or another if it is None or taken."""
    wanted = list(wanted)
    owners = {each: place for place, each in reversed(list(enumerate(wanted)))}  # the first line that wants it gets it
    styles = chain(("-", "--", "-.", ":"), ((0, (length, 1, 1, 1)) for length in count(3)))
    free = ((colour, style) for style in styles for colour in OTHER_COLOURS if (colour, style) not in owners)
    return [each if each and owners[each] == place else next(free) for place, each in enumerate(wanted)]


@dataclass(frozen=True)
class Picture(Captioned):
    """A figure with its alt text. Notebooks and the book show it as an image with this text."""

    figure: Figure

    def png(self) -> bytes:
        """The picture as a PNG file."""
        drawn, small = io.BytesIO(), io.BytesIO()
        with own_style():
            self.figure.savefig(drawn, format="png", dpi=DOTS_PER_INCH, facecolor="white", bbox_inches="tight")
        # With a palette, the file has about a third of the size.
        palette = Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE)
        palette.save(small, format="png", optimize=True)
        return small.getvalue()

    def svg(self) -> bytes:
        """The picture as an SVG file, whose text is text."""
        drawn = io.BytesIO()
        with own_style():
            self.figure.savefig(drawn, format="svg", facecolor="white", bbox_inches="tight", metadata={"Date": None})
        return drawn.getvalue()

    def element(self) -> str:
        """The picture as an HTML element with the alt text: lines as SVG, pixels as PNG."""
        pixels = any(axes.images for axes in self.figure.axes)
        kind, content = ("png", self.png()) if pixels else ("svg+xml", self.svg())
        return (
            f'<img class="gencaps-picture" alt="{html.escape(self.alt)}" '
            f'style="max-width:100%;height:auto;background:#fff" width="{round(self.figure.get_figwidth() * 120)}" '
            f'src="data:image/{kind};base64,{base64.b64encode(content).decode()}">'
        )


def ratio_table(curves: Mapping[str, Curve], task: Task, source: str) -> Table:
    """Losses of the held-out digits in and out of their range, transfer ratios and held-out ratios; a row per model.

    Parameters
    ----------
    curves : model name → its loss curves
    task : the task of the curves
    source : data, profile, steps and seed
    """
    first = task.held_out[0]

    def row(name: str, curve: Curve) -> list[str]:
        ratios = held_out_ratio(curve, task)
        return [
            name,
            f"{mean_inside(curve[first], task):.4f}",
            f"{mean_outside(curve[first], task):.4f}",
            *(f"{transfer_ratio(curve[digit], task):.2f}" for digit in task.held_out),
            f"{mean_inside(ratios, task):.2f} → {mean_outside(ratios, task):.2f}",
        ]

    return Table(
        [
            "model",
            f"'{first}' in",
            f"'{first}' out",
            *(f"ratio '{digit}'" for digit in task.held_out),
            "held-out ratio, in → out",
        ],
        [row(name, curve) for name, curve in curves.items()],
        caption=f"Mean squared error and transfer ratios; {task.scored} ({source})",
    )


VERDICTS = {True: "holds here", False: "does not hold here", None: "not visible at this size"}


def claims_table(
    claims: Sequence[tuple[str, str, bool | str | None]], source: str, whose: str = "Claims of the article"
) -> Table:
    """A table of claims with their rules, the measured values, and the verdicts.

    Parameters
    ----------
    claims
        (claim with its rule, measured value, whether the rule is met) for each; None if the run cannot decide it, and a
        verdict in words where several seeds judge
    source : data, profile, steps and seed
    whose : the start of the caption, which says whose claims these are
    """
    return Table(
        ["claim and rule", "measured", "verdict"],
        [[claim, measured, met if isinstance(met, str) else VERDICTS[met]] for claim, measured, met in claims],
        caption=f"{whose} ({source})",
    )


def keep(name: str, shown: object) -> None:
    """Store a hidden picture or text in the notebook under a name, so that other pages of the book can show it.

    The book's builder calls this gluing; its own function for this would be one more package to install in Colab.
    """
    from IPython.core.formatters import format_display_data
    from IPython.display import display

    bundle, metadata = format_display_data(shown)
    prefix = "application/papermill.record/"
    display(
        {prefix + kind: content for kind, content in bundle.items()},
        raw=True,
        metadata={**metadata, "scrapbook": {"name": name, "mime_prefix": prefix}},
    )


def signed(point: float) -> str:
    """A point of a grid as text with its sign, for axes and alt texts: -4, 0, +2.5."""
    return f"{point:+g}" if point else "0"


def _figure(height: float) -> Figure:
    return Figure(figsize=(WIDTH, height), layout="constrained")


def show_pixels(axes: Axes, image: Tensor, title: str = "") -> None:
    """Draw one image on axes, with a thin frame: (H, W) in [-1, 1], ink in black, or (H, W, 3) in colours."""
    axes.imshow(image.detach().cpu().numpy(), cmap="gray_r", vmin=-1, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.5, color="#999999")
    if title:
        axes.set_title(title, fontsize=10)


@own_style()
def image_row(images: Tensor, titles: Sequence[str], alt: str, title: str = "") -> Picture:
    """Images (n, 1, H, W) side by side, each under its own title."""
    figure = _figure(height=WIDTH / len(images) + 0.5)
    for axes, image, text in zip(
        np.ravel(figure.subplots(ncols=len(images), squeeze=False)), images[:, 0], titles, strict=True
    ):
        show_pixels(axes, image, text)
    if title:
        figure.suptitle(title, fontsize=11)
    return Picture(figure, alt=alt)


def _sheet(axes: Axes, rows: Sequence[Tensor]) -> tuple[int, int]:
    """Draw rows of images (n, side, side) on one sheet; return the distance between images and the gap, in pixels."""
    side = len(rows[0][0])
    gap = max(2, side // 20)
    pitch = side + gap
    sheet = torch.full((len(rows) * pitch, len(rows[0]) * pitch), -0.8)
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            sheet[row * pitch : row * pitch + side, column * pitch : column * pitch + side] = image.cpu()
    show_pixels(axes, sheet)
    axes.tick_params(length=0)
    return pitch, gap


def _ticks(setter: Callable, pitch: int, gap: int, labels: Sequence[str], **options) -> None:
    """Label the middle of each image of a sheet, along one axis."""
    setter([place * pitch + (pitch - gap) / 2 for place in range(len(labels))], labels, **options)


@own_style()
def image_table(
    images: Tensor,
    row_titles: Sequence[str],
    column_titles: Sequence[str],
    title: str,
    y_label: str,
    x_label: str,
    alt: str,
) -> Picture:
    """Images (R, C, H, W) in [-1, 1] in rows and columns, each with its title."""
    figure = _figure(height=WIDTH * len(images) / len(images[0]) + 1.0)
    axes = figure.subplots()
    pitch, gap = _sheet(axes, list(images))
    _ticks(axes.set_yticks, pitch, gap, row_titles, fontsize=10)
    _ticks(axes.set_xticks, pitch, gap, column_titles, fontsize=10)
    axes.set_ylabel(y_label, fontsize=10)
    axes.set_xlabel(x_label, fontsize=10)
    axes.set_title(title, fontsize=11)
    return Picture(figure, alt=alt)


def _frame(axes: Axes, left: float, top: float, width: float, height: float, gap: int) -> None:
    """Draw a frame around the images in the training range, in the middle of the gaps."""
    corner = (left - gap / 2, top - gap / 2)
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="#0072B2", lw=2, clip_on=False))


@torch.no_grad()
@own_style()
def side_by_side(
    models: Mapping[str, nn.Module], task: Task, digit: Digits, points: Sequence[float], title: str, source: str
) -> Picture:
    """One test digit over the grid: the target in the first row, and below it the models' drawings.

    Parameters
    ----------
    models : name → model, a row for each
    task : gives the transform
    digit : `Digits` with one image
    points : grid points, one for each column; those inside the held-out digits' training range are framed
    title : what the picture shows
    source : data, profile, steps and seed
    """
    values = task.transform.along_grid(torch.tensor(points, dtype=torch.float32, device=digit.images.device))
    images = digit.images.expand(len(points), -1, -1, -1)
    target = task.target(images, values)[:, 0]
    drawn = {name: model(images, task.code(values))[:, 0] for name, model in models.items()}
    figure = _figure(height=WIDTH * (1 + len(models)) / (len(points) + 1.5) + 1.1)
    axes = figure.subplots()
    pitch, gap = _sheet(axes, [target, *drawn.values()])
    names = ["target", *(name.replace("-", "\n") for name in models)]
    _ticks(axes.set_yticks, pitch, gap, names, fontsize=10)
    _ticks(axes.set_xticks, pitch, gap, [signed(point) for point in points], fontsize=10)
    inside = [column for column, point in enumerate(points) if task.is_inside(point)]
    if inside:
        _frame(axes, inside[0] * pitch, 0, len(inside) * pitch, (1 + len(models)) * pitch, gap)
    label = int(digit.labels[0])
    shown = ", ".join(signed(point) for point in points)
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(f"{task.transform.axis_label}; blue frame: where '{label}' was seen\n{source}", fontsize=10)
    losses = {name: (pictures - target).square().mean((1, 2)).tolist() for name, pictures in drawn.items()}
    errors = "; ".join(f"{name} " + ", ".join(f"{loss:.3f}" for loss in values) for name, values in losses.items())
    alt = (
        f"{title}. A handwritten {label} at {task.transform.axis_label} {shown}: "
        f"the target in the first row, then what {', '.join(models)} draw. Framed: "
        f"{', '.join(signed(points[column]) for column in inside) or 'none'}, where it was seen in training. "
        f"Mean squared errors from left to right: {errors}."
    )
    return Picture(figure, alt=alt)


@torch.no_grad()
@own_style()
def reconstructions(
    model: DrawingModel, task: Task, digits: Digits, points: Sequence[float], title: str, source: str
) -> Picture:
    """Targets and reconstructions, as in the article's figures A1 and A2; a row per grid point.

    Parameters
    ----------
    model : a model that draws
    task : gives the transform
    digits : the test digits to show, with a pair of columns (target, reconstruction) for each
    points : grid points, one for each row; those inside the held-out digits' training range are framed
    title : what the picture shows
    source : data, profile, steps and seed
    """
    latents = model.encode(task.picture(digits.images))
    device = digits.images.device
    values = task.transform.along_grid(torch.tensor(points, dtype=torch.float32, device=device))
    rows = []
    for value in values:
        value = value.expand(len(digits), -1)
        target = task.target(digits.images, value)
        rows.append(torch.stack([target, model.decode(latents, task.code(value))], 1).flatten(0, 1)[:, 0])
    columns = 2 * len(digits)
    figure = _figure(height=WIDTH * len(rows) / columns + 0.9)
    axes = figure.subplots()
    pitch, gap = _sheet(axes, rows)
    _ticks(axes.set_yticks, pitch, gap, [signed(point) for point in points], fontsize=10)
    axes.set_ylabel(task.transform.axis_label, fontsize=10)
    upright = 0 if columns <= 8 else 90
    _ticks(axes.set_xticks, pitch, gap, ["target", "drawn"] * len(digits), fontsize=10, rotation=upright)
    axes.xaxis.tick_top()
    inside = [row for row, point in enumerate(points) if task.is_inside(point)]
    held = "/".join(str(digit) for digit in task.held_out)
    if inside:
        _frame(axes, 0, inside[0] * pitch, columns * pitch, len(inside) * pitch, gap)
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(f"blue frame: what {held} were trained on\n{source}", fontsize=10)
    shown = ", ".join(str(int(label)) for label in digits.labels)
    alt = (
        f"{title}. {len(rows)} rows, one for each {task.transform.axis_label}, from {signed(points[0])} to "
        f"{signed(points[-1])}; columns alternate the target and what the model drew, for test digits {shown}. "
        f"Rows {', '.join(signed(points[row]) for row in inside) or 'none'} lie in the training range of {held}. "
        f"Mean squared error by row: "
        + ", ".join(
            f"{signed(point)}: {(images[1::2] - images[::2]).square().mean():.3f}"
            for point, images in zip(points, rows, strict=True)
        )
        + "."
    )
    return Picture(figure, alt=alt)


@own_style()
def gallery(
    folder: str | os.PathLike, experiment: str, models: Sequence[str], seed: int, digit: int, title: str
) -> Picture:
    """Trained models' drawings of a digit, from the galleries stored with their results.

    Parameters
    ----------
    folder : folder of results
    experiment, models, seed : which results; all must have the same profile
    digit : a held-out digit; its first test image is shown
    title : title of the figure

    Raises
    ------
    ResultError
        A result or its pictures cannot be read.
    ValueError
        The experiment is not in the registry, no model is named, or the digit was not held out.
    """
    if isinstance(models, str) or not models:
        raise ValueError(f"name the models in a list; got {models!r}")
    paths = [result_path(folder, experiment, model, seed) for model in models]
    first = read(paths[0])
    task = named(experiment).at(first.profile).task
    if digit not in task.held_out:
        raise ValueError(f"there are pictures of {', '.join(map(str, task.held_out))} only; got {digit}")
    column = IMAGES * task.held_out.index(digit)
    stored = [np.load(io.BytesIO(read_beside(path, GALLERY))) for path in paths]
    rows = [stored[0]["target"][:, column], *(each["drawn"][:, column] for each in stored)]
    images = torch.from_numpy(np.stack(rows)) / 127.5 - 1  # (1 + models,P,side,side)
    points = [signed(point) for point in task.some_points()]
    low, high = map(signed, task.seen[digit])  # not task.inside, the points that count as in range
    seen = low if low == high else f"{low} to {high}"
    return image_table(
        images,
        ["asked for", *(name.replace("-", "\n") for name in models)],
        points,
        title,
        "",
        f"{task.transform.axis_label}; '{digit}' was seen at {seen}\n{first.label}",
        f"A handwritten {digit} at {', '.join(points)} {task.transform.unit}: what was asked for, and what "
        f"{', '.join(models)} drew.",
    )


def loss_curves(
    curves: Mapping[str, Curve],
    task: Task,
    digit: int,
    source: str,
    bounds: Mapping[str, Curve] | None = None,
    title: str = "",
    spread: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
) -> Picture:
    """Loss against the grid for one digit, a line per model, as in the article's figure A3.

    Parameters
    ----------
    curves : model name → its loss curves
    task : the task of the curves
    digit : the digit whose curves are drawn
    source : data, profile, steps and seed
    bounds : name → curves of reference lines, such as the blank image
    title : by default a title with the digit
    spread : model name → the smallest and the largest loss of `digit` at each point; the area between them is shaded
    """
    figure = _figure(height=4.2)
    axes = figure.subplots()
    low, high = task.seen[digit]
    slim = 0 if high > low else (task.grid[-1] - task.grid[0]) / 200  # a range of one value must be visible
    points = [point for point in task.grid if not task.transform.is_peak(point)]

    def without_peaks(losses: Sequence[float]) -> list[float]:
        return [loss for point, loss in zip(task.grid, losses, strict=True) if not task.transform.is_peak(point)]

    axes.axvspan(low - slim, high + slim, color=RANGE_COLOUR, alpha=0.18, lw=0, label=f"seen by '{digit}' in training")
    bounds = bounds or {}
    greys = (grey for grey, _ in zip_longest(BOUND_LOOKS[: len(bounds)], bounds))
    looks = different([*map(look, curves), *greys])
    colours = {name: colour for name, (colour, _) in zip(curves, looks, strict=False)}  # the last looks are for bounds
    for (name, curve), (colour, line) in zip(curves.items(), looks, strict=False):
        axes.plot(
            points, without_peaks(curve[digit]), color=colour, linestyle=line, marker="o", markersize=3, label=name
        )
    for name, (least, most) in (spread or {}).items():
        axes.fill_between(points, without_peaks(least), without_peaks(most), color=colours[name], alpha=0.25, lw=0)
    for (name, curve), (colour, line) in zip(bounds.items(), looks[len(curves) :], strict=True):
        axes.plot(points, without_peaks(curve[digit]), color=colour, linestyle=line, label=name)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(task.transform.axis_label)
    axes.set_ylabel("mean squared error")
    title = title or f"Error of '{digit}'"
    axes.set_title(title, fontsize=11)
    figure.legend(loc="outside lower center", ncols=2, fontsize=10, title=source, title_fontsize=10)
    alt = (
        f"{title}: mean squared error against {task.transform.axis_label}, from {task.grid[0]:g} to {task.grid[-1]:g}; "
        f"'{digit}' was trained on {low:g} to {high:g}. Mean inside that range and outside it: "
        + "; ".join(
            f"{name} {mean_inside(curve[digit], task):.3f} and {mean_outside(curve[digit], task):.3f}"
            for name, curve in (*curves.items(), *bounds.items())
        )
        + "."
    )
    return Picture(figure, alt=alt)


def study_curves(runs: Mapping[str, Runs], digit: int, bounds: Mapping[str, Curve] | None = None) -> Picture:
    """`loss_curves` of several seeds: a line per model for their mean, shaded from the smallest to the largest.

    Parameters
    ----------
    runs : model name → its seeds, all of one experiment, see `results.published`
    digit : the digit whose curves are drawn
    bounds : as in `loss_curves`

    Raises
    ------
    ValueError
        No runs.
    """
    if not runs:
        raise ValueError("there are no runs to draw")
    task = next(iter(runs.values())).task
    labels = dict.fromkeys(each.label for each in runs.values())
    several = any(len(each.seeds) > 1 for each in runs.values())
    return loss_curves(
        {name: {digit: each.curve(digit)} for name, each in runs.items()},
        task,
        digit,
        "\n".join(labels),  # a line each: models with other seeds
        bounds,
        title=f"Error of '{digit}'{': mean of the seeds, least to most shaded' if several else ''}",
        spread={name: each.spread(digit) for name, each in runs.items()},
    )


def log_scale(axes: Axes, which: str = "y") -> None:
    """A logarithmic axis ``"x"`` or ``"y"`` with plain numbers at 1, 2, 5, 10, …"""
    axes.set(**{f"{which}scale": "log"})
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


@own_style()
def histories(losses: Mapping[str, Sequence[float]], source: str, window: int = 25, stride: int = 1) -> Picture:
    """Training loss against steps, as a running mean over `window` entries; a line per model.

    Each entry is the mean loss of ``stride`` steps, see `Result.stride`.

    Raises
    ------
    ValueError
        A model has no losses.
    """
    figure = _figure(height=3.4)
    axes = figure.subplots()
    ends = []
    for (name, history), (colour, line) in zip(losses.items(), different(map(look, losses)), strict=True):
        if len(history) == 0:
            raise ValueError(f"{name} has no losses to draw")
        width = min(window, len(history))
        smooth = np.convolve(history, np.ones(width) / width, mode="valid")
        steps = stride * (np.arange(len(smooth)) + width)
        axes.plot(steps, smooth, color=colour, linestyle=line, label=name)
        ends.append(f"{name} from {smooth[0]:.3f} to {smooth[-1]:.3f}")
    log_scale(axes)
    axes.set_xlabel("step")
    axes.set_ylabel(f"training loss\n(mean of {window * stride} steps)")
    figure.legend(loc="outside lower center", ncols=2, fontsize=10, title=source, title_fontsize=10)
    return Picture(figure, alt=f"Training loss against steps, on a logarithmic axis: {'; '.join(ends)}.")


def show_addresses(
    axes: Axes, addresses: Tensor, areas: np.ndarray, size: int, colours: str | np.ndarray = "#D55E00"
) -> None:
    """Draw capsules on axes, as dots with these areas at their addresses (N, 2) in index space, over a map's cells."""
    cells = np.arange(size)
    rows, columns = addresses.detach().cpu().numpy().T
    axes.scatter(np.tile(cells, size), np.repeat(cells, size), s=4, color="#BBBBBB")
    axes.scatter(columns, rows, s=areas, c=colours, cmap=None if isinstance(colours, str) else "cividis")
    axes.set(xlim=(-1.6, size + 0.6), ylim=(size + 0.6, -1.6), aspect="equal")


@own_style()
def constellations(
    addresses: Tensor, strengths: Tensor, images: Tensor, size: int, titles: Sequence[str], alt: str, title: str = ""
) -> Picture:
    """Where capsules write, frame by frame, with the painted images below.

    A capsule has the same colour in all frames, given by its row in the middle frame.

    Parameters
    ----------
    addresses : (T, N, 2) in index space
    strengths : (T, N), at least 0; a dot's area grows with it, on one scale for all frames
    images : (T, H, W) in [-1, 1]
    size : side of the map, in cells
    titles : titles of the frames
    alt : the alt text
    title : title of the figure
    """
    figure = _figure(height=2 * WIDTH / len(images) + 0.7)
    grid = figure.subplots(nrows=2, ncols=len(images), squeeze=False)
    areas = 2 + 30 * (strengths / strengths.max()).detach().cpu().numpy()
    colours = addresses[len(addresses) // 2, :, 0].detach().cpu().numpy()
    for (above, below), frame, area, image, text in zip(grid.T, addresses, areas, images, titles, strict=True):
        show_addresses(above, frame, area, size, colours)
        above.set(xticks=[], yticks=[])
        above.set_title(text, fontsize=10)
        show_pixels(below, image)
    if title:
        figure.suptitle(title, fontsize=11)
    return Picture(figure, alt=alt)


@own_style()
def marches(
    targets: Tensor,
    images: Tensor,
    addresses: Tensor,
    strengths: Tensor,
    size: int,
    titles: Sequence[str],
    alt: str,
) -> Picture:
    """A digit asked for and drawn in some places, and arrows from where each capsule wrote first to where it does last.

    An arrow that goes with the others on average is blue, one that goes against them is orange; a capsule that moves by
    less than half a cell is a grey dot. An arrow is the wider, the more its capsule writes.

    Parameters
    ----------
    targets, images : (T, H, W) in [-1, 1]
    addresses : (T, N, 2) in index space
    strengths : (T, N), at least 0
    size : side of the map, in cells
    titles : T titles
    alt : the alt text
    """
    figure = _figure(height=2 * WIDTH / len(images) + 0.85 * WIDTH)
    upper, lower = figure.subfigures(nrows=2, squeeze=False, height_ratios=(2 / len(images), 0.85))[:, 0]
    grid = upper.subplots(nrows=2, ncols=len(images), squeeze=False)
    untitled = [""] * len(images)
    for axes, name, pictures, above in zip(
        grid, ("asked for", "drawn"), (targets, images), (titles, untitled), strict=True
    ):
        axes[0].set_ylabel(name)
        for place, image, title in zip(axes, pictures, above, strict=True):
            show_pixels(place, image, title)
    axes = lower.subplots()
    pixels = len(images[0]) / size  # per cell
    ink = (targets[[0, -1]].detach().cpu() + 1) / 2
    show_pixels(axes, 0.5 * ink.amax(0) - 1)
    places = ((addresses.detach().cpu() + 0.5) * pixels - 0.5).flip(-1)  # (T,N,2), x and y
    start, move = places[0], places[-1] - places[0]
    share = (strengths.mean(0) / strengths.mean(0).max()).detach().cpu()
    far = move.norm(dim=1) >= pixels / 2
    along = move @ move.mean(0) >= 0
    for moving, colour in ((far & along, "#0072B2"), (far & ~along, "#D55E00")):
        for (x, y), (right, down), weight in zip(start[moving], move[moving], share[moving], strict=True):
            style = {"arrowstyle": "-|>", "color": colour, "lw": 0.6 + 2 * float(weight), "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", (float(x + right), float(y + down)), (float(x), float(y)), arrowprops=style)
    axes.scatter(*start[~far].T, s=4 + 30 * share[~far], color="#777777")
    reach = torch.cat([places[0], places[-1], torch.tensor([[0.0, 0.0], [len(images[0]) - 1.0] * 2])])
    low, high = reach.amin(0) - 2, reach.amax(0) + 2
    axes.set(xlim=(float(low[0]), float(high[0])), ylim=(float(high[1]), float(low[1])))
    return Picture(figure, alt=alt)


@own_style()
def removals(
    wholes: Tensor, without: Tensor, row_titles: Sequence[str], titles: Sequence[Sequence[str]], alt: str
) -> Picture:
    """What pictures lose without a part: a picture in each row, then the same with one part less, in colour.

    Ink that is gone without the part is orange, and ink that is there only without it is blue.

    Parameters
    ----------
    wholes : (R, H, W) in [-1, 1]
    without : (R, C, H, W), the picture without each of C parts
    row_titles : R titles
    titles : a title for each of the C pictures of a row
    alt : the alt text
    """
    rows, columns = without.shape[:2]
    figure = _figure(height=WIDTH * rows / (columns + 1) + 0.3 * rows)
    grid = figure.subplots(nrows=rows, ncols=columns + 1, squeeze=False)
    orange, blue = (torch.tensor(to_rgb(colour)) for colour in CHANGE_COLOURS)
    for axes, whole, less, row_title, names in zip(grid, wholes, without, row_titles, titles, strict=True):
        show_pixels(axes[0], whole)
        axes[0].set_ylabel(row_title)
        for place, image, name in zip(axes[1:], less, names, strict=True):
            paper = 1 - 0.25 * (whole[..., None].detach().cpu() + 1) / 2 * torch.ones(3)
            change = (whole - image).detach().cpu()[..., None]
            colour = torch.where(change > 0, orange, blue)
            show_pixels(place, torch.lerp(paper, colour, change.abs().clamp(max=1)), name)
    return Picture(figure, alt=alt)


@own_style()
def addresses_and_maps(
    addresses: Tensor, activations: Tensor, maps: Tensor, image: Tensor | None, titles: Sequence[str], alt: str
) -> Picture:
    """Where capsules write, the map that they write, and the image painted from it.

    Parameters
    ----------
    addresses : (N, 2) in index space
    activations : (N,), in [0, 1]; a dot's area grows with it
    maps : (S, S), one feature map
    image : (H, W) in [-1, 1], or None
    titles : titles of the panels
    alt : the alt text
    """
    panels = 2 if image is None else 3
    figure = _figure(height=WIDTH / panels + 1.2)
    grid = np.ravel(figure.subplots(ncols=panels))
    size = len(maps)
    show_addresses(grid[0], addresses, 6 + 34 * activations.detach().cpu().numpy(), size)
    shown = grid[1].imshow(maps.detach().cpu().numpy(), cmap="cividis", vmin=min(0.0, float(maps.min())))
    figure.colorbar(shown, ax=list(grid), orientation="horizontal", shrink=0.4, label="written on the map")
    # One grid for both: as far beyond the map's border as the furthest capsule, but no more than 2.6 cells.
    beyond = float(torch.maximum(-addresses, addresses - (size - 1)).max()) + 0.6
    reach = min(max(beyond, 1.6), 2.6)
    for axes in grid[:2]:
        axes.add_patch(Rectangle((-0.5, -0.5), size, size, fill=False, edgecolor="#777777", lw=0.8))
        axes.set(xticks=[0, size - 1], yticks=[0, size - 1], xlabel="column")
        axes.set(xlim=(-reach, size - 1 + reach), ylim=(size - 1 + reach, -reach))
    grid[0].set_ylabel("row")
    if image is not None:
        show_pixels(grid[2], image)
    for axes, title in zip(grid, titles, strict=False):
        axes.set_title(title, fontsize=10)
    return Picture(figure, alt=alt)


@own_style()
def cell_maps(
    maps: Mapping[str, Tensor],
    label: str,
    alt: str,
    most: float | None = None,
    outlined: Tensor | None = None,
    axis_labels: tuple[str, str] = ("row", "column"),
) -> Picture:
    """Maps of cell values, side by side, with a common scale from 0.

    Parameters
    ----------
    maps : title → (S, S)
    label : label of the scale
    alt : the alt text
    most : end of the scale; the largest value by default
    outlined : (S, S) bool, the cells inside an outline
    axis_labels : labels of rows and columns
    """
    figure = _figure(height=WIDTH / max(len(maps), 2) + 1.0)
    grid = np.ravel(figure.subplots(ncols=len(maps), squeeze=False))
    most = max(float(values.max()) for values in maps.values()) if most is None else most
    for axes, (title, values) in zip(grid, maps.items(), strict=True):
        shown = axes.imshow(values.detach().cpu().numpy(), cmap="cividis", vmin=0, vmax=most)
        if outlined is not None:
            # Finer than the cells, so that the outline follows their borders.
            fine = np.kron(outlined.cpu().numpy(), np.ones((8, 8)))
            place = (np.arange(len(fine)) + 0.5) / 8 - 0.5
            axes.contour(place, place, fine, levels=[0.5], colors="white", linewidths=2)
        axes.set(xticks=[0, len(values) - 1], yticks=[0, len(values) - 1], xlabel=axis_labels[1])
        axes.set_title(title, fontsize=10)
    grid[0].set_ylabel(axis_labels[0])
    figure.colorbar(shown, ax=list(grid), orientation="horizontal", shrink=0.5, label=label)
    return Picture(figure, alt=alt)


@own_style()
def heat_map(
    values: Tensor, columns: Sequence[float], x_label: str, y_label: str, label: str, alt: str, title: str = ""
) -> Picture:
    """Values (R, C) as colours on a scale from 0, a row for each of R things and a column for each of C numbers.

    Parameters
    ----------
    values : (R, C), at least 0
    columns : the C numbers, evenly spaced
    x_label, y_label : what a column is, and what a row is
    label : label of the scale
    alt : the alt text
    title : title of the figure
    """
    figure = _figure(height=4.2)
    axes = figure.subplots()
    half = (columns[-1] - columns[0]) / max(len(columns) - 1, 1) / 2
    edges = (columns[0] - half, columns[-1] + half, len(values) + 0.5, 0.5)
    shown = axes.imshow(
        values.detach().cpu().numpy(), cmap="cividis", vmin=0, extent=edges, aspect="auto", interpolation="nearest"
    )
    axes.set(xlabel=x_label, ylabel=y_label)
    if title:
        axes.set_title(title, fontsize=11)
    figure.colorbar(shown, ax=axes, orientation="horizontal", shrink=0.5, label=label)
    return Picture(figure, alt=alt)


@own_style()
def filmstrip(maps: Tensor, images: Tensor, titles: Sequence[str], alt: str, title: str = "") -> Picture:
    """Maps (T, S, S) above the images (T, H, W) painted from them; a column per frame."""
    figure = _figure(height=2 * WIDTH / len(maps) + 0.7)
    grid = figure.subplots(nrows=2, ncols=len(maps), squeeze=False)
    for (above, below), frame, image, text in zip(grid.T, maps, images, titles, strict=True):
        above.imshow(frame.detach().cpu().numpy(), cmap="cividis", vmin=0, vmax=max(float(maps.max()), 1e-6))
        above.set(xticks=[], yticks=[])
        above.set_title(text, fontsize=10)
        show_pixels(below, image)
    if title:
        figure.suptitle(title, fontsize=11)
    return Picture(figure, alt=alt)


DOT_LOOKS = (("o", "#0072B2"), ("s", "#D55E00"), ("^", "#009E73"), ("D", "#CC79A7"))


@own_style()
def dots(
    groups: Mapping[str, Tensor],
    x_label: str,
    y_label: str,
    alt: str,
    names: Mapping[str, Sequence[str]] | None = None,
    hull: bool = False,
    diagonal: bool = False,
) -> Picture:
    """Points of a plane, each group with a colour and a mark of its own.

    Parameters
    ----------
    groups : name → (n, 2), x and y; at most four
    x_label, y_label : labels of the axes
    alt : the alt text
    names : group → a short text beside each of its points
    hull : whether to draw the convex hull of all points
    diagonal : whether to draw the line on which x and y are equal

    Raises
    ------
    ValueError
        More than four groups.
    """
    if len(groups) > len(DOT_LOOKS):
        raise ValueError(f"there are looks for {len(DOT_LOOKS)} groups; got {len(groups)}: draw fewer")
    figure = _figure(height=4.4)
    axes = figure.subplots()
    points = {name: [(float(x), float(y)) for x, y in group.detach().cpu()] for name, group in groups.items()}
    together = [point for group in points.values() for point in group]
    if diagonal:
        ends = [min(map(min, together)), max(map(max, together))]
        axes.plot(ends, ends, color="#888888", lw=1, label="as far as each other")
    if hull:
        from scipy.spatial import ConvexHull  # takes longer to import than all else here

        corners = np.array(together)[ConvexHull(together).vertices]
        axes.fill(*corners.T, facecolor="#EEEEEE", edgecolor="#888888", label="their hull")
    for (name, group), (mark, colour) in zip(points.items(), DOT_LOOKS, strict=False):
        axes.scatter(
            [x for x, _ in group], [y for _, y in group], s=28, marker=mark, color=colour, label=name, zorder=3
        )
        for (x, y), text in zip(group, (names or {}).get(name, ()), strict=False):
            axes.annotate(text, (x, y), (5, 4), textcoords="offset points", fontsize=10)
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.locator_params(nbins=6)  # with more, the numbers below run together
    figure.legend(loc="outside lower center", ncols=2, fontsize=10)
    return Picture(figure, alt=alt)


@own_style()
def lines(
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    x_label: str,
    y_label: str,
    alt: str,
    log: bool = False,
    stacked: bool = False,
    seen: tuple[float, float] | None = None,
) -> Picture:
    """A line chart of named series over common x values; if stacked, each series has its own axes and scale.

    A series with the name of a model has the model's look. The range that was `seen` in training is shaded.

    Raises
    ------
    ValueError
        No series.
    """
    if not series:
        raise ValueError("there are no series to draw")
    figure = _figure(height=max(4.4, 1.4 * len(series)) if stacked else 3.4)
    grid = figure.subplots(nrows=len(series) if stacked else 1, sharex=True, squeeze=False)[:, 0]
    panels = grid if stacked else [*grid] * len(series)
    looks = different(LOOK.get(name, usual) for name, usual in zip_longest(series, LINE_LOOKS[: len(series)]))
    for axes, (name, values), (colour, style) in zip(panels, series.items(), looks, strict=True):
        axes.plot(x, values, color=colour, linestyle=style, marker="o", markersize=3 if stacked else 4, label=name)
        axes.set_ylabel(name if stacked else y_label)
    if seen is not None:
        for axes in grid:
            axes.axvspan(seen[0], seen[1], color=RANGE_COLOUR, alpha=0.18, lw=0, label="seen in training")
    for axes in grid if log else ():
        axes.set_xscale("log")
        axes.set_xticks(x, [f"{value:g}" for value in x])
        axes.xaxis.set_minor_formatter(NullFormatter())
        log_scale(axes)
    grid[-1].set_xlabel(x_label)
    if not stacked:
        figure.legend(loc="outside lower center", ncols=2, fontsize=10)
    return Picture(figure, alt=alt)
