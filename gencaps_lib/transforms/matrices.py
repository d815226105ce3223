"""Affine maps as matrices, and one-parameter groups: the exponentials of generators.

A matrix (3, 3) with last row (0, 0, 1) acts on (row, column, 1); one of (4, 4) on (row, column, depth, 1). Rows run
downwards. The picture spans [-1, 1], from the first cell's centre to the last cell's, as in `routing.to_index_space`: a
pixel's side is 2 / (side − 1).

References
----------
Rao, Ruderman (1999), "Learning Lie groups for invariant visual perception": a transform as the exponential of a
learned generator, which acts on pixels there, and on addresses here.
Moler, Van Loan (2003), "Nineteen dubious ways to compute the exponential of a matrix": scaling and squaring.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_HALVINGS = 6
_TERMS = 7


def cells(side: int, dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> Tensor:
    """The centres (side², 2) of the cells of a square picture as (row, column), row by row."""
    span = torch.linspace(-1, 1, side, dtype=dtype, device=device)
    return torch.cartesian_prod(span, span)


def affine(linear: Tensor, offset: Tensor) -> Tensor:
    """The matrices (…, 3, 3) of p ↦ linear·p + offset, for linear (…, 2, 2) and offset (…, 2)."""
    upper = torch.cat([linear, offset[..., None]], -1)  # (…,2,3)
    last = torch.zeros_like(upper[..., :1, :])
    last[..., 2] = 1
    return torch.cat([upper, last], -2)


def rotation(radians: Tensor) -> Tensor:
    r"""The matrices (B, 3, 3) of rotations about the centre by angles (B,), counter-clockwise on the screen.

    Equation :eq:`eq-rotation`: with rows downwards, :math:`(r, q)` becomes
    :math:`(r \cos\theta - q \sin\theta,\ r \sin\theta + q \cos\theta)`.
    """
    cos, sin = radians.cos(), radians.sin()
    linear = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)  # (B,2,2)
    return affine(linear, torch.zeros_like(linear[..., 0]))


def translation(offsets: Tensor) -> Tensor:
    """The matrices (B, 3, 3) of shifts by offsets (B, 2), in the unit in which the picture spans [-1, 1]."""
    identity = torch.eye(2, dtype=offsets.dtype, device=offsets.device)
    return affine(identity.expand(len(offsets), 2, 2), offsets)


def inverse(matrices: Tensor) -> Tensor:
    """The inverses (B, 3, 3) of affine matrices (B, 3, 3); not finite for a matrix without an inverse."""
    # In closed form: PyTorch's function checks its result in Python, which is not possible in a CUDA graph.
    (a, b), (c, d) = (row.unbind(1) for row in matrices[:, :2, :2].unbind(1))
    adjugate = torch.stack([torch.stack([d, -b], 1), torch.stack([-c, a], 1)], 1)
    linear = adjugate / (a * d - b * c)[:, None, None]
    return affine(linear, -(linear @ matrices[:, :2, 2:])[..., 0])


def move(matrices: Tensor, points: Tensor) -> Tensor:
    """Move points (B, N, D) by matrices (B, D + 1, D + 1), one matrix for each row of the batch: (B, N, D)."""
    axes = points.shape[-1]
    return points @ matrices[:, :axes, :axes].transpose(1, 2) + matrices[:, None, :axes, -1]


def in_the_plane(matrices: Tensor) -> Tensor:
    """What matrices (B, n, n) do to points without depth, as (B, 3, 3): their rows and columns 1, 2 and last."""
    # In slices: an index of Python's numbers would be copied to the device, which is not possible in a CUDA graph.
    rows = torch.cat([matrices[:, :2], matrices[:, -1:]], 1)
    return torch.cat([rows[..., :2], rows[..., -1:]], 2)


def matrix_exponential(matrices: Tensor) -> Tensor:
    r"""The exponentials of square matrices (B, n, n), by scaling and squaring a Taylor polynomial.

    .. math:: e^M \approx \Bigl( \sum_{k=0}^{7} \frac{(M / 2^6)^k}{k!} \Bigr)^{2^6}

    Accurate to single precision for norms up to 4π, two full turns. The number of squarings is fixed, so that a CUDA
    graph can be captured; ``torch.linalg.matrix_exp`` reads the norms to choose it.
    """
    small = matrices / 2**_HALVINGS
    identity = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    result = identity
    for k in range(_TERMS, 0, -1):  # Horner's rule
        result = identity + small @ result / k
    for _ in range(_HALVINGS):
        result = result @ result
    return result


def exponential(parameters: Tensor, generators: Tensor, factors: Sequence[int]) -> Tensor:
    r"""The transform's matrix from its parameters and generators: a product of exponentials.

    .. math:: A(t) = e^{F_m} \cdots e^{F_2} e^{F_1}, \qquad F_i = \sum_{k \in i} t_k G_k

    Factor i takes the next ``factors[i]`` parameters; the first factor acts on a point first. Within a factor,
    generators are added; this is right for transforms that commute, for example shifts along two axes. Transforms that
    do not commute (rotate, then shift) need a factor each: one exponential of their sum would move points along an arc.

    Parameters
    ----------
    parameters : (B, K), the t
    generators : (K, n, n), the G; their last rows are zero
    factors : number of parameters of each factor; the sum is K

    Returns
    -------
    (B, n, n)
    """
    product, *later = exponentials(parameters, generators, factors)
    for factor in later:
        product = factor @ product
    return product


def exponentials(parameters: Tensor, generators: Tensor, factors: Sequence[int]) -> list[Tensor]:
    """The factors of `exponential`, (B, n, n) each, which takes the same arguments."""
    pieces = zip(parameters.split(list(factors), 1), generators.split(list(factors)), strict=True)
    return [matrix_exponential(torch.einsum("bk,kij->bij", t, generator)) for t, generator in pieces]
