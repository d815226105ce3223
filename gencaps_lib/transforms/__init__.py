"""Transforms of digits: on images, as matrices, and as families from which tasks draw values."""

from gencaps_lib.transforms.families import (
    BicubicRotation,
    CoarseRawRotation,
    CoarseRotation,
    RawRotation,
    Rotation,
    RotationAndShift,
    Scale,
    Shear,
    Shift,
    Transform,
)
from gencaps_lib.transforms.images import BACKGROUND, SIDE, check_images, rotate, shift, warp
from gencaps_lib.transforms.matrices import (
    affine,
    cells,
    exponential,
    exponentials,
    in_the_plane,
    inverse,
    move,
    rotation,
    translation,
)
from gencaps_lib.transforms.pairs import TwoObjects
from gencaps_lib.transforms.sheets import Sheet

__all__ = [
    "BACKGROUND",
    "SIDE",
    "BicubicRotation",
    "CoarseRawRotation",
    "CoarseRotation",
    "RawRotation",
    "Rotation",
    "RotationAndShift",
    "Scale",
    "Shear",
    "Sheet",
    "Shift",
    "Transform",
    "TwoObjects",
    "affine",
    "cells",
    "check_images",
    "exponential",
    "exponentials",
    "in_the_plane",
    "inverse",
    "move",
    "rotate",
    "rotation",
    "shift",
    "translation",
    "warp",
]
