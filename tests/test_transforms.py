"""Shifts are exact, rotations are Pillow's."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from gencaps_lib.transforms import images as image_transforms
from gencaps_lib.transforms import rotate, shift, warp
from gencaps_lib.transforms.matrices import rotation


def test_shift_equals_naive_loops(digits, generator):
    images = digits.images[:20]
    offsets = torch.randint(-5, 6, (20, 2), generator=generator)
    offsets[:2] = torch.tensor([[1000, 0], [0, -1000]])  # far outside
    shifted = shift(images, offsets, margin=3)
    assert shifted.shape == (20, 1, 34, 34)
    for image, (down, right), result in zip(images[:, 0], offsets.tolist(), shifted[:, 0], strict=True):
        expected = torch.full((34, 34), -1.0)
        for row in range(28):
            for column in range(28):
                to_row, to_column = row + 3 + down, column + 3 + right
                if 0 <= to_row < 34 and 0 <= to_column < 34:
                    expected[to_row, to_column] = image[row, column]
        assert torch.equal(result, expected)


@pytest.mark.parametrize("shape", [(28, 28), (28, 27), (27, 28), (5, 9), (1, 4)])
def test_rotate_equals_pillow_where_pixels_fall_on_the_border(shape):
    """At 270° and at the angle of a triangle of sides 3, 4 and 5, a rounding error decides what is inside."""
    image = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    for angle in (*range(-720, 721, 15), math.degrees(math.asin(0.6)), math.degrees(math.asin(0.8)), 3_600_000_270):
        picture = Image.fromarray(image + 1).rotate(angle, resample=Image.Resampling.BILINEAR)
        result = rotate(torch.from_numpy(image)[None, None], angle)[0, 0].numpy()
        assert np.abs(np.asarray(picture) - 1 - result).max() < 1e-5, angle


def test_rotate_equals_pillow():
    random = np.random.default_rng(0)
    # Ink up to the border, where the two could differ.
    images = torch.from_numpy(random.uniform(-1, 1, (100, 1, 28, 28)).astype(np.float32))
    angles = torch.from_numpy(random.uniform(-400, 400, 100))
    angles[:8] = torch.tensor([0, 90, 180, 270, 360, -90, 45, -180])
    rotated = rotate(images, angles)
    for image, angle, result in zip(images[:, 0], angles.tolist(), rotated[:, 0], strict=True):
        picture = Image.fromarray(image.numpy() + 1).rotate(angle, resample=Image.Resampling.BILINEAR)
        assert np.abs(np.asarray(picture) - 1 - result.numpy()).max() < 1e-5


def test_rotate_is_counter_clockwise_and_exact_at_right_angles(digits):
    images = digits.images[:3]
    assert torch.equal(rotate(images, 90.0), torch.rot90(images, 1, (2, 3)))
    assert torch.equal(rotate(images, -180.0), torch.rot90(images, 2, (2, 3)))
    assert torch.equal(rotate(images, torch.zeros(3)), images)


@pytest.mark.equation("eq-rotation")
@pytest.mark.parametrize("degrees", [90.0, 30.0, -135.0])
def test_a_dot_goes_where_the_equation_says(degrees):
    image = torch.full((1, 1, 29, 29), -1.0)
    image[0, 0, 14 - 8, 14 + 3] = 1
    t = math.radians(degrees)
    expected = (-8 * math.cos(t) - 3 * math.sin(t), -8 * math.sin(t) + 3 * math.cos(t))
    ink = rotate(image, degrees)[0, 0] + 1
    place = torch.arange(29.0) - 14
    found = [float((ink.sum(axis) * place).sum() / ink.sum()) for axis in (1, 0)]
    assert found == pytest.approx(expected, abs=0.1)
    moved = rotation(torch.tensor([t]))[0, :2, :2] @ torch.tensor([-8.0, 3.0])
    assert moved.tolist() == pytest.approx(expected, abs=1e-5)


def test_transforms_keep_dtype(digits):
    double = digits.images[:2].double()
    assert rotate(double, 10.0).dtype == torch.float64
    shifted = shift(double, torch.zeros(2, 2, dtype=torch.int32))
    assert (shifted.shape, shifted.dtype) == ((2, 1, 68, 68), torch.float64)


class _CpuWithout64(TorchDispatchMode):
    """The CPU in the part of a device without float64; what comes back to it from the meta device is zeros."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if operation is torch.ops.aten._to_copy.default and kwargs.get("device") == torch.device("cpu"):
            return torch.zeros(args[0].shape, dtype=args[0].dtype)
        made = operation(*args, **kwargs)
        if isinstance(made, torch.Tensor) and made.dtype is torch.float64 and not made.is_meta:
            raise TypeError("this device has no float64")
        return made


@pytest.mark.parametrize("degrees", [10.0, torch.ones(2)], ids=["number", "tensor"])
def test_on_a_device_without_float64_another_computes(degrees, monkeypatch):
    assert image_transforms._exact(torch.device("mps")).type == "cpu"
    assert image_transforms._exact(torch.device("cuda:1")) == torch.device("cuda:1")
    with _CpuWithout64():
        with pytest.raises(TypeError, match="no float64"):
            rotate(IMAGES, degrees)
        monkeypatch.setattr(image_transforms, "_exact", lambda home: torch.device("meta"))
        for moved in (rotate(IMAGES, degrees), warp(IMAGES, torch.eye(3).expand(2, 3, 3))):
            assert (moved.shape, moved.device, moved.dtype) == (IMAGES.shape, IMAGES.device, IMAGES.dtype)


IMAGES = torch.zeros(2, 1, 28, 28)
OFFSETS = torch.zeros(2, 2, dtype=torch.long)


@pytest.mark.parametrize(
    ("call", "error", "complaint"),
    [
        (lambda: shift(IMAGES[0], OFFSETS), ValueError, "shape"),
        (lambda: shift(IMAGES[:0], OFFSETS[:0]), ValueError, "empty"),
        (lambda: shift(IMAGES.byte(), OFFSETS), TypeError, "floating point"),
        (lambda: shift(IMAGES, OFFSETS[:1]), ValueError, "offsets must have shape"),
        (lambda: shift(IMAGES, OFFSETS.float()), TypeError, "integer"),
        (lambda: shift(IMAGES, OFFSETS, margin=-1), ValueError, "margin"),
        (lambda: shift(IMAGES, OFFSETS, margin=2.0), ValueError, "a whole number of pixels, at least 0; got 2.0"),
        (lambda: rotate(IMAGES.expand(2, 3, 28, 28), 0.0), ValueError, "shape"),
        (lambda: rotate(IMAGES[:0], 0.0), ValueError, "empty"),
        (lambda: rotate(IMAGES.long(), 0.0), TypeError, "floating point"),
        (lambda: rotate(IMAGES, torch.zeros(3)), ValueError, "degrees must have shape"),
    ],
)
def test_bad_input_gets_one_clear_error(call, error, complaint):
    with pytest.raises(error, match=complaint):
        call()
