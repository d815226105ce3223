"""The rules of the book's own claims, and that the published results say of each what the book says."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from gencaps_lib import results
from gencaps_lib.book.claims import (
    CONTROL_CLAIMS,
    CONTROLLED,
    CONTROLS,
    DEPTH_CLAIMS,
    FAILS,
    FRESH_CLAIMS,
    HOLDS,
    OPEN,
    OWN_CLAIMS,
    UNSEEN,
    Claim,
    read_off,
    shares,
)
from gencaps_lib.evaluation import mean_outside
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.experiments.spec import TF32_ON_CUDA
from gencaps_lib.results import final_loss, moved


@pytest.mark.parametrize("claim", OWN_CLAIMS + DEPTH_CLAIMS, ids=lambda claim: f"{claim.experiment}: {claim.text}")
def test_the_published_results_say_what_the_book_says(claim):
    found = results.published() if claim in OWN_CLAIMS else results.fresh(claim.experiment)["quick"]
    values = claim.values(found[claim.experiment])
    assert len(values) >= 2, "a claim needs at least two seeds"
    assert claim.judge(values) == claim.verdict, values


FRESH = results.fresh()
RUN = [
    claim
    for claim in FRESH_CLAIMS
    if claim not in DEPTH_CLAIMS and claim.is_run(FRESH[claim.profile].get(claim.experiment, {}))
]


@pytest.mark.parametrize(
    "claim", RUN, ids=lambda claim: f"{claim.experiment}, {claim.profile}, {claim.models[-1]}: {claim.quantity}"
)
def test_the_fresh_seeds_say_what_the_book_says(claim):
    values = claim.values(FRESH[claim.profile][claim.experiment])
    assert claim.judge(values) == claim.verdict, values


def test_every_control_is_asked_the_same_in_every_experiment():
    asked = {(claim.experiment, claim.models) for claim in CONTROL_CLAIMS}
    assert asked == {(name, (control,)) for name in CONTROLLED for control in CONTROLS}
    assert len(CONTROL_CLAIMS) == 3 * len(asked)
    assert {claim.most for claim in CONTROL_CLAIMS} == {0.05, 1.1, 1.2, 1}
    assert all(set(CONTROLS) <= set(EXPERIMENTS[name].models) for name in CONTROLLED)


def test_a_linear_matrix_in_another_frame_is_the_true_one():
    """The distance does not see the frame, and sees a wrong direction."""
    claim = next(each for each in CONTROL_CLAIMS if each.models == ("composed-capsules-linear",))
    task = EXPERIMENTS["rotation-extrapolation"].at("quick").task
    frame = torch.tensor([[2.0, 0.3], [0.1, 0.5]])
    for sign, most in ((1, 1e-4), (-1, 3)):
        turn = sign * torch.tensor([[0.0, -1], [1, 0]])
        rows = [torch.cat([part @ frame, torch.zeros(2, 1)], 1).tolist() for part in (torch.eye(2), turn)]
        off = claim.measure({claim.models[0]: SimpleNamespace(learned={"linear": rows})}, task)
        assert off <= most
        assert sign == 1 or off > 1


def test_shares_are_means_over_digits_and_angles():
    task = EXPERIMENTS["rotation-backwards"].at("quick").task
    curve = [0.25 if task.is_inside(point) else 0.75 for point in task.grid]
    result = SimpleNamespace(grid=list(task.grid), curves={3: curve, 4: [value / 3 for value in curve]})
    within, beyond = shares(result, task, (3, 4))
    assert within == pytest.approx(1 - (0.25 + 0.25 / 3) / 2)
    assert beyond == pytest.approx(1 - (0.75 + 0.25) / 2)
    assert shares(result, task, (3,)) == pytest.approx((0.75, 0.25))


def test_what_is_read_is_judged_in_range_and_by_the_median():
    task = EXPERIMENTS["rotation-untold"].at("quick").task
    off = [(-4.0 if index % 2 else 4) if task.is_inside(point) else 90 for index, point in enumerate(task.grid)]
    few = sum(map(task.is_inside, task.grid)) // 2 - 1  # fewer than half of the pairs are far off
    far = [place for place, point in enumerate(task.grid) if task.is_inside(point)][:few]
    off = [50.0 if place in far else each for place, each in enumerate(off)]
    read = [[point + each for point, each in zip(task.grid, off, strict=True)]] * 3
    assert read_off(SimpleNamespace(grid=list(task.grid), learned={"read": read}), task) == pytest.approx(4)


def test_the_final_loss_is_the_mean_of_the_last_tenth():
    assert final_loss(SimpleNamespace(history=[9.0] * 18 + [1, 2])) == 1.5


def in_seed_noise(runs, precision):
    """The architectures of a precision's published runs, and whether each moved by no more than its seeds lie apart."""
    found = {}
    for where, models in runs.items():
        for name, changed in models.items():
            architecture, _, given = name.rpartition("-")
            if given == precision:
                assert len(changed.seeds) >= 3
                entries = moved(runs[where.removesuffix("-precision")][architecture], changed, 4)
                found[architecture] = found.get(architecture, True) and all(entry.within_noise for entry in entries)
    return found


def test_tf32_is_for_models_of_which_runs_showed_that_they_bear_it():
    assert {name for name, bears in in_seed_noise(results.published(), "tf32").items() if bears} == TF32_ON_CUDA


def made_up(seed, level, profile="quick", source="mnist"):
    """A result of shift transfer whose '4' has error 1 in range and `level` out of it."""
    task = EXPERIMENTS["shift-transfer"].at("quick").task
    curve = [1.0 if task.is_inside(point) else level for point in task.grid]
    return SimpleNamespace(seed=seed, profile=profile, source=source, curves={4: curve})


def seeds(*made):
    return SimpleNamespace(results=made, seeds=[result.seed for result in made])


def digit_over_autoencoder(results, task):
    return mean_outside(results["digit-capsules"].curves[4], task) / mean_outside(
        results["autoencoder"].curves[4], task
    )


CLAIM = Claim("text", "shift-transfer", ("digit-capsules", "autoencoder"), "it", digit_over_autoencoder, most=1)


def test_values_are_paired_by_seed():
    runs = {
        "digit-capsules": seeds(made_up(0, 2.0), made_up(1, 3.0), made_up(5, 9.0)),
        "autoencoder": seeds(made_up(1, 2.0), made_up(0, 4.0)),
    }
    assert CLAIM.values(runs) == [0.5, 1.5]
    assert CLAIM.judge(CLAIM.values(runs)) == OPEN


def test_a_seed_that_was_seen_before_the_rule_does_not_judge():
    runs = {
        "digit-capsules": seeds(made_up(10, 9.0), made_up(11, 3.0)),
        "autoencoder": seeds(made_up(10, 1.0), made_up(11, 2.0)),
    }
    later = replace(CLAIM, since=11)
    assert later.values(runs) == [1.5]
    assert later.is_run(runs)
    assert not replace(later, since=12).is_run(runs)
    assert not later.is_run({"autoencoder": runs["autoencoder"]})
    with pytest.raises(ValueError, match="no seed in common from 12 on"):
        replace(later, since=12).values(runs)


def test_every_seed_or_none_decides():
    at_least, between = (
        Claim("text", "shift-transfer", ("autoencoder",), "it", lambda results, task: 0.0, least, most)
        for least, most in ((2, None), (1, 2))
    )
    assert at_least.judge([2.0, 5.0]) == HOLDS
    assert at_least.judge([1.9, 5.0]) == OPEN
    assert at_least.judge([1.9, 1.0]) == FAILS
    assert [between.judge([value]) for value in (0.9, 1.0, 2.0, 2.1)] == [FAILS, HOLDS, HOLDS, FAILS]
    assert between.rule == "it: at least 1 at most 2"


def test_a_claim_without_its_premise_is_not_visible():
    """As it is if one seed does not meet it; the others then decide nothing."""

    def out_of_range(results, task):
        return mean_outside(results["autoencoder"].curves[4], task)

    claim = Claim(
        "text",
        "shift-transfer",
        ("autoencoder",),
        "it",
        out_of_range,
        most=3,
        premise="it exceeds 1",
        met=lambda results, task: out_of_range(results, task) > 1,
    )
    assert claim.rule == "it: at most 3, provided that it exceeds 1"
    met, not_met = claim.values({"autoencoder": seeds(made_up(0, 2.0), made_up(1, 0.5))})
    assert (met, not_met) == (2.0, None)
    assert claim.judge([met, not_met]) == UNSEEN
    assert claim.judge([met]) == HOLDS


@pytest.mark.parametrize(
    ("runs", "complaint"),
    [
        ({}, "no seed in common"),
        ({"digit-capsules": seeds(made_up(0, 1.0)), "autoencoder": seeds(made_up(1, 1.0))}, "no seed in common"),
        (
            {"digit-capsules": seeds(made_up(0, 1.0)), "autoencoder": seeds(made_up(0, 1.0, profile="full"))},
            "different profiles",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(runs, complaint):
    with pytest.raises(ValueError, match=complaint):
        CLAIM.values(runs)
