"""Affine maps of the plane as matrices, and the one-parameter groups that exponentials of generators make.

A matrix (3, 3) with last row (0, 0, 1) acts on (row, column, 1). Rows run downwards, and the picture spans [-1, 1] from
the first cell's centre to the last one's, as in `routing.to_index_space`: a pixel is 2 / (side − 1) long.

References
----------
Rao, Ruderman (1999), "Learning Lie groups for invariant visual perception": a transform as the exponential of a
generator, which is learned; there it acts on pixels, here on addresses.
Moler, Van Loan (2003), "Nineteen dubious ways to compute the exponential of a matrix": scaling and squaring.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_HALVINGS = 6
_TERMS = 7


def cells(side: int, dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> Tensor:
    """The centres (side², 2) of a square picture's cells, (row, column), row by row."""
    span = torch.linspace(-1, 1, side, dtype=dtype, device=device)
    return torch.cartesian_prod(span, span)


def affine(linear: Tensor, offset: Tensor) -> Tensor:
    """The matrices (…, 3, 3) of p ↦ linear·p + offset, for linear (…, 2, 2) and offset (…, 2)."""
    upper = torch.cat([linear, offset[..., None]], -1)  # (…,2,3)
    last = torch.zeros_like(upper[..., :1, :])
    last[..., 2] = 1
    return torch.cat([upper, last], -2)


def rotation(radians: Tensor) -> Tensor:
    """The matrices (B, 3, 3) of rotations about the centre by angles (B,), counter-clockwise as the eye sees them."""
    cos, sin = radians.cos(), radians.sin()
    linear = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)  # (B,2,2)
    return affine(linear, torch.zeros_like(linear[..., 0]))


def translation(offsets: Tensor) -> Tensor:
    """The matrices (B, 3, 3) of shifts by offsets (B, 2), in the frame's unit."""
    identity = torch.eye(2, dtype=offsets.dtype, device=offsets.device)
    return affine(identity.expand(len(offsets), 2, 2), offsets)


def inverse(matrices: Tensor) -> Tensor:
    """The inverses (B, 3, 3) of affine matrices (B, 3, 3); not finite where there is none."""
    # In closed form: PyTorch's own looks at the result, for which a CUDA graph cannot wait.
    (a, b), (c, d) = (row.unbind(1) for row in matrices[:, :2, :2].unbind(1))
    adjugate = torch.stack([torch.stack([d, -b], 1), torch.stack([-c, a], 1)], 1)
    linear = adjugate / (a * d - b * c)[:, None, None]
    return affine(linear, -(linear @ matrices[:, :2, 2:])[..., 0])


def move(matrices: Tensor, points: Tensor) -> Tensor:
    """Points (B, N, 2) moved by the matrices (B, 3, 3), one for each row of the batch: (B, N, 2)."""
    return points @ matrices[:, :2, :2].transpose(1, 2) + matrices[:, None, :2, 2]


def matrix_exponential(matrices: Tensor) -> Tensor:
    r"""The exponentials of square matrices (B, n, n), by scaling and squaring a Taylor polynomial.

    .. math:: e^M \approx \Bigl( \sum_{k=0}^{7} \frac{(M / 2^6)^k}{k!} \Bigr)^{2^6}

    Right to single precision for norms up to 4π, two whole turns. The number of squarings is fixed, so that a CUDA
    graph can hold it: ``torch.linalg.matrix_exp`` looks at the norms to choose it.
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

    Factor i takes the next ``factors[i]`` parameters; the first acts on a point first. Within a factor generators are
    added, which suits transforms that commute, as shifts along two axes do. Transforms that do not (turn, then shift)
    get a factor each: one exponential of their sum would turn and shift at the same time, along an arc.

    Parameters
    ----------
    parameters : (B, K), the t
    generators : (K, 3, 3), the G; last rows zero
    factors : numbers of parameters of each factor, K together

    Returns
    -------
    (B, 3, 3)
    """
    pieces = zip(parameters.split(list(factors), 1), generators.split(list(factors)), strict=True)
    product, *later = [matrix_exponential(torch.einsum("bk,kij->bij", t, generator)) for t, generator in pieces]
    for factor in later:
        product = factor @ product
    return product
