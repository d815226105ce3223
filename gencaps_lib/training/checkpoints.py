"""Keep a training in a file while it is under way, so that it can go on after its process has ended."""

from __future__ import annotations

import io
import math
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from gencaps_lib.files import write_whole

if TYPE_CHECKING:
    from gencaps_lib.training.loop import Trainer


class CheckpointError(RuntimeError):
    """A training that was kept cannot go on; the message says what to do."""


class Checkpoint:
    """A file in which a training is kept: weights, optimisers, random numbers and losses, once a minute.

    Where writing takes long, it is done less often, so that it takes at most about 2 % of the time. A training of less
    than a minute is not kept.

    Parameters
    ----------
    path : its folder is made if needed; delete the file when you have what you wanted from the training
    every : seconds from one writing to the next, at least
    settings : what else must be the same for a training to go on, beside the arguments of `fit`

    Attributes
    ----------
    seconds : how long the training has taken, in earlier processes too
    earlier : how much of that was in earlier processes
    sittings : in how many processes it was made
    """

    def __init__(self, path: str | os.PathLike, every: float = 60.0, settings: Mapping[str, str] | None = None) -> None:
        self.path, self.every = Path(path), every
        self.seconds, self.earlier, self.sittings = 0.0, 0.0, 1
        self._settings = dict(settings or {})
        self._own: dict[str, str] = {}
        self._first, self._pause = 0.0, every
        self._began = self._written = time.monotonic()

    def open(self, model: nn.Module, first: float, settings: Mapping[str, object]) -> dict[str, Any] | None:
        """Begin; return what was kept last, or None if there is no file.

        The model gets the weights that were kept, so that it is not prepared again.

        Parameters
        ----------
        model : as it is before its training
        first : its loss on the first batch, which tells other weights, digits and tasks
        settings : by name

        Raises
        ------
        CheckpointError
            The file is of another training, or it is no checkpoint.
        OSError
            The file cannot be read.
        """
        self._began = self._written = time.monotonic()
        self.seconds, self.earlier, self.sittings, self._pause = 0.0, 0.0, 1, self.every
        self._first = first
        self._own = {name: repr(value) for name, value in {**settings, **self._settings}.items()}
        if not self.path.exists():
            return None
        content = self.path.read_bytes()
        try:
            kept = dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
            other = [
                f"{name} {kept['settings'].get(name)} there and {own} here"
                for name, own in self._own.items()
                if kept["settings"].get(name) != own
            ]
            if not other and not math.isclose(kept["first"], first, rel_tol=1e-4):
                other = [f"its first loss was {kept['first']:.6g} and not {first:.6g}, by its weights, digits or task"]
            self.seconds = self.earlier = float(kept["seconds"])
            self.sittings = int(kept["sittings"]) + 1
        except Exception:  # PyTorch raises errors of many kinds for a file that is not whole
            raise CheckpointError(
                f"{self.path} is no checkpoint, or not whole: delete it, and the training starts anew"
            ) from None
        if other:
            raise CheckpointError(
                f"{self.path} is of another training ({'; '.join(other)}): name another file, or delete it"
            )
        model.load_state_dict(kept["model"])
        return kept

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() - self._written >= self._pause

    def write(self, trainer: Trainer) -> None:
        """Write where a training is, for `restore`; if that fails, warn: the training itself can go on."""
        start = time.monotonic()
        self.take_time()
        try:
            buffer = io.BytesIO()
            about = {"settings": self._own, "first": self._first, "seconds": self.seconds, "sittings": self.sittings}
            torch.save({**about, **_state(trainer)}, buffer)
            write_whole(self.path, buffer.getvalue())
        except Exception as error:  # a full disk, no memory, a model that cannot be pickled
            why = getattr(error, "strerror", None) or error
            warnings.warn(
                f"the training goes on, but cannot be kept in {self.path} ({why}): if its process ends, what is not in "
                "that file is lost",
                stacklevel=2,
            )
        self._written = time.monotonic()
        self._pause = max(self.every, 50 * (self._written - start))

    def finish(self, trainer: Trainer) -> None:
        """Write after the last step, unless the training was short, or ended in a loss that is not finite."""
        if time.monotonic() - self._began >= self.every and trainer.losses.isfinite().all():
            self.write(trainer)

    def take_time(self) -> None:
        """Bring `seconds` up to date."""
        self.seconds = self.earlier + time.monotonic() - self._began


def _optimisers(trainer: Trainer) -> list[torch.optim.Optimizer]:
    return [trainer.optimiser, *([] if trainer.rival is None else [trainer.rival_optimiser])]


def _rival(trainer: Trainer) -> list[torch.Tensor]:
    """The weights of the rival, which need not be a part of the model."""
    return [] if trainer.rival is None else [each.detach() for each in trainer.rival.parameters()]


def _state(trainer: Trainer) -> dict[str, Any]:
    """All that the next steps depend on."""
    return {
        "model": trainer.model.state_dict(),
        "rival": _rival(trainer),
        "optimisers": [each.state_dict()["state"] for each in _optimisers(trainer)],
        "generator": trainer.generator.get_state(),
        "losses": trainer.losses[: int(trainer.made)].clone(),  # else all of it would be written
    }


@torch.no_grad()
def restore(trainer: Trainer, kept: Mapping[str, Any]) -> None:
    """Bring a new trainer to where a training was kept; its model has the weights by `Checkpoint.open`."""
    for weights, there in zip(_rival(trainer), kept["rival"], strict=True):
        weights.copy_(there)
    for optimiser, state in zip(_optimisers(trainer), kept["optimisers"], strict=True):
        # The groups stay: on CUDA, a rate is a tensor there, which a captured step reads.
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    trainer.generator.set_state(kept["generator"])
    made = len(kept["losses"])
    trainer.losses[:made] = kept["losses"].to(trainer.device)
    trainer.made.fill_(made)
