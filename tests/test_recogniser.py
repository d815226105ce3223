"""The independent judge: what it counts as right, and that it can tell a good drawing from a bad one."""

from dataclasses import replace

import pytest
import torch

from gencaps_lib.evaluation import recognisable, recognised, train_recogniser
from gencaps_lib.evaluation.recogniser import Recogniser, classes_of
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.tasks import Task, training_ranges
from gencaps_lib.transforms import RawRotation, Rotation, RotationAndShift, Scale, Shear, Shift, rotate

UPRIGHT = training_ranges((0, 0), {})
TURNING = Task("turn", Rotation(), UPRIGHT, tuple(range(-180, 180, 45)), (0, 0), 45)
OWN = tuple(range(10))
MERGED = (0, 1, 2, 3, 4, 5, 6, 7, 8, 6)


class Turning(torch.nn.Module):
    """A model that draws exactly what it is shown, turned by a part of the angle that it is asked for."""

    def __init__(self, part=1.0):
        super().__init__()
        self.part = part

    def forward(self, images, code):
        return rotate(images, self.part * torch.rad2deg(torch.atan2(code[:, 1], code[:, 0])))


class Middle(torch.nn.Module):
    """A recogniser that reads the digit from a pixel."""

    def recognises(self, images, labels):
        return images[:, 0, 14, 14].round().long() == labels


@pytest.mark.parametrize(
    ("transform", "grid", "classes"),
    [
        (Rotation(), range(-180, 180, 45), MERGED),
        (Rotation(), range(-90, 91, 45), MERGED),
        (Rotation(), range(-60, 61, 30), OWN),
        (Rotation(), (150, 180, 210), OWN),  # across the seam
        (Rotation(), (-100, 100), MERGED),
        (Rotation(), (0, 360), MERGED),
        (RawRotation(), (-90, 90), MERGED),
        (RotationAndShift(8), (-0.9, -0.5, 0.0, 0.5, 0.9), MERGED),
        (Shift(8), range(-8, 8), OWN),
        (Scale(), (-1.0, 0.0, 1.0), OWN),
        (Shear(), (-1.0, 0.0, 1.0), OWN),
    ],
)
def test_a_nine_is_a_six_where_digits_turn_by_half_a_turn(transform, grid, classes):
    assert classes_of(Task("some", transform, UPRIGHT, tuple(grid), (0, 0), 1)) == classes


@torch.no_grad()
def test_six_and_nine_are_one_answer_and_no_other_two_are():
    made = Recogniser(28, MERGED)
    torch.nn.init.zeros_(made.layers[-1].weight)
    labels = torch.arange(10)
    for answer, right in [(6, {6, 9}), (9, set()), (4, {4})]:
        made.layers[-1].bias.copy_(10.0 * (labels == answer))
        assert set(labels[made.recognises(torch.zeros(10, 1, 28, 28), labels)].tolist()) == right


def test_shares_equal_a_loop_over_images(digits):
    """Images with a hundredth of label and number in two pixels; a model that draws a false label on some."""
    some = digits.first(3)
    images = some.images.clone()
    images[:, 0, 0, 0] = some.labels / 100
    images[:, 0, 0, 1] = torch.arange(len(some)) / 100
    some = replace(some, images=images)
    task = replace(TURNING, transform=Shift(1), grid=(-1, 0, 1))

    def draw(images, code):
        label, number = (100 * images[:, 0, 0, :2]).round().unbind(1)
        wrong = (code[:, 0] > 0) & (number >= 14)
        return (label + wrong)[:, None, None, None].expand(-1, 1, 30, 30)

    shares = recognised(draw, Middle(), task, some, batch=7)
    assert sorted(shares) == list(range(10))
    for digit in range(10):
        right = [number < 14 for number, label in enumerate(some.labels.tolist()) if label == digit]
        assert shares[digit] == pytest.approx([1, 1, sum(right) / 3])
    assert any(0 < curve[2] < 1 for curve in shares.values())


def test_a_recogniser_learns_every_angle_and_finds_what_is_wrong(digits):
    recogniser = train_recogniser(TURNING, digits, steps=250, progress=False)
    some = digits.first(20)
    best = recognisable(recogniser, TURNING, some)
    assert min(sum(best[digit]) / 8 for digit in range(10)) > 0.6
    assert sum(sum(best[digit]) / 80 for digit in range(10)) > 0.85
    assert recognised(Turning(), recogniser, TURNING, some) == best
    # It judges the drawing, not the angle: one that is turned by half as much still shows its digit.
    assert sum(recognised(Turning(0.5), recogniser, TURNING, some)[4]) > 0.8 * sum(best[4])
    blank = recognised(lambda images, code: torch.full_like(images, -1), recogniser, TURNING, some)
    assert sorted(sum(shares) for shares in blank.values())[:8] == [0] * 8


def test_a_recogniser_sees_what_the_task_keeps_from_its_models(digits, monkeypatch):
    seen = []
    monkeypatch.setattr("gencaps_lib.evaluation.recogniser.fit", lambda model, task, *_: seen.append(task))
    train_recogniser(EXPERIMENTS["rotation-one-shot"].at("smoke").task, digits)
    train_recogniser(EXPERIMENTS["shift-extrapolation"].at("smoke").task, digits)
    assert set(seen[0].seen) == {(-171, 171)}
    assert set(seen[1].seen) == {(-8, 7)}


def test_a_seed_fixes_the_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    one, same, other = (Recogniser(44, OWN, seed=seed).layers[0].weight for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("side", [28, 30, 44, 68])
def test_it_takes_images_of_its_task_s_size_only(side):
    recogniser = Recogniser(side, OWN)
    assert recogniser(torch.zeros(2, 1, side, side)).shape == (2, 10)
    with pytest.raises(ValueError, match="pixels, those of its task"):
        recogniser(torch.zeros(2, 1, side + 2, side + 2))


def test_bad_input_gets_one_clear_error(digits):
    with pytest.raises(ValueError, match="no image of 4, 9"):
        train_recogniser(TURNING, digits.of(0, 1, 2, 3, 5, 6, 7, 8), steps=1)
    with pytest.raises(ValueError, match="ten digits"):
        Recogniser(28, (0, 1))
