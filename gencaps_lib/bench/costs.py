"""A machine's limits, the work of a training step, and the cost of routing compared with a dense layer.

References
----------
Williams, Waterman, Patterson (2009), "Roofline": a computation is limited by its arithmetic or by its memory traffic.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gencaps_lib.results import seconds_of
from gencaps_lib.routing import route_by_address
from gencaps_lib.training import Trainer, precision_context


@dataclass(frozen=True)
class Rates:
    """The highest rates of a machine.

    Attributes
    ----------
    bandwidth : bytes per second that a large copy reads and writes
    arithmetic : FLOP per second of a large product of float32 matrices
    """

    bandwidth: float
    arithmetic: float


@dataclass(frozen=True)
class Cost:
    """The smallest amount of work of a step.

    Attributes
    ----------
    flops : FLOP of matrix products and convolutions, forward and backward
    bytes
        weights are read three times (forward, backward, update) and written once; gradients, the optimiser's state, and
        tensors that the forward pass saves for the backward pass are written once and read once
    """

    flops: int
    bytes: int

    def floor(self, rates: Rates) -> float:
        """The seconds of a step on a machine that does both at the same time; a cache may move bytes faster.

        Equation :eq:`eq-floor`.
        """
        return max(self.bytes / rates.bandwidth, self.flops / rates.arithmetic)


@dataclass(frozen=True)
class RoutingCost:
    """Times of a forward and backward pass of routing N capsules to (C, S, S) maps, and of a dense layer of this size.

    The dense layer has a learned weight between each capsule and each of the C·S·S cells, so its matrix product is as
    large as routing's. The difference: routing computes its weights, for each image.
    """

    capsules: int
    size: int
    channels: int
    seconds: float
    dense_seconds: float
    dense_weights: int


def machine_rates(device: str | torch.device, elements: int = 2**26, side: int | None = None) -> Rates:
    """Measure the rates: the best of six copies of `elements` floats, and of six products of matrices with `side` rows.

    By default, `side` is 2048 on a CPU and 8192 on a GPU. On a GPU, tensor cores may round the factors, as in
    convolutions.
    """
    where = torch.device(device)
    if side is None:
        side = 8192 if where.type == "cuda" else 2048
    kind: dict[str, Any] = {"dtype": torch.float32, "device": where}
    source, matrix = torch.rand(elements, **kind), torch.rand(side, side, **kind)
    target, product = torch.zeros_like(source), torch.zeros_like(matrix)
    # On a GPU a single copy is so short that the time to start it would matter.
    copies = 20 if where.type == "cuda" else 1
    copying = min(seconds_of(lambda: target.copy_(source), where, copies) for _ in range(6))
    with precision_context("tf32" if where.type == "cuda" else "float32", where):
        multiplying = min(seconds_of(lambda: torch.mm(matrix, matrix, out=product), where) for _ in range(6))
    return Rates(2 * source.nbytes / copying, 2 * side**3 / multiplying)


class _Flops(TorchDispatchMode):
    """While active, adds up the FLOP of matrix products and convolutions, with PyTorch's own formulas.

    PyTorch's own counter also counts by module and hooks gradients for this. That fails for a critic, whose loss takes
    gradients in its forward pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, operation: Any, types: tuple, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        made = operation(*args, **kwargs)
        if operation.overloadpacket in flop_registry:
            self.total += flop_registry[operation.overloadpacket](*args, **kwargs, out_val=made)
        return made


def step_cost(trainer: Trainer) -> Cost:
    """Count the work of a trainer's step; this makes two steps."""
    trainer.step()  # creates the optimiser's state
    weights = {parameter.data_ptr(): parameter for parameter in trainer.model.parameters() if parameter.requires_grad}
    left: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            left[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with (
        _Flops() as counter,
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
    ):
        trainer.step()
    weight_bytes = sum(weight.nbytes for weight in weights.values())
    kept = [
        value for state in trainer.optimiser.state.values() for value in state.values() if isinstance(value, Tensor)
    ]
    moved = (4 + 2) * weight_bytes + 2 * sum(value.nbytes for value in kept) + 2 * sum(left.values())
    return Cost(counter.total, moved)


def routing_costs(
    device: str | torch.device,
    batch: int,
    base: tuple[int, int, int] = (128, 17, 32),
    factors: Sequence[float] = (0.5, 2),
    repeats: int = 5,
) -> list[RoutingCost]:
    """Time routing and a dense layer at N, S, C = `base`, and with one of the three multiplied by each of `factors`.

    Kernels are started one by one here, on CUDA too, not as a captured graph.
    """
    sizes: list[tuple[int, ...]] = [base]
    for place in range(3):
        for factor in factors:
            sizes.append((*base[:place], max(1, int(base[place] * factor)), *base[place + 1 :]))
    return [_routing_cost(torch.device(device), batch, repeats, *size) for size in sizes]


def _routing_cost(
    device: torch.device, batch: int, repeats: int, capsules: int, size: int, channels: int
) -> RoutingCost:
    kind: dict[str, Any] = {"dtype": torch.float32, "device": device}
    addresses = (torch.rand(batch, capsules, 2, **kind) * (size - 1)).requires_grad_()
    activations = torch.rand(batch, capsules, channels, **kind, requires_grad=True)
    units = torch.rand(batch, capsules, **kind, requires_grad=True)
    dense = nn.Linear(capsules, channels * size**2, **kind)
    error = torch.rand(batch, channels * size**2, **kind)

    def route() -> None:
        route_by_address(addresses, activations, size).flatten(1).backward(error)

    def connect() -> None:
        dense(units).backward(error)

    routed, connected = (
        statistics.median([seconds_of(run, device, 3) for _ in range(repeats + 1)][1:])  # the first warms up
        for run in (route, connect)
    )
    return RoutingCost(capsules, size, channels, routed, connected, dense.weight.numel())
