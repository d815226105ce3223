"""Transforms and their matrices: what each does to images, its matrix does to addresses."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gencaps_lib import routing
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.tasks import draw_batch
from gencaps_lib.transforms import (
    BicubicRotation,
    CoarseRawRotation,
    CoarseRotation,
    RawRotation,
    Rotation,
    RotationAndShift,
    Scale,
    Shear,
    Shift,
    TwoObjects,
    affine,
    exponential,
    rotate,
    shift,
    warp,
)

TRANSFORMS = [Shift(8), Rotation(), RawRotation(), Scale(), Shear(), RotationAndShift(8)]


def test_warp_equals_naive_loops(digits, generator):
    images = digits.images[:2]
    matrices = affine(torch.eye(2) + 0.3 * torch.randn(2, 2, 2, generator=generator), torch.tensor([[0.1, 0.3]] * 2))
    warped = warp(images, matrices, margin=3)
    assert warped.shape == (2, 1, 34, 34)
    for b in range(2):
        canvas = F.pad(images[b, 0], (3, 3, 3, 3), value=-1).tolist()
        back = torch.linalg.inv(matrices[b].double())
        for i in range(34):
            for j in range(34):
                place = torch.tensor([2 * i / 33 - 1, 2 * j / 33 - 1, 1], dtype=torch.float64)
                row, column = ((back @ place)[:2].add(1) * 33 / 2).tolist()
                top, left = math.floor(row), math.floor(column)
                value = -1.0
                for r in (top, top + 1):
                    for c in (left, left + 1):
                        if 0 <= r < 34 and 0 <= c < 34:
                            value += (1 - abs(row - r)) * (1 - abs(column - c)) * (canvas[r][c] + 1)
                assert warped[b, 0, i, j].item() == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: type(transform).__name__)
def test_the_matrix_does_what_the_transform_does(transform, digits, generator):
    """On the canvas, the untransformed images moved by the matrix are the transformed images."""
    images = digits.images[:20]
    least, most = {"Shift": (-8, 8), "Rotation": (-180, 180), "RawRotation": (-360, 360)}.get(
        type(transform).__name__, (-0.5, 0.5)
    )
    values = transform.draw(torch.full((20,), float(least)), torch.full((20,), float(most)), generator)
    code = transform.code(values)
    assert code.shape == (20, transform.code_length)
    parameters = transform.parameters(code)
    assert parameters.shape == (20, transform.dimensions)
    still = transform.apply(images, transform.along_grid(torch.zeros(1)).expand(20, -1))
    expected = transform.apply(images, values)
    assert expected.shape[-1] == transform.side
    inner = (..., slice(2, -2), slice(2, -2))
    moved = warp(still, transform.matrix(parameters))
    assert torch.allclose(moved[inner], expected[inner], atol=1e-4)


def test_bicubic_targets_turn_as_bilinear_ones_and_are_sharper(digits):
    images = digits.images[:20]

    def turned(degrees):
        values = torch.full((20, 1), float(degrees))
        return Rotation().apply(images, values), BicubicRotation().apply(images, values)

    for quarter in (0, 90, 180, -90):  # without interpolation
        assert torch.allclose(*turned(quarter), atol=1e-5)
    bilinear, bicubic = turned(30)
    assert bicubic.abs().max() <= 1
    assert 1e-4 < (bicubic - bilinear).square().mean() < 0.01
    assert (bicubic - rotate(images, -30)).square().mean() > 0.1  # the other way round
    steps = [(image[..., 1:] - image[..., :-1]).square().mean() for image in (bilinear, bicubic)]
    assert steps[1] > 1.1 * steps[0]


@pytest.mark.parametrize("degrees", range(-180, 180, 36))
def test_coarse_rotation_makes_the_pictures_of_dinh_and_deny(digits, degrees):
    images = digits.images[:20]
    turned = CoarseRotation().apply(images, torch.full((20, 1), float(degrees)))
    grey = (images + 1).mul(127.5).round()
    for image, own in zip(grey[:, 0], turned[:, 0], strict=True):
        mask = Image.fromarray((image > 128).numpy().astype(np.uint8))
        assert (np.array(mask.rotate(degrees, resample=Image.Resampling.NEAREST)) == (own == 1).numpy()).all()
    assert set(turned.unique().tolist()) == {-1.0, 1.0}


def test_coarse_rotation_draws_every_multiple_in_the_range_and_no_other(generator):
    transform = CoarseRotation()
    low, high = (torch.full((2000,), bound) for bound in (-72.0, 80.0))
    values, counts = transform.draw(low, high, generator).unique(return_counts=True)
    assert values.tolist() == [-72, -36, 0, 36, 72]
    assert counts.min() > 300
    assert transform.draw(low / 4, high / 4, generator).unique().tolist() == [0]
    for step in (36, 72, 40, 120):
        coarse = CoarseRotation(step)
        all_round = coarse.draw(torch.full((500,), -180.0), torch.full((500,), 179.0), generator).flatten()
        assert sorted(coarse.candidates()[0].flatten().tolist()) == all_round.unique().tolist()
    for step in (0, -36, 50):
        with pytest.raises(ValueError, match=f"a positive divisor of 360; got {step}"):
            CoarseRotation(step)


@pytest.mark.parametrize("kind", [Shift, RotationAndShift, TwoObjects])
@pytest.mark.parametrize("margin", [0, -1, 2.5])
def test_a_margin_that_codes_cannot_be_divided_by_is_refused(kind, margin):
    with pytest.raises(ValueError, match=f"at least 1; got {margin}"):
        kind(margin)


@pytest.mark.parametrize("kind", [Scale, Shear])
def test_a_margin_of_no_whole_pixels_is_refused(kind):
    for margin in (-3, 2.5):
        with pytest.raises(ValueError, match=f"a whole number of pixels, at least 0; got {margin}"):
            kind(margin)
    assert kind(0).side == 28


class _MadeThere(TorchDispatchMode):
    """Refuses every tensor that is not made on the meta device, which stands in for a GPU."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        made = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            assert not isinstance(tensor, torch.Tensor) or tensor.is_meta, f"{operation} makes a tensor on the host"
        return made


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_targets_are_made_where_the_digits_are_with_no_copy_from_the_host(name, monkeypatch):
    """A captured CUDA graph can hold no such copy; the step's test on a GPU has some of the registry's tasks."""
    monkeypatch.setattr(routing, "_can_look", lambda tensor: False)  # as while a graph is captured
    task = EXPERIMENTS[name].at("smoke").task
    images = torch.empty(4, 2 if isinstance(task.transform, TwoObjects) else 1, 28, 28, device="meta")
    low, high = (torch.empty(4, device="meta") for _ in range(2))
    with _MadeThere():
        values = task.transform.draw(low, high, None)
        assert task.target(images, values).shape == (4, 1, task.transform.side, task.transform.side)
        assert task.picture(images).shape == (4, 1, 28, 28)
        assert task.code(values).shape == (4, task.transform.code_length)


def test_coarse_rotations_with_the_raw_code_differ_in_their_code_only(digits):
    images, angles = digits.images[:4], torch.tensor([[-160.0], [-40], [0], [120]])
    raw, coarse = CoarseRawRotation(40), CoarseRotation(40)
    assert torch.equal(raw.apply(images, angles), coarse.apply(images, angles))
    assert torch.equal(raw.at_rest(images), coarse.at_rest(images))
    assert torch.equal(raw.candidates()[0], coarse.candidates()[0])
    assert torch.equal(raw.code(angles), angles / 180)
    grid = EXPERIMENTS["rotation-coarse-raw-backwards"].at("quick").task.grid
    assert not {(one + 180) % 360 for one in grid} & {one % 360 for one in grid}  # none is another and half a turn


def test_a_model_of_coarse_rotations_is_shown_black_and_white_digits(digits, generator):
    task = EXPERIMENTS["rotation-coarse-backwards"].at("smoke").task
    batch = draw_batch(task, digits.of(*task.digits), 20, generator)
    assert set(batch.images.unique().tolist()) == set(batch.target.unique().tolist()) == {-1.0, 1.0}
    assert CoarseRotation().at_rest(digits.images[:2].double()).dtype == torch.float64
    assert not any(task.transform.is_peak(point) for point in task.grid)  # 0° and ±180° count
    with pytest.raises(TypeError, match="floating point"):
        CoarseRotation().at_rest(digits.images[:2].byte())


def test_an_unknown_interpolation_is_refused(digits):
    with pytest.raises(ValueError, match="interpolation must be 'bilinear', 'nearest' or 'bicubic'; got 'area'"):
        warp(digits.images[:1], torch.eye(3)[None], interpolation="area")


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: type(transform).__name__)
def test_the_matrix_is_the_exponential_of_the_generators(transform, generator):
    parameters = torch.randn(10, transform.dimensions, generator=generator)
    generators = transform.generators()
    assert generators.shape == (transform.dimensions, 3, 3)
    made = exponential(parameters, generators, transform.factors)
    assert torch.allclose(made, transform.matrix(parameters), atol=1e-5)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: type(transform).__name__)
def test_point_zero_of_a_grid_does_nothing(transform, digits):
    values = transform.along_grid(torch.zeros(1))
    assert transform.parameters(transform.code(values)).tolist() == [[0.0] * transform.dimensions]
    margin = (transform.side - 28) // 2
    untouched = F.pad(digits.images[:1], (margin,) * 4, value=-1)
    assert torch.allclose(transform.apply(digits.images[:1], values), untouched, atol=1e-6)


@pytest.mark.parametrize("transform", [Scale(), Shear()], ids=["Scale", "Shear"])
def test_scale_and_shear_equal_grid_sample(transform, digits):
    """Where a pixel of the result comes from, written out for (x, y) = (column, row) as PyTorch wants it."""
    images = digits.images[:3]
    value = 0.4
    canvas = F.pad(images, (6,) * 4, value=-1)
    theta = {
        "Scale": [[2**-value, 0, 0], [0, 2**-value, 0]],
        "Shear": [[1, -value, 0], [0, 1, 0]],
    }[type(transform).__name__]
    grid = F.affine_grid(torch.tensor(theta).expand(3, 2, 3), [3, 1, 40, 40], align_corners=True)
    expected = F.grid_sample(canvas + 1, grid, align_corners=True) - 1
    assert torch.allclose(transform.apply(images, torch.full((3, 1), value)), expected, atol=1e-4)


def test_rotation_and_shift_draws_each_by_itself(generator):
    transform = RotationAndShift(8)
    values = transform.draw(torch.full((4000,), -0.5), torch.full((4000,), 0.5), generator)
    degrees, offsets = values[:, 0], values[:, 1:]
    assert -90 <= degrees.min() < -89
    assert 89 < degrees.max() <= 90
    assert sorted(offsets.unique().tolist()) == list(range(-4, 5))
    assert torch.corrcoef(values.T).fill_diagonal_(0).abs().max() < 0.06
    assert transform.along_grid(torch.tensor([-1.0, 0.5])).tolist() == [[-180, -8, -8], [90, 4, 4]]


def test_rotation_and_shift_turns_first(digits):
    values = torch.tensor([[30.0, 3.0, -5.0]])
    expected = shift(rotate(digits.images[:1], 30.0), torch.tensor([[3, -5]]), margin=8)
    assert torch.equal(RotationAndShift(8).apply(digits.images[:1], values), expected)


IMAGES = torch.zeros(2, 1, 28, 28)
MATRICES = torch.eye(3).expand(2, 3, 3)


@pytest.mark.parametrize(
    ("call", "error", "complaint"),
    [
        (lambda: warp(IMAGES[..., :20], MATRICES), ValueError, "square"),
        (lambda: warp(IMAGES, MATRICES[:1]), ValueError, "matrices must have shape"),
        (lambda: warp(IMAGES, MATRICES[:, :2]), ValueError, "matrices must have shape"),
        (lambda: warp(IMAGES, MATRICES, margin=-1), ValueError, "margin"),
        (lambda: warp(IMAGES, MATRICES, margin=2.5), ValueError, "margin must be a whole number of pixels"),
        (lambda: warp(IMAGES.long(), MATRICES), TypeError, "floating point"),
    ],
)
def test_bad_input_gets_one_clear_error(call, error, complaint):
    with pytest.raises(error, match=complaint):
        call()
