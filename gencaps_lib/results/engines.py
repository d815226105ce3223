"""Engines make the runs of a study. This one uses this process; for a Ray cluster see `ray`."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import torch

from gencaps_lib.data import Digits
from gencaps_lib.results.fingerprints import config_digest
from gencaps_lib.results.jobs import Job
from gencaps_lib.results.runs import Made, make
from gencaps_lib.training import Checkpoint, turns


class EngineError(RuntimeError):
    """An engine cannot be used; the message says what to do."""


Outcome = Made | str  # the run, or the reason why it failed


def attempt(
    job: Job, train: Digits, test: Digits, progress: bool = False, checkpoint: Checkpoint | None = None
) -> Outcome:
    """Make a run; any error is returned as a reason, except an interruption, which is raised."""
    try:
        return make(job.entry, job.model, train, test, job.seed, progress, partial=False, checkpoint=checkpoint)
    except Exception as error:  # a study continues after any error: no memory, a loss that is not finite, a bug
        return reason(error)


def reason(error: Exception) -> str:
    """The first line of an error's message, or its class name."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def _check_gpu(device: torch.device) -> None:
    """Raise an EngineError if the GPU does not answer. After some errors, this process cannot use it any more."""
    if device.type != "cuda":
        return
    try:
        torch.cuda.synchronize(device)
    except RuntimeError as error:
        raise EngineError(
            f"the GPU does not answer any more ({reason(error)}): start the study again to continue it; "
            "--retry also repeats the run that failed"
        ) from None


class Engine(Protocol):
    """Makes the runs of a study."""

    @property
    def capacity(self) -> int:
        """How many jobs can run at the same time."""

    def start(self, job: Job) -> None:
        """Start a job."""

    def finish(self) -> tuple[Job, Outcome]:
        """Wait until one of the started jobs ends; return it and its outcome."""

    def close(self) -> None:
        """Stop all started jobs."""


class LocalEngine:
    """Makes runs in this process: one after the other, or on a GPU several at once, each on its own stream.

    Parameters
    ----------
    digits : source → training and test digits, on the device to train on
    progress : show a bar while training, if runs are made one after the other
    at_once : how many runs are made at the same time
    folder : the study's folder; if given, a run under way is kept there, and a later study goes on with it

    Raises
    ------
    EngineError
        Several runs at once on another device than CUDA; this would not save time.
    """

    def __init__(
        self,
        digits: Mapping[str, tuple[Digits, Digits]],
        progress: bool = True,
        at_once: int = 1,
        folder: str | os.PathLike | None = None,
    ) -> None:
        devices = {train.images.device.type for train, _ in digits.values()}
        if at_once > 1 and devices - {"cuda"}:
            raise EngineError("several runs at once are faster on CUDA only: omit --at-once, or start several studies")
        self.capacity = at_once
        self._digits, self._folder = digits, folder
        self._progress = progress and at_once == 1
        self._jobs: deque[Job] = deque()
        self._threads: list[threading.Thread] = []
        self._ended: queue.SimpleQueue[tuple[Job, Outcome]] = queue.SimpleQueue()

    def start(self, job: Job) -> None:
        self._jobs.append(job)
        if self.capacity > 1:
            self._threads.append(threading.Thread(target=self._beside, args=(job,), daemon=True))
            self._threads[-1].start()

    def finish(self) -> tuple[Job, Outcome]:
        job, outcome = self._ended.get() if self.capacity > 1 else (self._jobs[0], None)
        self._jobs.remove(job)
        if not isinstance(outcome, Made):  # a finished run is kept, also if another one has stopped the GPU
            _check_gpu(self._digits[job.entry.source][0].images.device)
        return job, self._attempt(job, self._progress) if outcome is None else outcome

    def _attempt(self, job: Job, progress: bool = False) -> Outcome:
        checkpoint = None
        if self._folder is not None:
            configuration = config_digest(job.entry, job.model)[:8]
            checkpoint = Checkpoint(job.kept(self._folder), settings={"configuration": configuration})
        return attempt(job, *self._digits[job.entry.source], progress, checkpoint)

    def _beside(self, job: Job) -> None:
        """Make a run in its own thread."""
        outcome: Outcome = "interrupted"
        try:
            with turns.taken():
                outcome = self._attempt(job)
        except KeyboardInterrupt:
            pass  # the engine was closed
        finally:
            if isinstance(outcome, Made):
                machine = {**outcome.result.machine, "at once": str(self.capacity)}
                outcome = outcome._replace(result=replace(outcome.result, machine=machine))
            self._ended.put((job, outcome))

    def close(self) -> None:
        turns.stop(self._threads)
        self._jobs.clear()
