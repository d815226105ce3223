"""Loss curves and ratios, against loops over single images and hand-made curves."""

from dataclasses import replace

import pytest
import torch
from small import build

from gencaps_lib.evaluation import (
    address_equivariance_error,
    blank_curve,
    generator_error,
    held_out_ratio,
    image_losses,
    loss_curve,
    mean_inside,
    mean_outside,
    near_far_ratio,
    transfer_ratio,
)
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.models import Painter
from gencaps_lib.training import fit
from gencaps_lib.transforms import Rotation, Shift


@torch.no_grad()
def test_loss_curve_equals_a_loop_over_images(task, digits):
    model, some = build("continuous-capsules", task), digits.first(2)
    curves = loss_curve(model, task, some, batch=7)
    assert sorted(curves) == list(range(10))
    for digit in (0, 4):
        for column, point in enumerate(task.grid):
            losses = []
            for image in some.of(digit).images:
                value = torch.tensor([[point, point]])
                target = task.target(image[None], value)
                losses.append((model(image[None], task.code(value)) - target).square().mean())
            assert curves[digit][column] == pytest.approx(torch.stack(losses).mean().item(), rel=1e-4)


def test_a_perfect_model_has_no_loss(task, digits):
    class Perfect(torch.nn.Module):
        def encode(self, images):
            return images

        def decode(self, latent, code):
            return task.target(latent, (code * task.transform.margin).round().long())

    curves = loss_curve(Perfect(), task, digits.first(2))
    assert all(loss == 0 for curve in curves.values() for loss in curve)


@pytest.mark.parametrize("use", [loss_curve, lambda model, task, digits: fit(model, task, digits, 1, progress=False)])
@pytest.mark.parametrize("shape", [lambda drawn: drawn[:, 0], lambda drawn: drawn.mean((2, 3), keepdim=True)])
def test_a_drawing_of_another_shape_is_no_drawing(task, digits, use, shape):
    """Broadcast, each drawing would be compared with every target."""
    model = build("autoencoder", task)
    model.decoder.register_forward_hook(lambda module, inputs, drawn: shape(drawn))
    with pytest.raises(ValueError, match=r"the model draws \(.*\) where the target is \(.*, 1, 32, 32\)"):
        use(model, task, digits.first(2))


def test_a_model_for_another_canvas_says_so(task, digits):
    other = replace(task, transform=Shift(4), seen=((-4, 3),) * 10, grid=(-4, 0, 3), inside=(0, 0), outside=3)
    with pytest.raises(ValueError, match="was it made for another canvas"):
        loss_curve(build("autoencoder", task), other, digits.first(1))


def test_training_mode_is_restored(task, digits):
    model = build("autoencoder", task).train()
    image_losses(model, task, digits.first(1))
    assert model.training


def test_blank_curve_is_the_ink(task, digits):
    some = digits.first(3)
    curves = blank_curve(task, some)
    ink = (some.of(7).images + 1).square().sum() / 3 / 32**2
    assert curves[7][2] == pytest.approx(ink.item(), rel=1e-5)


CURVES = {digit: [1.0, 1.0, 1.0, 1.0, 1.0] for digit in range(10)} | {
    4: [4.0, 3.0, 2.0, 3.0, 6.0],
    9: [2.0, 1.0, 2.0, 1.0, 4.0],
}


def test_ratios_by_hand(task):
    assert mean_inside(CURVES[4], task) == 2.0
    assert mean_outside(CURVES[4], task) == 4.0
    assert transfer_ratio(CURVES[4], task) == 2.0
    assert held_out_ratio(CURVES, task) == [3.0, 2.0, 2.0, 2.0, 5.0]


def test_no_loss_in_range_is_an_infinite_ratio(task):
    assert transfer_ratio([1.0, 1.0, 0.0, 1.0, 1.0], task) == float("inf")


def test_a_curve_of_another_grid_is_refused(task):
    with pytest.raises(ValueError, match="zip"):
        transfer_ratio([1.0, 2.0], task)


def test_no_digits_is_an_error(task, digits):
    with pytest.raises(ValueError, match="no digits"):
        loss_curve(build("autoencoder", task), task, digits.first(0))


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_of_nothing_is_an_error(task, digits, batch):
    with pytest.raises(ValueError, match="batch must be at least 1"):
        loss_curve(build("autoencoder", task), task, digits.first(1), batch)


@pytest.mark.parametrize("weights", ["blobs", "random"])
def test_whole_cell_moves_of_addresses_move_the_picture(weights, generator):
    painter = Painter(2, 3)
    for parameter in painter.parameters():
        torch.nn.init.normal_(parameter, 0.1 if weights == "blobs" else 0, 0.3, generator=generator)
    addresses = 4 + 3 * torch.rand(2, 6, 2, generator=generator)
    activations = torch.rand(2, 6, 2, generator=generator)
    error = {cells: address_equivariance_error(painter, addresses, activations, 12, cells) for cells in (-2, 1, 0.5)}
    assert error[1] < 1e-10
    assert error[-2] < 1e-10
    assert 1e-6 < error[0.5] < 0.5
    wrong = address_equivariance_error(lambda maps: painter(maps.flip(2)), addresses, activations, 12, 1)
    assert wrong > 0.1


@pytest.mark.parametrize(("cells", "complaint"), [(0.3, "whole number of pixels"), (2, "leaves nothing")])
def test_moves_that_cannot_be_compared_are_refused(cells, complaint):
    with pytest.raises(ValueError, match=complaint):
        address_equivariance_error(Painter(1, 1), torch.ones(1, 1, 2), torch.ones(1, 1, 1), 6, cells)


def test_near_far_ratio_counts_both_sides_of_the_seen_angle_and_goes_round_the_circle():
    task = EXPERIMENTS["rotation-one-shot"].at("quick").task  # seen at 18°

    def curve(level):
        return [100.0 if task.transform.is_peak(point) else level(point) for point in task.grid]

    near = {-36, -27, -18, -9, 45, 54, 63, 72}  # of the grid's points those 20° to 60° from 18°
    assert near_far_ratio(curve(lambda point: 3.0 if point in near else 2.0), task) == pytest.approx(1.5)
    far = {point for point in task.grid if not -72 <= point <= 108}
    assert near_far_ratio(curve(lambda point: 4.0 if point in far else 2.0), task) == pytest.approx(0.5)


def test_generator_error_by_hand():
    true = Rotation().generators()
    off = true.clone()
    off[0, 0, 0] = 0.1
    assert generator_error(torch.cat([true, off, 0 * true]), true.expand(3, 3, 3)) == pytest.approx(
        [0, 0.1 / 2**0.5, 1]
    )
    with pytest.raises(ValueError, match=r"shape \(K, 3, 3\)"):
        generator_error(true, true.expand(2, 3, 3))
