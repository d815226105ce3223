"""Evaluation of models: loss curves over a task's grid, bounds, and ratios that show if a transform transferred."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

from gencaps_lib.data import Digits
from gencaps_lib.tasks import Task, check_drawn
from gencaps_lib.transforms import BACKGROUND

Curve = dict[int, list[float]]
ImageMeans = dict[int, dict[str, list[float]]]


class DrawingModel(Protocol):
    """What evaluation needs of a model that draws, for example an `Autoencoder`."""

    training: bool

    def encode(self, images: Tensor) -> Tensor:
        """Latent codes (B, z) of untransformed images (B, 1, 28, 28)."""
        ...

    def decode(self, latent: Tensor, code: Tensor) -> Tensor:
        """Images (B, 1, side, side) of latent codes (B, z) under transform codes (B, code_length)."""
        ...

    def train(self, mode: bool) -> object:
        """Switch training mode on or off."""
        ...

    def eval(self) -> object:
        """Switch training mode off."""
        ...


@torch.no_grad()
def image_losses(model: DrawingModel, task: Task, digits: Digits, batch: int = 500) -> Tensor:
    """The mean squared error of every image at every point of the grid.

    Parameters
    ----------
    model : a model that draws
    task : gives the transform and the grid
    digits : M test digits, on the model's device
    batch : images decoded at once

    Returns
    -------
    (M, G), for pixels in [-1, 1], on the CPU

    Raises
    ------
    ValueError
        No digits, or a batch below 1.
    """
    _check(digits, batch)
    was_training = model.training
    digits = task.scenes(digits)
    model.eval()
    try:
        latents = torch.cat([model.encode(task.picture(images)) for images in digits.images.split(batch)])
        return _errors(task, digits, batch, lambda rows, values: model.decode(latents[rows], task.code(values)))
    finally:
        model.train(was_training)


def _check(digits: Digits, batch: int) -> None:
    if len(digits) == 0:
        raise ValueError("there are no digits to evaluate on")
    if batch < 1:
        raise ValueError(f"batch must be at least 1; got {batch}")


def over_grid(task: Task, digits: Digits, batch: int, score: Callable[[slice, Tensor], Tensor]) -> Tensor:
    """Score every image at every point of a task's grid, in batches. Every curve is made with this loop.

    Parameters
    ----------
    task : gives the grid
    digits : M test digits
    batch : images scored at once
    score : rows of the digits, and a value of the transform for each row (B, dimensions) → scores (B,)

    Returns
    -------
    (M, G), on the CPU

    Raises
    ------
    ValueError
        No digits, or a batch below 1.
    """
    _check(digits, batch)
    device = digits.images.device
    scores = torch.empty(len(digits), len(task.grid), device=device)  # there, so that Python does not wait
    for column, value in enumerate(task.grid_values(device)):
        for start in range(0, len(digits), batch):
            rows = slice(start, min(start + batch, len(digits)))
            scores[rows, column] = score(rows, value.expand(rows.stop - rows.start, -1)).to(scores.dtype)
    return scores.cpu()


def _errors(task: Task, digits: Digits, batch: int, draw: Callable[[slice, Tensor], Tensor]) -> Tensor:
    """Mean squared errors (M, G) between ``draw(rows, values)`` and the transformed digits."""
    digits = task.scenes(digits)

    def error(rows: slice, values: Tensor) -> Tensor:
        drawn, target = draw(rows, values), task.target(digits.images[rows], values)
        check_drawn(drawn, target)
        return (drawn - target).square().mean((1, 2, 3))

    return over_grid(task, digits, batch, error)


def by_digit(losses: Tensor, labels: Tensor) -> Curve:
    """Average losses (M, G) over each digit's images: digit → its curve of G values."""
    labels = labels.cpu()
    return {int(digit): losses[labels == digit].mean(0).tolist() for digit in labels.unique()}


def image_means(losses: Tensor, labels: Tensor, task: Task) -> ImageMeans:
    """For each image of the held-out digits, the mean loss inside and outside their training range.

    Parameters
    ----------
    losses : (M, G), from `image_losses`
    labels : (M,)
    task : gives the grid, the range and the held-out digits

    Returns
    -------
    digit → ``"inside"`` and ``"outside"`` → the mean of each image, rounded to 5 decimals
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
    """The `loss_curve` and the `image_means` of a model, from one evaluation."""
    losses = image_losses(model, task, digits, batch)
    return by_digit(losses, digits.labels), image_means(losses, digits.labels, task)


def blank_curve(task: Task, digits: Digits, batch: int = 500) -> Curve:
    """The loss curve of an image that is background everywhere, that is, of a model that draws nothing."""
    paper, side = torch.tensor(BACKGROUND, device=digits.images.device), task.transform.side
    return by_digit(
        _errors(task, digits, batch, lambda rows, values: paper.expand(len(values), 1, side, side)), digits.labels
    )


def mean_inside(curve: Sequence[float], task: Task) -> float:
    """Mean of one digit's curve over the points inside the held-out digits' training range."""
    return _mean([loss for point, loss in zip(task.grid, curve, strict=True) if task.is_inside(point)])


def mean_outside(curve: Sequence[float], task: Task) -> float:
    """Mean of one digit's curve over the points outside the held-out digits' training range."""
    return _mean([loss for point, loss in zip(task.grid, curve, strict=True) if task.is_outside(point)])


def transfer_ratio(curve: Sequence[float], task: Task) -> float:
    """Mean loss outside the training range ÷ mean loss inside it, of one digit's curve.

    It is 1 if the transform transferred fully, and infinite if the loss inside the range is zero.
    """
    inside, outside = mean_inside(curve, task), mean_outside(curve, task)
    return outside / inside if inside else float("inf")


def near_far_ratio(curve: Sequence[float], task: Task) -> float:
    """Mean loss at 20° to 60° from the middle of the held-out digits' range ÷ mean loss at more than 90° from it.

    Peaks are left out. Above 1, a model that saw a digit at one angle is *worse* near that angle than opposite it on
    the circle.
    """
    kept = _by_distance(curve, task)
    near = [loss for distance, loss in kept if 20 <= distance <= 60]
    far = [loss for distance, loss in kept if distance > 90]
    return _mean(near) / _mean(far)


def band_means(curve: Sequence[float], task: Task, edges: Sequence[float]) -> list[float]:
    """Mean loss in bands of distance from the middle of the held-out digits' range of angles; peaks are left out.

    Parameters
    ----------
    curve : one digit's curve
    task : a task with rotations
    edges : edges of the bands, in degrees, rising; a band includes its upper edge, not its lower one
    """
    kept = _by_distance(curve, task)
    return [_mean([loss for distance, loss in kept if low < distance <= high]) for low, high in pairwise(edges)]


def _by_distance(curve: Sequence[float], task: Task) -> list[tuple[float, float]]:
    """For each point of the grid, its distance on the circle from the middle of the range, and its loss."""
    middle = sum(task.inside) / 2
    return [
        (min((point - middle) % 360, (middle - point) % 360), loss)
        for point, loss in zip(task.grid, curve, strict=True)
        if not task.transform.is_peak(point)
    ]


def held_out_ratio(curves: Mapping[int, Sequence[float]], task: Task) -> list[float]:
    """Mean loss of the held-out digits ÷ mean loss of the others, at each point of the grid.

    If a point is hard for every digit, the ratio is near 1; if a model fails only on what it has not seen, it is large.
    """
    held = [curves[digit] for digit in task.held_out]
    others = [curve for digit, curve in curves.items() if digit not in task.held_out]
    return [
        _mean(held_losses) / _mean(other_losses)
        for held_losses, other_losses in zip(zip(*held, strict=True), zip(*others, strict=True), strict=True)
    ]


def _mean(values: Sequence[float]) -> float:
    if not values:
        raise ValueError("there is no point of the grid in this range")
    return sum(values) / len(values)


@torch.no_grad()
def answers(model: nn.Module, task: Task, digits: Digits, batch: int = 500) -> Tensor:
    """The digit that a classifier sees in every image at every point of the task's grid: (M, G), on the CPU.

    Parameters
    ----------
    model : images (B, 1, 28, 28) → scores (B, 10)
    task : gives the transform and the grid
    digits : M test digits, on the model's device
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
    """Per digit, the share of its images that a classifier names correctly, at each point of the task's grid.

    Takes the arguments of `answers`, and raises what it raises. Digits with no image in `digits` are left out.
    """
    right = answers(model, task, digits, batch) == digits.labels.cpu()[:, None]
    return by_digit(right.float(), digits.labels)


def error_curve(model: nn.Module, task: Task, digits: Digits, batch: int = 500) -> Curve:
    """Per digit, the share of its images that a classifier names incorrectly: one minus `accuracy_curve`."""
    return {
        digit: [1 - accuracy for accuracy in curve]
        for digit, curve in accuracy_curve(model, task, digits, batch).items()
    }
