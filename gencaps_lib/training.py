"""The one training loop, and the reference's optimiser.

References
----------
Tieleman, Hinton (2012), "Lecture 6.5: RMSProp": dividing a gradient by a running average of its magnitude.
Smith, Topin (2019), "Super-Convergence": the one-cycle schedule of short runs.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from gencaps_lib.data import Digits
from gencaps_lib.tasks import Task

SCHEDULES = ("constant", "one-cycle")


class ReferenceRMSprop(torch.optim.Optimizer):
    r"""RMSProp as TensorFlow 1 has it, which the reference trained with.

    .. math:: m \leftarrow \rho m + (1 - \rho) g^2, \qquad w \leftarrow w - \eta \, g / \sqrt{m + \epsilon}

    It differs from ``torch.optim.RMSprop`` in two ways: ε is inside the square root, and the running mean square m
    starts at one, not at zero, so that the first steps are small.

    Parameters
    ----------
    params : parameters to train
    lr : learning rate η
    decay : ρ
    eps : ε
    """

    def __init__(self, params: Iterable[Tensor], lr: float = 1e-3, decay: float = 0.9, eps: float = 1e-10) -> None:
        super().__init__(params, {"lr": lr, "decay": decay, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Make one step from the gradients that are there."""
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
            torch._foreach_addcdiv_(parameters, gradients, scales, -group["lr"])


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

    def make(
        self, parameters: Iterable[Tensor], steps: int
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler | None]:
        """The optimiser and, unless the schedule is constant, the scheduler to step after it."""
        optimiser = self.kind()(parameters, lr=self.lr, **self.options)
        if self.schedule == "constant":
            return optimiser, None
        # The momentum is left alone: only the learning rate follows the cycle.
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=self.lr, total_steps=steps + 1, pct_start=0.2, cycle_momentum=False
        )
        return optimiser, scheduler


REFERENCE = Optimiser()


class DivergedError(RuntimeError):
    """Training met a loss that is not finite.

    Attributes
    ----------
    step : the first such step, counted from 0
    history : the losses before it
    """

    def __init__(self, step: int, history: list[float]) -> None:
        super().__init__(
            f"the loss stopped being finite at step {step}: lower the learning rate, or look for NaN in the data"
        )
        self.step = step
        self.history = history


@dataclass(frozen=True)
class Batch:
    """What a model is trained on in one step.

    Attributes
    ----------
    images : (B, 1, 28, 28), untransformed
    labels : (B,)
    code : (B, code_length), of the transform
    target : (B, 1, side, side), transformed
    """

    images: Tensor
    labels: Tensor
    code: Tensor
    target: Tensor


def draw_digits(digits: Digits, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw images (B, 1, 28, 28) and their labels (B,), with replacement."""
    chosen = torch.randint(len(digits), (batch,), generator=generator, device=digits.images.device)
    return digits.images[chosen], digits.labels[chosen]


def draw_batch(task: Task, digits: Digits, batch: int, generator: torch.Generator) -> Batch:
    """Draw images with replacement and a training value of the transform for each, on the digits' device."""
    images, labels = draw_digits(digits, batch, generator)
    values = task.sample(labels, generator)
    return Batch(images, labels, task.code(values), task.target(images, values))


def reconstruction_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The mean squared error of what the model draws: to minimise, and to record."""
    loss = F.mse_loss(model(batch.images, batch.code), batch.target)
    return loss, loss.detach()


def _train_rival(
    model: nn.Module,
    rival: nn.Module,
    adapt: torch.optim.Optimizer,
    digits: Digits,
    batch: int,
    generator: torch.Generator,
) -> None:
    """Train the model's rival, a critic, for the steps that it wants before each step of the model."""
    for _ in range(rival.steps):
        adapt.zero_grad(set_to_none=True)
        with torch.no_grad():
            latent = model.encode(draw_digits(digits, batch, generator)[0])
        rival.loss(latent, generator).backward()
        adapt.step()


def fit(
    model: nn.Module,
    task: Task,
    digits: Digits,
    steps: int,
    seed: int = 0,
    optimiser: Optimiser = REFERENCE,
    batch: int = 128,
    progress: bool = True,
) -> list[float]:
    """Train a model in place to transform digits.

    The loss is the mean squared error of what the model draws, unless the model has a ``loss(batch)`` of its own: a
    pair of scalars, one to minimise and one to record. A model with a ``rival`` (a critic, see `adversarial.Critic`) is
    trained against it; one with a ``prepare(generator)`` (a preliminary training, see `learned_addresses`) is prepared
    first.

    The same seed, device and number of threads give the same weights. Interrupting it (Ctrl-C, or the kernel's stop
    button) keeps the model as trained so far, with a warning.

    Parameters
    ----------
    model : called as ``model(images, code)`` or ``model.loss(batch)``, on the digits' device
    task : draws and applies the transform
    digits : training digits; batches are drawn and transformed on their device
    steps : number of steps, at least 1
    seed : of the batches
    optimiser : how to optimise
    batch : images in a batch, drawn with replacement
    progress : show a bar with the running loss (``TQDM_DISABLE=1`` hides every bar)

    Returns
    -------
    The loss of each step; shorter than `steps` if it was interrupted.

    Raises
    ------
    ValueError
        Steps or batch below 1, or no digits.
    DivergedError
        A loss that is not finite; it names the step.
    """
    for name, value in (("steps", steps), ("batch", batch)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}")
    if len(digits) == 0:
        raise ValueError("there are no digits to train on")
    device = digits.images.device
    generator = torch.Generator(device).manual_seed(seed)
    if hasattr(model, "prepare"):
        model.prepare(generator)
    rival = getattr(model, "rival", None)
    own = [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and not name.startswith("rival.")
    ]
    adapt, scheduler = optimiser.make(own, steps)
    adapt_rival = None if rival is None else replace(optimiser, schedule="constant").make(rival.parameters(), steps)[0]
    objective = getattr(model, "loss", None) or partial(reconstruction_loss, model)

    losses = torch.zeros(steps, device=device)
    # Looking at a loss makes Python wait for a GPU, so it is done seldom there; the record misses nothing.
    look_every = 1 if device.type == "cpu" else 100
    done = 0
    model.train()
    # In notebooks tqdm does not look at its own environment variable.
    hidden = not progress or bool(os.environ.get("TQDM_DISABLE"))
    bar = tqdm(total=steps, desc="training", unit="step", leave=False, mininterval=0.5, disable=hidden)
    try:
        with bar:
            for step in range(steps):
                if adapt_rival is not None:
                    _train_rival(model, rival, adapt_rival, digits, batch, generator)
                loss, seen = objective(draw_batch(task, digits, batch, generator))
                if step % look_every == 0 and not math.isfinite(loss.item()):
                    losses[step] = loss.detach()
                    done = step + 1
                    break
                adapt.zero_grad(set_to_none=True)
                loss.backward()
                adapt.step()
                if scheduler is not None:
                    scheduler.step()
                losses[step] = seen
                done = step + 1
                bar.update()
                if step % (10 * look_every) == 0:
                    bar.set_postfix(loss=f"{seen.item():.4f}", refresh=False)
    except KeyboardInterrupt:
        warnings.warn(f"interrupted: the model keeps what it learned in {done} of {steps} steps", stacklevel=2)
    finally:
        model.eval()
    history = losses[:done].tolist()
    for step, value in enumerate(history):
        if not math.isfinite(value):
            raise DivergedError(step, history[:step])
    return history
