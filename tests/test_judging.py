"""Judging a transform against the exact warp and the true group."""

import math
from dataclasses import replace

import pytest
import torch

from gencaps_lib.evaluation import (
    blank_curve,
    commutator_error,
    full_turn_drift,
    generator_error,
    loss_curve,
    made_transform,
    normalised_gap,
    warp_curve,
)
from gencaps_lib.tasks import Task, training_ranges
from gencaps_lib.transforms import Rotation, RotationAndShift, rotate

TASK = Task("turn", Rotation(), training_ranges((-90, 90), {}), (-150.0, -30.0, 0.0, 60.0), (-90, 90), 91)


class Turning(torch.nn.Module):
    """A model that draws dimly, and turns by a part of the angle that it is asked for."""

    def __init__(self, part=1.0):
        super().__init__()
        self.part = part

    def encode(self, images):
        return images * 0.5 - 0.5

    def decode(self, latent, code):
        return rotate(latent, self.part * torch.rad2deg(torch.atan2(code[:, 1], code[:, 0])))


def test_warp_curve_equals_a_loop_over_images(digits):
    some = digits.first(2)
    curves = warp_curve(Turning(part=0.5), TASK, some, batch=3)
    assert sorted(curves) == list(range(10))
    for column, degrees in enumerate(TASK.grid):
        losses = [
            (rotate(image[None] * 0.5 - 0.5, degrees) - rotate(image[None], degrees)).square().mean()
            for image in some.of(4).images
        ]
        assert curves[4][column] == pytest.approx(torch.stack(losses).mean().item(), rel=1e-3)


def test_the_gap_is_nothing_for_an_exact_model_and_one_for_a_blank_one(digits):
    some = digits.first(2)
    blank, bound = blank_curve(TASK, some)[4], warp_curve(Turning(), TASK, some)[4]
    gap = normalised_gap(loss_curve(Turning(), TASK, some)[4], bound, blank)
    assert gap == pytest.approx([0] * 4, abs=1e-3)
    assert normalised_gap(blank, bound, blank) == [1] * 4
    half = normalised_gap(loss_curve(Turning(part=0.5), TASK, some)[4], bound, blank)
    assert half[2] == pytest.approx(0, abs=1e-3)
    assert min(half[0], half[1], half[3]) > 0.05


def test_gap_by_hand():
    assert normalised_gap([3.0, 2.0], [1.0, 1.0], [5.0, 3.0]) == [0.5, 0.5]
    assert math.isnan(normalised_gap([3.0], [2.0], [2.0])[0])
    with pytest.raises(ValueError, match="zip"):
        normalised_gap([1.0], [1.0, 2.0], [3.0])


def test_the_transform_that_a_model_makes_is_found(digits):
    made = made_transform(Turning(part=0.5), TASK, digits.of(4, 7).images[:5], range(-180, 180, 5))
    assert made.shape == (5, 4)
    assert made.tolist() == [[-75, -15, 0, 30]] * 5


def test_the_identity_is_asked_for_even_if_the_grid_leaves_it_out(digits):
    some = digits.first(1)
    without = replace(TASK, grid=(-150.0, 60.0))
    assert warp_curve(Turning(), without, some)[4] == pytest.approx(
        [warp_curve(Turning(), TASK, some)[4][k] for k in (0, 3)]
    )


def test_generator_error_by_hand():
    true = Rotation().generators()
    off = true.clone()
    off[0, 0, 0] = 0.1
    assert generator_error(torch.cat([true, off, 0 * true]), true.expand(3, 3, 3)) == pytest.approx(
        [0, 0.1 / 2**0.5, 1]
    )
    with pytest.raises(ValueError, match=r"shape \(K, 3, 3\)"):
        generator_error(true, true.expand(2, 3, 3))


def test_commutator_error_equals_naive_loops(generator):
    rotation_and_shift = RotationAndShift(8)
    true = rotation_and_shift.generators()[:2]  # turning, and shifting along the rows
    learned = true + 0.1 * torch.nn.functional.pad(torch.randn(2, 2, 3, generator=generator), (0, 0, 0, 1))

    def commutator(pair):
        one, other = pair.tolist()
        return [
            [sum(one[i][k] * other[k][j] - other[i][k] * one[k][j] for k in range(3)) for j in range(3)]
            for i in range(3)
        ]

    found, expected = commutator(learned), commutator(true)
    gap = sum((found[i][j] - expected[i][j]) ** 2 for i in range(3) for j in range(3)) ** 0.5
    scale = sum(expected[i][j] ** 2 for i in range(3) for j in range(3)) ** 0.5
    assert commutator_error(learned, true) == pytest.approx(gap / scale, rel=1e-4)
    assert gap / scale > 0.05
    assert commutator_error(true, true) == 0
    # Two shifts commute: as far off as can be said.
    shifts = rotation_and_shift.generators()[1:]
    assert commutator_error(shifts, true) == 1
    with pytest.raises(ValueError, match="commute"):
        commutator_error(true, shifts)
    with pytest.raises(ValueError, match=r"needs two generators, \(2, 3, 3\)"):
        commutator_error(rotation_and_shift.generators(), rotation_and_shift.generators())


def test_drift_of_a_full_turn_equals_a_loop_over_the_circle():
    true = Rotation().generators()[0]
    assert full_turn_drift(true) < 1e-3
    # 1 % too fast: 3.6 degrees too far.
    assert full_turn_drift(1.01 * true) == pytest.approx(3.6, abs=0.01)
    wrong = true + torch.tensor([[0.01, 0.02, 0.03], [0.0, -0.02, 0.01], [0, 0, 0]])
    turned = torch.linalg.matrix_exp(2 * math.pi * wrong.double())
    total = 0.0
    for k in range(360):
        point = torch.tensor([math.cos(math.radians(k)), math.sin(math.radians(k)), 1], dtype=torch.float64)
        total += (turned @ point - point).square().sum().item() / 360
    assert full_turn_drift(wrong) == pytest.approx(math.degrees(total**0.5), rel=1e-3)


def test_nothing_to_judge_is_an_error(digits):
    with pytest.raises(ValueError, match="no candidates"):
        made_transform(Turning(), TASK, digits.images[:1], [])
