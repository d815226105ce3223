"""Keep a training in a folder while it is under way, so that it can go on after its process has ended."""

from __future__ import annotations

import hashlib
import io
import os
import time
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

import gencaps_lib
from gencaps_lib.files import digest, write_whole

if TYPE_CHECKING:
    from gencaps_lib.training.loop import Trainer

ABOVE = ("results", "book", "bench")  # rooms whose code a training does not run


class CheckpointError(RuntimeError):
    """A training that was kept cannot be read; the message says what to do."""


class Checkpoint:
    """A training in a folder: its weights, its optimiser and its random numbers, written once a minute.

    The file's name holds a digest of the training's settings and of the library's code. So another training in the
    same folder gets a file of its own, and after a change of the code a training starts from its first step. Where
    writing takes long, it is done less often: it takes at most about 2 % of the time.

    Parameters
    ----------
    folder : made if needed; delete it when you have what you wanted from the training
    every : seconds from one writing to the next, at least

    Attributes
    ----------
    seconds : how long the training took so far, in earlier processes too
    sittings : in how many processes it was made so far
    """

    def __init__(self, folder: str | os.PathLike, every: float = 60.0) -> None:
        self.folder, self.every = Path(folder), every
        self.seconds, self.sittings = 0.0, 1
        self._earlier, self._pause = 0.0, every
        self._path: Path | None = None
        self._began = self._written = time.monotonic()

    def open(self, model: nn.Module, settings: Iterable[object]) -> dict[str, Any] | None:
        """What was kept last of a model's training with these settings, or None if there is nothing in the folder.

        The model gets the weights that were kept, so that it is not prepared again.

        Raises
        ------
        CheckpointError
            There is a file, and it cannot be read.
        """
        shapes = [(name, tuple(weights.shape)) for name, weights in model.state_dict().items()]
        told = "\n".join((code(), *map(repr, (*settings, model, shapes))))
        name = digest(told.encode())
        self._path = self.folder / f"{name[:16]}.pt"
        self._began = self._written = time.monotonic()
        self._earlier, self.seconds, self.sittings, self._pause = 0.0, 0.0, 1, self.every
        if not self._path.exists():
            return None
        try:
            kept = torch.load(self._path, map_location="cpu", weights_only=True)
            self._earlier = self.seconds = float(kept["seconds"])
            self.sittings = int(kept["sittings"]) + 1
            model.load_state_dict(kept["model"])
            return kept
        except Exception as error:  # PyTorch raises errors of many kinds for a file that is not whole
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise CheckpointError(
                f"{self._path} cannot be read ({why}): delete it, and the training starts from its first step"
            ) from None

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() - self._written >= self._pause

    def write(self, trainer: Trainer) -> None:
        """Write where a training is, for `restore`; if that fails, warn: the training itself can go on."""
        assert self._path is not None, "open first"
        start = time.monotonic()
        self._take_time()
        buffer = io.BytesIO()
        kept = {
            "model": trainer.model.state_dict(),
            "optimisers": [each.state_dict()["state"] for each in _optimisers(trainer)],
            "generator": trainer.generator.get_state(),
            "losses": trainer.losses[: int(trainer.made)].clone(),  # else it would be written as long as all steps
        }
        torch.save({**kept, "seconds": self.seconds, "sittings": self.sittings}, buffer)
        try:
            write_whole(self._path, buffer.getvalue())
        except OSError as error:
            warnings.warn(
                f"the training goes on, but it could not be kept in {self._path} ({error.strerror}): if its process "
                "ends, what came after the last time is lost",
                stacklevel=2,
            )
        self._written = time.monotonic()
        self._pause = max(self.every, 50 * (self._written - start))

    def finish(self, trainer: Trainer) -> None:
        """Write after the last step, unless the training is so short that it is as soon made again."""
        if time.monotonic() - self._began >= self.every:
            self.write(trainer)
        self._take_time()

    def _take_time(self) -> None:
        self.seconds = self._earlier + time.monotonic() - self._began


def restore(trainer: Trainer, kept: Mapping[str, Any]) -> None:
    """Bring a trainer that has made no step to where a training with the same settings was kept."""
    trainer.model.load_state_dict(kept["model"])
    for optimiser, state in zip(_optimisers(trainer), kept["optimisers"], strict=True):
        # The groups stay: on CUDA, a rate is a tensor there, which a captured step reads.
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    trainer.generator.set_state(kept["generator"])
    made = len(kept["losses"])
    trainer.losses[:made] = kept["losses"].to(trainer.device)
    trainer.made.fill_(made)


def _optimisers(trainer: Trainer) -> list[torch.optim.Optimizer]:
    return [trainer.optimiser, *([] if trainer.rival is None else [trainer.rival_optimiser])]


@cache
def code() -> str:
    """A digest of the library's code that a training runs."""
    root = Path(gencaps_lib.__file__).parent
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] not in ABOVE:
            found.update(path.read_bytes())
    return found.hexdigest()
