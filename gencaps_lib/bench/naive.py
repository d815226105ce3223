"""The straightforward port, a baseline for `bench`: a DataLoader transforms images one by one.

It trains on the same data as `training.fit`. The comparison shows the gain of transforming whole batches on the device.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from gencaps_lib.data import Digits
from gencaps_lib.tasks import Batch, Task
from gencaps_lib.training import Trainer
from gencaps_lib.transforms import Rotation, RotationAndShift, Scale, Shear, Sheet, Shift, Transform, TwoObjects


class _Canvas(Protocol):
    """A transform with a canvas, for pasting."""

    @property
    def side(self) -> int: ...

    @property
    def margin(self) -> int: ...


def _turn(picture: Image.Image, transform: Transform, degrees: float) -> Image.Image:
    return picture.rotate(degrees, Image.Resampling.BILINEAR)


def _paste(picture: Image.Image, transform: _Canvas, row: float = 0, column: float = 0) -> Image.Image:
    canvas = Image.new("F", (transform.side, transform.side))
    canvas.paste(picture, (transform.margin + round(column), transform.margin + round(row)))
    return canvas


def _turn_and_paste(
    picture: Image.Image, transform: RotationAndShift, degrees: float, row: float, column: float
) -> Image.Image:
    return _paste(_turn(picture, transform, degrees), transform, row, column)


def _fetch(picture: Image.Image, transform: _Canvas, linear: Sequence[Sequence[float]]) -> Image.Image:
    """Draw on the transform's canvas; `linear` maps each (column, row) from the centre to its place in the picture."""
    middle = transform.side / 2
    places = [number for line in linear for number in (*line, middle * (1 - sum(line)))]
    canvas = _paste(picture, transform)
    return canvas.transform(canvas.size, Image.Transform.AFFINE, places, Image.Resampling.BILINEAR)


def _scale(picture: Image.Image, transform: Scale, octaves: float) -> Image.Image:
    return _fetch(picture, transform, ((2**-octaves, 0), (0, 2**-octaves)))


def _shear(picture: Image.Image, transform: Shear, columns: float) -> Image.Image:
    return _fetch(picture, transform, ((1, -columns), (0, 1)))


def _turn_sheet(picture: Image.Image, transform: Sheet, degrees: float) -> Image.Image:
    """Write each pixel of a sheet that turns in depth on the two columns between which it is seen."""
    turn, middle = math.radians(degrees), (picture.width - 1) / 2
    pixels = _tensor(picture)[0].add(1).tolist()
    written = [[0.0] * picture.width for _ in range(picture.height)]
    for column in range(picture.width):
        place = column / middle - 1
        depth = transform.bend * math.sin(math.pi * place)
        seen = (place * math.cos(turn) + depth * math.sin(turn) + 1) * middle
        left = math.floor(seen)
        for target, share in ((left, left + 1 - seen), (left + 1, seen - left)):
            if 0 <= target < picture.width:
                for row in range(picture.height):
                    written[row][target] += share * pixels[row][column]
    view = Image.new("F", picture.size)
    view.putdata([min(ink, 2.0) for row in written for ink in row])
    return view


def _move_two(picture: Image.Image, transform: TwoObjects, degrees: float, row: float, column: float) -> Image.Image:
    """Of two digits, one above the other in `picture`: make both smaller, turn one and shift one, and add their ink."""
    ink = torch.zeros(1, transform.side, transform.side)
    for half, (turn, down, right) in enumerate(((degrees, 0, 0), (0, row, column))):
        cos, sin = (of(math.radians(turn)) / transform.size for of in (math.cos, math.sin))
        across = right + (half - 0.5) * transform.apart
        single = picture.crop((0, 28 * half, 28, 28 * half + 28))
        canvas, middle = _paste(single, transform), transform.side / 2
        x, y = middle + across, middle + down
        places = (cos, -sin, middle - cos * x + sin * y, sin, cos, middle - sin * x - cos * y)
        ink += _tensor(canvas.transform(canvas.size, Image.Transform.AFFINE, places, Image.Resampling.BILINEAR)) + 1
    view = Image.new("F", (transform.side, transform.side))
    view.putdata(ink.clamp(max=2).flatten().tolist())
    return view


_MOVES: dict[type[Transform], Callable[..., Image.Image]] = {
    Shift: _paste,
    Sheet: _turn_sheet,  # before what it is a kind of
    Rotation: _turn,
    TwoObjects: _move_two,  # before what it is a kind of
    RotationAndShift: _turn_and_paste,
    Scale: _scale,
    Shear: _shear,
}


def mover(transform: Transform) -> Callable[..., Image.Image]:
    """The function that makes a transform with Pillow, from a picture, the transform and the numbers of a value.

    Raises
    ------
    ValueError
        The port does not know the transform.
    """
    for kind, move in _MOVES.items():
        if isinstance(transform, kind) and type(transform).apply is kind.apply:  # its own, or inherited
            return move
    raise ValueError(
        f"the straightforward port cannot make a {type(transform).__name__}: add it to gencaps_lib/bench/naive.py"
    )


class PortedDigits(Dataset):
    """Digits in the straightforward port: Pillow transforms each one when it is requested.

    An item is what the model is shown (1, 28, 28), its label, the value (dimensions,) of the transform, and the target.
    """

    def __init__(self, digits: Digits, task: Task, seed: int = 0) -> None:
        digits = task.scenes(digits)
        self.images, self.labels = (digits.images.flatten(1, 2) + 1).cpu().numpy(), digits.labels.tolist()
        self.move = mover(task.transform)
        self.task, self.random = task, random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int, Tensor, Tensor]:
        picture = Image.fromarray(self.images[index])
        transform, (low, high) = self.task.transform, self.task.seen[self.labels[index]]
        if isinstance(transform, Shift):
            value = torch.tensor([self.random.randint(low, high) for _ in range(2)])
        elif isinstance(transform, Rotation):
            value = torch.tensor([self.random.uniform(low, high)], dtype=torch.float32)
        else:
            first, last = (torch.tensor([end], dtype=torch.float32) for end in (low, high))
            value = transform.draw(first, last, self.generator)[0]
        target = _tensor(self.move(picture, transform, *value.tolist()))
        shown = self.task.picture(_tensor(picture).unflatten(1, (-1, 28)))[0]
        return shown, self.labels[index], value, target


def _tensor(picture: Image.Image) -> Tensor:
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.float32)
    return pixels.view(1, picture.height, picture.width) - 1


class Port(Trainer):
    """The straightforward port: batches come from a DataLoader, and Python reads each loss."""

    def __init__(self, model: nn.Module, task: Task, digits: Digits, steps: int, device: str, **options) -> None:
        super().__init__(model, task, digits.first(1).to(device), steps, **options)
        data = PortedDigits(digits, task)
        sampler = RandomSampler(data, replacement=True, num_samples=steps * self.batch)
        self.batches = iter(DataLoader(data, self.batch, sampler=sampler))

    def draw(self) -> Batch:
        images, labels, values, target = (part.to(self.device) for part in next(self.batches))
        return Batch(images, labels, self.task.code(values), target)

    def step(self) -> None:
        super().step()
        self.losses[-1].item()
