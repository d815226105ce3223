"""The registry: the article's settings, and profiles that change sizes only."""

import copy
import dataclasses
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from small import build

from gencaps_lib import results
from gencaps_lib.evaluation import accuracy_curve, loss_curve_and_images
from gencaps_lib.experiments import EXPERIMENTS, PROFILES, Trial, current_profile, trials, winners
from gencaps_lib.tasks import Task, training_ranges
from gencaps_lib.training import REFERENCE, loop
from gencaps_lib.transforms import CoarseRotation, Rotation, Shift


def test_shift_transfer_is_the_reference_s():
    experiment = EXPERIMENTS["shift-transfer"]
    task = experiment.task
    assert task.transform == Shift(margin=20)
    assert task.seen[0] == (-20, 19)
    assert task.seen[4] == task.seen[9] == (-5, 4)
    assert task.grid == tuple(range(-20, 19, 2))
    assert [point for point in task.grid if task.is_inside(point)] == [-4, -2, 0, 2, 4]
    assert [point for point in task.grid if not task.is_inside(point) and not task.is_outside(point)] == [-6, 6]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("model", ["continuous-capsules", "digit-capsules"])
def test_the_control_of_the_optimiser_changes_nothing_else(profile, model):
    base, control = (EXPERIMENTS[f"shift-extrapolation{suffix}"].at(profile) for suffix in ("", "-optimiser"))
    assert control.spec(f"{model}-rmsprop") == replace(base.spec(model), optimiser=REFERENCE)
    assert replace(control.task, name=base.name) == base.task
    assert (control.steps, control.batch, control.draws) == (base.steps, base.batch, base.draws)


@pytest.mark.parametrize(
    ("name", "everyone", "held_out", "inside", "outside"),
    [
        ("shift-extrapolation", (-10, 9), (-10, 9), [-10, 0, 10], [-20, -12, 12, 18]),
        ("rotation-transfer", (-180, 180), (-45, 45), [-45, 1.8, 43.2], [-178.2, 46.8, 91.8]),
        ("rotation-one-shot", (-180, 180), (18, 18), [16.2, 18, 19.8], [-178.2, 46.8, 91.8]),
        ("rotation-extrapolation", (-90, 90), (-90, 90), [-88.2, 1.8, 88.2], [-91.8, 91.8, 178.2]),
        ("scale-extrapolation", (-0.5, 0.5), (-0.5, 0.5), [-0.5, 0.5], [-1, -0.55, 0.55, 1]),
        ("shear-extrapolation", (-0.5, 0.5), (-0.5, 0.5), [-0.5, 0.5], [-1, -0.55, 0.55, 1]),
        ("rotation-and-shift", (-0.5, 0.5), (-0.5, 0.5), [-0.45, 0.45], [-0.95, -0.55, 0.55, 0.95]),
        ("rotation-raw-angle", (-180, 180), (-180, 180), [-176.4, 3.6, 176.4], [-356.4, -183.6, 183.6]),
    ],
)
def test_ranges_are_the_reference_s(name, everyone, held_out, inside, outside):
    task = EXPERIMENTS[name].task
    assert task.seen[0] == everyone
    assert task.seen[4] == task.seen[9] == held_out
    for points, judge, other in ((inside, task.is_inside, task.is_outside), (outside, task.is_outside, task.is_inside)):
        for point in points:
            assert point in task.grid, point
            assert judge(point), point
            assert not other(point), point


def test_multiples_of_a_right_angle_are_not_counted():
    for name in ("rotation-transfer", "rotation-extrapolation", "rotation-raw-angle"):
        task = EXPERIMENTS[name].task
        peaks = [point for point in task.grid if task.transform.is_peak(point)]
        assert 0 in peaks
        assert 90 in peaks
        assert all(point % 90 == 0 for point in peaks)
        assert not any(task.is_inside(point) or task.is_outside(point) for point in peaks)


def test_targets_are_sharper_at_peaks(digits):
    task = EXPERIMENTS["rotation-transfer"].task
    images = digits.images[:50]
    ink = {
        angle: (task.target(images, torch.full((50, 1), angle)) + 1).square().mean() for angle in (0.0, 9.0, 81.0, 90.0)
    }
    assert ink[90.0] == pytest.approx(ink[0.0])
    assert max(ink[9.0], ink[81.0]) < ink[0.0]


def test_the_raw_angle_is_another_code_for_the_same_picture(digits):
    turn, raw = EXPERIMENTS["rotation-extrapolation"].task, EXPERIMENTS["rotation-raw-angle"].task
    values = torch.tensor([[190.0], [-170.0]])
    assert torch.allclose(*turn.code(values), atol=1e-6)
    assert raw.code(values).flatten().tolist() == pytest.approx([190 / 180, -170 / 180])
    images = digits.images[:1].expand(2, -1, -1, -1)
    assert torch.allclose(*raw.target(images, values), atol=1e-5)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_pair_of_experiment_and_model_runs(name, digits):
    experiment = replace(EXPERIMENTS[name].at("smoke"), steps=2)
    for model in experiment.models:
        result, _ = results.run(experiment, model, digits, digits, progress=False)
        assert len(result.history) == 2, model
        assert sorted(result.curves) == list(experiment.task.digits), model
        assert len(result.curves[4]) == len(experiment.task.grid), model


def test_classifiers_are_judged_by_their_errors(digits):
    experiment = EXPERIMENTS["rotation-range"].at("smoke")
    model = experiment.build("plain-classifier")
    judged = digits.of(*experiment.task.digits).first(4)
    errors, _ = experiment.kind("plain-classifier").judge(model, experiment.task, judged)
    accuracies = accuracy_curve(model, experiment.task, judged)
    for digit in experiment.task.digits:
        assert errors[digit] == pytest.approx([1 - accuracy for accuracy in accuracies[digit]])
    assert EXPERIMENTS["shift-transfer"].kind("autoencoder").judge is loss_curve_and_images


def test_digits_left_out_are_never_trained_on(digits, monkeypatch):
    seen = set()

    def watch(task, some, *rest):
        seen.update(some.labels.tolist())
        return draw(task, some, *rest)

    draw = loop.draw_batch
    monkeypatch.setattr(loop, "draw_batch", watch)
    experiment = replace(EXPERIMENTS["rotation-range"].at("smoke"), steps=1)
    results.run(experiment, "plain-classifier", digits, digits, progress=False)
    assert seen == {0, 1, 2, 3, 4, 5, 7, 8}


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_complete(name, profile):
    experiment = EXPERIMENTS[name].at(profile)
    assert experiment.profile == profile
    assert experiment.name == name
    assert experiment.models == EXPERIMENTS[name].models
    assert type(experiment.task.transform) is type(EXPERIMENTS[name].task.transform)
    assert experiment.task.held_out == EXPERIMENTS[name].task.held_out
    assert experiment.source == ("embedded" if profile == "smoke" else "auto" if profile == "quick" else "mnist")


def test_points_for_pictures_and_words_for_tables():
    for profile, points in (("full", [-20, -10, -6, 0, 4, 10, 18]), ("quick", [-8, -4, -2, 0, 2, 4, 7])):
        task = EXPERIMENTS["shift-transfer"].at(profile).task
        assert task.some_points() == points
    assert task.scored == "in range: -2 … 2, out of range: from ±4 pixels"


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("profile", PROFILES)
def test_points_for_pictures_are_those_of_the_stored_galleries(name, profile):
    """Every grid of the registry starts at its point furthest from zero, which was mirrored to choose them."""
    task = EXPERIMENTS[name].at(profile).task
    mirrored = (fraction * task.grid[0] for fraction in (1, 1 / 2, 1 / 4, 0, -1 / 4, -1 / 2, -1))
    assert task.some_points() == sorted({min(task.grid, key=lambda point: abs(point - goal)) for goal in mirrored})


@pytest.mark.parametrize(
    ("grid", "points"),
    [
        (range(0, 9), [0, 2, 3, 4, 5, 6, 8]),
        (range(-8, 1), [-8, -6, -5, -4, -3, -2, 0]),
        (range(100, 181, 10), [100, 120, 130, 140, 150, 160, 180]),
        (range(-18, 21, 2), [-18, -10, -6, 0, 4, 10, 20]),  # the longer half is the upper one
        ((8, -8, 0, 4, -4, 2, -2), [-8, -4, -2, 0, 2, 4, 8]),
        ((5,), [5]),
    ],
)
def test_points_for_pictures_of_a_grid_that_is_not_the_registry_s(grid, points):
    task = Task("own", Rotation(), ((0, 1),) * 10, tuple(grid), (0, 0), 200)
    assert task.some_points() == points


def test_experiments_are_frozen():
    experiment = EXPERIMENTS["shift-transfer"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        experiment.steps = 5
    with pytest.raises(TypeError):
        experiment.spec("autoencoder").sizes["z"] = 5


def test_current_profile(monkeypatch):
    assert current_profile() == "quick"
    monkeypatch.setenv("GENCAPS_PROFILE", "smoke")
    assert current_profile() == "smoke"
    assert EXPERIMENTS["shift-transfer"].at().profile == "smoke"
    monkeypatch.setenv("GENCAPS_PROFILE", "huge")
    with pytest.raises(ValueError, match="choose one of smoke, quick, large, large-rmsprop, full"):
        current_profile()


def test_unknown_model_of_an_experiment():
    with pytest.raises(ValueError, match="choose one of autoencoder"):
        EXPERIMENTS["shift-transfer"].build("transformer")


def test_draws_cover_the_range_with_both_ends(generator):
    transform = Shift()
    low, high = torch.full((4000,), -5.0), torch.full((4000,), 4.0)
    values = transform.draw(low, high, generator)
    assert values.dtype == torch.int64
    assert values.shape == (4000, 2)
    counts = torch.stack([(values == value).sum() for value in range(-5, 5)])
    assert counts.sum() == 8000
    assert counts.min() > 650  # of 800 expected
    assert not torch.equal(values[:, 0], values[:, 1])


def test_a_growing_range_is_cut_off_towards_zero(generator):
    """So 0 is drawn twice as often. Published runs were made so."""
    low, high = torch.full((4000,), -2.5), torch.full((4000,), 2.5)
    values, counts = Shift().draw(low, high, generator).unique(return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2]
    assert (counts / 8000).tolist() == pytest.approx([1 / 6, 1 / 6, 2 / 6, 1 / 6, 1 / 6], abs=0.02)


def test_a_task_of_rotations_fits_in_as_it_is(digits, generator):
    task = Task(
        "turn",
        Rotation(),
        training_ranges((-180, 180), {4: (18, 18), 9: (18, 18)}),
        grid=(-90, 18, 90),
        inside=(16, 20),
        outside=45,
    )
    values = task.sample(digits.labels, generator)
    held = (digits.labels == 4) | (digits.labels == 9)
    assert (values[held] == 18).all()
    assert values[~held].abs().max() > 170
    assert torch.allclose(task.code(values).square().sum(1), torch.ones(len(digits)))
    model = build("continuous-capsules", task)
    images, few = digits.images[:2], values[:2]
    assert model(images, task.code(few)).shape == task.target(images, few).shape == (2, 1, 28, 28)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"seen": ((0, 1),) * 9}, "ten digits"),
        ({"seen": ((1, 0),) + ((0, 1),) * 9}, "from low to high"),
        ({"seen": ((float("nan"), 1),) * 10}, "must be finite"),
        ({"inside": (2, -2)}, "from low to high"),
        ({"grid": ()}, "grid is empty"),
        ({"grid": (0, float("inf"))}, "must be finite"),
        ({"digits": (3, 11)}, "from 0 to 9; got 11"),
        ({"digits": (0, 1, 9)}, "held-out digits must be among the task's digits; got 4"),
        ({"name": ".."}, "under a task's name"),
        ({"name": "my/shift"}, "under a task's name"),
        ({"name": ""}, "under a task's name"),
        ({"name": "a" * 101}, "at most 100 characters"),
        ({"held_out": ()}, "no digit is held out"),
        ({"held_out": (4.5,)}, "among the task's digits; got 4.5"),
        ({"digits": (math.inf,)}, "from 0 to 9; got inf"),
        ({"inside": (-math.inf, 0)}, "inside and outside must be finite"),
        ({"outside": 0}, r"in range and as out of it: 0 \("),
        ({"seen": ((0, 1.5),) * 10}, "whole ends, in pixels; got 0 … 1.5"),
        ({"transform": CoarseRotation(36), "seen": ((5, 10),) * 10}, "no multiple of 36° from 5 to 10"),
    ],
)
def test_a_task_that_makes_no_sense_is_refused(change, complaint):
    good = Task("good", Shift(), ((0, 1),) * 10, (0,), (0, 0), 1)
    with pytest.raises(ValueError, match=complaint):
        replace(good, **change)


def test_whole_floats_are_digits_too():
    task = replace(EXPERIMENTS["shift-transfer"].task, held_out=np.array([4.0, 7.0]))
    assert task.held_out == (4, 7)
    assert all(type(digit) is int for digit in task.held_out)


@pytest.mark.parametrize("name", ["a/b", "", "../there", "a" * 101])
def test_a_model_s_name_is_that_of_a_folder(name):
    experiment = EXPERIMENTS["shift-transfer"].at("smoke")
    with pytest.raises(ValueError, match="under a model's name"):
        replace(experiment, specs={name: experiment.spec("autoencoder")})


def test_two_objects_are_paired_among_the_task_s_digits(digits):
    experiment = EXPERIMENTS["two-objects"].at("smoke")
    few = replace(experiment, task=replace(experiment.task, digits=(3, 4), held_out=(4,)))
    judged, own = few.judged(digits), digits.of(3, 4).images
    assert all((own[:, 0] == second).flatten(1).all(1).any() for second in judged.images[:, 1])


def test_any_profile_leads_to_any_other():
    for entry in EXPERIMENTS.values():
        assert entry.at("quick").at("full") == entry
        assert entry.at("smoke").at("quick") == entry.at("quick")


def test_an_experiment_of_one_s_own_is_at_its_profile_only():
    """And not silently at the profiles of the entry that it was made from."""
    base = EXPERIMENTS["shift-transfer"].at("quick")
    mine = replace(base, steps=3)
    assert mine.at("quick") is mine
    with pytest.raises(ValueError, match="exists at the quick profile only"):
        mine.at("smoke")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_can_be_copied_and_sent_to_a_process(name):
    entry = EXPERIMENTS[name]
    for again in (copy.deepcopy(entry), pickle.loads(pickle.dumps(entry))):
        assert again == entry
        assert again.at("smoke") == entry.at("smoke")


def test_a_grid_that_leaves_a_side_out_is_refused_before_any_training():
    entry = EXPERIMENTS["shift-transfer"].at("smoke")
    with pytest.raises(ValueError, match="no point of the grid lies out of"):
        replace(entry, task=replace(entry.task, outside=99))
    with pytest.raises(ValueError, match="no point of the grid lies in"):
        replace(entry, task=replace(entry.task, inside=(98, 99)))


@pytest.mark.parametrize("held_out", [{"4": (0, 1)}, {10: (0, 1)}, {4.5: (0, 1)}])
def test_what_is_no_digit_cannot_be_held_out(held_out):
    with pytest.raises(ValueError, match="whole numbers from 0 to 9"):
        training_ranges((-8, 8), held_out)


def test_each_profile_says_what_is_judged(digits):
    experiment = EXPERIMENTS["rotation-range"]
    assert len(experiment.judged(digits)) == len(digits.of(*experiment.task.digits))
    assert experiment.at("smoke").judged(digits).labels.bincount().tolist() == [5, 5, 5, 5, 5, 5, 0, 5, 5]
    assert experiment.at("large").test_sample == 1000
    few = replace(experiment, test_sample=7).judged(digits)
    assert len(few) == 7
    assert not {6, 9} & set(few.labels.tolist())


def test_an_experiment_can_be_cut_to_some_of_its_models():
    experiment = EXPERIMENTS["shift-transfer"].at("smoke")
    two = experiment.only("digit-capsules", "autoencoder")
    assert two.models == ("digit-capsules", "autoencoder")
    assert two.spec("autoencoder") == experiment.spec("autoencoder")
    with pytest.raises(ValueError, match="choose one of autoencoder"):
        experiment.only("gan")


def test_rates_at_large_are_those_that_won_their_trials():
    assert len(winners()) == 16
    for trial in winners():
        spec = EXPERIMENTS[trial.experiment].at("large").spec(trial.model)
        assert (spec.optimiser.lr, spec.rival is not None) == (trial.rate, trial.own_rival), trial
        rates = {other.rate for other in trials() if other[:2] == trial[:2]}
        assert rates == {1e-3, 2e-3, 4e-3}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_large_rmsprop_has_the_optimisers_of_full_and_all_else_of_large(name):
    cut, large, full = (EXPERIMENTS[name].at(profile) for profile in ("large-rmsprop", "large", "full"))
    assert {model: cut.optimiser(model) for model in cut.models} == {m: full.optimiser(m) for m in full.models}
    assert (cut.task, cut.steps, cut.batch, cut.draws) == (full.task, large.steps, full.batch, large.draws)
    sizes = {model: (cut.spec(model).sizes, large.spec(model).sizes) for model in cut.models}
    assert all(own == at_large for own, at_large in sizes.values())


def test_a_trial_with_codes_unlike_the_prior_does_not_count():
    trial = Trial("rotation-transfer", "adversarial-autoencoder", 2e-3, False, 0.1, 0.09)
    assert not trial.counts
    assert trial._replace(spread=0.58).counts
    assert trial._replace(spread=None).counts
