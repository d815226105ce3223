"""The precision of matrix products and convolutions: float32, or factors rounded first, as tensor cores do.

Tensor cores multiply what has fewer digits than float32 has, and add up in float32. Whether a model learns as well
with that is a question of numbers, not of hardware: where there are no such cores, the factors are rounded here, which
is slower and answers the same. Here they go to the nearest; what hardware does with the last digit may differ.

References
----------
Micikevicius et al. (2018), "Mixed Precision Training": training with less than float32.
Dekker (1971), "A floating-point technique for extending the available precision": the splitting that rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# Bits of a factor's mantissa that are kept; the exponent is float32's in all of them.
PRECISIONS = {"float32": 23, "tf32": 10, "bf16": 7}
# PyTorch's operations that multiply and add up, and which of their arguments are factors.
_PRODUCTS: dict[Callable[..., Any], tuple[int, ...]] = {
    torch.ops.aten.mm.default: (0, 1),
    torch.ops.aten.bmm.default: (0, 1),
    torch.ops.aten.addmm.default: (1, 2),
    torch.ops.aten.baddbmm.default: (1, 2),
    torch.ops.aten.convolution.default: (0, 1),
    torch.ops.aten.convolution_backward.default: (0, 1, 2),
}


def check_precision(name: str | None) -> str | None:
    """The name of a precision, or None for none; a ValueError lists them."""
    if name is not None and name not in PRECISIONS:
        raise ValueError(f"unknown precision {name!r}: choose one of {', '.join(PRECISIONS)}")
    return name


def rounded(values: Tensor, precision: str) -> Tensor:
    """Round float32 values to a precision's mantissa, to the nearest; any shape (Veltkamp's splitting).

    Values beyond 1e33, too large for the splitting, are returned as they are, and so are those of another type.
    """
    dropped = PRECISIONS["float32"] - PRECISIONS[precision]
    if values.dtype is not torch.float32 or not dropped:
        return values
    large = values * (2**dropped + 1)
    return torch.where(large.isfinite(), large - (large - values), values)


class _RoundedFactors(TorchDispatchMode):
    """Rounds the factors of every product made inside, backward passes included."""

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
    """Whether CUDA may round the factors of float32 products to TF32, in what is inside."""
    cudnn: Any = torch.backends.cudnn  # an object takes the module's place when it is imported
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
def products(precision: str | None, device: torch.device) -> Iterator[None]:
    """Make the matrix products and convolutions of one device inside at a precision, backward passes included.

    On CUDA, TF32 is left to the hardware, and ``"float32"`` keeps PyTorch from using TF32 in convolutions, which it
    does by itself. All else is rounded by this library. None changes nothing.

    PyTorch's settings are the process's, not the thread's. Inside, they can be read as ``fp32_precision`` only, not by
    the older ``allow_tf32``.

    Raises
    ------
    ValueError
        An unknown precision.
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
