"""Tables of what each protocol says."""

from dataclasses import replace

import pytest
import torch

from gencaps_lib import results
from gencaps_lib.book import protocols
from gencaps_lib.book.authors import AUTHORS
from gencaps_lib.book.verdicts import CLAIMS, decide
from gencaps_lib.data import Digits


def test_verdicts_have_a_column_for_each_protocol():
    found = results.fresh("shift-extrapolation")
    table = protocols.verdicts(found)
    assert table.header == ["claim", "rule", *found]
    assert {len(row) for row in table.rows} == {2 + len(found)}
    assert any("continuous capsules extrapolate" in row[0].lower() for row in table.rows)
    every = protocols.verdicts(found, "claims", lambda decisions: "full" in decisions)
    assert 0 < len(every.rows) < len(table.rows)
    assert all(row[-1] != "not run" for row in every.rows)


def test_the_authors_losses_stand_beside_ours():
    found = results.fresh("rotation-one-shot")
    rows = {row[0]: row for row in protocols.beside_authors(found).rows}
    assert set(rows) == {"autoencoder", "continuous-capsules"}
    theirs, runs = AUTHORS["rotation-one-shot", "autoencoder"], found["full"]["rotation-one-shot"]["autoencoder"]
    assert rows["autoencoder"][1].startswith(f"{theirs.four_in:.4f} → {theirs.four_out:.4f}")
    ours = rows["autoencoder"][-1]
    assert ours.startswith(f"{runs.inside(4).value:.4f} → {runs.outside(4).value:.4f}")
    assert f"{runs.outside(9).value:.4f}" in ours
    (other,) = protocols.beside_authors(found, "digit-capsules").rows
    assert other[1] == "not in their records"


def test_a_blank_image_stands_beside_the_losses_by_protocol():
    found = results.fresh("shift-transfer")
    ink = torch.zeros(3, 1, 28, 28)
    ink[:2] = -1  # two 4s without any ink, and one that is grey all over
    test = Digits(ink, torch.tensor([4, 4, 4]), "mnist")
    table = protocols.beside_authors(found, "digit-capsules", test=test)
    assert table.header[1] == "blank image, '4' out"
    grey = [28**2 / side**2 / 3 for side in (44, 68)]  # the mean over three images of a canvas
    ((_, blank, *_),) = table.rows
    assert blank == f"{grey[0]:.4f} (quick); {grey[1]:.4f} (large, full)"
    table = protocols.beside_authors(found, "digit-capsules", test=replace(test, source="embedded"))
    assert table.rows[0][1] == "needs other digits than embedded"


def test_a_verdict_without_an_interval_says_why():
    claim = next(each for each in CLAIMS if each.text.startswith("Seen at one angle, an autoencoder"))
    told = {profile: str(decision) for profile, decision in decide(claim, results.fresh("rotation-one-shot")).items()}
    assert "[" in told["quick"]
    assert "(no interval: no errors of single images are kept)" in told["full"]


def test_the_adjusted_ratio_is_one_where_places_are_harder_for_all():
    runs = results.published()["shift-extrapolation"]["continuous-capsules"]
    others = runs.others("outside") / runs.others("inside")
    assert runs.adjusted_ratio(4) == pytest.approx(runs.ratio(4).value / others)
    assert others > 1.5
    assert runs.adjusted_ratio(4) == pytest.approx(1, abs=0.2)


def test_bands_are_by_the_distance_from_the_angle_seen():
    found = results.fresh("rotation-one-shot")
    table = protocols.bands(found, "rotation-one-shot", "autoencoder")
    assert table.header == ["protocol", "model", "digit", "0° to 20°", "20° to 60°", "60° to 90°", "90° to 180°"]
    runs = [models["rotation-one-shot"] for models in found.values() if "rotation-one-shot" in models]
    assert len(table.rows) == 2 * sum("autoencoder" in models for models in runs)
    near, far = (float(table.rows[0][column]) for column in (4, 6))
    assert near > far


def test_effects_have_a_row_for_each_claim_and_a_mark_for_each_protocol():
    found = {profile: runs for profile, runs in results.fresh().items() if profile in ("quick", "full")}
    picture = protocols.effects(found, lambda decisions: len(decisions) > 1)
    axes = picture.figure.axes[0]
    assert any(text.get_text().startswith("Continuous capsules extrapolate") for text in axes.texts)
    assert [text.get_text() for text in picture.figure.legends[0].get_texts()] == ["quick", "full", "bound"]
    values = {round(float(line.get_xdata()[0]), 2) for line in axes.lines if line.get_marker() in ("o", "s")}
    decided = decide(next(each for each in CLAIMS if each.text.startswith("Continuous capsules extrapolate")), found)
    assert {round(each.effect.value, 2) for each in decided.values()} <= values
    assert f"quick {decided['quick'].effect.value:.2f}, full {decided['full'].effect.value:.2f}" in picture.alt
    with pytest.raises(ValueError, match="no claims to draw"):
        protocols.effects(found, lambda decisions: False)
