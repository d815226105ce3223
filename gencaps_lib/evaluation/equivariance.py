"""Judging what a model makes of a transform: against the exact warp of its own drawing, and against the true group.

A model's loss mixes two things, how well it draws and how well it transforms. Here the second is taken by itself: the
model's untransformed drawing is moved by the true matrix, and what the model draws is compared with that.

References
----------
Cohen, Welling (2016), "Group equivariant convolutional networks": equivariance as a property that can be checked.
The measures are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gencaps_lib.data import Digits
from gencaps_lib.evaluation.curves import (
    Curve,
    DrawingModel,
    by_digit,
    over_grid,
)
from gencaps_lib.models import ComposedCapsules
from gencaps_lib.routing import route_by_address
from gencaps_lib.tasks import Task
from gencaps_lib.transforms import Transform, exponential, inverse, warp


def _matrices(transform: Transform, code: Tensor) -> Tensor:
    """The true matrices (B, 3, 3) of codes (B, code_length)."""
    return transform.matrix(transform.parameters(code))


def _code_at(task: Task, point: float, like: Tensor) -> Tensor:
    """The code of a point of a grid, for each row of `like` and on its device."""
    values = task.transform.along_grid(torch.tensor([point], dtype=torch.float32, device=like.device))
    return task.code(values).expand(len(like), -1)


def _untransformed(model: DrawingModel, task: Task, images: Tensor) -> tuple[Tensor, Tensor]:
    """The latent codes of images, and what the model draws where the transform does nothing."""
    latent = model.encode(images)
    return latent, model.decode(latent, _code_at(task, 0.0, latent))


@torch.no_grad()
def warp_curve(model: DrawingModel, task: Task, digits: Digits, batch: int = 500) -> Curve:
    """The loss curve that the model would have, if it transformed its own drawings exactly.

    What it draws at the identity is moved by the true matrix, with bilinear interpolation. It is a bound, not a law:
    a model that draws shifts or rotations better than it draws the identity can fall below it.

    Takes the arguments of `evaluation.loss_curve`, and raises what it raises.
    """
    if len(digits):
        drawn = torch.cat([_untransformed(model, task, images)[1] for images in digits.images.split(batch)])

    def error(rows: slice, values: Tensor) -> Tensor:
        warped = warp(drawn[rows], _matrices(task.transform, task.code(values)))
        return (warped - task.target(digits.images[rows], values)).square().mean((1, 2, 3))

    return by_digit(over_grid(task, digits, batch, error), digits.labels)


def normalised_gap(model: Sequence[float], warped: Sequence[float], blank: Sequence[float]) -> list[float]:
    """What a model loses by its transforming: 0 for the exact warp of its own drawing, 1 for drawing nothing.

    (model − warp) ÷ (blank − warp), point by point, of one digit's curves: `evaluation.loss_curve`, `warp_curve` and
    `evaluation.blank_curve`. Not a number where the warp is no better than a blank image, which leaves no scale.
    """
    points = zip(model, warped, blank, strict=True)
    return [(loss - best) / (nothing - best) if nothing > best else math.nan for loss, best, nothing in points]


@torch.no_grad()
def made_transform(model: DrawingModel, task: Task, images: Tensor, candidates: Sequence[float]) -> Tensor:
    """Which transform a model made, where each point of the task's grid was asked for.

    What it draws is compared with its own untransformed drawing, moved by the true matrix of each candidate; the one
    with the least squared difference is the answer.

    Parameters
    ----------
    model : that draws
    task : sets the grid
    images : (M, 1, 28, 28), untransformed
    candidates : points of a grid, which may be finer and longer than the task's

    Returns
    -------
    (M, G), a candidate for each image and each point of the task's grid

    Raises
    ------
    ValueError
        No candidates.
    """
    if not candidates:
        raise ValueError("there are no candidates to search")
    latent, drawn = _untransformed(model, task, images)
    warped = torch.stack(
        [warp(drawn, _matrices(task.transform, _code_at(task, point, drawn))) for point in candidates], 1
    ).flatten(2)  # (M,K,side²)
    made = []
    for point in task.grid:
        shown = model.decode(latent, _code_at(task, point, latent)).flatten(1)  # (M,side²)
        made.append((warped - shown[:, None]).square().mean(2).argmin(1))
    return torch.tensor(candidates, device=images.device)[torch.stack(made, 1)]


@torch.no_grad()
def equivariance_error(decoder: ComposedCapsules, latent: Tensor, code: Tensor, identity: Tensor) -> float:
    r"""How far a decoder is from drawing the same object, moved by its own matrix: 0 where it is equivariant.

    Its drawing at `code` is compared with its drawing at `identity` moved by :math:`A(t) A(0)^{-1}`, whatever A it
    has. What is left is the interpolation, of the addresses' kernel on one side and of the warp on the other.

    Parameters
    ----------
    decoder : the parts must stay on the map
    latent : (B, z)
    code : (B, code_length)
    identity : (B, code_length), the code of the transform that does nothing

    Returns
    -------
    The mean squared difference over the variance of the moved drawing.
    """
    own = decoder.act(code) @ inverse(decoder.act(identity))
    moved = warp(decoder(latent, identity), own)
    return ((decoder(latent, code) - moved).square().mean() / moved.var()).item()


@torch.no_grad()
def generator_error(learned: Tensor, true: Tensor) -> list[float]:
    r"""The distance of each learned generator to the true one, relative: :math:`\|G - G^*\| / \|G^*\|`.

    Entries are compared as they stand, for nothing about them is free. Parts may be put in another frame, p = P p', but
    then A(t)p = exp(tG) P p' is no exponential any more unless P = 1: at t = 0 the address is p itself, in the image's
    frame, and t comes in the transform's own unit. (A `composed.LearnedMap` has that freedom: only A(t)A(0)⁻¹ means
    something there.) One thing cannot be told apart: where t takes separate values only, generators whose
    exponentials agree on these, a whole number of turns apart.

    Parameters
    ----------
    learned, true : (K, 3, 3)

    Returns
    -------
    K numbers; 1 for a generator of zeros

    Raises
    ------
    ValueError
        Shapes that differ.
    """
    if learned.shape != true.shape or learned.dim() != 3:
        raise ValueError(f"generators must both have shape (K, 3, 3); got {tuple(learned.shape)}, {tuple(true.shape)}")
    return ((learned - true).norm(dim=(1, 2)) / true.norm(dim=(1, 2))).tolist()


@torch.no_grad()
def commutator_error(learned: Tensor, true: Tensor) -> float:
    r"""Whether two learned transforms get in each other's way as the true ones do.

    .. math:: \| [G_1, G_2] - [G_1^*, G_2^*] \| / \| [G_1^*, G_2^*] \|, \qquad [A, B] = AB - BA

    To turn by a little, shift by a little and undo both, in that order, leaves a displacement, which to second order is
    their commutator.

    Parameters
    ----------
    learned, true : (2, 3, 3), two generators each

    Returns
    -------
    0 for the true ones, 1 for any two that commute

    Raises
    ------
    ValueError
        Shapes that differ or are not of two generators, or true ones that commute, which leaves no scale.
    """
    if learned.shape != (2, 3, 3) or true.shape != (2, 3, 3):
        raise ValueError(
            f"a commutator is that of two generators, (2, 3, 3); got {tuple(learned.shape)}, {tuple(true.shape)}"
        )
    found, expected = (one @ other - other @ one for one, other in (learned, true))
    if not expected.any():
        raise ValueError("the true generators commute: there is nothing that an error could be relative to")
    return ((found - expected).norm() / expected.norm()).item()


@torch.no_grad()
def full_turn_drift(generator: Tensor) -> float:
    r"""Where a learned generator of rotations ends after a full turn, in degrees of arc from where it began.

    The root mean square over the unit circle of :math:`|e^{2\pi G} p - p|`, an arc of that many radians for small ones.
    It is 0 for the generator of rotations, and for that of any turning about any point, forwards or backwards, a whole
    number of times: look at `generator_error`, too.

    Parameters
    ----------
    generator : (3, 3)
    """
    turned = exponential(torch.full((1, 1), 2 * math.pi, device=generator.device), generator[None], (1,))[0]
    away = turned - torch.eye(3, device=generator.device)
    # Of |L p + b|² the mean over the circle is ‖L‖²/2 + |b|².
    mean = away[:2, :2].square().sum() / 2 + away[:2, 2].square().sum()
    return math.degrees(mean.sqrt().item())


@torch.no_grad()
def address_equivariance_error(
    paint: Callable[[Tensor], Tensor], addresses: Tensor, activations: Tensor, size: int, cells: float
) -> float:
    """How far painting moved capsules is from moving the painted picture: 0 where the decoder is equivariant.

    Parameters
    ----------
    paint : maps (B, C, S, S) → images (B, 1, 4S, 4S)
    addresses, activations, size : as in `route_by_address`; the capsules must stay on the map
    cells : how far the addresses are moved, along both axes, in cells; 4 · `cells` must be a whole number of pixels

    Returns
    -------
    The mean squared difference over the variance of the moved picture, away from the border.

    Raises
    ------
    ValueError
        A move that is not a whole number of pixels, or so long that nothing is left to compare.
    """
    pixels = round(4 * cells)
    if pixels != 4 * cells:
        raise ValueError(f"the move must be a whole number of pixels, a quarter of a cell each; got {cells} cells")
    border = abs(pixels) + 4  # what came in over the border, and what the painter's padding reaches
    if 4 * size - 2 * border < 1:
        raise ValueError(f"a move of {cells} cells leaves nothing of a map of {size} cells to compare")
    inner = slice(border, 4 * size - border)
    expected = paint(route_by_address(addresses, activations, size)).roll((pixels, pixels), (2, 3))[..., inner, inner]
    moved = paint(route_by_address(addresses + cells, activations, size))[..., inner, inner]
    return ((moved - expected).square().mean() / expected.var()).item()
