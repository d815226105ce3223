"""Routing by address: a capsule computes *where* it writes, and connects to the cells whose addresses match.

References
----------
Potapov (2018), "SingularityNET's AI Team Experiments With Generative Capsule Networks": the idea.
Graves, Wayne, Danihelka (2014), "Neural Turing Machines": addressing of memory by differentiable weights.
Jaderberg, Simonyan, Zisserman, Kavukcuoglu (2015), "Spatial Transformer Networks": the bilinear kernel, there
for reading; writing, as here, is its adjoint.
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_index_space(outputs: Tensor, size: int) -> Tensor:
    """Turn a network's outputs, in which the map spans [-1, 1], into addresses in index space, 0 … size − 1.

    (r + 1)(S − 1)/2 for an output r; any shape, element by element.
    """
    return (outputs + 1) * ((size - 1) / 2)


def route_by_address(addresses: Tensor, activations: Tensor, size: int) -> Tensor:
    r"""Write each capsule's activations at its address, on square maps.

    .. math:: M_c(i, j) = \sum_n a_{nc} \, [1 - |r_n - i|]_+ \, [1 - |q_n - j|]_+

    Equation :eq:`eq-routing`, with capsule n's address :math:`(r_n, q_n)` and its activation :math:`a_{nc}` for map
    c. The kernel is the bilinear one, so an address between cells is shared by the four around it, a capsule more
    than one cell outside the map writes nothing, and the whole is the adjoint (transpose) of bilinear sampling at the
    addresses, equation :eq:`eq-adjoint`.

    Parameters
    ----------
    addresses : (B, N, 2) floating point, (row, column) in index space: cell centres lie at 0 … size − 1
    activations : (B, N, C), of the same dtype and device; under autocast the wider dtype of the two counts
    size : side S of the maps, in cells, at least 1

    Returns
    -------
    (B, C, S, S). Differentiable in addresses and activations; at its kinks (addresses exactly on a cell) the gradient
    with respect to the address is that of PyTorch's ``abs`` and ``relu``.

    Raises
    ------
    TypeError
        Integer inputs, or two different dtypes.
    ValueError
        Wrong ranks or shapes, an empty batch, a size below 1, an address that is not a number. The last check is left
        out where it would break a CUDA graph, or a function that is compiled or mapped (``torch.func.vmap``).
    """
    if addresses.dtype != activations.dtype and torch.is_autocast_enabled(addresses.device.type):
        wider = torch.promote_types(addresses.dtype, activations.dtype)
        addresses, activations = addresses.to(wider), activations.to(wider)
    _check(addresses, activations, size)
    # The kernel is a product of a row and a column factor, so nothing of size S·S·N·C is needed: what is formed is a
    # factor's product with the other one or with the activations, whichever is smaller, and a matrix product does the
    # rest.
    cells = torch.arange(size, dtype=addresses.dtype, device=addresses.device)
    factors = (1 - (addresses[..., None] - cells).abs()).relu()  # (B,N,2,S)
    rows, columns = factors.unbind(2)  # (B,N,S) each
    channels = activations.shape[2]
    if channels < size:
        written = activations[..., None] * rows[:, :, None]  # (B,N,C,S)
        maps = written.flatten(2).transpose(1, 2) @ columns  # (B,C·S,S)
        return maps.unflatten(1, (channels, size))
    weights = (rows[..., :, None] * columns[..., None, :]).flatten(2)  # (B,N,S·S)
    maps = activations.transpose(1, 2) @ weights  # (B,C,S·S)
    return maps.unflatten(2, (size, size))


def _check(addresses: Tensor, activations: Tensor, size: int) -> None:
    if addresses.dim() != 3 or addresses.shape[2] != 2:
        raise ValueError(f"addresses must have shape (B, N, 2), (row, column); got {tuple(addresses.shape)}")
    if activations.dim() != 3 or activations.shape[:2] != addresses.shape[:2]:
        raise ValueError(
            f"activations must have shape (B, N, C) with the addresses' B, N = {tuple(addresses.shape[:2])}; "
            f"got {tuple(activations.shape)}"
        )
    if 0 in activations.shape:
        raise ValueError(f"there is nothing to route: activations have shape {tuple(activations.shape)}")
    if not addresses.is_floating_point() or addresses.dtype != activations.dtype:
        raise TypeError(
            "addresses and activations must share one floating-point dtype; "
            f"got {addresses.dtype} and {activations.dtype}"
        )
    if size < 1:
        raise ValueError(f"size is the side of the map in cells and must be at least 1; got {size}")
    if _can_look(addresses) and addresses.isnan().any():
        raise ValueError("an address is not a number (NaN); look for a diverged model or a division by zero before it")


def _can_look(tensor: Tensor) -> bool:
    """Whether Python may look at values: not while a CUDA graph is captured, or a function compiled or mapped."""
    if torch.compiler.is_compiling() or torch._C._functorch.is_batchedtensor(tensor):
        return False
    return not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())
