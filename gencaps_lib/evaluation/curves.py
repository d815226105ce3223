"""Judging models: loss curves over a task's grid, the ratios that say whether a transform transferred, and bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

from gencaps_lib.data import Digits
from gencaps_lib.tasks import Task
from gencaps_lib.transforms import BACKGROUND

Curve = dict[int, list[float]]
ImageMeans = dict[int, dict[str, list[float]]]


class DrawingModel(Protocol):
    """A model that draws, as an `Autoencoder` does: what is asked of it to judge its drawings."""

    training: bool

    def encode(self, images: Tensor) -> Tensor:
        """Latent codes (B, z) of untransformed images (B, 1, 28, 28)."""
        ...

    def decode(self, latent: Tensor, code: Tensor) -> Tensor:
        """Images (B, 1, side, side) of latent codes (B, z) under transforms' codes (B, code_length)."""
        ...

    def train(self, mode: bool) -> object:
        """Set it to train, or not."""
        ...

    def eval(self) -> object:
        """Set it not to train."""
        ...


@torch.no_grad()
def image_losses(model: DrawingModel, task: Task, digits: Digits, batch: int = 500) -> Tensor:
    """The mean squared error of every image at every point of the grid.

    Parameters
    ----------
    model : that draws
    task : sets the grid
    digits : test digits, on the model's device
    batch : images decoded at once

    Returns
    -------
    (M, G) on pixels in [-1, 1], on the CPU

    Raises
    ------
    ValueError
        No digits.
    """
    _check_some(digits)
    was_training = model.training
    model.eval()
    try:
        latents = torch.cat([model.encode(images) for images in digits.images.split(batch)])
        return _errors(task, digits, batch, lambda rows, values: model.decode(latents[rows], task.code(values)))
    finally:
        model.train(was_training)


def _check_some(digits: Digits) -> None:
    if len(digits) == 0:
        raise ValueError("there are no digits to evaluate on")


def over_grid(task: Task, digits: Digits, batch: int, score: Callable[[slice, Tensor], Tensor]) -> Tensor:
    """Score every image at every point of a task's grid, some images at a time: the one loop behind every curve.

    Parameters
    ----------
    task : sets the grid
    digits : M test digits
    batch : images scored at once
    score : rows of the digits and a value of the transform for each (B, dimensions) → their scores (B,)

    Returns
    -------
    (M, G), on the CPU

    Raises
    ------
    ValueError
        No digits.
    """
    _check_some(digits)
    device = digits.images.device
    scores = torch.empty(len(digits), len(task.grid), device=device)  # so that Python need not wait for a GPU
    for column, value in enumerate(task.grid_values(device)):
        for start in range(0, len(digits), batch):
            rows = slice(start, min(start + batch, len(digits)))
            scores[rows, column] = score(rows, value.expand(rows.stop - rows.start, -1)).to(scores.dtype)
    return scores.cpu()


def _errors(task: Task, digits: Digits, batch: int, draw: Callable[[slice, Tensor], Tensor]) -> Tensor:
    """(M, G) mean squared errors of ``draw(rows, values)`` against the transformed digits."""
    return over_grid(
        task,
        digits,
        batch,
        lambda rows, values: (draw(rows, values) - task.target(digits.images[rows], values)).square().mean((1, 2, 3)),
    )


def by_digit(losses: Tensor, labels: Tensor) -> Curve:
    """The mean over each digit's images of losses (M, G): digit → its curve of G values."""
    labels = labels.cpu()
    return {int(digit): losses[labels == digit].mean(0).tolist() for digit in labels.unique()}


def image_means(losses: Tensor, labels: Tensor, task: Task) -> ImageMeans:
    """Of each image of the held-out digits, the mean loss inside and outside their training range.

    Parameters
    ----------
    losses : (M, G), as from `image_losses`
    labels : (M,)
    task : sets the grid, the range and the held-out digits

    Returns
    -------
    digit → ``"inside"`` and ``"outside"`` → a mean for each of its images, to 5 decimals
    """
    sides = {"inside": task.is_inside, "outside": task.is_outside}
    columns = {side: torch.tensor([counts(point) for point in task.grid]) for side, counts in sides.items()}
    labels = labels.cpu()
    return {
        digit: {
            side: [round(mean, 5) for mean in losses[labels == digit][:, chosen].mean(1).tolist()]
            for side, chosen in columns.items()
        }
        for digit in task.held_out
    }


def loss_curve(model: DrawingModel, task: Task, digits: Digits, batch: int = 500) -> Curve:
    """Per digit, the mean squared error on [-1, 1] pixels at each point of the task's grid.

    Takes the arguments of `image_losses`, and raises what it raises. Digits with no image in `digits` are left out.
    """
    return by_digit(image_losses(model, task, digits, batch), digits.labels)


def loss_curve_and_images(
    model: DrawingModel, task: Task, digits: Digits, batch: int = 500
) -> tuple[Curve, ImageMeans]:
    """The `loss_curve` and the `image_means` of a model, at the cost of one."""
    losses = image_losses(model, task, digits, batch)
    return by_digit(losses, digits.labels), image_means(losses, digits.labels, task)


def blank_curve(task: Task, digits: Digits, batch: int = 500) -> Curve:
    """The loss curve of an image that is background everywhere: what a model that draws nothing would have."""
    paper = torch.tensor(BACKGROUND, device=digits.images.device)
    return by_digit(_errors(task, digits, batch, lambda rows, values: paper), digits.labels)


def mean_inside(curve: Sequence[float], task: Task) -> float:
    """Mean of one digit's curve over the points inside the held-out digits' training range."""
    return _mean([loss for point, loss in zip(task.grid, curve, strict=True) if task.is_inside(point)])


def mean_outside(curve: Sequence[float], task: Task) -> float:
    """Mean of one digit's curve over the points outside the held-out digits' training range."""
    return _mean([loss for point, loss in zip(task.grid, curve, strict=True) if task.is_outside(point)])


def transfer_ratio(curve: Sequence[float], task: Task) -> float:
    """Loss out of the training range ÷ loss in it, of one digit's curve: 1 where the transform transferred fully.

    Infinite where there is no loss in the range.
    """
    inside, outside = mean_inside(curve, task), mean_outside(curve, task)
    return outside / inside if inside else float("inf")


def near_far_ratio(curve: Sequence[float], task: Task) -> float:
    """Loss 20° to 60° away from the middle of the held-out digits' range over loss more than 90° away, peaks left out.

    Above 1 where a model that saw a digit at one angle is *worse* near that angle than on the far side of the circle.
    """
    kept = _by_distance(curve, task)
    near = [loss for distance, loss in kept if 20 <= distance <= 60]
    far = [loss for distance, loss in kept if distance > 90]
    return _mean(near) / _mean(far)


def band_means(curve: Sequence[float], task: Task, edges: Sequence[float]) -> list[float]:
    """Mean loss in bands of distance from the middle of the held-out digits' range of angles, peaks left out.

    Parameters
    ----------
    curve : one digit's
    task : of rotations
    edges : of the bands, in degrees, rising; a band holds its upper edge, and not its lower one
    """
    kept = _by_distance(curve, task)
    return [_mean([loss for distance, loss in kept if low < distance <= high]) for low, high in pairwise(edges)]


def _by_distance(curve: Sequence[float], task: Task) -> list[tuple[float, float]]:
    """How far each point of the grid lies from the middle of the range, on the circle, and the loss there."""
    middle = sum(task.inside) / 2
    return [
        (min((point - middle) % 360, (middle - point) % 360), loss)
        for point, loss in zip(task.grid, curve, strict=True)
        if not task.transform.is_peak(point)
    ]


def held_out_ratio(curves: Mapping[int, Sequence[float]], task: Task) -> list[float]:
    """Loss of the held-out digits ÷ loss of the others, at each point of the grid.

    It tells a model that fails on what it has not seen from one that finds that point hard for every digit.
    """
    held = [curves[digit] for digit in task.held_out]
    others = [curve for digit, curve in curves.items() if digit not in task.held_out]
    return [
        _mean(held_losses) / _mean(other_losses)
        for held_losses, other_losses in zip(zip(*held, strict=True), zip(*others, strict=True), strict=True)
    ]


def _mean(values: Sequence[float]) -> float:
    if not values:
        raise ValueError("no point of the grid lies there")
    return sum(values) / len(values)


@torch.no_grad()
def answers(model: nn.Module, task: Task, digits: Digits, batch: int = 500) -> Tensor:
    """Which digit a classifier sees in every image at every point of the task's grid: (M, G), on the CPU.

    Parameters
    ----------
    model : images (B, 1, 28, 28) → scores (B, 10)
    task : sets the grid
    digits : test digits, on the model's device
    batch : images classified at once

    Raises
    ------
    ValueError
        No digits.
    """
    was_training = model.training
    model.eval()
    try:
        named = over_grid(
            task, digits, batch, lambda rows, values: model(task.target(digits.images[rows], values)).argmax(1)
        )
    finally:
        model.train(was_training)
    return named.long()


def accuracy_curve(model: nn.Module, task: Task, digits: Digits, batch: int = 500) -> Curve:
    """Per digit, the share of its images that a classifier names rightly, at each point of the task's grid.

    Takes the arguments of `answers`, and raises what it raises. Digits with no image in `digits` are left out.
    """
    right = answers(model, task, digits, batch) == digits.labels.cpu()[:, None]
    return by_digit(right.float(), digits.labels)


def error_curve(model: nn.Module, task: Task, digits: Digits, batch: int = 500) -> Curve:
    """Per digit, the share of its images that a classifier names wrongly: one minus `accuracy_curve`."""
    return {
        digit: [1 - accuracy for accuracy in curve]
        for digit, curve in accuracy_curve(model, task, digits, batch).items()
    }
