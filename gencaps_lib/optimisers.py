"""How to optimise: the reference's RMSProp, any optimiser of PyTorch, and the schedule of short runs.

References
----------
Tieleman, Hinton (2012), "Lecture 6.5: RMSProp": dividing a gradient by a running average of its magnitude.
Smith, Topin (2019), "Super-Convergence": the one-cycle schedule of short runs.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

SCHEDULES = ("constant", "one-cycle")


class ReferenceRMSprop(torch.optim.Optimizer):
    r"""RMSProp as TensorFlow 1 has it, which the reference trained with.

    .. math:: m \leftarrow \rho m + (1 - \rho) g^2, \qquad w \leftarrow w - \eta \, g / \sqrt{m + \epsilon}

    It differs from ``torch.optim.RMSprop`` in two ways: ε is inside the square root, and the running mean square m
    starts at one, not at zero, so that the first steps are small.

    Parameters
    ----------
    params : parameters to train
    lr : learning rate η; a tensor of one number on the parameters' device can be changed between replays of a graph
    decay : ρ
    eps : ε
    fused : make the whole update in one kernel for each parameter, compiled by ``torch.compile``; where that fails, a
        warning says so
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float | Tensor = 1e-3,
        decay: float = 0.9,
        eps: float = 1e-10,
        fused: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "decay": decay, "eps": eps})
        self.fused = fused

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Make one step from the gradients that are there; returns the closure's loss, if there is a closure."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter in parameters:
                if "mean_square" not in self.state[parameter]:
                    self.state[parameter]["mean_square"] = torch.ones_like(parameter)
            mean_squares = [self.state[parameter]["mean_square"] for parameter in parameters]
            gradients = [parameter.grad for parameter in parameters]
            arguments = (group["lr"], group["decay"], group["eps"])
            done = self._update_fused(parameters, gradients, mean_squares, arguments) if self.fused else 0
            if parameters[done:]:
                _update_all(parameters[done:], gradients[done:], mean_squares[done:], *arguments)
        return loss

    def _update_fused(
        self, parameters: list[Tensor], gradients: list[Tensor], mean_squares: list[Tensor], arguments: tuple
    ) -> int:
        """Update parameters with one kernel each; returns how many of them, fewer where it cannot be compiled."""
        for place, (weights, gradient, mean_square) in enumerate(zip(parameters, gradients, mean_squares, strict=True)):
            if gradient.stride() != weights.stride():
                gradient = torch.empty_like(weights).copy_(gradient)
            try:
                _fused_update()(*map(_flat, (weights, gradient, mean_square)), *arguments)
            except Exception as error:  # no compiler, a driver too old: PyTorch has no one kind of error for it
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                warnings.warn(f"RMSProp goes on in several passes over the weights, slower: not compiled ({reason})")
                self.fused = False
                return place
        return len(parameters)


def _update_all(
    parameters: list[Tensor],
    gradients: list[Tensor],
    mean_squares: list[Tensor],
    lr: float | Tensor,
    decay: float,
    eps: float,
) -> None:
    torch._foreach_mul_(mean_squares, decay)
    torch._foreach_addcmul_(mean_squares, gradients, gradients, 1 - decay)
    scales = torch._foreach_add(mean_squares, eps)
    torch._foreach_sqrt_(scales)
    if isinstance(lr, Tensor):
        torch._foreach_div_(scales, -lr)
        torch._foreach_addcdiv_(parameters, gradients, scales)
    else:
        torch._foreach_addcdiv_(parameters, gradients, scales, -lr)


def _update_one(
    weights: Tensor, gradients: Tensor, mean_squares: Tensor, lr: float | Tensor, decay: float, eps: float
) -> None:
    mean_squares.mul_(decay).addcmul_(gradients, gradients, value=1 - decay)
    weights.sub_(lr * gradients / (mean_squares + eps).sqrt())


@cache
def _fused_update() -> Callable[..., None]:
    """`_update_one` as one kernel that reads and writes each number once, for tensors of any length."""
    return torch.compile(_update_one, dynamic=True, fullgraph=True)


def _flat(values: Tensor) -> Tensor:
    """The numbers of a tensor in the order in which they lie in memory, whatever its layout."""
    return values.detach().as_strided((values.numel(),), (1,), values.storage_offset())


@dataclass(frozen=True)
class Optimiser:
    """How to optimise, as data.

    Attributes
    ----------
    name : ``"reference-rmsprop"``, or any optimiser of ``torch.optim`` by name, in any case
    lr : learning rate; with the one-cycle schedule, its peak
    schedule : ``"constant"``, or ``"one-cycle"``: warm up, then decay to almost nothing at the last step
    options : further arguments of the optimiser
    """

    name: str = "reference-rmsprop"
    lr: float = 1e-3
    schedule: str = "constant"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f"unknown schedule {self.schedule!r}: choose one of {', '.join(SCHEDULES)}")
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise ValueError(f"the learning rate must be positive; got {self.lr}")
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))
        self.kind()

    def kind(self) -> type[torch.optim.Optimizer]:
        """The optimiser's class."""
        if self.name == "reference-rmsprop":
            return ReferenceRMSprop
        for name, kind in vars(torch.optim).items():
            if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and name.lower() == self.name.lower():
                return kind
        raise ValueError(f"unknown optimiser {self.name!r}: it is neither 'reference-rmsprop' nor one of torch.optim")

    def make(self, parameters: Iterable[Tensor], device: str | torch.device = "cpu") -> torch.optim.Optimizer:
        """The optimiser of parameters on a device; on CUDA, where it knows how, fused and fit to be captured.

        There, unless the schedule is constant, its learning rate is a tensor: a captured step can change it.
        """
        kind, lr, options = self.kind(), self.lr, dict(self.options)
        if torch.device(device).type == "cuda":
            if "capturable" in inspect.signature(kind).parameters:
                options.setdefault("capturable", True)
            if issubclass(kind, (torch.optim.Adam, torch.optim.SGD, ReferenceRMSprop)) and "foreach" not in options:
                options.setdefault("fused", True)
            if self.schedule != "constant":
                lr = torch.tensor(lr, device=device)
        return kind(parameters, lr=lr, **options)

    def rates(self, steps: int) -> list[float]:
        """The learning rate of each step.

        The one-cycle schedule climbs to `lr` in the first fifth and falls to almost nothing at the last step, each
        along half a cosine; it is ``torch.optim.lr_scheduler.OneCycleLR``, number by number, over one step more. The
        momentum is left alone.
        """
        if self.schedule == "constant":
            return [self.lr] * steps
        first, last = self.lr / 25, self.lr / 25 / 1e4
        top = 0.2 * (steps + 1) - 1  # the step at which the rate is highest
        rates = []
        for step in range(steps):
            climbs = 0 < top >= step
            start, end = (first, self.lr) if climbs else (self.lr, last)
            way = step / top if climbs else (step - top) / (steps - top)
            rates.append(end + (start - end) / 2 * (math.cos(math.pi * way) + 1))
        return rates


REFERENCE = Optimiser()
