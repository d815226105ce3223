"""A classifier that judges drawings: a small network trained on every digit under every value of the transform.

A squared error says how far a drawing is from its target, but not whether a '4' is still a '4'.

References
----------
Simard, Steinkraus, Platt (2003), "Best practices for convolutional neural networks applied to visual document
analysis": small convolutional networks with strided convolutions for digits. The sizes are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencaps_lib.data import Digits
from gencaps_lib.evaluation.curves import Curve, by_digit, over_grid
from gencaps_lib.tasks import Batch, Task, training_ranges
from gencaps_lib.training import Optimiser, fit
from gencaps_lib.transforms import check_images

DIGITS = 10
HALF_TURN = (6, 9)  # the same shape, half a turn apart


def classes_of(task: Task) -> tuple[int, ...]:
    """The class of each of the ten digits: its own, except that a 9 is in the 6's class if digits turn far.

    If a task's grid, from end to end, spans half a turn, a 6 at one angle looks like a 9 at another. No classifier can
    tell which digit was turned, so the two are one class.
    """
    # In small steps, so that the angle can be followed past 180°.
    values = task.transform.along_grid(torch.linspace(min(task.grid), max(task.grid), 1001))
    linear = task.transform.matrix(task.transform.parameters(task.code(values)))[:, :2, :2]
    # The angle of the rotation nearest to a matrix [[a, b], [c, d]].
    turned = torch.atan2(linear[:, 1, 0] - linear[:, 0, 1], linear[:, 0, 0] + linear[:, 1, 1])
    one, other = HALF_TURN
    classes = list(range(DIGITS))
    if np.ptp(np.unwrap(turned.numpy())) >= math.pi - 1e-3:  # but for rounding
        classes[other] = one
    return tuple(classes)


class Recogniser(nn.Module):
    """Two strided convolutions and two dense layers: images (B, 1, side, side) → scores (B, 10) of the classes.

    Parameters
    ----------
    side : side of the images, in pixels
    classes : the class of each of the ten digits, see `classes_of`
    maps : feature maps of the two convolutions (kernels 5 and 3, stride 2)
    hidden : width of the first dense layer
    seed : seed of the weights; the global generator is not changed

    Attributes
    ----------
    classes : (10,) int64
    """

    classes: Tensor

    def __init__(
        self, side: int, classes: tuple[int, ...], maps: tuple[int, int] = (24, 48), hidden: int = 128, seed: int = 0
    ) -> None:
        super().__init__()
        if len(classes) != DIGITS:
            raise ValueError(f"classes must have one class for each of the ten digits; got {len(classes)}")
        self.side = side
        self.register_buffer("classes", torch.tensor(classes))
        quarter = -(-side // 4)  # side of the maps before the dense layers: side / 4, rounded up
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Conv2d(1, maps[0], 5, stride=2, padding=2),
                nn.ReLU(),
                nn.Conv2d(maps[0], maps[1], 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(maps[1] * quarter**2, hidden),
                nn.ReLU(),
                nn.Linear(hidden, DIGITS),
            )

    def forward(self, images: Tensor) -> Tensor:
        check_images(images)
        if images.shape[2:] != (self.side, self.side):
            raise ValueError(
                f"this recogniser needs images of {self.side}×{self.side} pixels, those of its task; "
                f"got {tuple(images.shape)}"
            )
        return self.layers(images)

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The cross-entropy of the transformed images' classes, twice: to minimise, and to record."""
        loss = F.cross_entropy(self(batch.target), self.classes[batch.labels])
        return loss, loss.detach()

    @torch.no_grad()
    def recognises(self, images: Tensor, labels: Tensor) -> Tensor:
        """Whether each image (B, 1, side, side) is recognised as the digit of its label (B,): (B,) bool."""
        return self(images).argmax(1) == self.classes[labels]  # over the classes


def train_recogniser(
    task: Task, digits: Digits, steps: int = 1000, seed: int = 0, batch: int = 64, progress: bool = True
) -> Recogniser:
    """Train a recogniser on all ten digits, over the whole range of a task's grid.

    It sees transforms that the task hides from the models under test. It never sees the models' drawings.

    Parameters
    ----------
    task : gives the transform and the grid; its training ranges are ignored
    digits : training digits, with images of all ten
    steps, batch, progress : as in `training.fit`
    seed : seed of the weights and of the batches

    Raises
    ------
    ValueError
        A digit has no image.
    """
    missing = sorted(set(range(DIGITS)) - set(digits.labels.tolist()))
    if missing:
        raise ValueError(f"a recogniser must see every digit; there is no image of {', '.join(map(str, missing))}")
    everything = replace(task, seen=training_ranges((min(task.grid), max(task.grid)), {}))
    recogniser = Recogniser(task.transform.side, classes_of(task), seed=seed).to(digits.images.device)
    optimiser = Optimiser("adam", 3e-3, "one-cycle", {"fused": True})
    fit(recogniser, everything, digits, steps, seed, optimiser, batch, progress)
    return recogniser


@torch.no_grad()
def recognised(model: nn.Module, recogniser: Recogniser, task: Task, digits: Digits, batch: int = 500) -> Curve:
    """Per digit, the share of a model's drawings that the recogniser names correctly, at each point of the grid.

    Parameters
    ----------
    model : a model with ``encode(images)`` and ``decode(latent, code)``
    recogniser : trained for the same task, see `train_recogniser`; `recognisable` says how good it is
    task : gives the transform and the grid
    digits : test digits, on the model's device
    batch : images drawn at once

    Raises
    ------
    ValueError
        No digits, or drawings whose size is not the recogniser's.
    """
    return _seen(recogniser, task, digits, batch, lambda images, values: model(images, task.code(values)))


@torch.no_grad()
def recognisable(recogniser: Recogniser, task: Task, digits: Digits, batch: int = 500) -> Curve:
    """The same share for the true transformed digits: the recogniser's result for a perfect model.

    Takes the arguments of `recognised`, and raises what it raises.
    """
    return _seen(recogniser, task, digits, batch, task.target)


def _seen(
    recogniser: Recogniser, task: Task, digits: Digits, batch: int, shown: Callable[[Tensor, Tensor], Tensor]
) -> Curve:
    """Per digit, the share of the images ``shown(images, values)`` that are recognised."""

    def right(rows: slice, values: Tensor) -> Tensor:
        return recogniser.recognises(shown(digits.images[rows], values), digits.labels[rows])

    return by_digit(over_grid(task, digits, batch, right), digits.labels)
