"""Pictures draw on any data, and their alt text says what they show."""

import html
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import matplotlib.colors
import matplotlib.style
import numpy as np
import pytest
import torch
from small import build

from gencaps_lib import results
from gencaps_lib.book import figures
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.models import BACKWARDS, CLASSIFIERS
from gencaps_lib.results import Runs

CURVES = {digit: [0.4, 0.3, 0.2, 0.3, 0.6] for digit in range(10)}
MADE = {"source": "mnist", "profile": "quick"}


def alt_of(picture):
    """The alt text of the image that a notebook shows; it must be a PNG, too."""
    bundle = picture._repr_mimebundle_()
    assert bundle["text/plain"] == picture.alt
    assert picture.png().startswith(b"\x89PNG")
    return html.unescape(re.search(r'<img[^>]* alt="([^"]*)"', bundle["text/html"]).group(1))


def test_reconstructions_mark_the_range_and_say_the_errors(task, digits):
    model = build("autoencoder", task)
    few = digits.of(4).first(2)
    picture = figures.reconstructions(model, task, few, [-2, 0, 2], "'4' <drawn>", "a & b")
    alt = alt_of(picture)
    value = task.transform.along_grid(torch.tensor([2.0])).expand(2, -1)
    error = (model(few.images, task.code(value)) - task.target(few.images, value)).square().mean()
    assert alt.startswith("'4' <drawn>. 3 rows")
    assert f"+2: {error:.3f}" in alt
    assert "Rows 0 lie in the training range of 4/9" in alt
    assert len(picture.figure.axes[0].patches) == 1
    assert "a & b" in picture.figure.axes[0].get_xlabel()


def test_side_by_side_has_a_row_for_each_model(task, digits):
    models = {name: build(name, task) for name in ("autoencoder", "continuous-capsules")}
    picture = figures.side_by_side(models, task, digits.of(4).first(1), [-1, 0, 1], "title", "source")
    labels = [text.get_text() for text in picture.figure.axes[0].get_yticklabels()]
    assert labels == ["target", "autoencoder", "continuous\ncapsules"]
    assert "Framed: 0" in alt_of(picture)


def test_loss_curves_show_every_model_the_bounds_and_the_range(task):
    picture = figures.loss_curves(
        {"autoencoder": CURVES, "continuous-capsules": CURVES}, task, 4, "source", bounds={"blank image": CURVES}
    )
    axes = picture.figure.axes[0]
    assert [line.get_label() for line in axes.lines] == ["autoencoder", "continuous-capsules", "blank image"]
    assert axes.lines[0].get_ydata().tolist() == CURVES[4]
    assert axes.get_xlabel() == "shift along the diagonal (pixels)"
    assert axes.get_ylabel() == "mean squared error"
    assert "autoencoder 0.200 and 0.400" in alt_of(picture)
    assert "'4' was trained on 0 to 0" in picture.alt


def test_ratio_and_claims_tables(task):
    curves = {digit: [1.0] * 5 for digit in range(10)} | {4: [4.0, 3.0, 2.0, 3.0, 6.0], 9: [2.0, 1.0, 2.0, 1.0, 4.0]}
    table = figures.ratio_table({"autoencoder": curves}, task, "source")
    assert table.rows == [["autoencoder", "2.0000", "4.0000", "2.00", "1.00", "2.00 → 3.00"]]
    assert "in range: 0 … 0" in table.caption
    claims = figures.claims_table([("flat: at most 1.2", "1.1", True), ("steep", "1.0", False), ("?", "", None)], "s")
    assert [row[2] for row in claims.rows] == ["holds here", "does not hold here", "not visible at this size"]


def test_study_curves_draw_the_mean_and_shade_from_the_least_seed_to_the_most(task):
    lower, upper = ([scale * loss for loss in CURVES[4]] for scale in (0.5, 1.5))
    runs = Runs(tuple(SimpleNamespace(curves={4: curve}, seed=0, made=1400, **MADE) for curve in (lower, upper)), task)
    picture = figures.study_curves({"autoencoder": runs}, 4)
    axes = picture.figure.axes[0]
    assert axes.lines[0].get_ydata().tolist() == CURVES[4]
    (shade,) = (each for each in axes.collections if each.get_facecolor()[0, 3] == 0.25)
    corners = shade.get_paths()[0].get_extents()
    assert (corners.y0, corners.y1) == (min(lower), max(upper))
    assert picture.figure.legends[0].get_title().get_text() == "mnist, quick profile, 1,400 steps, seeds 0, 0"
    with pytest.raises(ValueError, match="no runs"):
        figures.study_curves({}, 4)


def test_loss_curves_leave_out_peaks():
    task = EXPERIMENTS["rotation-one-shot"].task
    picture = figures.loss_curves({"autoencoder": {4: [0.1] * len(task.grid)}}, task, 4, "source")
    drawn = picture.figure.axes[0].lines[0].get_xdata()
    assert len(drawn) == len(task.grid) - 4
    assert not set(drawn) & {-180, -90, 0, 90}


def test_histories_average_over_a_window():
    picture = figures.histories({"autoencoder": [4.0, 2.0, 0.5]}, "source", window=2)
    assert picture.figure.axes[0].lines[0].get_ydata().tolist() == [3.0, 1.25]
    assert picture.figure.axes[0].lines[0].get_xdata().tolist() == [2, 3]
    assert "from 3.000 to 1.250" in alt_of(picture)
    # Of a history that is thinned, the axis still counts steps.
    thin = figures.histories({"autoencoder": [4.0, 2.0, 0.5]}, "source", window=2, stride=50)
    assert thin.figure.axes[0].lines[0].get_xdata().tolist() == [100, 150]


@pytest.mark.parametrize("image", [None, torch.zeros(8, 8)])
def test_addresses_and_maps(image):
    picture = figures.addresses_and_maps(
        torch.tensor([[1.0, 2.0]]), torch.ones(1), torch.eye(4), image, ("a", "b", "c"), "one capsule"
    )
    assert alt_of(picture) == "one capsule"
    dots = picture.figure.axes[0].collections[-1].get_offsets().tolist()
    assert dots == [[2.0, 1.0]]  # (column, row)


def test_addresses_and_maps_have_one_grid_that_holds_every_capsule():
    addresses = torch.tensor([[1.0, 2.0], [5.0, -1.5]])
    picture = figures.addresses_and_maps(addresses, torch.ones(2), torch.eye(4), None, ("a", "b"), "two capsules")
    dots, cells = picture.figure.axes[:2]
    assert dots.get_xlim() == cells.get_xlim()
    assert dots.get_ylim() == cells.get_ylim()
    low, high = dots.get_xlim()
    assert low < float(addresses.min())
    assert float(addresses.max()) < high


def test_constellations_keep_their_scale_and_colours():
    addresses = torch.tensor([[[0.0, 1.0], [2.0, 3.0]], [[1.0, 1.0], [3.0, 3.0]]])
    strengths = torch.tensor([[1.0, 0.5], [0.5, 0.0]])
    picture = figures.constellations(addresses, strengths, torch.zeros(2, 8, 8), 4, ["a", "b"], "two frames")
    first, second = (picture.figure.axes[frame].collections[-1] for frame in (0, 1))
    assert first.get_offsets().tolist() == [[1.0, 0.0], [3.0, 2.0]]  # (column, row)
    assert first.get_sizes().tolist() == [32.0, 17.0]
    assert second.get_sizes().tolist() == [17.0, 2.0]
    assert first.get_array().tolist() == second.get_array().tolist() == [1.0, 3.0]


def test_marches_point_from_where_a_capsule_wrote_to_where_it_writes():
    places = torch.tensor([[0.0, 0.0], [1.0, 1.0], [3.0, 3.0], [2.0, 0.0]])
    moves = torch.tensor([[2.0, 1.0], [2.0, 2.0], [-1.0, -1.0], [0.1, 0.1]])
    addresses = torch.stack([places, places + moves / 2, places + moves])
    images = torch.zeros(3, 16, 16)
    picture = figures.marches(images, images, addresses, torch.rand(3, 4), 4, ["a", "b", "c"], "three <places>")
    assert alt_of(picture) == "three <places>"
    panel = picture.figure.axes[-1]
    # A cell has four pixels, and the middle of the first one is at 1.5; x is the column.
    found = [(arrow.xyann, arrow.xy, arrow.arrow_patch.get_edgecolor()[:3]) for arrow in panel.texts]
    blue, orange = (matplotlib.colors.to_rgb(colour) for colour in ("#0072B2", "#D55E00"))
    assert found == [
        ((1.5, 1.5), (5.5, 9.5), blue),
        ((5.5, 5.5), (13.5, 13.5), blue),
        ((13.5, 13.5), (9.5, 9.5), orange),
    ]
    assert panel.collections[-1].get_offsets().tolist() == [[1.5, 9.5]]  # it stays
    assert [axes.get_ylabel() for axes in picture.figure.axes[:6:3]] == ["asked for", "drawn"]


def test_removals_are_orange_where_ink_is_gone_and_blue_where_it_comes():
    whole = torch.full((1, 2, 2), -1.0)
    whole[0, 0, 0] = 1
    without = torch.full((1, 1, 2, 2), -1.0)
    without[0, 0, 1, 1] = 1
    picture = figures.removals(whole, without, ["4"], [["part 3"]], "one part")
    assert alt_of(picture) == "one part"
    first, second = picture.figure.axes
    assert (first.get_ylabel(), second.get_title()) == ("4", "part 3")
    shown = second.images[-1].get_array()
    for (row, column), colour in {(0, 0): "#D55E00", (1, 1): "#0072B2", (0, 1): "#FFFFFF"}.items():
        assert shown[row, column].tolist() == pytest.approx(matplotlib.colors.to_rgb(colour), abs=1e-6)


def test_cell_maps_share_a_scale_and_outline_cells():
    inside = torch.tensor([[True, False], [False, False]])
    picture = figures.cell_maps({"a": torch.eye(2), "b": torch.zeros(2, 2)}, "weight", "cells", outlined=inside)
    shown = [axes.images[0] for axes in picture.figure.axes[:2]]
    assert [image.get_clim() for image in shown] == [(0, 1), (0, 1)]
    outline = np.concatenate([path.vertices for path in picture.figure.axes[0].collections[0].get_paths()])
    assert outline.max() == pytest.approx(0.5, abs=0.1)
    assert picture.figure.axes[0].get_ylabel() == "row"


def test_a_heat_map_has_a_row_for_each_thing_and_a_column_around_each_number():
    picture = figures.heat_map(torch.rand(3, 5), [-20, -10, 0, 10, 20], "angle", "map", "activation", "three maps")
    assert alt_of(picture) == "three maps"
    (image,) = picture.figure.axes[0].images
    assert image.get_array().shape == (3, 5)
    assert image.get_extent() == [-25, 25, 3.5, 0.5]


def test_image_tables_have_a_title_for_each_row_and_column():
    picture = figures.image_table(torch.zeros(2, 3, 4, 4), ["r1", "r2"], ["c1", "c2", "c3"], "t", "y", "x", "a table")
    (axes,) = picture.figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["r1", "r2"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["c1", "c2", "c3"]


def test_models_of_one_architecture_share_a_colour():
    short, long = figures.look("autoencoder-z10"), figures.look("autoencoder-z128")
    assert short[0] == long[0] == figures.look("autoencoder")[0]
    assert short[1] != long[1]


def test_a_line_has_the_look_of_its_model_and_what_was_seen_is_shaded():
    series = {"autoencoder": [3.0, 1.0], "continuous-capsules": [2.0, 1.0]}
    (axes,) = figures.lines([-2, 2], series, "x", "y", "two lines", seen=(-1, 1)).figure.axes
    assert [line.get_color() for line in axes.get_lines()] == [figures.LOOK[name][0] for name in series]
    (span,) = axes.patches
    assert span.get_label() == "seen in training"


def test_rows_films_and_lines():
    row = figures.image_row(torch.zeros(2, 1, 4, 4), ["a", "b"], "two")
    film = figures.filmstrip(torch.zeros(3, 4, 4), torch.zeros(3, 8, 8), ["1", "2", "3"], "three frames")
    line = figures.lines([1, 2], {"one": [3.0, 4.0]}, "x", "y", "a line", log=True)
    assert [alt_of(picture) for picture in (row, film, line)] == ["two", "three frames", "a line"]
    assert [axes.get_title() for axes in row.figure.axes] == ["a", "b"]


def test_keep_stores_without_showing(monkeypatch):
    seen = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, **options: seen.append((bundle, options)))
    figures.keep("ratio", "2.5")
    (bundle, options) = seen[0]
    assert set(bundle) == {"application/papermill.record/text/plain"}
    assert options["metadata"]["scrapbook"]["name"] == "ratio"
    assert options["raw"]


def test_the_host_s_style_is_the_host_s():
    """Else labels would be white on white."""
    with matplotlib.style.context("dark_background"):
        (axes,) = figures.lines([1, 2], {"one": [3.0, 4.0]}, "x", "y", "a line").figure.axes
        assert matplotlib.rcParams["text.color"] == "white"
    assert axes.xaxis.label.get_color() == "black"
    assert axes.get_facecolor()[:3] == (1, 1, 1)


@pytest.mark.parametrize("draw", ["loss_curves", "histories", "lines", "stacked"])
def test_no_two_series_look_alike(draw, task):
    """Not even of models that the book does not know, nor of more series than it has looks for."""
    names = ["mine", "yours", "autoencoder-tf32", "autoencoder-warp", *map(str, range(50))]
    picture = {
        "loss_curves": lambda: figures.loss_curves(
            dict.fromkeys(names, CURVES), task, 4, "", dict.fromkeys("abc", CURVES)
        ),
        "histories": lambda: figures.histories(dict.fromkeys(names, (2.0, 1.0)), ""),
        "lines": lambda: figures.lines([1, 2], dict.fromkeys(names, (2.0, 1.0)), "x", "y", "alt"),
        "stacked": lambda: figures.lines([1, 2], dict.fromkeys("abcdefg", (2, 1)), "x", "y", "alt", stacked=True),
    }[draw]()
    drawn = [line for axes in picture.figure.axes for line in axes.lines]
    assert len(drawn) == {"loss_curves": 57, "stacked": 7}.get(draw, 54)
    assert len({(line.get_color(), str(line._dash_pattern)) for line in drawn}) == len(drawn)


def test_models_keep_their_own_look_where_it_is_free():
    own = [figures.look(name) for name in figures.LOOK]
    free = figures.different([*own, None, own[0]])
    # Models that name digits come last. They are never beside those that draw, and look as some of them do.
    drawing = [figures.look(name) for name in figures.LOOK if name not in {*CLASSIFIERS, *BACKWARDS}]
    assert free[: len(drawing)] == drawing
    assert len(set(free)) == len(free)


def test_nothing_to_draw_is_said():
    with pytest.raises(ValueError, match="no series to draw"):
        figures.lines([1, 2], {}, "x", "y", "nothing")
    with pytest.raises(ValueError, match="mine has no losses to draw"):
        figures.histories({"mine": []}, "source")


def test_models_that_the_book_does_not_know_have_a_look():
    assert figures.look("mine-z10")[1] == figures.look("autoencoder-z10")[1]
    assert figures.look("mine") == figures.LOOK_OF_OTHERS


def test_a_gallery_shows_what_was_kept_and_says_what_is_missing(tmp_path):
    picture = figures.gallery(
        results.PUBLISHED / "full", "rotation-one-shot", ["autoencoder", "continuous-capsules"], 10, 4, "title"
    )
    assert "autoencoder, continuous-capsules drew" in alt_of(picture)
    assert "'4' was seen at +18\n" in picture.figure.axes[0].get_xlabel()
    moved = figures.gallery(results.PUBLISHED / "large", "shift-transfer", ["continuous-capsules"], 10, 4, "title")
    assert "'4' was seen at -5 to +4\n" in moved.figure.axes[0].get_xlabel()  # -4 to +4 is what counts as in range
    with pytest.raises(results.ResultError, match="cannot read"):
        figures.gallery(tmp_path, "rotation-one-shot", ["autoencoder"], 10, 4, "title")
    for experiment, digit, complaint in (("mine", 4, "unknown experiment"), ("rotation-one-shot", 3, "of 4, 9 only")):
        drawn = tmp_path / "full" / experiment / "autoencoder"
        shutil.copytree(results.PUBLISHED / "full" / "rotation-one-shot" / "autoencoder", drawn)
        with pytest.raises(ValueError, match=complaint):
            figures.gallery(tmp_path / "full", experiment, ["autoencoder"], 10, digit, "title")
    for content in (b"", b"junk", (drawn / "seed10.gallery.npz").read_bytes()[:200]):
        (drawn / "seed10.gallery.npz").write_bytes(content)
        with pytest.raises(results.ResultError, match="changed after it was written"):
            figures.gallery(tmp_path / "full", "rotation-one-shot", ["autoencoder"], 10, 4, "title")


def test_a_table_of_ratios_has_a_column_for_each_digit_that_was_held_out():
    alone = replace(EXPERIMENTS["shift-transfer"].at("quick").task, held_out=(7,))
    curves = {"mine": {digit: [1.0 + digit] * len(alone.grid) for digit in range(10)}}
    assert "ratio '7'" in figures.ratio_table(curves, alone, "embedded").header


def test_dots_have_a_look_by_group_names_and_a_hull():
    square = torch.tensor([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
    groups = {"corners": square, "inside": torch.tensor([[1.0, 0.5], [1.0, 1.0]])}
    picture = figures.dots(groups, "x", "y", "six dots", {"inside": ("a", "b")}, hull=True, diagonal=True)
    (axes,) = picture.figure.axes
    assert alt_of(picture) == "six dots"
    assert [text.get_text() for text in axes.texts] == ["a", "b"]
    assert {tuple(point) for point in axes.patches[0].get_xy().tolist()} == {tuple(point) for point in square.tolist()}
    assert [len(each.get_offsets()) for each in axes.collections] == [4, 2]
    with pytest.raises(ValueError, match="looks for 4 groups; got 5"):
        figures.dots(dict.fromkeys("abcde", square), "x", "y", "five groups")
