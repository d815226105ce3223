"""Routing by address: a capsule computes *where* it writes, and connects to the cells whose addresses match.

References
----------
Potapov (2018), "SingularityNET's AI Team Experiments With Generative Capsule Networks": the idea.
Graves, Wayne, Danihelka (2014), "Neural Turing Machines": addressing of memory by differentiable weights.
Jaderberg, Simonyan, Zisserman, Kavukcuoglu (2015), "Spatial Transformer Networks": the bilinear kernel, used
there for reading; writing, as here, is the adjoint of reading.
"""

from __future__ import annotations

import torch
from torch import Tensor


class NotANumberError(ValueError):
    """An address is not a number, as those of a diverged model."""


def to_index_space(outputs: Tensor, size: int) -> Tensor:
    """Convert a network's outputs to addresses in index space: [-1, 1] becomes 0 … size − 1.

    Computes (r + 1)(S − 1)/2 for each output r. The outputs may have any shape.
    """
    return (outputs + 1) * ((size - 1) / 2)


def route_by_address(addresses: Tensor, activations: Tensor, size: int) -> Tensor:
    r"""Write each capsule's activations at its address, on square maps.

    .. math:: M_m(i, j) = \sum_n a_{nm} \, [1 - |r_n - i|]_+ \, [1 - |q_n - j|]_+

    Equation :eq:`eq-routing`: capsule n has the address :math:`(r_n, q_n)` and the activation :math:`a_{nm}` for map
    m. The kernel is bilinear: an address between cells writes to the four cells around it, and a capsule more than one
    cell outside the map writes nothing. Routing is the adjoint (transpose) of bilinear sampling at the addresses,
    equation :eq:`eq-adjoint`.

    Parameters
    ----------
    addresses : (B, N, 2) floating point, (row, column) in index space: cell centres lie at 0 … size − 1
    activations : (B, N, C), of the same dtype and device; under autocast, both get the wider dtype of the two
    size : side S of the maps, in cells, at least 1

    Returns
    -------
    (B, C, S, S), differentiable in addresses and activations
        The kernel has a kink where an address is exactly on a cell; PyTorch's ``abs`` and ``relu`` give its gradient.

    Raises
    ------
    TypeError
        The inputs are integers, or have different dtypes.
    ValueError
        Wrong ranks or shapes, an empty batch, or a size below 1.
    NotANumberError
        A ValueError: an address is not a number. This is not checked while a CUDA graph is captured, and in a function
        that ``torch.compile`` or ``torch.func`` (``vmap``, ``grad``) transforms.
    """
    if addresses.dtype != activations.dtype and torch.is_autocast_enabled(addresses.device.type):
        wider = torch.promote_types(addresses.dtype, activations.dtype)
        addresses, activations = addresses.to(wider), activations.to(wider)
    _check(addresses, activations, size)
    # The kernel is a row factor times a column factor, so no tensor of size S·S·N·C is needed. One factor is multiplied
    # by the activations or by the other factor, whichever product is smaller; a matrix product does the rest.
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
        raise ValueError(f"there is nothing to route: an axis of the activations is empty, {tuple(activations.shape)}")
    if not addresses.is_floating_point() or addresses.dtype != activations.dtype:
        raise TypeError(
            "addresses and activations must share one floating-point dtype; "
            f"got {addresses.dtype} and {activations.dtype}"
        )
    if size < 1:
        raise ValueError(f"size is the side of the map in cells and must be at least 1; got {size}")
    if _can_look(addresses) and addresses.isnan().any():
        raise NotANumberError("an address is not a number (NaN): look for a diverged model or a division by zero")


def _can_look(tensor: Tensor) -> bool:
    """Whether Python may read values: not while a CUDA graph is captured, and not in a transformed function."""
    if torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return False
    return not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())
