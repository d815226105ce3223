"""A transparent sheet, flat or bent, turned in depth: no group of the plane has these views, and one of space has.

References
----------
Ullman (1979), "The interpretation of structure from motion": the third coordinate, from views that do not show it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gencaps_lib.routing import route_by_address, to_index_space
from gencaps_lib.transforms.families import Rotation
from gencaps_lib.transforms.images import SIDE, check_images
from gencaps_lib.transforms.matrices import cells


@dataclass(frozen=True)
class Sheet(Rotation):
    r"""A transparent sheet with the digit on it turns about its upright middle line; in degrees, seen from the front.

    .. math:: d = \beta \sin \pi q, \qquad q' = q \cos t + d \sin t

    Equation :eq:`eq-sheet`: the pixel in column q, from -1 to 1, has the depth d, which no picture shows. Turned by t,
    it is seen in column q', in its old row. Each pixel is a capsule that writes its ink there, by
    `routing.route_by_address`. Ink adds up, to white at most. At 180° the digit is seen from behind: mirrored.

    Code and parameter are as in `Rotation`. At multiples of 180° pixels fall on pixels, and the target is not blurred:
    a peak.

    Attributes
    ----------
    bend : β, the greatest depth; 0 is a flat sheet
    """

    bend: float = 0.0
    axis_label = "angle of the sheet (degrees)"

    def depth(self, columns: Tensor) -> Tensor:
        """The depth of the sheet at columns from -1 to 1, of any shape."""
        return self.bend * (math.pi * columns).sin()

    def apply(self, images: Tensor, values: Tensor) -> Tensor:
        check_images(images)
        radians = values[:, :1].to(images.dtype) * (math.pi / 180)  # (B,1)
        rows, columns = cells(SIDE, images.dtype, images.device).unbind(1)  # (784,)
        seen = columns * radians.cos() + self.depth(columns) * radians.sin()  # (B,784)
        addresses = to_index_space(torch.stack([rows.expand_as(seen), seen], 2), SIDE)  # (B,784,2)
        ink = (images + 1).flatten(1)[..., None] / 2  # (B,784,1), from 0 to 1
        return 2 * route_by_address(addresses, ink, SIDE).clamp(max=1) - 1

    def matrix(self, parameters: Tensor) -> Tensor:
        """The matrices (B, 4, 4) that turn (row, column, depth, 1)."""
        cos, sin = parameters[:, 0].cos(), parameters[:, 0].sin()
        matrices = torch.eye(4, dtype=cos.dtype, device=cos.device).repeat(len(cos), 1, 1)
        matrices[:, 1, 1], matrices[:, 1, 2] = cos, sin
        matrices[:, 2, 1], matrices[:, 2, 2] = -sin, cos
        return matrices

    def generators(self) -> Tensor:
        generators = torch.zeros(1, 4, 4)
        generators[0, 1, 2], generators[0, 2, 1] = 1, -1
        return generators

    def is_peak(self, point: float) -> bool:
        return abs((point + 90) % 180 - 90) < 1
