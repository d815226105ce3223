"""How well a model transforms: compared with the exact warp of its own drawing, and with the true group.

A model's loss mixes two things: how well it draws, and how well it transforms. This module measures the second alone:
the true matrix moves the model's untransformed drawing, and the model's transformed drawing is compared with it.

References
----------
Cohen, Welling (2016), "Group equivariant convolutional networks": equivariance as a property that can be checked.
The measures are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import permutations

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
    """The latent codes of images, and the model's drawings at the identity."""
    latent = model.encode(task.picture(images))
    return latent, model.decode(latent, _code_at(task, 0.0, latent))


@torch.no_grad()
def warp_curve(model: DrawingModel, task: Task, digits: Digits, batch: int = 500) -> Curve:
    """The loss curve that the model would have if it transformed its own drawings exactly.

    The true matrix moves the model's drawing at the identity, with bilinear interpolation. This is not a strict bound:
    a model that draws shifts or rotations better than the identity can have a lower loss.

    Takes the arguments of `evaluation.loss_curve`, and raises what it raises.
    """
    if len(digits):
        drawn = torch.cat([_untransformed(model, task, images)[1] for images in digits.images.split(batch)])

    def error(rows: slice, values: Tensor) -> Tensor:
        warped = warp(drawn[rows], _matrices(task.transform, task.code(values)))
        return (warped - task.target(digits.images[rows], values)).square().mean((1, 2, 3))

    return by_digit(over_grid(task, digits, batch, error), digits.labels)


def normalised_gap(model: Sequence[float], warped: Sequence[float], blank: Sequence[float]) -> list[float]:
    """The loss that comes from transforming: 0 for the exact warp of the model's own drawing, 1 for drawing nothing.

    (model − warp) ÷ (blank − warp) at each point, from one digit's curves: `evaluation.loss_curve`, `warp_curve` and
    `evaluation.blank_curve`. It is NaN where the warp is no better than a blank image.
    """
    points = zip(model, warped, blank, strict=True)
    return [(loss - best) / (nothing - best) if nothing > best else math.nan for loss, best, nothing in points]


@torch.no_grad()
def made_transform(model: DrawingModel, task: Task, images: Tensor, candidates: Sequence[float]) -> Tensor:
    """Which transform a model really made, at each point of the task's grid.

    The true matrix of each candidate moves the model's untransformed drawing. The answer is the candidate with the
    smallest squared difference from the model's transformed drawing.

    Parameters
    ----------
    model : a model that draws
    task : gives the transform and the grid
    images : (M, 1, 28, 28), untransformed
    candidates : points of a grid, which may be finer and longer than the task's

    Returns
    -------
    (M, G), the candidate for each image and each point of the task's grid

    Raises
    ------
    ValueError
        No candidates.
    """
    if not candidates:
        raise ValueError("there are no candidates: give at least one point of a grid")
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
    r"""How much a decoder's drawing differs from its untransformed drawing moved by its own matrix.

    The drawing at `code` is compared with the drawing at `identity` moved by :math:`A(t) A(0)^{-1}`, with the decoder's
    own A. An equivariant decoder has an error near 0; the rest is interpolation, by the addresses' kernel and the warp.

    Parameters
    ----------
    decoder : its parts must stay on the map
    latent : (B, z)
    code : (B, code_length)
    identity : (B, code_length), the code of the identity

    Returns
    -------
    The mean squared difference ÷ the variance of the moved drawing.
    """
    own = decoder.act(code) @ inverse(decoder.act(identity))
    moved = warp(decoder(latent, identity), own)
    return ((decoder(latent, code) - moved).square().mean() / moved.var()).item()


@torch.no_grad()
def generator_error(learned: Tensor, true: Tensor) -> list[float]:
    r"""The relative error of each learned generator: :math:`\|G - G^*\| / \|G^*\|`.

    The entries can be compared directly, because a generator is unique. Suppose that parts were in another frame,
    p = P p'. Then A(t)p = exp(tG) P p' is an exponential only if P = 1: at t = 0 the address is p itself, in the
    image's frame, and t has the transform's own unit. (A `composed.LearnedMap` is not unique: only A(t)A(0)⁻¹ has a
    meaning there.) There is one exception: if t takes only separate values, generators that differ by a whole number of
    turns have the same exponentials at these values.

    Parameters
    ----------
    learned, true : (K, 3, 3)

    Returns
    -------
    K numbers; 1 for a generator of zeros

    Raises
    ------
    ValueError
        The shapes differ.
    """
    if learned.shape != true.shape or learned.dim() != 3:
        raise ValueError(f"generators must both have shape (K, 3, 3); got {tuple(learned.shape)}, {tuple(true.shape)}")
    return ((learned - true).norm(dim=(1, 2)) / true.norm(dim=(1, 2))).tolist()


@torch.no_grad()
def spectrum_error(learned: Tensor, true: Tensor) -> float:
    r"""How far the eigenvalues of a learned generator are from those of the true one: the worst of the best pairing.

    If a coordinate is not drawn, the parts choose its origin and its unit, and may mix the others into it: G is known
    only up to a change of frame, :math:`P^{-1} G P`, and `generator_error` has no meaning. Eigenvalues stay the same in
    all frames. Those of a rotation are i, −i and zeros.

    Parameters
    ----------
    learned, true : (1, n, n) and (1, m, m); missing eigenvalues count as zeros

    Raises
    ------
    ValueError
        It is not one generator each, or one is not finite.
    """
    if any(each.dim() != 3 or len(each) != 1 for each in (learned, true)):
        raise ValueError(f"a spectrum needs one generator each; got {tuple(learned.shape)}, {tuple(true.shape)}")
    if not (learned.isfinite().all() and true.isfinite().all()):
        raise ValueError("a generator that is not finite has no spectrum: look for a diverged model")
    found, wanted = (torch.linalg.eigvals(each[0].cpu()).tolist() for each in (learned, true))
    length = max(len(found), len(wanted))
    found, wanted = (values + [0j] * (length - len(values)) for values in (found, wanted))
    return min(max(abs(a - b) for a, b in zip(found, order, strict=True)) for order in permutations(wanted))


@torch.no_grad()
def commutator_error(learned: Tensor, true: Tensor) -> float:
    r"""The relative error of the commutator of two learned generators.

    .. math:: \| [G_1, G_2] - [G_1^*, G_2^*] \| / \| [G_1^*, G_2^*] \|, \qquad [A, B] = AB - BA

    The commutator measures how much the order matters: a small rotation, a small shift, and then their inverses in the
    same order leave a displacement, which is the commutator to second order.

    Parameters
    ----------
    learned, true : (2, 3, 3), two generators each

    Returns
    -------
    0 for the true generators, 1 for any two that commute

    Raises
    ------
    ValueError
        The shapes are not (2, 3, 3), or the true generators commute, so that no relative error exists.
    """
    if learned.shape != (2, 3, 3) or true.shape != (2, 3, 3):
        raise ValueError(
            f"a commutator needs two generators, (2, 3, 3); got {tuple(learned.shape)}, {tuple(true.shape)}"
        )
    found, expected = (one @ other - other @ one for one, other in (learned, true))
    if not expected.any():
        raise ValueError("the true generators commute, so no relative error exists: choose two that do not commute")
    return ((found - expected).norm() / expected.norm()).item()


@torch.no_grad()
def full_turn_drift(generator: Tensor) -> float:
    r"""How far from its start a point is after a full turn by a learned generator of rotations, in degrees of arc.

    The root mean square over the unit circle of :math:`|e^{2\pi G} p - p|`; small distances equal an arc in radians. It
    is 0 for the generator of rotations, but also for rotation about any point, in either direction, by any whole number
    of turns. So look at `generator_error`, too.

    Parameters
    ----------
    generator : (3, 3)
    """
    turned = exponential(torch.full((1, 1), 2 * math.pi, device=generator.device), generator[None], (1,))[0]
    away = turned - torch.eye(3, device=generator.device)
    # The mean of |L p + b|² over the circle is ‖L‖²/2 + |b|².
    mean = away[:2, :2].square().sum() / 2 + away[:2, 2].square().sum()
    return math.degrees(mean.sqrt().item())


@torch.no_grad()
def address_equivariance_error(
    paint: Callable[[Tensor], Tensor], addresses: Tensor, activations: Tensor, size: int, cells: float
) -> float:
    """The difference between painting moved capsules and moving the painted picture; 0 if the decoder is equivariant.

    Parameters
    ----------
    paint : maps (B, C, S, S) → images (B, 1, 4S, 4S)
    addresses, activations, size : as in `route_by_address`; the capsules must stay on the map
    cells : how far the addresses move along both axes, in cells; 4 · ``cells`` must be a whole number of pixels

    Returns
    -------
    The mean squared difference ÷ the variance of the moved picture, away from the border.

    Raises
    ------
    ValueError
        The move is not a whole number of pixels, or so long that nothing is left to compare.
    """
    pixels = round(4 * cells)
    if pixels != 4 * cells:
        raise ValueError(f"the move must be a whole number of pixels (quarters of a cell); got {cells} cells")
    border = abs(pixels) + 4  # pixels that came in over the border, or that the painter's padding changes
    if 4 * size - 2 * border < 1:
        raise ValueError(f"a move of {cells} cells leaves nothing of a map of {size} cells to compare")
    inner = slice(border, 4 * size - border)
    expected = paint(route_by_address(addresses, activations, size)).roll((pixels, pixels), (2, 3))[..., inner, inner]
    moved = paint(route_by_address(addresses + cells, activations, size))[..., inner, inner]
    return ((moved - expected).square().mean() / expected.var()).item()
