"""Drawings: their text fits, their arrows end at boxes, and their alt text says what they show."""

import html
import re
from xml.etree import ElementTree

import pytest
import torch

from gencaps_lib.book.diagrams import FONT, WIDTH, Arrow, Box, address, graph, of, schematic
from gencaps_lib.experiments import EXPERIMENTS

CAPSULES = [["dense 1024"], ["addresses\n128 × 2", "activations\n128 × 32"], ["route by address"]]


def parsed(drawing):
    return ElementTree.fromstring(drawing.element())


def texts(drawing):
    return [node.text for node in parsed(drawing).iter() if node.tag.endswith("text")]


def test_a_schematic_shows_the_middle_and_the_shapes_and_says_so():
    drawing = schematic(CAPSULES, z=10, code=2, maps=(32, 17, 17), image=68)
    shown = texts(drawing)
    for text in ("z (10)", "transform code (2)", "addresses", "128 × 2", "maps 32 × 17 × 17", "drawn 1 × 68 × 68"):
        assert text in shown
    assert "addresses 128 × 2, activations 128 × 32 and route by address" in drawing.alt
    assert html.escape(drawing.alt) in drawing.element()


MIDDLES = {
    "autoencoder": ["dense 512, ReLU", "dense 7,744, ReLU"],
    "continuous-capsules": ["dense 512, ReLU", "addresses", "64 × 2", "activations", "64 × 32", "routing by address"],
    "digit-capsules": [
        *("10 wholes, pose 12", "40 parts, pose 10", "addresses", "40 × 2", "activations", "40 × 16"),
        "routing by address",
    ],
    "learned-addresses": [
        *("dense 512, ReLU", "addresses", "64 × 4", "activations", "64", "softmax over all 484 cells,"),
        "by their learned addresses",
    ],
}


@pytest.mark.parametrize("name", MIDDLES)
def test_a_model_s_schematic_has_the_shapes_of_the_model(name):
    experiment = "shift-extrapolation" if name == "learned-addresses" else "shift-transfer"
    built = EXPERIMENTS[experiment].at("quick").build(name)
    shown = texts(of(built, "angle"))
    maps = " × ".join(map(str, built.decoder.maps(torch.zeros(1, built.z), torch.zeros(1, 2)).shape[1:]))
    assert shown[3] == "transform code (2)"
    assert shown[4:] == [*MIDDLES[name], f"maps {maps}", "painter", "drawn 1 × 44 × 44"]
    assert "which tells the angle" in of(built, "angle").alt


def test_a_model_whose_middle_is_not_known_is_not_drawn_as_another():
    with pytest.raises(ValueError, match="the middle of PretrainedAddresses is not known"):
        of(EXPERIMENTS["shift-extrapolation"].at("smoke").build("learned-addresses-pretrained"))


def test_boxes_of_a_row_lie_side_by_side_within_the_width():
    drawing = schematic(CAPSULES, z=10, code=2, maps=(32, 17, 17), image=68)
    boxes = [node for node in parsed(drawing).iter() if node.tag.endswith("rect")]
    spans = [(float(box.get("y")), float(box.get("x")), float(box.get("width"))) for box in boxes]
    assert all(x >= 0 and x + width <= WIDTH for _, x, width in spans)
    for y, x, width in spans:
        assert not any(y == other and x < left < x + width for other, left, _ in spans)


def test_no_arrow_leads_from_the_encoder_to_the_transform_code():
    drawing = schematic([["dense"]], z=10, code=2, maps=None, image=28)
    # in → encoder → z → dense ← code, dense → drawn
    assert drawing.element().count("<polygon") == 5


def test_the_text_is_as_large_as_the_page_s_on_a_phone():
    assert FONT * 343 / WIDTH >= 12


@pytest.mark.parametrize(
    ("rows", "arrows", "message"),
    [
        ([[Box("a" * 60)]], [], "too wide"),
        ([[Box("a")], [Box("a")]], [], "two boxes are called 'a'"),
        ([[Box("a")], [Box("b")]], [Arrow("a", "c")], "no boxes for the arrow from 'a' to 'c'"),
    ],
)
def test_what_cannot_be_drawn_is_an_error(rows, arrows, message):
    with pytest.raises(ValueError, match=message):
        graph(rows, arrows, "alt")


def test_an_address_shares_its_activation_among_four_cells():
    drawing = address(1.25, 2.5)
    shares = [text for text in texts(drawing) if "." in text]
    assert shares == ["0.38", "0.38", "0.12", "0.12"]
    assert "row 2, column 3: 0.12" in drawing.alt


def test_a_caption_has_its_number_and_is_escaped():
    shown = graph([[Box("a")]], [], "one box").captioned("3.1", "a < b")._repr_mimebundle_()
    assert '<figure class="gencaps-figure" id="figure-3-1"' in shown["text/html"]
    assert "<figcaption><b>Figure 3.1.</b> a &lt; b</figcaption>" in shown["text/html"]
    assert shown["text/plain"] == "Figure 3.1. a < b\none box"
    assert re.search(r"<figure|<figcaption", graph([[Box("a")]], [], "one box").image()) is None


def test_a_label_stands_on_the_upper_side_of_its_arrow():
    arrows = [Arrow("a", "b", "left"), Arrow("a", "c", "right")]
    drawing = graph([[Box("a")], [Box("b"), Box("c")]], arrows, "a fork", gap=60)
    labels = {node.text: node for node in parsed(drawing).iter() if node.tag.endswith("text")}
    assert labels["left"].get("text-anchor") == "end"
    assert labels["right"].get("text-anchor") == "start"
    assert float(labels["left"].get("x")) < WIDTH / 2 < float(labels["right"].get("x"))
