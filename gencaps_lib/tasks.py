"""Tasks: a transform, the values of it that each digit sees in training, and the grid on which models are judged.

The question of every task is the same: held-out digits see few values of the transform in training, and are tested on
all of them. What a *value* is depends on the transform: an offset (row, column) in pixels, or an angle in degrees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor

from gencaps_lib.affine import rotation, translation
from gencaps_lib.data import SIDE
from gencaps_lib.transforms import rotate, shift


class Transform(Protocol):
    """What a task needs of a transform. `values` are (B, dimensions) tensors."""

    unit: str  # of the values, for axes
    axis_label: str  # of the evaluation grid
    dimensions: int  # numbers in a value, and in its parameters
    factors: tuple[int, ...]  # how many parameters each exponential takes, see `affine.exponential`
    code_length: int  # numbers in the code that tells the decoder about it

    @property
    def side(self) -> int:
        """Side of a transformed image, in pixels."""

    def draw(self, low: Tensor, high: Tensor, generator: torch.Generator | None) -> Tensor:
        """Uniform values (B, dimensions) between `low` and `high` (B,), both ends included."""

    def along_grid(self, points: Tensor) -> Tensor:
        """The values (G, dimensions) that the points (G,) of an evaluation grid stand for."""

    def apply(self, images: Tensor, values: Tensor) -> Tensor:
        """Transform images (B, 1, 28, 28) by values (B, dimensions): (B, 1, side, side)."""

    def code(self, values: Tensor) -> Tensor:
        """The code (B, code_length), float32, that the decoder is given for values (B, dimensions)."""

    def parameters(self, code: Tensor) -> Tensor:
        """The parameters t (B, dimensions) of a code (B, code_length): zero where the transform does nothing."""

    def matrix(self, parameters: Tensor) -> Tensor:
        """The matrix (B, 3, 3) that does to addresses what the transform does to images, see `affine`."""

    def generators(self) -> Tensor:
        """The generators (dimensions, 3, 3), whose `affine.exponential` the matrix is."""

    def is_peak(self, point: float) -> bool:
        """Whether targets are sharper at this point of a grid than beside it, so that losses stand out there."""


@dataclass(frozen=True)
class Shift:
    """Shifts by whole pixels on a canvas with `margin` more pixels on every side.

    The code is the offset over the margin, so that the canvas spans [-1, 1], and the parameters are the code. An
    evaluation grid runs along the diagonal: point s stands for the offset (s, s).
    """

    margin: int = 20
    unit = "pixels"
    axis_label = "shift along the diagonal (pixels)"
    dimensions = 2
    code_length = 2
    factors = (2,)

    @property
    def side(self) -> int:
        return SIDE + 2 * self.margin

    def draw(self, low: Tensor, high: Tensor, generator: torch.Generator | None = None) -> Tensor:
        uniform = torch.rand(len(low), 2, generator=generator, dtype=torch.float32, device=low.device)
        return (low[:, None] + (uniform * (high - low + 1)[:, None]).floor()).long()

    def along_grid(self, points: Tensor) -> Tensor:
        return points.round().long()[:, None].expand(-1, 2)

    def apply(self, images: Tensor, values: Tensor) -> Tensor:
        return shift(images, values, self.margin)

    def code(self, values: Tensor) -> Tensor:
        return values.float() / self.margin

    @property
    def reach(self) -> float:
        """How far a shift by the margin moves addresses, for which the canvas spans [-1, 1] between cell centres."""
        return 2 * self.margin / (self.side - 1)

    def parameters(self, code: Tensor) -> Tensor:
        return code

    def matrix(self, parameters: Tensor) -> Tensor:
        return translation(self.reach * parameters)

    def generators(self) -> Tensor:
        generators = torch.zeros(2, 3, 3)
        generators[0, 0, 2] = generators[1, 1, 2] = self.reach
        return generators

    def is_peak(self, point: float) -> bool:
        return False


@dataclass(frozen=True)
class Rotation:
    """Rotations about the centre, counter-clockwise, in degrees; the code is (cos, sin) of the angle.

    The parameter is the angle in radians: from (cos, sin), between -π and π.
    At multiples of 90° pixels fall on pixels: nothing is interpolated, the target is not blurred, and every model
    has a larger loss there. Such points are peaks, and are not counted.
    """

    unit = "degrees"
    axis_label = "angle (degrees)"
    dimensions = 1
    code_length = 2
    factors = (1,)
    side = SIDE

    def draw(self, low: Tensor, high: Tensor, generator: torch.Generator | None = None) -> Tensor:
        uniform = torch.rand(len(low), generator=generator, dtype=torch.float32, device=low.device)
        return (low + uniform * (high - low))[:, None]

    def along_grid(self, points: Tensor) -> Tensor:
        return points[:, None]

    def apply(self, images: Tensor, values: Tensor) -> Tensor:
        return rotate(images, values[:, 0])

    def code(self, values: Tensor) -> Tensor:
        radians = values[:, 0].float() * (math.pi / 180)
        return torch.stack([radians.cos(), radians.sin()], 1)

    def parameters(self, code: Tensor) -> Tensor:
        return torch.atan2(code[:, 1:], code[:, :1])

    def matrix(self, parameters: Tensor) -> Tensor:
        return rotation(parameters[:, 0])

    def generators(self) -> Tensor:
        return torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 0]]])

    def is_peak(self, point: float) -> bool:
        return abs((point + 45) % 90 - 45) < 1


@dataclass(frozen=True)
class RawRotation(Rotation):
    """Rotations whose code is the angle itself, over 180°: with it, angles beyond ±180° are codes never seen."""

    code_length = 1

    def code(self, values: Tensor) -> Tensor:
        return values.float() / 180

    def parameters(self, code: Tensor) -> Tensor:
        return math.pi * code


@dataclass(frozen=True)
class Task:
    """A transform, what each digit sees of it in training, and where models are tested.

    Attributes
    ----------
    name : the task's name, that of its experiment
    transform : Shift or Rotation
    seen : ten (low, high), the training range of each digit on every axis of the transform, ends included
    held_out : the digits the question is about
    digits : the digits that are trained and tested on
    grid : points of the evaluation, in the transform's unit
    inside : points p with inside[0] ≤ p ≤ inside[1] count as in the held-out digits' training range
    outside : points from ±outside on count as out of it; the rest is the border, and counts as neither
    sizes : sizes of each model on this task, by the model's name
    """

    name: str
    transform: Transform
    seen: tuple[tuple[float, float], ...]
    grid: tuple[float, ...]
    inside: tuple[float, float]
    outside: float
    held_out: tuple[int, ...] = (4, 9)
    digits: tuple[int, ...] = tuple(range(10))
    sizes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.seen) != 10:
            raise ValueError(f"seen needs a (low, high) for each of the ten digits; got {len(self.seen)}")
        if any(low > high for low, high in self.seen):
            raise ValueError("every training range in seen must run from low to high")
        object.__setattr__(self, "seen", tuple((low, high) for low, high in self.seen))
        sizes = {name: MappingProxyType(dict(size)) for name, size in self.sizes.items()}
        object.__setattr__(self, "sizes", MappingProxyType(sizes))

    def sample(self, labels: Tensor, generator: torch.Generator | None = None, reach: Tensor | None = None) -> Tensor:
        """Draw a training value for each label (B,): (B, dimensions), uniform in the digit's range.

        `reach`, a scalar in [0, 1], is how much of its range a digit uses on either side of zero. The range of a digit
        that is never seen untransformed stays as it is.
        """
        low, high = _ranges(self.seen, labels.device)[labels].unbind(1)
        if reach is not None:
            # No number of Python's: a captured CUDA step could not copy it.
            share = torch.where((low <= 0) & (high >= 0), reach, torch.ones_like(reach))
            low, high = low * share, high * share
        return self.transform.draw(low, high, generator)

    def target(self, images: Tensor, values: Tensor) -> Tensor:
        """The images (B, 1, 28, 28) transformed by values (B, dimensions)."""
        return self.transform.apply(images, values)

    def code(self, values: Tensor) -> Tensor:
        """The decoder's code (B, code_length) of values (B, dimensions)."""
        return self.transform.code(values)

    def grid_values(self, device: str | torch.device = "cpu") -> Tensor:
        """The values (G, dimensions) of the evaluation grid."""
        return self.transform.along_grid(torch.tensor(self.grid, dtype=torch.float32, device=device))

    def is_inside(self, point: float) -> bool:
        """Whether a point of the grid counts as in the held-out digits' training range."""
        return self.inside[0] <= point <= self.inside[1] and not self.transform.is_peak(point)

    def is_outside(self, point: float) -> bool:
        """Whether a point of the grid counts as out of it."""
        return abs(point) >= self.outside and not self.transform.is_peak(point)

    def some_points(self) -> list[float]:
        """Seven points of the grid for pictures: the ends, the middle, and some on either side of it."""
        wanted = (fraction * self.grid[0] for fraction in (1, 1 / 2, 1 / 4, 0, -1 / 4, -1 / 2, -1))
        return sorted({min(self.grid, key=lambda point, goal=goal: abs(point - goal)) for goal in wanted})

    @property
    def scored(self) -> str:
        """Which points count as in and as out of the held-out digits' range, in words."""
        low, high = self.inside
        return f"in range: {low:g} … {high:g}, out of range: from ±{self.outside:g} {self.transform.unit}"


@cache
def _ranges(seen: tuple[tuple[float, float], ...], device: torch.device) -> Tensor:
    """The ranges (10, 2) on a device. They are put there once: a captured CUDA step can copy nothing from Python."""
    return torch.tensor(seen, dtype=torch.float32, device=device)


def training_ranges(
    everyone: tuple[float, float], held_out: Mapping[int, tuple[float, float]]
) -> tuple[tuple[float, float], ...]:
    """The ten ranges of ``Task.seen``: `everyone`'s for each digit, but for those held out.

    Raises
    ------
    ValueError
        Held out is something else than a digit from 0 to 9.
    """
    wrong = [digit for digit in held_out if digit not in range(10)]
    if wrong:
        raise ValueError(f"held-out digits are whole numbers from 0 to 9; got {', '.join(map(repr, wrong))}")
    return tuple(held_out.get(digit, everyone) for digit in range(10))
