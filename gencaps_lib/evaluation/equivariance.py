"""How well a decoder transforms: its drawing beside its own moved drawing, what it learned beside the true group.

References
----------
Cohen, Welling (2016), "Group equivariant convolutional networks": equivariance as a property that can be checked.
The measures are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import torch
from torch import Tensor

from gencaps_lib.models import ComposedCapsules
from gencaps_lib.routing import route_by_address
from gencaps_lib.transforms import inverse, warp


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
