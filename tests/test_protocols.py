"""Tables of what each protocol says."""

from dataclasses import replace

import pytest
import torch

from gencaps_lib import results
from gencaps_lib.book import protocols
from gencaps_lib.book.authors import AUTHORS
from gencaps_lib.book.verdicts import CLAIMS, decide, in_words
from gencaps_lib.data import Digits


def test_verdicts_have_a_column_for_each_protocol():
    found = results.fresh("shift-extrapolation")
    table = protocols.verdicts(found)
    assert table.header == ["claim and rule", *found]
    assert {len(row) for row in table.rows} == {1 + len(found)}
    assert any("continuous capsules extrapolate" in row[0].lower() for row in table.rows)
    every = protocols.verdicts(found, "claims", lambda decisions: "full" in decisions)
    assert 0 < len(every.rows) < len(table.rows)
    assert all(row[-1] != "not run" for row in every.rows)


def test_a_run_that_never_learned_is_not_called_not_run():
    model = "continuous-capsules"
    claim = next(each for each in CLAIMS if each.experiment == "rotation-one-shot" and each.models == (model,))
    runs = results.fresh("rotation-one-shot")["large"]["rotation-one-shot"][model]
    blank = results.Runs([each for each in runs.results if each.stuck], runs.task)
    found = {"quick": {}, "large": {"rotation-one-shot": {model: blank}}}
    assert in_words(claim, decide(claim, found), found) == ["not run", f"never learned: {model}"]


def test_the_authors_losses_stand_beside_ours():
    found = results.fresh("rotation-one-shot")
    table = protocols.beside_authors(found)
    rows = {tuple(row[:2]): row[2:] for row in table.rows}
    assert {model for model, _ in rows} == {"autoencoder", "continuous-capsules"}
    theirs, runs = AUTHORS["rotation-one-shot", "autoencoder"], found["full"]["rotation-one-shot"]["autoencoder"]
    assert rows["autoencoder", "authors"] == ["0.0148", "0.0808", f"{theirs.ratio:.2f}", "", "0.0325", "0.0152"]
    inside, outside = runs.inside(4).value, runs.outside(4).value
    assert rows["autoencoder", "full"] == [
        f"{inside:.4f}",
        f"{outside:.4f}",
        f"{outside / inside:.2f}",
        f"{runs.adjusted_ratio(4):.2f}",
        f"{runs.outside(9).value:.4f}",
        f"{runs.others('outside'):.4f}",
    ]
    assert rows["continuous-capsules", "large"][0] == "never learned"
    others = protocols.beside_authors(found, "digit-capsules").rows
    assert [row[:2] for row in others] == [["digit-capsules", "quick"], ["digit-capsules", "large"]]


def test_a_blank_image_stands_below_the_losses():
    found = results.fresh("shift-transfer")
    ink = torch.zeros(3, 1, 28, 28)
    ink[:2] = -1  # two 4s without any ink, and one that is grey all over
    test = Digits(ink, torch.tensor([4, 4, 4]), "mnist")
    *_, quick, others = protocols.beside_authors(found, "digit-capsules", test=test).rows
    # Where canvas and test digits are the same, protocols share a row.
    for row, shared, side in ((quick, "quick", 44), (others, "large, large-rmsprop, full", 68)):
        grey = f"{28**2 / side**2 / 3:.4f}"  # the mean over three images of a canvas
        assert row == ["blank image", shared, grey, grey, "1.00", "", "", ""]
    *_, blank = protocols.beside_authors(found, "digit-capsules", test=replace(test, source="embedded")).rows
    assert blank[2] == "needs other digits than embedded"


def test_a_verdict_without_an_interval_says_why():
    claim = next(each for each in CLAIMS if each.text.startswith("Seen at one angle, an autoencoder"))
    told = {profile: str(decision) for profile, decision in decide(claim, results.fresh("rotation-one-shot")).items()}
    assert "[" in told["quick"]
    assert "(no interval: no image's errors by angle are kept)" in told["full"]


def test_the_adjusted_ratio_is_one_where_places_are_harder_for_all():
    runs = results.published()["shift-extrapolation"]["continuous-capsules"]
    others = runs.others("outside") / runs.others("inside")
    assert runs.adjusted_ratio(4) == pytest.approx(runs.ratio(4).value / others)
    assert others > 1.5
    assert runs.adjusted_ratio(4) == pytest.approx(1, abs=0.2)


def test_bands_are_by_the_distance_from_the_angle_seen():
    found = results.fresh("rotation-one-shot")
    table = protocols.bands(found, "rotation-one-shot", "autoencoder")
    assert table.header == ["profile", "model", "digit", "0° to 20°", "20° to 60°", "60° to 90°", "90° to 180°"]
    runs = [models["rotation-one-shot"] for models in found.values() if "rotation-one-shot" in models]
    assert len(table.rows) == 2 * sum("autoencoder" in models for models in runs)
    near, far = (float(table.rows[0][column]) for column in (4, 6))
    assert near > far
    # At large, these drew a blank image to the end.
    capsules = protocols.bands(found, "rotation-one-shot", "continuous-capsules")
    assert {row[0] for row in capsules.rows} == set(found) - {"large"}


def test_effects_have_a_row_for_each_claim_and_a_mark_for_each_protocol():
    found = {profile: runs for profile, runs in results.fresh().items() if profile in ("quick", "full")}
    picture = protocols.effects(found, lambda decisions: len(decisions) > 1)
    axes = picture.figure.axes[0]
    assert any(text.get_text().startswith("Continuous capsules extrapolate") for text in axes.texts)
    assert [text.get_text() for text in picture.figure.legends[0].get_texts()] == [
        "quick",
        "full",
        "bound (the arrow: holds)",
    ]
    values = {round(float(line.get_xdata()[0]), 2) for line in axes.lines if line.get_marker() in ("o", "s")}
    decided = decide(next(each for each in CLAIMS if each.text.startswith("Continuous capsules extrapolate")), found)
    assert {round(each.effect.value, 2) for each in decided.values()} <= values
    assert f"quick {decided['quick'].effect.value:.2f}, full {decided['full'].effect.value:.2f}" in picture.alt
    with pytest.raises(ValueError, match="no claims to draw"):
        protocols.effects(found, lambda decisions: False)
