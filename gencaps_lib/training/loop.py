"""The training loop: on the CPU one step after another; on CUDA a captured step is replayed, see `capture`.

References
----------
Bengio, Louradour, Collobert, Weston (2009), "Curriculum Learning": small transforms before large ones (`growth`).
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from gencaps_lib.data import Digits
from gencaps_lib.routing import NotANumberError
from gencaps_lib.tasks import Batch, Task, check_drawn, checked_batch, checked_counts, draw_batch, draw_digits
from gencaps_lib.training.capture import WARM_UP, capture_step, side_stream, turns
from gencaps_lib.training.checkpoints import Checkpoint, restore
from gencaps_lib.training.optimisers import REFERENCE, Optimiser
from gencaps_lib.training.precision import check_precision, precision_context

NONE_FASTER: Mapping[str, float] = MappingProxyType({})
SMALLEST_REACH = 0.25  # share of each digit's range at the first step, if transforms grow in training


class DivergedError(RuntimeError):
    """The loss became infinite or NaN in training.

    Attributes
    ----------
    step : the first such step, counted from 0
    history : the losses of the steps before
    """

    def __init__(self, step: int, history: list[float]) -> None:
        super().__init__(
            f"the loss stopped being finite at step {step}: lower the learning rate, or look for NaN in the data"
        )
        self.step = step
        self.history = history


# A model must offer ``model(images, code)``. The protocols below are optional. The loop looks for their names, not
# with `isinstance`: from Python 3.12 on, it misses attributes that a module or a wrapper (of torch.compile) passes on.


class HasLoss(Protocol):
    """A model that computes its own loss."""

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Two scalars: the loss to minimise, and the loss to record."""
        ...


class HasPreparation(Protocol):
    """A model with work to do once, before training."""

    def prepare(self, generator: torch.Generator | None) -> None:
        """Prepare the model for training; if its weights are those of a prepared model, do nothing."""
        ...


class Rival(Protocol):
    """An opponent that a model is trained against, for example a critic."""

    steps: int  # the rival's steps before each step of the model

    def parameters(self) -> Iterator[nn.Parameter]:
        """The rival's parameters."""
        ...

    def loss(self, latent: Tensor, generator: torch.Generator | None) -> Tensor:
        """The rival's loss, a scalar to minimise, for latent codes (B, z)."""
        ...


class HasRival(Protocol):
    """A model that is trained against a rival, which sees the model's latent codes."""

    rival: Rival

    def encode(self, images: Tensor) -> Tensor:
        """Latent codes (B, z) of images."""
        ...


def reconstruction_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The mean squared error of the model's images, twice: to minimise, and to record."""
    drawn = model(batch.images, batch.code)
    check_drawn(drawn, batch.target)
    loss = F.mse_loss(drawn, batch.target)
    return loss, loss.detach()


def objective(model: nn.Module) -> Callable[[Batch], tuple[Tensor, Tensor]]:
    """A model's own loss if it has one (`HasLoss`), else its `reconstruction_loss`."""
    return getattr(model, "loss", None) or partial(reconstruction_loss, model)


class Trainer:
    """A model's training, step by step.

    A step runs on the digits' device. On CUDA it never makes Python wait for a value, so it can be captured as a graph
    and replayed.

    Takes the arguments of `fit`; ``steps`` is the total number of steps. If `precision` is None, PyTorch's settings
    stay as they are. The model is prepared if it has ``prepare``.

    Attributes
    ----------
    losses : (steps,), the recorded loss of each step made; where the minimised loss is not finite, that loss
    made : (1,) int64, the number of steps made so far
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
        faster: Mapping[str, float] = NONE_FASTER,
        rival_optimiser: Optimiser | None = None,
    ) -> None:
        self.model, self.task, self.digits, self.batch, self.draws = model, task, task.scenes(digits), batch, draws
        self.precision = check_precision(precision)
        self.device = digits.images.device
        self.generator = torch.Generator(self.device).manual_seed(seed)
        prepare = getattr(model, "prepare", None)
        if prepare is not None:
            prepare(self.generator)
        self.objective = objective(model)
        self.rival: Rival | None = getattr(model, "rival", None)
        rivals = set() if self.rival is None else set(map(id, self.rival.parameters()))
        own = {name: each for name, each in model.named_parameters() if each.requires_grad and id(each) not in rivals}
        self.optimiser = optimiser.make(own.values(), self.device)
        for part, times in faster.items():
            self._apart(own, part, times)
        self.rates: list[float] | Tensor | None = None
        if optimiser.schedule != "constant":
            self.rates = optimiser.rates(steps)
            if self.device.type == "cuda":  # a captured step cannot read a Python number
                self.rates = torch.tensor(self.rates, dtype=torch.float64, device=self.device)
        self.reaches = None
        if growth:
            self.reaches = torch.linspace(0, 1 / growth, steps, device=self.device).clamp(SMALLEST_REACH, 1)
        if self.rival is not None:
            settings = rival_optimiser or replace(optimiser, schedule="constant")
            self.rival_optimiser = settings.make(self.rival.parameters(), self.device)
        self.losses = torch.zeros(steps, device=self.device)
        self.made = torch.zeros(1, dtype=torch.int64, device=self.device)

    def _apart(self, own: dict[str, nn.Parameter], part: str, times: float) -> None:
        """Give the parameters whose name contains `part` a group of their own, with `times` the learning rate."""
        chosen = [own.pop(name) for name in list(own) if part in name]
        if not chosen:
            raise ValueError(f"no parameter that is left has {part!r} in its name: choose a part of another name")
        first, taken = self.optimiser.param_groups[0], set(map(id, chosen))
        first["params"] = [each for each in first["params"] if id(each) not in taken]
        self.optimiser.add_param_group({**first, "params": chosen, "lr": first["lr"] * times, "times": times})

    def draw(self) -> Batch:
        """The batch of the next step."""
        reach = None if self.reaches is None else self.reaches.index_select(0, self.made)[0]
        return draw_batch(self.task, self.digits, self.batch, self.generator, reach, self.draws)

    def step(self) -> None:
        """Train the rival, if there is one; then draw and transform a batch, and make one step of the optimiser.

        Raises
        ------
        DivergedError
            An address is not a number, or, on the CPU only: the loss is not finite. The model is not changed then,
            but its rival is.
        """
        try:
            self._step()
        except NotANumberError:
            raise DivergedError(int(self.made), self.losses[: int(self.made)].tolist()) from None

    def _step(self) -> None:
        if self.rival is not None:
            with precision_context(self.precision, self.device):
                self._train(self.rival)
        batch = self.draw()  # always in float32, so that targets are exact
        self.optimiser.zero_grad(set_to_none=True)
        with precision_context(self.precision, self.device):
            loss, to_record = self.objective(batch)
            if self.device.type == "cpu" and not math.isfinite(loss.item()):
                raise DivergedError(int(self.made), self.losses[: int(self.made)].tolist())
            loss.backward()
        self._set_rate()
        self.optimiser.step()
        loss = loss.detach()
        recorded = torch.where(loss.isfinite(), to_record, loss).to(self.losses.dtype)
        self.losses.index_copy_(0, self.made, recorded[None])
        self.made += 1

    def _train(self, rival: Rival) -> None:
        """Make the rival's steps that come before one step of the model."""
        model = cast(HasRival, self.model)
        for _ in range(rival.steps):
            self.rival_optimiser.zero_grad(set_to_none=True)
            with torch.no_grad():
                images = self.task.picture(draw_digits(self.digits, self.batch, self.generator)[0])
                latent = model.encode(images)
            rival.loss(latent, self.generator).backward()
            self.rival_optimiser.step()

    def _set_rate(self) -> None:
        if self.rates is None:
            return
        if isinstance(self.rates, Tensor):
            rate: Tensor | float = self.rates.index_select(0, self.made)[0]
        else:
            rate = self.rates[int(self.made)]
        for group in self.optimiser.param_groups:
            own = rate * group.get("times", 1)
            if isinstance(group["lr"], Tensor):
                group["lr"].copy_(torch.as_tensor(own))
            else:
                group["lr"] = own

    def forget_gradients(self) -> None:
        """Delete the gradients, to free their memory."""
        for parameter in self.model.parameters():
            parameter.grad = None


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
    faster: Mapping[str, float] = NONE_FASTER,
    rival_optimiser: Optimiser | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[float]:
    """Train a model in place to transform digits.

    The loss is the mean squared error of the model's images, unless the model has its own (`HasLoss`). A model with
    ``prepare`` (`HasPreparation`, as `addresses.PretrainedAddresses`) is prepared first. A model with a rival
    (`HasRival`, as `adversarial.AdversarialAutoencoder`) is trained against it.

    The same seed, device and number of threads give the same weights; on CUDA up to rounding, because the order of some
    of cuDNN's sums varies. If you interrupt it (Ctrl-C, or the kernel's stop button), the model keeps what it has
    learned so far, and you get a warning. Only an interrupted preparation is raised, since then nothing was learned.

    Parameters
    ----------
    model : called as ``model(images, code)`` or ``model.loss(batch)``, on the digits' device
    task : draws and applies the transform
    digits : training digits; batches are drawn and transformed on their device
    steps : number of steps, at least 1
    seed : seed for drawing the batches
    optimiser : the optimiser and its settings
    batch : number of targets in a batch; their images are drawn with replacement
    progress : show a bar with the running loss (``TQDM_DISABLE=1`` hides every bar)
    capture : capture a step once and replay it, see `capture.capture_step`; only on CUDA, and by default done there
    growth : share of the steps in which the transforms grow from small ones to each digit's whole range
        See `Task.sample`; 0 by default.
    precision : precision of the model's matrix products and convolutions, a name in `precision.PRECISIONS`
    draws : number of transforms of each image in a batch; more transforms mean fewer images to encode
    faster : part of a parameter's name → how many times the learning rate parameters with such a name have
    rival_optimiser : the rival's optimiser, at a constant rate; by default the model's, without its schedule
    checkpoint
        keeps the training while it is under way; a later call with a new model and the same arguments goes on from
        there, with the same weights in the end

    Returns
    -------
    The loss of each step; shorter than ``steps`` if it was interrupted.

    Raises
    ------
    ValueError
        Steps, batch or draws below 1, a batch that is not a multiple of draws, no digits, a growth outside [0, 1], an
        unknown precision, capture on another device than CUDA, a name in `faster` that no parameter has, or a schedule
        of the rival's rate.
    DivergedError
        The loss is not finite; the error names the step.
    CheckpointError
        The checkpoint's file is of another training, or not whole.
    """
    if not isinstance(optimiser, Optimiser):
        raise TypeError(f"the optimiser must be a training.Optimiser, as Optimiser('adam', 1e-3); got {optimiser!r}")
    (steps,) = checked_counts(steps=steps)
    batch, draws = checked_batch(batch, draws)  # now, and not only when the first batch is drawn
    if not 0 <= growth <= 1:
        raise ValueError(f"growth must be a share of the steps, from 0 to 1; got {growth}")
    if rival_optimiser is not None and rival_optimiser.schedule != "constant":
        raise ValueError(f"the rival's rate must be constant; got the schedule {rival_optimiser.schedule!r}")
    if len(digits) == 0:
        raise ValueError("there are no digits to train on")
    device = digits.images.device
    if capture and device.type != "cuda":
        raise ValueError(f"only a step on CUDA can be captured, but the digits are on {device}: omit capture")
    captures = device.type == "cuda" if capture is None else capture
    settings: dict[str, Any] = {
        "steps": steps,
        "seed": int(seed),
        "optimiser": optimiser,
        "batch": batch,
        "growth": float(growth),
        "precision": precision,
        "draws": draws,
        "faster": dict(faster),
        "rival_optimiser": rival_optimiser,
    }
    kept = None
    if checkpoint is not None:
        first = _first_loss(model, task, digits, int(seed), batch, draws)
        kept = checkpoint.open(model, first, {**settings, "device": device.type})
    trainer = Trainer(model, task, digits, **settings)
    if kept is not None:
        restore(trainer, kept)
    model.train()
    try:
        _make_steps(trainer, captures, progress, checkpoint)
    except KeyboardInterrupt:
        done = int(trainer.made)
        warnings.warn(f"interrupted: the model keeps what it learned in {done} of {steps} steps", stacklevel=2)
    finally:
        trainer.forget_gradients()
        model.eval()
        if checkpoint is not None:
            checkpoint.take_time()
    history = trainer.losses[: int(trainer.made)].tolist()
    for step, value in enumerate(history):
        if not math.isfinite(value):
            raise DivergedError(step, history[:step])
    return history


def _first_loss(model: nn.Module, task: Task, digits: Digits, seed: int, batch: int, draws: int) -> float:
    """The loss of a new model on the first batch. Weights, digits or a task that are not the same give another."""
    generator = torch.Generator(digits.images.device).manual_seed(seed)
    model.eval()  # else it may change the model
    with precision_context("float32", digits.images.device):
        first = draw_batch(task, task.scenes(digits), batch, generator, None, draws)
        return objective(model)(first)[0].item()


def _make_steps(trainer: Trainer, captures: bool, progress: bool, checkpoint: Checkpoint | None) -> None:
    """Make the steps that are left, up to a loss that is not finite, and show a bar."""
    # Reading a loss makes Python wait for the GPU, so it is done rarely there. Every loss is recorded all the same.
    look_every = 1 if trainer.device.type == "cpu" else 100
    # In notebooks, tqdm ignores its own environment variable.
    hidden = not progress or os.environ.get("TQDM_DISABLE", "0") not in ("", "0")
    made, steps = int(trainer.made), len(trainer.losses)
    bar = tqdm(total=steps, initial=made, desc="training", unit="step", leave=False, mininterval=0.5, disable=hidden)

    def go_on(planned: range, advance: Callable[[], None]) -> bool:
        """Make the planned steps; stop and return False if a loss is not finite."""
        for step in planned:
            advance()
            bar.update()
            if step % look_every == 0:
                turns.check()
                loss = trainer.losses[step].item()
                if not math.isfinite(loss):
                    return False
                if checkpoint is not None and checkpoint.due:
                    checkpoint.write(trainer)
                if step % (10 * look_every) == 0:
                    bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        return True

    eager = min(steps, made + WARM_UP) if captures else steps
    with bar, side_stream(trainer.device):
        if go_on(range(made, eager), trainer.step) and eager < steps:
            advance = capture_step(trainer)
            with turns.given_up() if advance != trainer.step else nullcontext():
                go_on(range(eager, steps), advance)
        if checkpoint is not None:
            checkpoint.finish(trainer)
