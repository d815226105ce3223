"""The precision of matrix products and convolutions: float32, or with rounded factors, as in tensor cores.

Tensor cores multiply numbers with fewer digits than float32 and add the products in float32. Does a model learn as well
with them? To answer this on any hardware, this module rounds the factors itself, which is slower. It rounds to the
nearest number; hardware may round the last digit in another way.

References
----------
Micikevicius et al. (2018), "Mixed Precision Training": training with fewer digits than float32.
Dekker (1971), "A floating-point technique for extending the available precision": how to round by splitting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# Bits kept of a factor's mantissa; the exponent always has float32's bits.
PRECISIONS = {"float32": 23, "tf32": 10, "bf16": 7}
# PyTorch's operations that compute sums of products, and which of their arguments are factors.
_PRODUCTS: dict[Callable[..., Any], tuple[int, ...]] = {
    torch.ops.aten.mm.default: (0, 1),
    torch.ops.aten.bmm.default: (0, 1),
    torch.ops.aten.addmm.default: (1, 2),
    torch.ops.aten.baddbmm.default: (1, 2),
    torch.ops.aten.convolution.default: (0, 1),
    torch.ops.aten.convolution_backward.default: (0, 1, 2),
}


def check_precision(name: str | None) -> str | None:
    """Return the name of a precision, or None; an unknown name raises a ValueError that lists the names."""
    if name is not None and name not in PRECISIONS:
        raise ValueError(f"unknown precision {name!r}: choose one of {', '.join(PRECISIONS)}")
    return name


def rounded(values: Tensor, precision: str) -> Tensor:
    """Round float32 values, of any shape, to the nearest value with a precision's mantissa (Veltkamp's splitting).

    Values beyond 1e33, which are too large for the splitting, stay as they are; so do tensors of another dtype.
    """
    dropped = PRECISIONS["float32"] - PRECISIONS[precision]
    if values.dtype is not torch.float32 or not dropped:
        return values
    large = values * (2**dropped + 1)
    return torch.where(large.isfinite(), large - (large - values), values)


class _RoundedFactors(TorchDispatchMode):
    """While active, round the factors of every product, in backward passes too."""

    def __init__(self, precision: str) -> None:
        super().__init__()
        self.precision = precision

    def __torch_dispatch__(
        self, operation: Callable, types: tuple, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        factors = _PRODUCTS.get(operation, ())
        given = [rounded(value, self.precision) if place in factors else value for place, value in enumerate(args)]
        return operation(*given, **(kwargs or {}))


@contextmanager
def _tensor_cores(allowed: bool) -> Iterator[None]:
    """Allow or forbid CUDA, inside the ``with`` block, to round the factors of float32 products to TF32."""
    cudnn: Any = torch.backends.cudnn  # PyTorch replaces this module by an object when it is imported
    settings = (torch.backends.cuda.matmul, cudnn.conv)
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "tf32" if allowed else "ieee"
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value


@contextmanager
def precision_context(precision: str | None, device: torch.device) -> Iterator[None]:
    """Set the precision of a device's matrix products and convolutions in a ``with`` block, backward passes included.

    On CUDA, the hardware rounds to TF32, and ``"float32"`` stops PyTorch from using TF32 in convolutions, its default.
    In all other cases this library rounds. None changes nothing.

    PyTorch's settings belong to the process, not to a thread. Inside the block, read them as ``fp32_precision``; the
    older ``allow_tf32`` cannot be read there.

    Raises
    ------
    ValueError
        The precision is unknown.
    """
    check_precision(precision)
    if precision is None:
        yield
        return
    on_cuda = device.type == "cuda"
    with ExitStack() as stack:
        if on_cuda:
            stack.enter_context(_tensor_cores(precision == "tf32"))
        if precision == "bf16" or (precision == "tf32" and not on_cuda):
            stack.enter_context(_RoundedFactors(precision))
        yield
