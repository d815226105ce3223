"""The rules of the article's claims, and that the published results say of each what the book says."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from gencaps_lib import results
from gencaps_lib.book.claims import FAILS, HOLDS, OPEN, UNSEEN
from gencaps_lib.book.verdicts import CLAIMS, RATIO, WRITTEN, ArticleClaim, Means, decide
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.results import Estimate, Runs

TASK = EXPERIMENTS["shift-transfer"].at("quick").task


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.experiment}: {claim.text}")
def test_the_published_results_say_what_the_book_says(claim):
    decisions = decide(claim, results.fresh())
    assert decisions, "its runs are not there"
    assert {profile: decision.verdict for profile, decision in decisions.items()} == claim.verdicts, list(
        map(str, decisions.values())
    )


def test_no_result_that_judges_a_rule_is_older_than_the_rule():
    made = {
        result.machine["made"]
        for found in results.fresh().values()
        for models in found.values()
        for runs in models.values()
        for result in runs.results
    }
    assert made
    assert min(made) >= WRITTEN


def test_claims_name_pairs_of_the_registry_and_one_bound():
    for claim in CLAIMS:
        assert set(claim.models) <= set(EXPERIMENTS[claim.experiment].models), claim.text
        assert (claim.least is None) != (claim.most is None), claim.text


def runs(*levels, nine=None):
    """A seed for each level: '4' has error 1 in range and the level out of it; '9' likewise, or the level `nine`."""
    made = []
    for seed, level in enumerate(levels):
        out = {4: level, 9: level if nine is None else nine}
        curves = {digit: [1.0 if TASK.is_inside(point) else out[digit] for point in TASK.grid] for digit in out}
        images = {digit: {"inside": [0.5, 1.5], "outside": [out[digit]] * 2} for digit in out}
        made.append(SimpleNamespace(seed=seed, curves=curves, images=images, stuck=False))
    return Runs(tuple(made), TASK)


def claim(**bound):
    return ArticleClaim("text", "shift-transfer", ("one",), "ratio", lambda means: means.ratio("one"), **bound)


def test_both_held_out_digits_count():
    assert Means({"one": runs(2.0, nine=4.0)}, ["one"]).ratio("one")[0] == pytest.approx(3)


def test_the_interval_is_over_seeds_and_images():
    over_both = claim(most=2).decide({"one": runs(1.0, 2.0, 3.0)}).effect
    over_images = claim(most=2).decide({"one": runs(2.0)}).effect
    assert over_both.value == over_images.value == pytest.approx(2)
    # Images alone: the mean of two that are 0.5 or 1.5 is between them. Seeds alone: from 1 to 3.
    assert over_images.low == pytest.approx(2 / 1.5)
    assert over_images.high == pytest.approx(2 / 0.5)
    assert over_both.low < over_images.low
    assert over_both.high >= over_images.high


def test_a_ratio_is_also_told_over_that_of_the_digits_that_saw_all_places():
    hard = runs(3.0)
    for digit in set(TASK.digits) - set(TASK.held_out):
        hard.results[0].curves[digit] = [1.0 if TASK.is_inside(point) else 2.0 for point in TASK.grid]
    decision = replace(claim(most=1.9), effect=RATIO).decide({"one": hard})
    assert decision.over_others == pytest.approx(1.5)
    assert "(1.50 over the others')" in str(decision)
    assert decision.verdict == FAILS  # the ratio itself judges
    everyone_beyond = results.fresh("shift-extrapolation")
    ratios = [each for each in CLAIMS if each.experiment == "shift-extrapolation" and each.effect == RATIO]
    told = [decision.over_others for each in ratios for decision in decide(each, everyone_beyond).values()]
    assert told == [None] * len(told) != []


def test_seeds_and_images_of_two_models_are_paired():
    """So that what they have in common, hard images, does not widen the interval."""
    means = Means({"one": runs(1.0, 2.0, 3.0), "other": runs(1.0, 2.0, 3.0)}, ["one", "other"])
    assert np.allclose(means.error("one", "outside") / means.error("other", "outside"), 1)


def test_the_ends_of_the_interval_decide():
    at_most, at_least = claim(most=1.2), claim(least=2)
    assert at_most.judge(Estimate(1.1, 1.0, 1.2)) == HOLDS
    assert at_most.judge(Estimate(1.1, 1.0, 1.3)) == OPEN
    assert at_most.judge(Estimate(1.3, 1.21, 1.4)) == FAILS
    assert at_least.judge(Estimate(3.0, 2.0, 4.0)) == HOLDS
    assert at_least.judge(Estimate(3.0, 1.9, 4.0)) == OPEN
    assert at_least.judge(Estimate(1.0, 0.9, 1.9)) == FAILS


def test_without_its_premise_there_is_no_verdict():
    rule = claim(most=4, premise="it exceeds 1", met=lambda means: bool(means.error("one", "outside")[0] > 1))
    assert rule.rule == "ratio: at most 4, provided that it exceeds 1"
    assert rule.decide({"one": runs(2.0)}).verdict == HOLDS
    assert rule.decide({"one": runs(0.5)}).verdict == UNSEEN


def test_protocols_without_runs_are_left_out_and_the_longest_is_last():
    found = {
        "quick": {"shift-transfer": {"one": runs(9.0)}},
        "full": {"shift-transfer": {"one": runs(0.5)}},
        "smoke": {},
    }
    decisions = decide(claim(most=2), found)
    assert [(profile, each.verdict) for profile, each in decisions.items()] == [("quick", FAILS), ("full", HOLDS)]


def test_a_run_that_never_learned_is_left_out_and_named():
    some = runs(1.0, 3.0)
    some.results[0].stuck = True
    decision = claim(least=2).decide({"one": some})
    assert decision.seeds == (1,)
    assert decision.effect.value == pytest.approx(3)
    assert str(decision).endswith("left out, never learned: one, seed 0")
    some.results[1].stuck = True
    with pytest.raises(ValueError, match="no seed in common"):
        claim(least=2).decide({"one": some})


def test_models_without_a_common_seed_decide_nothing():
    with pytest.raises(ValueError, match="no seed in common"):
        Means({"one": runs(1.0)}, ["one", "other"])


def test_where_a_model_is_not_run_its_stand_in_counts_and_is_named():
    beside = ArticleClaim(
        "text", "shift-transfer", ("autoencoder",), "ratio", lambda means: means.ratio("autoencoder"), least=2
    )
    found = {"large": {"shift-transfer": {"autoencoder-matched": runs(3.0)}}}
    assert str(decide(beside, found)["large"]).endswith("autoencoder-matched in place of autoencoder")
    both = {"large": {"shift-transfer": {"autoencoder-matched": runs(3.0), "autoencoder": runs(0.5)}}}
    assert decide(beside, both)["large"].verdict == FAILS
    assert decide(beside, {"quick": found["large"]}) == {}
