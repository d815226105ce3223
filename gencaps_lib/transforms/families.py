"""Families of transforms: the article's (shift, rotation), and scale, shear, rotation with shift, and other rotations.

Each is a `Transform`. For matrices and generators see `matrices`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from gencaps_lib.transforms.images import BACKGROUND, SIDE, check_images, check_margin, rotate, shift, warp
from gencaps_lib.transforms.matrices import affine, rotation, translation


class Transform(Protocol):
    """What a task needs of a transform. `values` are (B, dimensions) tensors.

    Two methods are optional. ``at_rest(images)`` makes what a model is shown of images, of the same shape, where that
    is not the images themselves; ``candidates()`` makes the values that a search tries, see `Rotation.candidates`. With
    ``check_range(low, high)`` a transform refuses a training range that it cannot draw from, by a ValueError.
    """

    @property
    def unit(self) -> str:
        """The unit of the values, for axes of figures."""

    @property
    def axis_label(self) -> str:
        """The label of the evaluation grid's axis."""

    @property
    def dimensions(self) -> int:
        """How many numbers a value has, and how many parameters it has."""

    @property
    def factors(self) -> tuple[int, ...]:
        """How many parameters each exponential takes, see `matrices.exponential`."""

    @property
    def code_length(self) -> int:
        """How many numbers the transform's code has."""

    @property
    def side(self) -> int:
        """Side of a transformed image, in pixels."""

    def draw(self, low: Tensor, high: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw values (B, dimensions) uniformly between `low` and `high` (B,), both ends included."""

    def along_grid(self, points: Tensor) -> Tensor:
        """The values (G, dimensions) at the points (G,) of an evaluation grid."""

    def apply(self, images: Tensor, values: Tensor) -> Tensor:
        """Transform images (B, 1, 28, 28) by values (B, dimensions): (B, 1, side, side)."""

    def code(self, values: Tensor) -> Tensor:
        """The codes (B, code_length), float32, of values (B, dimensions), for the decoder."""

    def parameters(self, code: Tensor) -> Tensor:
        """The parameters t (B, dimensions) of codes (B, code_length); zero for the identity."""

    def matrix(self, parameters: Tensor) -> Tensor:
        """The matrices (B, 3, 3), in depth (B, 4, 4), that move addresses as the transform moves images: `matrices`."""

    def generators(self) -> Tensor:
        """The generators (dimensions, 3, 3), in depth (…, 4, 4); the matrix is their `matrices.exponential`."""

    def is_peak(self, point: float) -> bool:
        """Whether targets at this point of a grid are sharper than at points near it, so that losses have a peak."""


STEP = 10  # degrees between the candidates of a rotation


@dataclass(frozen=True)
class Shift:
    """Shifts by whole pixels on a canvas with `margin` extra pixels on every side.

    The code is offset ÷ margin, so codes lie in [-1, 1]; the parameters are equal to the code. An evaluation grid runs
    along the diagonal: point s means the offset (s, s). A range has whole ends. Of one that grows in training, low,
    low + 1, … are cut off towards zero; where these are not whole, 0 is drawn more often than others.

    Raises
    ------
    ValueError
        The margin is below 1, or no whole number.
    """

    margin: int = 20

    def __post_init__(self) -> None:
        check_margin(self.margin, 1)  # codes are divided by it

    unit = "pixels"
    axis_label = "shift along the diagonal (pixels)"
    dimensions = 2
    code_length = 2
    factors = (2,)

    @property
    def side(self) -> int:
        return SIDE + 2 * self.margin

    def check_range(self, low: float, high: float) -> None:
        """Raise a ValueError if an end is not whole: shifts between would be drawn more or less often than others."""
        if low != round(low) or high != round(high):
            raise ValueError(f"a range of shifts must have whole ends, in pixels; got {low} … {high}")

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
        """How far a shift by the margin moves addresses. For them the canvas spans [-1, 1] between cell centres."""
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

    def candidates(self) -> list[Tensor]:
        """Values to search, see `Rotation.candidates`.

        First the middles of square cells of at most 4 pixels. Then, twice, the best so far and the eight around it,
        half a cell away, and a quarter. With cells of 4 pixels every whole offset is reached.
        """
        count = math.ceil(self.margin / 2)
        side = 2 * self.margin / count
        middles = side * (torch.arange(count) - (count - 1) / 2)
        around = torch.tensor([-side, 0, side]) / 2
        finer = torch.cartesian_prod(around, around)
        return [torch.cartesian_prod(middles, middles), finer, finer / 2]


class _OneNumber:
    """What transforms by one number share, which may be any number of a range."""

    dimensions = 1
    factors = (1,)

    def draw(self, low: Tensor, high: Tensor, generator: torch.Generator | None = None) -> Tensor:
        uniform = torch.rand(len(low), generator=generator, dtype=torch.float32, device=low.device)
        return (low + uniform * (high - low))[:, None]

    def along_grid(self, points: Tensor) -> Tensor:
        return points[:, None]


@dataclass(frozen=True)
class Rotation(_OneNumber):
    """Rotations about the centre, counter-clockwise, in degrees; the code is (cos, sin) of the angle.

    The parameter is the angle in radians, computed from (cos, sin), between -π and π.
    At multiples of 90° there is no interpolation: the target is not blurred, and every model has a larger loss. Such
    points are called peaks and are not counted.
    """

    unit = "degrees"
    axis_label = "angle (degrees)"
    code_length = 2
    side = SIDE

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

    def candidates(self) -> list[Tensor]:
        """Values to search for that of a picture, in rounds, coarse to fine.

        Returns
        -------
        (T, dimensions) for each round: values for the first; for a later one, what is added to the best so far
        """
        return [self.along_grid(torch.arange(-180.0, 180, STEP))]


def _turned(images: Tensor, values: Tensor, interpolation: str) -> Tensor:
    """Images, turned by values (B, 1), in degrees, with another interpolation than `rotate` has."""
    return warp(images, rotation(values[:, 0].double() * (math.pi / 180)), interpolation=interpolation)


@dataclass(frozen=True)
class BicubicRotation(Rotation):
    """Rotations with bicubic interpolation, clipped to [-1, 1]: a control of models that move pictures bilinearly."""

    def apply(self, images: Tensor, values: Tensor) -> Tensor:
        return _turned(images, values, "bicubic").clamp(-1, 1)


@dataclass(frozen=True)
class CoarseRotation(Rotation):
    """Rotations of black and white digits by multiples of `step` degrees, each pixel as the nearest one was.

    Pixels with a grey level above 128 of 255 are ink. Nothing is blurred at any angle, so every point of a grid counts.
    A range must hold a multiple of `step`; a range that grows in training grows in jumps.

    Raises
    ------
    ValueError
        The step is not a positive divisor of 360.

    References
    ----------
    Dinh, Deny (2026), "Latent Equivariant Operators for Robust Object Recognition": their pictures, without the noise.
    """

    step: int = 36

    def __post_init__(self) -> None:
        if self.step < 1 or 360 % self.step:
            raise ValueError(f"the step must be a positive divisor of 360; got {self.step}")

    def check_range(self, low: float, high: float) -> None:
        """Raise a ValueError if no multiple of the step is in the range."""
        if math.ceil(low / self.step) > math.floor(high / self.step):
            raise ValueError(f"there is no multiple of {self.step}° from {low} to {high}")

    def draw(self, low: Tensor, high: Tensor, generator: torch.Generator | None = None) -> Tensor:
        first, last = (low / self.step).ceil(), (high / self.step).floor()
        uniform = torch.rand(len(low), generator=generator, dtype=torch.float32, device=low.device)
        return (self.step * (first + (uniform * (last - first + 1)).floor()))[:, None]

    def at_rest(self, images: Tensor) -> Tensor:
        """The black and white digits, not turned; of the images' shape and dtype."""
        check_images(images)
        return torch.where(images > 128.5 / 127.5 - 1, 1.0, BACKGROUND).to(images.dtype)

    def apply(self, images: Tensor, values: Tensor) -> Tensor:
        return _turned(self.at_rest(images), values, "nearest")

    def is_peak(self, point: float) -> bool:
        return False

    def candidates(self) -> list[Tensor]:
        angles = self.step * torch.arange(360.0 / self.step)
        return [self.along_grid((angles + 180) % 360 - 180)]


@dataclass(frozen=True)
class RawRotation(Rotation):
    """Rotations whose code is angle ÷ 180°. With this code, angles beyond ±180° have codes never seen in training."""

    code_length = 1

    def code(self, values: Tensor) -> Tensor:
        return values.float() / 180

    def parameters(self, code: Tensor) -> Tensor:
        return math.pi * code


@dataclass(frozen=True)
class CoarseRawRotation(RawRotation, CoarseRotation):
    """Coarse rotations whose code is angle ÷ 180°: their true matrix is not linear in it."""


@dataclass(frozen=True)
class _OneParameter(_OneNumber):
    """An affine transform with one parameter, on a canvas with `margin` extra pixels on every side.

    Value, code and parameter are the same number, up to a factor. Bilinear interpolation blurs targets, except at zero;
    this point is a peak. A ValueError if the margin is negative, or no whole number.
    """

    margin: int = 6
    code_length = 1

    def __post_init__(self) -> None:
        check_margin(self.margin)

    @property
    def side(self) -> int:
        return SIDE + 2 * self.margin

    def apply(self, images: Tensor, values: Tensor) -> Tensor:
        return warp(images, self.matrix(self.parameters(self.code(values))), self.margin)

    def code(self, values: Tensor) -> Tensor:
        return values.float()

    def parameters(self, code: Tensor) -> Tensor:
        return code

    def matrix(self, parameters: Tensor) -> Tensor:
        raise NotImplementedError

    def is_peak(self, point: float) -> bool:
        return abs(point) < 1e-6


@dataclass(frozen=True)
class Scale(_OneParameter):
    """Scaling about the centre, in octaves: 1 doubles all lengths, -1 halves them.

    The code is the value; the parameter is the natural logarithm of the scale factor.
    """

    unit = "octaves"
    axis_label = "scale (octaves)"

    def parameters(self, code: Tensor) -> Tensor:
        return math.log(2) * code

    def matrix(self, parameters: Tensor) -> Tensor:
        factor = parameters[:, :1].exp()  # (B,1)
        linear = torch.diag_embed(factor.expand(-1, 2))  # (B,2,2)
        return affine(linear, torch.zeros_like(linear[..., 0]))

    def generators(self) -> Tensor:
        return torch.tensor([[[1, 0, 0], [0, 1, 0], [0, 0, 0]]], dtype=torch.float32)


@dataclass(frozen=True)
class Shear(_OneParameter):
    """Horizontal shear about the centre: a point r pixels below it moves value·r pixels to the right.

    Value, code and parameter are the same number.
    """

    unit = "columns a row"
    axis_label = "shear (columns a row)"

    def matrix(self, parameters: Tensor) -> Tensor:
        none, one = torch.zeros_like(parameters[:, 0]), torch.ones_like(parameters[:, 0])
        linear = torch.stack([torch.stack([one, none], 1), torch.stack([parameters[:, 0], one], 1)], 1)  # (B,2,2)
        return affine(linear, torch.zeros_like(linear[..., 0]))

    def generators(self) -> Tensor:
        return torch.tensor([[[0, 0, 0], [1, 0, 0], [0, 0, 0]]], dtype=torch.float32)


@dataclass(frozen=True)
class RotationAndShift:
    """A rotation about the image's centre, and then a shift by whole pixels on a canvas with a margin.

    A value is (degrees, rows, columns). Ranges and grids are fractions of the transform's reach, which is 180° and the
    margin. The range from -0.5 to 0.5 has angles to ±90° and shifts to half the margin, drawn independently; point p
    of a grid means the angle 180°·p and a diagonal shift of p margins. The code joins the codes of `Rotation` and
    `Shift`; so do the parameters, (radians, row, column). The two transforms do not commute, so the matrix is a product
    of two exponentials: the rotation acts first. Raises what `Shift` raises.
    """

    margin: int = 20
    unit = "of the reach"
    dimensions = 3
    code_length = 4
    factors = (1, 2)

    def __post_init__(self) -> None:
        check_margin(self.margin, 1)

    @property
    def axis_label(self) -> str:
        return f"angle over 180° and shift over {self.margin} pixels"

    @property
    def side(self) -> int:
        return self._shift.side

    @property
    def _shift(self) -> Shift:
        return Shift(self.margin)

    def draw(self, low: Tensor, high: Tensor, generator: torch.Generator | None = None) -> Tensor:
        degrees = Rotation().draw(180 * low, 180 * high, generator)  # (B,1)
        first, last = ((self.margin * end).round() for end in (low, high))
        return torch.cat([degrees, self._shift.draw(first, last, generator)], 1)

    def along_grid(self, points: Tensor) -> Tensor:
        return torch.cat([180 * points[:, None], self._shift.along_grid(self.margin * points)], 1)

    def apply(self, images: Tensor, values: Tensor) -> Tensor:
        return self._shift.apply(Rotation().apply(images, values[:, :1]), values[:, 1:].round().long())

    def code(self, values: Tensor) -> Tensor:
        return torch.cat([Rotation().code(values[:, :1]), self._shift.code(values[:, 1:])], 1)

    def parameters(self, code: Tensor) -> Tensor:
        return torch.cat([Rotation().parameters(code[:, :2]), self._shift.parameters(code[:, 2:])], 1)

    def matrix(self, parameters: Tensor) -> Tensor:
        return self._shift.matrix(parameters[:, 1:]) @ Rotation().matrix(parameters[:, :1])

    def generators(self) -> Tensor:
        return torch.cat([Rotation().generators(), self._shift.generators()])

    def is_peak(self, point: float) -> bool:
        return Rotation().is_peak(180 * point)

    def candidates(self) -> list[Tensor]:
        """Values to search, see `Rotation.candidates`: the shift and the angle by turns.

        First all coarse shifts at three angles: the place of a digit is found before its angle. Then finer shifts,
        every other angle, still finer shifts, and the angles between.
        """
        coarse, *finer = (F.pad(shifts, (1, 0)) for shifts in self._shift.candidates())
        angles = F.pad(Rotation().candidates()[0], (0, 2))
        first = (angles[6::12, None] + coarse).flatten(0, 1)
        return [first, finer[0], angles[::2], finer[1], angles[1::2]]
