"""Two digits in one picture, which overlap: one turns, the other shifts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gencaps_lib.transforms.families import Rotation, RotationAndShift, Shift
from gencaps_lib.transforms.images import BACKGROUND, SIDE, warp
from gencaps_lib.transforms.matrices import affine, inverse, translation


@dataclass(frozen=True)
class TwoObjects(RotationAndShift):
    r"""The left one of two digits turns about its own middle, and the right one shifts by whole pixels.

    .. math:: I = \min(1,\ A_1 x_1 + A_2 x_2)

    Equation :eq:`eq-two-objects`, in ink from 0 to 1: each digit is moved by a matrix of its own, and where the two
    overlap ink adds up, to white at most. Values, code and parameters are those of `RotationAndShift`; here the angle
    is of the one digit and the shift of the other.

    Images are pairs (B, 2, 28, 28), see `data.Digits.paired`: first the digit that turns.

    Attributes
    ----------
    size : of a digit in the picture, over its own
    apart : pixels between the middles of the two digits
    """

    margin: int = 8
    size: float = 0.7
    apart: float = 7.0

    @property
    def axis_label(self) -> str:
        return f"angle of the one over 180°, and shift of the other over {self.margin} pixels"

    def middles(self, like: Tensor) -> Tensor:
        """The middles (2, 2) of the digits at rest, in the unit in which the canvas spans [-1, 1].

        Of the dtype and device of `like`, and made there: a CUDA graph can copy nothing from the CPU.
        """
        right = self.apart / (self.side - 1)
        return F.pad(torch.linspace(-right, right, 2, dtype=like.dtype, device=like.device)[:, None], (1, 0))

    def moved(self, images: Tensor, values: Tensor) -> Tensor:
        """The ink (B, 2, side, side), from 0 to 1, of each digit of pairs (B, 2, 28, 28) under values (B, 3)."""
        if images.dim() != 4 or images.shape[1:] != (2, SIDE, SIDE):
            raise ValueError(
                f"two objects need pairs of digits, shape (B, 2, {SIDE}, {SIDE}), as Task.scenes makes them; got "
                f"{tuple(images.shape)}"
            )
        own = self.matrices(self.parameters(self.code(values)))  # (B,2,3,3)
        smaller = self.size * torch.eye(2, dtype=own.dtype, device=own.device)
        placed = affine(smaller.expand(2, 2, 2), self.middles(own))  # (2,3,3)
        layers = images.flatten(0, 1)[:, None]  # (2B,1,28,28)
        return (warp(layers, (own @ placed).flatten(0, 1), self.margin).unflatten(0, (-1, 2))[:, :, 0] + 1) / 2

    def apply(self, images: Tensor, values: Tensor) -> Tensor:
        return 2 * self.moved(images, values).sum(1, keepdim=True).clamp(max=1) + BACKGROUND

    def at_rest(self, images: Tensor) -> Tensor:
        """The picture (B, 1, 28, 28) of pairs that are not moved, without the canvas's margin."""
        still = self.apply(images, torch.zeros(len(images), self.dimensions, device=images.device))
        return still[..., self.margin : -self.margin, self.margin : -self.margin]

    def matrices(self, parameters: Tensor) -> Tensor:
        """The matrices (B, 2, 3, 3) that move the one digit's addresses, and the other's."""
        there = translation(self.middles(parameters)[:1])  # (1,3,3)
        turned = there @ Rotation().matrix(parameters[:, :1]) @ inverse(there)
        return torch.stack([turned, Shift(self.margin).matrix(parameters[:, 1:])], 1)

    def matrix(self, parameters: Tensor) -> Tensor:
        raise ValueError("two objects are moved by a matrix each: use `matrices`")

    def generators(self) -> Tensor:
        generators = super().generators()
        # About its own middle m: G p = R(p − m).
        generators[0, :2, 2] = -generators[0, :2, :2] @ self.middles(generators)[0]
        return generators

    def is_peak(self, point: float) -> bool:
        return False  # digits are made smaller, so all targets are interpolated
