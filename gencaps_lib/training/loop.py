"""The one training loop: a step at a time on the CPU, a captured step on CUDA, see `capture`.

References
----------
Bengio, Louradour, Collobert, Weston (2009), "Curriculum Learning": small transforms before large ones, `fit`'s growth.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from numbers import Integral
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from gencaps_lib.data import Digits
from gencaps_lib.tasks import Batch, Task, draw_batch, draw_digits
from gencaps_lib.training.capture import WARM_UP, capture_step, side_stream, turns
from gencaps_lib.training.optimisers import REFERENCE, Optimiser
from gencaps_lib.training.precision import check_precision, products

SMALLEST_REACH = 0.25  # of each digit's range, where transforms grow in training


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


# What a model may offer beside ``model(images, code)``, which is all that it must. The loop asks for it by name: what a
# module or a wrapper (as torch.compile's) only passes on, `isinstance` does not see from Python 3.12 on.


class HasLoss(Protocol):
    """A model with a loss of its own."""

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Two scalars: one to minimise, and one to record."""
        ...


class HasPreparation(Protocol):
    """A model that is prepared once, before it is trained."""

    def prepare(self, generator: torch.Generator | None) -> None:
        """Prepare it."""
        ...


class Rival(Protocol):
    """What a model is trained against, as a critic is."""

    steps: int  # of the rival, before each step of the model

    def parameters(self) -> Iterator[nn.Parameter]:
        """What it learns."""
        ...

    def loss(self, latent: Tensor, generator: torch.Generator | None) -> Tensor:
        """A scalar to minimise, given latent codes (B, z)."""
        ...


class HasRival(Protocol):
    """A model that is trained against a rival, which looks at its latent codes."""

    rival: Rival

    def encode(self, images: Tensor) -> Tensor:
        """Latent codes (B, z) of images."""
        ...


def reconstruction_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The mean squared error of what the model draws: to minimise, and to record."""
    loss = F.mse_loss(model(batch.images, batch.code), batch.target)
    return loss, loss.detach()


class Trainer:
    """A model's training, step by step.

    Everything in a step happens on the digits' device, and nothing in it depends on a number that Python would have to
    wait for: on CUDA a step can be captured as a graph and replayed.

    Takes the arguments of `fit`; `steps` is the number that will be made, and a `precision` of None leaves PyTorch's
    settings alone. A model with a ``prepare`` is prepared.

    Attributes
    ----------
    losses : (steps,), the loss of each step made; a loss that is not finite stands in place of what a model records
    made : (1,) int64, the number of steps made
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        digits: Digits,
        steps: int,
        seed: int = 0,
        optimiser: Optimiser = REFERENCE,
        batch: int = 128,
        growth: float = 0.0,
        precision: str | None = "float32",
        draws: int = 1,
    ) -> None:
        self.model, self.task, self.digits, self.batch, self.draws = model, task, digits, batch, draws
        self.precision = check_precision(precision)
        self.device = digits.images.device
        self.generator = torch.Generator(self.device).manual_seed(seed)
        prepare = getattr(model, "prepare", None)
        if prepare is not None:
            prepare(self.generator)
        self.objective = getattr(model, "loss", None) or partial(reconstruction_loss, model)
        self.rival: Rival | None = getattr(model, "rival", None)
        rivals = set() if self.rival is None else set(map(id, self.rival.parameters()))
        own = [weight for weight in model.parameters() if weight.requires_grad and id(weight) not in rivals]
        self.adapt = optimiser.make(own, self.device)
        self.rates: list[float] | Tensor | None = None
        if optimiser.schedule != "constant":
            self.rates = optimiser.rates(steps)
            if self.device.type == "cuda":  # a captured step can read no number of Python's
                self.rates = torch.tensor(self.rates, dtype=torch.float64, device=self.device)
        self.reaches = None
        if growth:
            self.reaches = torch.linspace(0, 1 / growth, steps, device=self.device).clamp(SMALLEST_REACH, 1)
        if self.rival is not None:
            self.adapt_rival = replace(optimiser, schedule="constant").make(self.rival.parameters(), self.device)
        self.losses = torch.zeros(steps, device=self.device)
        self.made = torch.zeros(1, dtype=torch.int64, device=self.device)

    def draw(self) -> Batch:
        """The batch of the next step."""
        reach = None if self.reaches is None else self.reaches.index_select(0, self.made)[0]
        return draw_batch(self.task, self.digits, self.batch, self.generator, reach, self.draws)

    def step(self) -> None:
        """Draw a batch, transform it, and make one step of the optimiser, after those of the model's rival.

        Raises
        ------
        DivergedError
            On the CPU, before the model is changed: the loss is not finite.
        """
        if self.rival is not None:
            with products(self.precision, self.device):
                self._train(self.rival)
        batch = self.draw()  # in float32, whatever the model is trained with: targets are exact
        self.adapt.zero_grad(set_to_none=True)
        with products(self.precision, self.device):
            loss, seen = self.objective(batch)
            if self.device.type == "cpu" and not math.isfinite(loss.item()):
                raise DivergedError(int(self.made), self.losses[: int(self.made)].tolist())
            loss.backward()
        self._set_rate()
        self.adapt.step()
        loss = loss.detach()
        recorded = torch.where(loss.isfinite(), seen, loss).to(self.losses.dtype)
        self.losses.index_copy_(0, self.made, recorded[None])
        self.made += 1

    def _train(self, rival: Rival) -> None:
        """Train the model's rival, a critic, for the steps that it wants before each step of the model."""
        model = cast(HasRival, self.model)
        for _ in range(rival.steps):
            self.adapt_rival.zero_grad(set_to_none=True)
            with torch.no_grad():
                latent = model.encode(draw_digits(self.digits, self.batch, self.generator)[0])
            rival.loss(latent, self.generator).backward()
            self.adapt_rival.step()

    def _set_rate(self) -> None:
        if self.rates is None:
            return
        if isinstance(self.rates, Tensor):
            rate: Tensor | float = self.rates.index_select(0, self.made)[0]
        else:
            rate = self.rates[int(self.made)]
        for group in self.adapt.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].copy_(torch.as_tensor(rate))
            else:
                group["lr"] = rate

    def forget_gradients(self) -> None:
        """Free the gradients' memory."""
        for parameter in self.model.parameters():
            parameter.grad = None


def _counts(**given: int) -> list[int]:
    """Whole numbers of at least 1, as Python's: PyTorch refuses NumPy's."""
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}")
    return [int(value) for value in given.values()]


def fit(
    model: nn.Module,
    task: Task,
    digits: Digits,
    steps: int,
    seed: int = 0,
    optimiser: Optimiser = REFERENCE,
    batch: int = 128,
    progress: bool = True,
    capture: bool | None = None,
    growth: float = 0.0,
    precision: str = "float32",
    draws: int = 1,
) -> list[float]:
    """Train a model in place to transform digits.

    The loss is the mean squared error of what the model draws, unless it has a loss of its own, see `HasLoss`. A model
    that is to be prepared (`HasPreparation`, as `addresses.PretrainedAddresses`) is so first; one with a rival
    (`HasRival`, as `adversarial.AdversarialAutoencoder`) is trained against it.

    The same seed, device and number of threads give the same weights; on CUDA up to rounding, since some of cuDNN's
    sums run in any order. Interrupting it (Ctrl-C, or the kernel's stop button) keeps the model as trained so far, with
    a warning.

    Parameters
    ----------
    model : called as ``model(images, code)`` or ``model.loss(batch)``, on the digits' device
    task : draws and applies the transform
    digits : training digits; batches are drawn and transformed on their device
    steps : number of steps, at least 1
    seed : of the batches
    optimiser : how to optimise
    batch : targets in a batch; their images are drawn with replacement
    progress : show a bar with the running loss (``TQDM_DISABLE=1`` hides every bar)
    capture : on CUDA, capture a step once and replay it as a whole, see `capture.capture_step`; by default, done there
    growth : share of the steps in which the transforms grow from small ones to each digit's whole range, see
        `Task.sample`; none by default
    precision : of the model's matrix products and convolutions, a name in `precision.PRECISIONS`
    draws : transforms under which each image of a batch is drawn; more of them mean fewer images to encode

    Returns
    -------
    The loss of each step; shorter than `steps` if it was interrupted.

    Raises
    ------
    ValueError
        Steps, batch or draws below 1, a batch that the draws do not divide, no digits, a growth that is no share, an
        unknown precision, or a capture asked for on another device than CUDA.
    DivergedError
        A loss that is not finite; it names the step.
    """
    steps, batch, draws = _counts(steps=steps, batch=batch, draws=draws)
    if batch % draws:
        raise ValueError(f"{draws} draws of each image do not divide a batch of {batch}: choose a divisor")
    if not 0 <= growth <= 1:
        raise ValueError(f"growth must be a share of the steps, from 0 to 1; got {growth}")
    if len(digits) == 0:
        raise ValueError("there are no digits to train on")
    device = digits.images.device
    if capture and device.type != "cuda":
        raise ValueError(f"only a step on CUDA can be captured: leave capture out; the digits are on {device}")
    captures = device.type == "cuda" if capture is None else capture
    trainer = Trainer(model, task, digits, steps, int(seed), optimiser, batch, growth, precision, draws)
    # Looking at a loss makes Python wait for a GPU, so it is done seldom there; the record misses nothing.
    look_every = 1 if device.type == "cpu" else 100
    model.train()
    # In notebooks tqdm does not look at its own environment variable.
    hidden = not progress or os.environ.get("TQDM_DISABLE", "0") not in ("", "0")
    bar = tqdm(total=steps, desc="training", unit="step", leave=False, mininterval=0.5, disable=hidden)

    def go_on(planned: range, advance: Callable[[], None]) -> bool:
        """Make the steps that are planned; False at a loss that is not finite."""
        for step in planned:
            advance()
            bar.update()
            if step % look_every == 0:
                turns.check()
                loss = trainer.losses[step].item()
                if not math.isfinite(loss):
                    return False
                if step % (10 * look_every) == 0:
                    bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        return True

    eager = min(steps, WARM_UP) if captures else steps
    try:
        with bar, side_stream(device):
            if go_on(range(eager), trainer.step) and eager < steps:
                advance = capture_step(trainer)
                with turns.given_up() if advance != trainer.step else nullcontext():
                    go_on(range(eager, steps), advance)
    except KeyboardInterrupt:
        done = int(trainer.made)
        warnings.warn(f"interrupted: the model keeps what it learned in {done} of {steps} steps", stacklevel=2)
    finally:
        trainer.forget_gradients()
        model.eval()
    history = trainer.losses[: int(trainer.made)].tolist()
    for step, value in enumerate(history):
        if not math.isfinite(value):
            raise DivergedError(step, history[:step])
    return history
