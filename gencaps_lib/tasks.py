"""Tasks: a transform, the values of it that each digit sees in training, and the grid on which models are tested.

Every task asks the same question: held-out digits see few values of the transform in training, and are tested on all
of them. What a *value* is depends on the transform: an offset (row, column) in pixels, or an angle in degrees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from gencaps_lib.data import Digits
from gencaps_lib.transforms import Transform, TwoObjects

LONGEST_NAME = 100  # characters; file systems take about 255 bytes


@dataclass(frozen=True)
class Task:
    """A transform, the range of it that each digit sees in training, and the grid on which models are tested.

    Attributes
    ----------
    name : the task's name, equal to its experiment's
    transform : for example Shift or Rotation
    seen : ten (low, high), the training range of each digit on every axis of the transform, ends included
    held_out : the digits with a small training range, which the question is about
    digits : the digits in training and in the test
    grid : the points of the test, in the transform's unit
    inside : points p with inside[0] ≤ p ≤ inside[1] count as in the held-out digits' training range
    outside : points p ≥ outside and p ≤ −outside count as out of it; points between count as neither

    Where targets are sharper than near them (`Transform.is_peak`, a rotation by a multiple of 90°), a point counts as
    neither. Sequences of any kind become tuples, and NumPy's numbers Python's.

    Raises
    ------
    ValueError
        A name that cannot be a folder's, ranges that are not ten, not finite or none of the transform's, an empty grid,
        a point that counts on both sides, a digit that is not from 0 to 9, no held-out digit, or one that is not among
        the digits.
    """

    name: str
    transform: Transform
    seen: tuple[tuple[float, float], ...]
    grid: tuple[float, ...]
    inside: tuple[float, float]
    outside: float
    held_out: tuple[int, ...] = (4, 9)
    digits: tuple[int, ...] = tuple(range(10))

    def __post_init__(self) -> None:
        check_name(self.name, "task")
        if len(self.seen) != 10:
            raise ValueError(f"seen must have one (low, high) for each of the ten digits; got {len(self.seen)}")
        for name in ("grid", "inside", "held_out", "digits"):
            given = getattr(self, name)
            given = sorted(given) if isinstance(given, (set, frozenset)) else given
            convert = _whole if name in ("held_out", "digits") else _python
            object.__setattr__(self, name, tuple(map(convert, given)))
        object.__setattr__(self, "seen", tuple((_python(low), _python(high)) for low, high in self.seen))
        object.__setattr__(self, "outside", _python(self.outside))
        if not all(map(math.isfinite, (*chain.from_iterable(self.seen), *self.grid, *self.inside, self.outside))):
            raise ValueError("every range in seen, every point of the grid, inside and outside must be finite")
        if any(low > high for low, high in (*self.seen, self.inside)):
            raise ValueError("every range in seen, and inside, must run from low to high")
        check_range = getattr(self.transform, "check_range", None)
        if check_range is not None:
            for ends in dict.fromkeys(self.seen):
                check_range(*ends)
        if not self.grid:
            raise ValueError("the grid is empty: name at least one point to test")
        if wrong := set(self.digits) - set(range(10)):
            raise ValueError(f"digits must be whole numbers from 0 to 9; got {', '.join(map(repr, wrong))}")
        if wrong := set(self.held_out) - set(self.digits):
            raise ValueError(f"held-out digits must be among the task's digits; got {', '.join(map(repr, wrong))}")
        if not self.held_out:
            raise ValueError("no digit is held out: name at least one, of which the question is asked")
        if both := [point for point in self.grid if self.is_inside(point) and self.is_outside(point)]:
            raise ValueError(f"points count as in range and as out of it: {', '.join(map(str, both))} ({self.scored})")

    def sample(self, labels: Tensor, generator: torch.Generator | None = None, reach: Tensor | None = None) -> Tensor:
        """Draw a training value for each label (B,), uniformly from the digit's range: (B, dimensions).

        ``reach``, a scalar in [0, 1], is the share of its range that a digit uses on either side of zero. A range
        without zero stays as it is.
        """
        low, high = _ranges(self.seen, labels.device)[labels].unbind(1)
        if reach is not None:
            # Tensors only: a captured CUDA step cannot copy a Python number.
            share = torch.where((low <= 0) & (high >= 0), reach, torch.ones_like(reach))
            low, high = low * share, high * share
        return self.transform.draw(low, high, generator)

    def scenes(self, digits: Digits) -> Digits:
        """What the task transforms: the digits, or pairs of them, if its transform moves two objects."""
        return digits.paired() if isinstance(self.transform, TwoObjects) else digits

    def picture(self, images: Tensor) -> Tensor:
        """What a model is shown of the images of `scenes`: (B, 1, 28, 28), untransformed."""
        at_rest = getattr(self.transform, "at_rest", None)
        return images if at_rest is None else at_rest(images)

    def target(self, images: Tensor, values: Tensor) -> Tensor:
        """The images (B, 1, 28, 28), of two objects (B, 2, 28, 28), transformed by values (B, dimensions)."""
        return self.transform.apply(images, values)

    def code(self, values: Tensor) -> Tensor:
        """The transform codes (B, code_length) of values (B, dimensions), which decoders take."""
        return self.transform.code(values)

    def grid_values(self, device: str | torch.device = "cpu") -> Tensor:
        """The values (G, dimensions) of the evaluation grid."""
        return self.transform.along_grid(torch.tensor(self.grid, dtype=torch.float32, device=device))

    def is_inside(self, point: float) -> bool:
        """Whether a point of the grid counts as in the held-out digits' training range."""
        return self.inside[0] <= point <= self.inside[1] and not self.transform.is_peak(point)

    def is_outside(self, point: float) -> bool:
        """Whether a point of the grid counts as out of the held-out digits' training range."""
        return abs(point) >= self.outside and not self.transform.is_peak(point)

    def some_points(self) -> list[float]:
        """At most seven points of the grid for pictures: the ends, the middle, and some between."""
        low, high = min(self.grid), max(self.grid)
        # A grid that reaches about as far to either side of zero, as from -20 to 18, has its middle there.
        middle = 0 if abs(low + high) <= (high - low) / 4 else (low + high) / 2
        reach = max(middle - low, high - middle)
        wanted = (middle + fraction * reach for fraction in (-1, -1 / 2, -1 / 4, 0, 1 / 4, 1 / 2, 1))
        return sorted({self._nearest(goal) for goal in wanted})

    def _nearest(self, goal: float) -> float:
        return min(self.grid, key=lambda point: abs(point - goal))

    @property
    def scored(self) -> str:
        """In words: which points count as in, and which as out of the held-out digits' range."""
        low, high = self.inside
        return f"in range: {low:g} … {high:g}, out of range: from ±{self.outside:g} {self.transform.unit}"


def _python(number: Any) -> Any:
    """A number of NumPy or PyTorch as one of Python; others as they are."""
    return number.item() if hasattr(number, "item") else number


def _whole(number: Any) -> Any:
    """As `_python`; a whole float as an int."""
    number = _python(number)
    whole = isinstance(number, bool) or (isinstance(number, float) and number.is_integer())
    return int(number) if whole else number


def check_name(name: str, what: str) -> None:
    """Raise a ValueError if `name`, of a task or a model (`what`), cannot be a folder's."""
    if {*"/\\\0"} & {*name} or not name.strip(" .") or len(name) > LONGEST_NAME:
        raise ValueError(
            f"results are kept under a {what}'s name, so it must be that of a folder, of at most {LONGEST_NAME} "
            f"characters; got {name[:LONGEST_NAME]!r}"
        )


def check_drawn(drawn: Tensor, target: Tensor) -> None:
    """Raise a ValueError if a drawing has not its target's shape: their difference would be taken of every pair."""
    if drawn.shape != target.shape:
        raise ValueError(
            f"the model draws {tuple(drawn.shape)} where the target is {tuple(target.shape)}: was it made for another "
            "canvas, or is an axis missing?"
        )


@cache
def _ranges(seen: tuple[tuple[float, float], ...], device: torch.device) -> Tensor:
    """The ranges (10, 2) on a device, copied there once: a captured CUDA step can copy nothing from Python."""
    return torch.tensor(seen, dtype=torch.float32, device=device)


def training_ranges(
    everyone: tuple[float, float], held_out: Mapping[int, tuple[float, float]]
) -> tuple[tuple[float, float], ...]:
    """The ten ranges of ``Task.seen``: those in `held_out`, and `everyone` for all other digits.

    Raises
    ------
    ValueError
        A held-out digit is not a whole number from 0 to 9.
    """
    wrong = [digit for digit in held_out if digit not in range(10)]
    if wrong:
        raise ValueError(f"held-out digits must be whole numbers from 0 to 9; got {', '.join(map(repr, wrong))}")
    return tuple(held_out.get(digit, everyone) for digit in range(10))


@dataclass(frozen=True)
class Batch:
    """The data of one training step.

    Attributes
    ----------
    images
        (B / K, 1, 28, 28), what a model is shown, untransformed; the targets of an image, K of them, stand one after
        another
    labels : (B,), of the targets
    code : (B, code_length), of the targets' transforms
    target : (B, 1, side, side), the transformed images
    """

    images: Tensor
    labels: Tensor
    code: Tensor
    target: Tensor


def draw_digits(digits: Digits, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw images (B, 1, 28, 28), of pairs (B, 2, 28, 28), and their labels (B,), with replacement."""
    chosen = torch.randint(len(digits), (batch,), generator=generator, device=digits.images.device)
    return digits.images[chosen], digits.labels[chosen]


def checked_counts(**given: int) -> list[int]:
    """Check that values are whole numbers of at least 1; return them as Python ints, since PyTorch refuses NumPy's."""
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}")
    return [int(value) for value in given.values()]


def checked_batch(batch: int, draws: int) -> tuple[int, int]:
    """The numbers of targets in a batch and of draws of an image, checked.

    Raises
    ------
    ValueError
        One is no whole number of at least 1, or the batch is not a multiple of the draws.
    """
    batch, draws = checked_counts(batch=batch, draws=draws)
    if batch % draws:
        raise ValueError(f"the batch must be a multiple of draws; got a batch of {batch} and {draws} draws")
    return batch, draws


def draw_batch(
    task: Task, digits: Digits, batch: int, generator: torch.Generator, reach: Tensor | None = None, draws: int = 1
) -> Batch:
    """Draw images with replacement, and `draws` training values of the transform for each, on the digits' device.

    There are ``batch`` targets, from ``batch`` / ``draws`` images. For ``reach`` see `Task.sample`; the digits are the
    task's `Task.scenes`. Raises what `checked_batch` raises.
    """
    batch, draws = checked_batch(batch, draws)
    images, labels = draw_digits(digits, batch // draws, generator)
    labels = labels.repeat_interleave(draws)
    values = task.sample(labels, generator, reach)
    target = task.target(images.repeat_interleave(draws, 0), values)
    return Batch(task.picture(images), labels, task.code(values), target)
