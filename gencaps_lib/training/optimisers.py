"""Optimisers: the reference's RMSProp, any optimiser of PyTorch, and the learning-rate schedule of short runs.

References
----------
Tieleman, Hinton (2012), "Lecture 6.5: RMSProp": dividing a gradient by a running average of its magnitude.
Smith, Topin (2019), "Super-Convergence": the one-cycle schedule of short runs.
"""

from __future__ import annotations

import copyreg
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, overload

import torch
from torch import Tensor

SCHEDULES = ("constant", "one-cycle")
# Optimisers of PyTorch that would fail before or at their first step, and why.
UNFIT = {
    "lbfgs": "computes the loss several times a step, and training computes it once",
    "muon": "takes matrices only, and every model here has biases",
    "optimizer": "is the base class of all",
    "sparseadam": "takes sparse gradients only, and no model here has them",
}


def read_only(mapping: Mapping[str, Any]) -> MappingProxyType:
    """A read-only copy of a mapping, for frozen dataclasses."""
    return MappingProxyType(dict(mapping))


# By default, Python can neither copy nor pickle a MappingProxyType.
copyreg.pickle(MappingProxyType, lambda view: (read_only, (dict(view),)))


class ReferenceRMSprop(torch.optim.Optimizer):
    r"""RMSProp as in TensorFlow 1, the reference's optimiser.

    .. math:: m \leftarrow \rho m + (1 - \rho) g^2, \qquad w \leftarrow w - \eta \, g / \sqrt{m + \epsilon}

    It differs from ``torch.optim.RMSprop`` in two ways: ε is inside the square root, and the running mean square m
    starts at one instead of zero, so that the first steps are small.

    Parameters
    ----------
    params : parameters to train
    lr : learning rate η; can be a scalar tensor on the parameters' device, to be changed between replays of a graph
    decay : ρ
    eps : ε
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float | Tensor = 1e-3, decay: float = 0.9, eps: float = 1e-10
    ) -> None:
        super().__init__(params, {"lr": lr, "decay": decay, "eps": eps})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Make one step with the current gradients; return the closure's loss, if there is a closure."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            gradients = [parameter.grad for parameter in parameters]
            for parameter in parameters:
                if "mean_square" not in self.state[parameter]:
                    self.state[parameter]["mean_square"] = torch.ones_like(parameter)
            mean_squares = [self.state[parameter]["mean_square"] for parameter in parameters]
            torch._foreach_mul_(mean_squares, group["decay"])
            torch._foreach_addcmul_(mean_squares, gradients, gradients, 1 - group["decay"])
            scales = torch._foreach_add(mean_squares, group["eps"])
            torch._foreach_sqrt_(scales)
            if isinstance(group["lr"], Tensor):
                torch._foreach_div_(scales, -group["lr"])
                torch._foreach_addcdiv_(parameters, gradients, scales)
            else:
                torch._foreach_addcdiv_(parameters, gradients, scales, -group["lr"])
        return loss


@dataclass(frozen=True)
class Optimiser:
    """An optimiser's name and settings.

    Attributes
    ----------
    name
        ``"reference-rmsprop"``, or the name of an optimiser in ``torch.optim``, but for those in `UNFIT`; upper or
        lower case
    lr : learning rate; with the one-cycle schedule, its peak
    schedule : ``"constant"``, or ``"one-cycle"``: warm up, then decay to almost zero at the last step
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
            raise ValueError(f"the learning rate must be positive and finite; got {self.lr}")
        object.__setattr__(self, "options", read_only(self.options))
        self.kind()

    def kind(self) -> type[torch.optim.Optimizer]:
        """The optimiser's class."""
        if self.name == "reference-rmsprop":
            return ReferenceRMSprop
        if self.name.lower() in UNFIT:
            raise ValueError(f"the optimiser {self.name!r} {UNFIT[self.name.lower()]}: choose another")
        for name, kind in vars(torch.optim).items():
            if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and name.lower() == self.name.lower():
                return kind
        raise ValueError(f"unknown optimiser {self.name!r}: choose 'reference-rmsprop' or one of torch.optim")

    def make(self, parameters: Iterable[Tensor], device: str | torch.device = "cpu") -> torch.optim.Optimizer:
        """Make the optimiser for parameters on a device; on CUDA, fused and ready for capture if it supports that.

        On CUDA, unless the schedule is constant, the learning rate is a tensor, so that a captured step can change it.
        """
        kind, options = self.kind(), dict(self.options)
        lr: float | Tensor = self.lr
        if torch.device(device).type == "cuda":
            if "capturable" in inspect.signature(kind).parameters:
                options.setdefault("capturable", True)
            if issubclass(kind, (torch.optim.Adam, torch.optim.SGD)) and "foreach" not in options:
                options.setdefault("fused", True)
            if self.schedule != "constant":
                lr = torch.tensor(lr, device=device)
        make: Callable[..., torch.optim.Optimizer] = kind  # each class has its own arguments
        return make(parameters, lr=lr, **options)

    def rates(self, steps: int) -> list[float]:
        """The learning rate of each step.

        The one-cycle schedule rises to `lr` in the first fifth of the steps and falls to almost zero at the last step,
        each along half a cosine. The numbers are those of ``torch.optim.lr_scheduler.OneCycleLR`` with one step more.
        Momentum does not change.
        """
        if self.schedule == "constant":
            return [self.lr] * steps
        first, last = self.lr / 25, self.lr / 25 / 1e4
        top = 0.2 * (steps + 1) - 1  # the step at which the rate is highest
        rates = []
        for step in range(steps):
            rising = 0 < top >= step
            start, end = (first, self.lr) if rising else (self.lr, last)
            fraction = step / top if rising else (step - top) / (steps - top)
            rates.append(end + (start - end) / 2 * (math.cos(math.pi * fraction) + 1))
        return rates


REFERENCE = Optimiser()
