"""The registry: the article's settings, and profiles that change sizes only."""

import dataclasses

import pytest
import torch

from gencaps_lib.experiments import EXPERIMENTS, PROFILES, current_profile
from gencaps_lib.models import build
from gencaps_lib.tasks import Rotation, Shift, Task, training_ranges


def test_shift_transfer_is_the_reference_s():
    experiment = EXPERIMENTS["shift-transfer"]
    task = experiment.task
    assert task.transform == Shift(margin=20)
    assert task.seen[0] == (-20, 19)
    assert task.seen[4] == task.seen[9] == (-5, 4)
    assert task.grid == tuple(range(-20, 19, 2))
    assert experiment.models == ("autoencoder", "autoencoder-matched", "continuous-capsules", "digit-capsules")
    assert [point for point in task.grid if task.is_inside(point)] == [-4, -2, 0, 2, 4]
    assert [point for point in task.grid if not task.is_inside(point) and not task.is_outside(point)] == [-6, 6]


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_complete(name, profile):
    experiment = EXPERIMENTS[name].at(profile)
    assert experiment.profile == profile
    assert experiment.name == name
    assert experiment.models == EXPERIMENTS[name].models
    assert type(experiment.task.transform) is type(EXPERIMENTS[name].task.transform)
    assert experiment.task.held_out == EXPERIMENTS[name].task.held_out
    assert experiment.source == ("embedded" if profile == "smoke" else "mnist" if profile == "full" else "auto")
    assert set(experiment.optimisers) <= set(experiment.models)
    points = experiment.task.grid
    assert any(map(experiment.task.is_inside, points))
    assert any(map(experiment.task.is_outside, points))


def test_points_for_pictures_and_words_for_tables():
    for profile, points in (("full", [-20, -10, -6, 0, 4, 10, 18]), ("quick", [-8, -4, -2, 0, 2, 4, 7])):
        task = EXPERIMENTS["shift-transfer"].at(profile).task
        assert task.some_points() == points
    assert task.scored == "in range: -2 … 2, out of range: from ±4 pixels"


def test_experiments_are_frozen():
    experiment = EXPERIMENTS["shift-transfer"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        experiment.steps = 5
    with pytest.raises(TypeError):
        experiment.task.sizes["autoencoder"]["z"] = 5


def test_current_profile(monkeypatch):
    assert current_profile() == "quick"
    monkeypatch.setenv("GENCAPS_PROFILE", "smoke")
    assert current_profile() == "smoke"
    assert EXPERIMENTS["shift-transfer"].at().profile == "smoke"
    monkeypatch.setenv("GENCAPS_PROFILE", "huge")
    with pytest.raises(ValueError, match="choose one of smoke, quick, full"):
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
    ("seen", "complaint"), [(((0, 1),) * 9, "ten digits"), (((1, 0),) + ((0, 1),) * 9, "from low to high")]
)
def test_bad_ranges_are_refused(seen, complaint):
    with pytest.raises(ValueError, match=complaint):
        Task("bad", Shift(), seen, (0,), (0, 0), 1)
