"""Shift, rotate and warp batches of images, on the images' device.

Images are float tensors (B, 1, H, W) with pixels in [-1, 1]. Everything outside an image is background, -1.
"""

from __future__ import annotations

import math
from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor

from gencaps_lib.transforms.matrices import cells, inverse, move

SIDE = 28  # pixels
BACKGROUND = -1.0


def _exact(device: torch.device) -> torch.device:
    """A device that has float64: the given one, or the CPU in place of MPS, which has none."""
    return torch.device("cpu") if device.type == "mps" else device


def shift(images: Tensor, offsets: Tensor, margin: int = 20) -> Tensor:
    """Move each image by its own whole-pixel offset, on a canvas with `margin` extra pixels on every side.

    Parameters
    ----------
    images : (B, 1, H, W) float
    offsets : (B, 2) integer pixels, (row, column); down and right are positive
    margin : extra pixels on each side, at least 0

    Returns
    -------
    (B, 1, H + 2·margin, W + 2·margin)
        Exact: every pixel is a pixel of the image, or background. Pixels that leave the canvas are cut off.

    Raises
    ------
    TypeError
        Images that are not floating point, or offsets that are not integers.
    ValueError
        Wrong shapes, or a margin that is negative or no whole number.
    """
    check_images(images)
    count, _, height, width = images.shape
    if offsets.shape != (count, 2):
        raise ValueError(
            f"offsets must have shape ({count}, 2), one (row, column) for each image; got {tuple(offsets.shape)}"
        )
    if offsets.is_floating_point() or offsets.is_complex() or offsets.dtype == torch.bool:
        raise TypeError(f"offsets are whole pixels and must have an integer dtype; got {offsets.dtype}")
    check_margin(margin)
    # A border of one background pixel stands for everything outside the image.
    padded = F.pad(images[:, 0], (1, 1, 1, 1), value=BACKGROUND)  # (B,H+2,W+2)
    rows = _source(height, margin, offsets[:, 0])  # (B,H+2m)
    columns = _source(width, margin, offsets[:, 1])  # (B,W+2m)
    batch = torch.arange(count, device=images.device)[:, None, None]
    return padded[batch, rows[:, :, None], columns[:, None, :]].unsqueeze(1)


def _source(length: int, margin: int, offset: Tensor) -> Tensor:
    """For each index of the canvas, the index of the padded image that it shows: (B, length + 2·margin)."""
    canvas = torch.arange(length + 2 * margin, device=offset.device)
    return (canvas - margin - offset[:, None] + 1).clamp(0, length + 1)


def rotate(images: Tensor, degrees: Tensor | float) -> Tensor:
    """Rotate each image counter-clockwise about its centre, with bilinear interpolation.

    Equal to ``PIL.Image.rotate(angle, resample=BILINEAR)`` of ``image + 1``, minus 1. The image turns about the centre
    of its area, ((H−1)/2, (W−1)/2) if pixel centres are whole numbers; multiples of 90° need no interpolation.

    Parameters
    ----------
    images : (B, 1, H, W) float
    degrees : (B,), or one number for all images

    Returns
    -------
    (B, 1, H, W)

    Raises
    ------
    TypeError
        Images that are not floating point.
    ValueError
        Wrong shapes.
    """
    check_images(images)
    count, _, height, width = images.shape
    home = images.device
    images = images.to(_exact(home))
    # Coordinates in double precision, as in Pillow: a rounding error of 1e-6 pixels would show in the image.
    given = None if isinstance(degrees, Tensor) else torch.float64
    angles = torch.as_tensor(degrees, dtype=given, device=images.device).double()
    angles = angles.expand(count) if angles.dim() == 0 else angles
    if angles.shape != (count,):
        raise ValueError(f"degrees must have shape ({count},) or be one number; got {tuple(angles.shape)}")
    # Within one turn and rounded to 15 decimals, as in Pillow: at 270°, a cosine of 1e-16 would move pixels outside.
    radians = angles.remainder(360) * (math.pi / 180)
    cos, sin = (share.round(decimals=15)[:, None] for share in (radians.cos(), radians.sin()))  # (B,1)
    y, x = (torch.arange(length, dtype=torch.float64, device=images.device) + 0.5 for length in (height, width))
    # For each pixel of the result, its place in the source; rows run downwards. The sums have Pillow's order, because
    # rounding decides whether a place on the border is inside.
    first_x = sin * (height / 2) - cos * (width / 2) + width / 2  # (B,1)
    first_y = -sin * (width / 2) - cos * (height / 2) + height / 2
    source_x = ((cos * x)[:, None, :] - (sin * y)[:, :, None]).add_(first_x[:, :, None])  # (B,H,W)
    source_y = ((sin * x)[:, None, :] + (cos * y)[:, :, None]).add_(first_y[:, :, None])
    inside = (source_x >= 0) & (source_x < width) & (source_y >= 0) & (source_y < height)
    # The four pixels around each place are read from one flat list of all images, each padded with a copy of its edge.
    # In this list, the other three pixels lie at fixed distances after the first.
    line = width + 2
    pixels = F.pad(images, (1, 1, 1, 1), mode="replicate").flatten()
    left, top = source_x.add_(0.5).floor(), source_y.add_(0.5).floor()
    right_share, low_share = (source_x - left).to(images.dtype), (source_y - top).to(images.dtype)
    image = torch.arange(count, device=images.device)[:, None, None] * ((height + 2) * line)
    first = left.add_(top, alpha=line).long().add_(image)
    # Places outside are overwritten below, but their index must be valid.
    first = first.clamp_(0, len(pixels) - line - 2).flatten()

    def pixel(distance: int) -> Tensor:
        return pixels[distance:].index_select(0, first).view(inside.shape)

    upper = torch.lerp(pixel(0), pixel(1), right_share)
    lower = torch.lerp(pixel(line), pixel(line + 1), right_share)
    return torch.lerp(upper, lower, low_share).masked_fill(~inside, BACKGROUND).unsqueeze(1).to(home)


def warp(images: Tensor, matrices: Tensor, margin: int = 0, interpolation: str = "bilinear") -> Tensor:
    """Move each image by its own affine matrix, on a canvas with `margin` extra pixels on every side.

    The matrix A moves what is at p to A·p. A acts on (row, column, 1), rows downwards. The canvas spans [-1, 1], from
    the first pixel's centre to the last pixel's; see `matrices`.

    Parameters
    ----------
    images : (B, 1, H, H) float
    matrices : (B, 3, 3), invertible, with last row (0, 0, 1)
    margin : extra pixels on each side, at least 0
    interpolation : ``"bilinear"``, ``"nearest"``, or ``"bicubic"``, which is sharper and overshoots [-1, 1]

    Returns
    -------
    (B, 1, H + 2·margin, H + 2·margin)

    Raises
    ------
    TypeError
        Images that are not floating point.
    ValueError
        Wrong shapes, images that are not square, a margin that is negative or no whole number, or an unknown
        interpolation.
    """
    check_images(images)
    count, _, height, width = images.shape
    if height != width:
        raise ValueError(f"warp needs square images; got {height}×{width} pixels")
    if matrices.shape != (count, 3, 3):
        raise ValueError(
            f"matrices must have shape ({count}, 3, 3), one matrix for each image; got {tuple(matrices.shape)}"
        )
    check_margin(margin)
    if interpolation not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(f"interpolation must be 'bilinear', 'nearest' or 'bicubic'; got {interpolation!r}")
    side = height + 2 * margin
    where = _exact(images.device)
    # In double precision: a rounding error of 1e-6 pixels would show in the image.
    pixels = cells(side, torch.float64, where).expand(count, -1, -1)  # (B,side²,2)
    source = move(inverse(matrices.to(where).double()), pixels).flip(2)  # (column, row), as PyTorch wants it
    canvas = F.pad(images.to(where).double() - BACKGROUND, (margin,) * 4)
    moved = F.grid_sample(canvas, source.unflatten(1, (side, side)), interpolation, "zeros", align_corners=True)
    return (moved + BACKGROUND).to(images.dtype).to(images.device)


def check_images(images: Tensor) -> None:
    """Raise unless `images` is a batch (B, 1, H, W) of floating-point images, B at least 1."""
    if images.dim() != 4 or images.shape[1] != 1:
        raise ValueError(f"images must have shape (B, 1, H, W); got {tuple(images.shape)}")
    if len(images) == 0:
        raise ValueError("the batch of images is empty; it needs at least one image")
    if not images.is_floating_point():
        raise TypeError(f"images must be floating point in [-1, 1]; got {images.dtype}")


def check_margin(margin: int, least: int = 0) -> None:
    """Raise a ValueError unless `margin` is a whole number of pixels, at least `least`."""
    if not isinstance(margin, Integral) or margin < least:
        raise ValueError(f"the margin must be a whole number of pixels, at least {least}; got {margin!r}")
