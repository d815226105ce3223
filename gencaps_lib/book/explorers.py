"""Interactive pictures: on a page of the book without a kernel, and in a notebook as widgets.

`shift_explorer`, `march_explorer`, `rotation_explorer`, `placement_explorer` and `search_explorer` return an
`Explorer`. A notebook shows it as a widget, and this process computes its pictures. If ``$GENCAPS_STATIC`` is set
(`make chapters` sets it), it is stored as a still picture, which the page's script makes interactive; a stored widget
would not work on a page.
`sliders` is for front ends that show only ipywidgets' own widgets.
"""

from __future__ import annotations

import html
import importlib
import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure

from gencaps_lib.book import figures, scenes
from gencaps_lib.book.scenes import Pair, Scene
from gencaps_lib.data import Digits
from gencaps_lib.routing import route_by_address
from gencaps_lib.transforms import rotate

if TYPE_CHECKING:
    from ipywidgets import DOMWidget

STATIC = "GENCAPS_STATIC"  # environment variable: store still pictures for pages
NOTE = (
    "A still picture. On the book's pages it is live where scripts run and there is a connection: it loads 4 MB of "
    "ONNX Runtime from cdn.jsdelivr.net. In a notebook, run the cell."
)
PLACED = ((1.0, 1.0, 1.0), (4.5, 2.0, 1.0), (3.25, 5.75, 1.0), (6.5, 6.5, 1.0), (8.0, 3.0, 0.5))
PLAIN_NOTE = "A still picture. On the book's pages it is live where scripts run. In a notebook, run the cell."
_CODE = Path(__file__).parent / "explorer" / "static"


def shift_explorer(
    digit: int = 4, sample: int = 0, row: int = 6, column: int = 6, scene: Scene | None = None
) -> Explorer:
    """A shifted digit, as drawn by small digit capsules and by an autoencoder, and where the capsules write.

    The reader chooses the digit, drags its shift, changes one latent value and removes a capsule.

    Parameters
    ----------
    digit, sample, row, column : the first settings, as in `Scene.ask`
    scene : by default the scene that comes with the library, which pages show

    Raises
    ------
    ValueError
        As `Scene.ask`.
    SceneError
        As `scenes.load`.
    """
    scene = scenes.load() if scene is None else scene
    return _of_scene("shift", scene, digit=digit, sample=sample, row=row, column=column)


def march_explorer(
    digit: int = 7, sample: int = 0, row: int = 5, column: int = 5, scene: Scene | None = None
) -> Explorer:
    """A shifted digit, and where small digit capsules write: now, and when nothing was shifted.

    The reader chooses the digit, drags its shift and removes a capsule. Takes the arguments of `shift_explorer`, and
    raises what it raises.
    """
    scene = scenes.load() if scene is None else scene
    place = {"row": row, "column": column}
    return _of_scene("march", scene, _march(scene, digit, sample, **place), digit=digit, sample=sample, **place)


def rotation_explorer(digit: int = 4, sample: int = 0, angle: int = 150, scene: Scene | None = None) -> Explorer:
    """A rotated digit, as drawn by small composed capsules and by an autoencoder, and where the capsules write.

    The reader chooses the digit, turns it, changes one latent value and removes a capsule.

    Parameters
    ----------
    digit, sample, angle : the first settings, as in `Scene.ask`
    scene : by default the scene that comes with the library, which pages show

    Raises
    ------
    ValueError
        As `Scene.ask`.
    SceneError
        As `scenes.load`.
    """
    scene = scenes.load("rotation-extrapolation") if scene is None else scene
    return _of_scene("rotation", scene, digit=digit, sample=sample, angle=angle)


def _of_scene(view: str, scene: Scene, shown: figures.Picture | None = None, **start: int) -> Explorer:
    shown = picture(scene, **start) if shown is None else shown
    # Convert whole numbers, for example NumPy's, to Python ints for the page.
    told = {name: int(value) for name, value in start.items()}
    return Explorer({"view": view, "scene": scene.experiment.name, "start": told}, shown, NOTE, scene)


def placement_explorer(capsules: Sequence[Sequence[float]] = PLACED, size: int = 11) -> Explorer:
    """A map on which the reader places capsules and sees what they write, see `routing.route_by_address`.

    Parameters
    ----------
    capsules : the first (row, column, activation) of each capsule, in index space; activations in [0, 1]
    size : side of the map, in cells

    Raises
    ------
    ValueError
        No capsules, a capsule without three numbers, a place that is not finite, or an activation outside [0, 1].
    """
    placed = [tuple(map(float, capsule)) for capsule in capsules]
    if not placed or any(len(capsule) != 3 for capsule in placed):
        raise ValueError(
            f"capsules must be (row, column, activation) each, with at least one capsule; got {capsules!r}"
        )
    if any(not (math.isfinite(row + column) and 0 <= active <= 1) for row, column, active in placed):
        raise ValueError(f"capsules must have finite places and activations from 0 to 1; got {capsules!r}")
    settings = {"view": "placement", "size": int(size), "capsules": placed}
    shown = _placement_picture(torch.tensor(placed, dtype=torch.float32), size)
    return Explorer(settings, shown, PLAIN_NOTE)


def search_explorer(
    digits: Digits,
    degrees: torch.Tensor,
    errors: torch.Tensor,
    drawn: torch.Tensor,
    names: torch.Tensor,
    seen: Sequence[tuple[float, float]],
    digit: int = 0,
    angle: int = 120,
) -> Explorer:
    """A turned digit, and the error of every candidate angle by which it is turned back and drawn.

    The reader chooses the digit, turns it, and picks a candidate. Errors and drawings are given; only turning is live.

    Parameters
    ----------
    digits : M upright digits
    degrees : (T,), evenly spaced, once all round, with 0: the angles of a digit, and the candidates
    errors : (M, T, T), of each digit at each angle, the error of each candidate
    drawn : (M, T, 1, 28, 28), what is drawn, upright, from each digit that was upright and turned back by a candidate
    names : (M, T), the name given to each digit at each angle
    seen : (lowest, highest) angle in training, for each digit
    digit, angle : the first settings: the index of a digit, and one of `degrees`

    Raises
    ------
    ValueError
        The shapes do not fit, the angles do not go round once in equal steps, or a first setting is not there.
    """
    many, around = len(digits), [float(each) for each in degrees]
    count = len(around)
    wanted = {"errors": (many, count, count), "drawn": (many, count, 1, 28, 28), "names": (many, count)}
    for name, given in (("errors", errors), ("drawn", drawn), ("names", names)):
        if tuple(given.shape) != wanted[name]:
            raise ValueError(f"{name} must have shape {wanted[name]}; got {tuple(given.shape)}")
    if 0 not in around or any(abs(each - around[0] - k * 360 / count) > 1e-3 for k, each in enumerate(around)):
        raise ValueError("degrees must go once all round in equal steps, and have 0 among them")
    if len(seen) != many or not 0 <= digit < many or angle not in around:
        raise ValueError(
            f"there are {many} digits, and angles from {around[0]:g} to {around[-1]:g} degrees; "
            f"got {len(seen)} ranges, digit {digit} and angle {angle}"
        )
    settings = {
        "view": "search",
        "degrees": around,
        "labels": digits.labels.tolist(),
        "images": [scenes.packed(image) for image in digits.images],
        "errors": [[[round(each, 4) for each in row] for row in table] for table in errors.tolist()],
        "drawn": [[scenes.packed(image) for image in row] for row in drawn],
        "names": names.tolist(),
        "seen": [list(limits) for limits in seen],
        "start": {"digit": int(digit), "angle": int(angle)},
    }
    at = around.index(angle)
    best = int(errors[digit, at].argmin())
    leaning = (best - at + around.index(0)) % count  # the candidate that makes an upright digit lean as this one does
    whole = f"A handwritten {int(digits.labels[digit])}, named {int(names[digit, at])}"
    images = digits.images[digit].cpu(), drawn[digit, leaning].cpu()
    shown = _search_picture(whole, *images, float(angle), around, errors[digit, at].tolist())
    return Explorer(settings, shown, PLAIN_NOTE)


@dataclass(frozen=True)
class Explorer:
    """An interactive picture: a widget in a notebook, and with ``$GENCAPS_STATIC`` a still for a page of the book.

    Attributes
    ----------
    settings : settings for the script: the view, and what it shows first
    picture : the still picture
    note : text under the still picture
    scene : the scene whose decoders draw for the widget, if any
    """

    settings: Mapping[str, object]
    picture: figures.Picture
    note: str
    scene: Scene | None = None

    def still(self) -> str:
        """The still picture as HTML, in the element that a page's script makes interactive."""
        settings = html.escape(json.dumps(self.settings))
        return (
            f'<div class="gencaps-explorer" data-settings="{settings}">{self.picture.image()}'
            f'<p class="gencaps-note" role="status">{self.note}</p></div>'
        )

    def widget(self) -> DOMWidget:
        """The interactive picture as a Jupyter widget.

        Raises
        ------
        ImportError
            anywidget is missing or broken; a notebook then shows the still picture, with a warning.
        """
        told = dict(self.settings)
        if self.scene is not None:
            told.update(self.scene.plain(), inputs=Pair.inputs, outputs=Pair.outputs)
        made = _widget_class()(settings=told)
        if self.scene is not None:
            made.on_msg(partial(_answer, self.scene))
        return made

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> object:
        if os.environ.get(STATIC):
            return {"text/html": self.still(), "text/plain": self.picture.alt}
        try:
            live = self.widget()
        except ImportError as error:
            warnings.warn(f"{error}. This is a still picture.")
            return self.picture._repr_mimebundle_()
        return live._repr_mimebundle_(include=include, exclude=exclude)


def _needed(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError:
        raise ImportError(f"a live explorer needs {package}: pip install {package}") from None
    except Exception as error:  # an incompatible package can raise any error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ImportError(f"a live explorer needs {package}, which cannot be imported here ({reason})") from None


@cache
def _widget_class() -> type:
    """The widget's class, with the page's script as a module."""
    anywidget, traitlets = _needed("anywidget"), _needed("traitlets")
    code = (_CODE / "explorer.js").read_text(encoding="utf-8")
    members = {
        "_esm": f"{code}\nexport default {{ render: gencapsExplorer.render }};\n",
        "_css": (_CODE / "explorer.css").read_text(encoding="utf-8"),
        "settings": traitlets.Dict().tag(sync=True),
    }
    return type("ExplorerWidget", (anywidget.AnyWidget,), members)


def _answer(scene: Scene, widget: DOMWidget, message: Mapping[str, object], buffers: Sequence[memoryview]) -> None:
    """Answer a widget's message: its buffers are the pair's inputs, the reply's are the outputs, all float32."""
    try:
        floats = [torch.tensor(np.frombuffer(buffer, np.float32)) for buffer in buffers]
        answer = scene.answer({name: each[None] for name, each in zip(Pair.inputs, floats, strict=True)})
    except (ValueError, RuntimeError) as error:
        widget.send({"id": message["id"], "error": str(error)})
        return
    widget.send({"id": message["id"]}, [answer[name].contiguous().numpy().tobytes() for name in Pair.outputs])


def sliders(scene: Scene | None = None) -> DOMWidget:
    """The controls of `shift_explorer` or `rotation_explorer` as ipywidgets; Python draws the picture of each setting.

    Parameters
    ----------
    scene : by default the scene with shifts; for rotations, ``scenes.load("rotation-extrapolation")``

    Raises
    ------
    ImportError
        ipywidgets is missing or broken.
    SceneError
        As `scenes.load`.
    """
    controls, display = _needed("ipywidgets"), _needed("IPython.display").display
    scene = scenes.load() if scene is None else scene
    latents = len(scene.spread["capsules"])

    def whole(name: str, low: int, high: int, value: int = 0) -> DOMWidget:
        return controls.IntSlider(value, low, high, description=name, continuous_update=False)

    def show(**asked: Any) -> None:
        display(picture(scene, **asked))

    capsules = [("all", None), *((str(index + 1), index) for index in range(scene.count))]
    return controls.interactive(
        show,
        digit=whole("digit", 0, 9, 4),
        sample=whole("sample", 0, scene.samples - 1),
        **{axis: whole(axis, low, high, 3 * high // 4) for axis, (low, high) in scene.axes.items()},
        latent=whole("latent", 0, latents - 1, scene.parents),
        deviation=controls.FloatSlider(0, min=-3, max=3, description="change (SD)", continuous_update=False),
        capsule=controls.Dropdown(options=capsules, description="left out"),
    )


@figures.own_style()
def picture(
    scene: Scene,
    digit: int = 4,
    sample: int = 0,
    latent: int = 0,
    deviation: float = 0.0,
    capsule: int | None = None,
    **place: int,
) -> figures.Picture:
    """The target, where the capsules write, the capsules' drawing, and the autoencoder's drawing.

    Takes the arguments of `Scene.ask`, and raises what it raises.
    """
    answer = scene.answer(scene.ask(digit, sample, latent, deviation, capsule, **place))
    target = scene.target(digit, sample, **place)
    drawn = {name: answer[name][0, 0] for name in ("image", "autoencoder_image")}
    errors = {name: (image - target).square().mean().item() for name, image in drawn.items()}
    strengths = answer["strengths"][0]
    figure = Figure(figsize=(figures.WIDTH, 2.1), layout="constrained")
    asked, dots, capsules, autoencoder = figure.subplots(ncols=4)
    figures.show_pixels(asked, target, "asked for")
    areas = 2 + 30 * (strengths / strengths.max()).numpy()
    figures.show_addresses(dots, answer["addresses"][0], areas, scene.capsules.size)
    dots.set(xticks=[], yticks=[])
    dots.set_title("addresses", fontsize=10)
    figures.show_pixels(capsules, drawn["image"], f"capsules: {errors['image']:.3f}")
    figures.show_pixels(autoencoder, drawn["autoencoder_image"], f"autoencoder: {errors['autoencoder_image']:.3f}")
    low, high = scene.task.seen[digit]
    places = [place.get(axis, 0) for axis in scene.axes]
    seen = "" if all(low <= value <= high for value in places) else "not "
    signed = [figures.signed(value) for value in places]
    if len(places) == 2:
        moved = f"shifted by {signed[0]} pixels down and {signed[1]} to the right, a shift"
    else:
        moved = f"turned by {signed[0]} degrees, an angle"
    centre_row, centre_column = answer["addresses"][0].mean(0).tolist()
    alt = (
        f"A handwritten {digit}, {moved} that was {seen}in its training range of {low:g} to {high:g}. From left to "
        f"right: what is asked for; the addresses of {len(strengths)} capsules, around row {centre_row:.1f}, column "
        f"{centre_column:.1f} of the map; what the capsules draw, mean squared error {errors['image']:.3f}; what an "
        f"autoencoder of the same size draws, mean squared error {errors['autoencoder_image']:.3f}."
    )
    return figures.Picture(figure, alt=alt)


def _march(scene: Scene, digit: int, sample: int, **place: int) -> figures.Picture:
    """A digit at its usual place and at another, and where the capsules march between them."""
    places: list[dict[str, int]] = [{}, place]
    answers = [scene.answer(scene.ask(digit, sample, **each)) for each in places]
    found = {name: torch.cat([answer[name] for answer in answers]) for name in Pair.outputs}
    titles = ["no shift", f"{figures.signed(place['row'])} down, {figures.signed(place['column'])} right"]
    pixels = scene.task.transform.side / scene.capsules.size
    down, right = (pixels * (found["addresses"][1] - found["addresses"][0]).mean(0)).tolist()
    return figures.marches(
        torch.stack([scene.target(digit, sample, **each) for each in places]),
        found["image"][:, 0],
        found["addresses"],
        found["strengths"],
        scene.capsules.size,
        titles,
        alt=f"A handwritten {digit}, asked for and drawn at no shift and at {place['row']} pixels down and "
        f"{place['column']} to the right. Arrows go from where each of {scene.count} capsules writes for the first to "
        f"where it writes for the second: on average {down:.1f} pixels down and {right:.1f} to the right.",
    )


def _placement_picture(placed: torch.Tensor, size: int) -> figures.Picture:
    """A picture of capsules (N, 3), given as row, column and activation, and of the map that they write."""
    addresses, activations = placed[None, :, :2], placed[None, :, 2:]
    written = route_by_address(addresses, activations, size)[0, 0]
    where = "; ".join(f"row {row:g}, column {column:g}" for row, column, _ in placed.tolist())
    return figures.addresses_and_maps(
        addresses[0],
        activations[0, :, 0],
        written,
        None,
        (f"{len(placed)} capsules and the cells of a map", "what they write"),
        alt=f"Left: {len(placed)} capsules on a map of {size} by {size} cells, at {where}. Right: what they write, "
        f"{written.sum():.2f} in all: each fills the cells within one cell of its address.",
    )


@figures.own_style()
def _search_picture(
    whole: str,
    image: torch.Tensor,
    drawn: torch.Tensor,
    angle: float,
    degrees: Sequence[float],
    errors: Sequence[float],
) -> figures.Picture:
    """An image (1, 28, 28), turned, turned back by the best candidate, drawn from that; and the candidates' errors."""
    least = min(errors)
    best = degrees[errors.index(least)]
    turned = rotate(image[None], torch.tensor([angle]))
    back = rotate(turned, torch.tensor([-best]))
    figure = Figure(figsize=(figures.WIDTH, 1.9), layout="constrained")
    asked, undone, again, chart = figure.subplots(ncols=4, width_ratios=(1, 1, 1, 1.4))
    figures.show_pixels(asked, turned[0, 0], "given")
    figures.show_pixels(undone, back[0, 0], "turned back")
    figures.show_pixels(again, drawn[0], "drawn")
    chart.plot(degrees, errors, marker="o", markersize=3)
    chart.plot([best], [least], marker="o", markersize=8)
    chart.set(xlabel="candidate (degrees)", ylabel="error")
    alt = (
        f"{whole}. From left to right: turned by {figures.signed(angle)}°; turned back by {figures.signed(best)}°, "
        f"the best of {len(degrees)} candidates; what is drawn from that, upright; and the errors of all candidates, "
        f"from {least:.3f} to {max(errors):.3f}."
    )
    return figures.Picture(figure, alt=alt)
