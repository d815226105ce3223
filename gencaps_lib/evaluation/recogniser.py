"""An independent judge of drawings: a small network that has seen every digit under every value of the transform.

A squared error says how far a drawing is from its target, and not whether the '4' is still a '4'.

References
----------
Simard, Steinkraus, Platt (2003), "Best practices for convolutional neural networks applied to visual document
analysis": small convolutional networks with strided convolutions for digits. Sizes are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

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
    """The class that each of the ten digits is to be recognised as: its own, but for a 9 where digits turn far.

    Where the angles of a task's grid span half a turn, a 6 at one end is a 9 at the other. The picture does not say
    which of them was turned, so that no judge could; the two are one class, the 6's.
    """
    values = task.grid_values()
    linear = task.transform.matrix(task.transform.parameters(task.code(values)))[:, :2, :2]
    # The angle of the rotation that is nearest to a matrix [[a, b], [c, d]].
    turned = torch.atan2(linear[:, 1, 0] - linear[:, 0, 1], linear[:, 0, 0] + linear[:, 1, 1])
    one, other = HALF_TURN
    classes = list(range(DIGITS))
    if torch.rad2deg(turned.max() - turned.min()) >= 180:
        classes[other] = one
    return tuple(classes)


class Recogniser(nn.Module):
    """Two strided convolutions and two dense layers: images (B, 1, side, side) → scores (B, 10) of the classes.

    Parameters
    ----------
    side : of the images, in pixels
    classes : the class of each of the ten digits, see `classes_of`
    maps : feature maps of the two convolutions (kernels 5 and 3, stride 2)
    hidden : width of the dense layer
    seed : of the weights; the global generator is left alone

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
            raise ValueError(f"classes needs the class of each of the ten digits; got {len(classes)}")
        self.side = side
        self.register_buffer("classes", torch.tensor(classes))
        quarter = -(-side // 4)  # of the side, rounded up: of the maps before the dense layers
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
                f"this recogniser was trained on images of {self.side}×{self.side} pixels, those of its task; "
                f"got {tuple(images.shape)}"
            )
        return self.layers(images)

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The cross-entropy of the transformed images' classes, to minimise and to record."""
        loss = F.cross_entropy(self(batch.target), self.classes[batch.labels])
        return loss, loss.detach()

    @torch.no_grad()
    def recognises(self, images: Tensor, labels: Tensor) -> Tensor:
        """Whether it sees in each image (B, 1, side, side) the digit that its label (B,) names: (B,) bool."""
        return self(images).argmax(1) == self.classes[labels]  # over the classes


def train_recogniser(
    task: Task, digits: Digits, steps: int = 1000, seed: int = 0, batch: int = 64, progress: bool = True
) -> Recogniser:
    """Train a recogniser on digits of every class, transformed by every value that a task's grid reaches.

    It sees what the task keeps from the models that are to be judged, and nothing that they draw.

    Parameters
    ----------
    task : whose transform, and whose grid; what its digits see in training is passed over
    digits : training digits, all ten of them
    steps, batch, progress : as in `training.fit`
    seed : of the weights and of the batches

    Raises
    ------
    ValueError
        A digit of which there is no image.
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
    """Per digit, the share of what a model draws in which a recogniser sees that digit, at each point of the grid.

    Parameters
    ----------
    model : with ``encode(images)`` and ``decode(latent, code)``
    recogniser : of the same task, see `train_recogniser`; `recognisable` says how good it is
    task : sets the grid
    digits : test digits, on the model's device
    batch : images drawn at once

    Raises
    ------
    ValueError
        No digits, or drawings of another size than the recogniser was trained on.
    """
    return _seen(recogniser, task, digits, batch, lambda images, values: model(images, task.code(values)))


@torch.no_grad()
def recognisable(recogniser: Recogniser, task: Task, digits: Digits, batch: int = 500) -> Curve:
    """The same for the true transformed digits: a perfect model's share, as far as the recogniser can tell.

    Takes the arguments of `recognised`, and raises what it raises.
    """
    return _seen(recogniser, task, digits, batch, task.target)


def _seen(
    recogniser: Recogniser, task: Task, digits: Digits, batch: int, shown: Callable[[Tensor, Tensor], Tensor]
) -> Curve:
    """The share of the images ``shown(images, values)`` that are recognised."""

    def right(rows: slice, values: Tensor) -> Tensor:
        return recogniser.recognises(shown(digits.images[rows], values), digits.labels[rows])

    return by_digit(over_grid(task, digits, batch, right), digits.labels)
