"""What makes the runs of a study: this process, or the machines of a Ray cluster.

References
----------
Moritz et al. (2018), "Ray: A Distributed Framework for Emerging AI Applications": tasks, and retrying them elsewhere.
"""

from __future__ import annotations

import queue
import threading
import warnings
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch

from gencaps_lib import results
from gencaps_lib.capture import turns
from gencaps_lib.data import Digits
from gencaps_lib.jobs import Job
from gencaps_lib.machine import commit
from gencaps_lib.results import Made


class EngineError(RuntimeError):
    """An engine that cannot be used; the message says what to do."""


Outcome = Made | str  # or why there is none


def attempt(job: Job, train: Digits, test: Digits, progress: bool = False) -> Outcome:
    """Make a run; whatever goes wrong in it becomes a reason, but for being interrupted."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "interrupted", UserWarning)  # the model is not kept
            return results.make(job.entry, job.model, train, test, job.seed, progress, partial=False)
    except Exception as error:  # a study goes on, whatever it is: out of memory, a loss that is not finite, a bug
        return reason(error)


def reason(error: Exception) -> str:
    """The first line of an error's message, or its kind."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def _check_gpu(device: torch.device) -> None:
    """Raise an EngineError where a GPU does not answer: after some errors it answers nothing more to a process."""
    if device.type != "cuda":
        return
    try:
        torch.cuda.synchronize(device)
    except RuntimeError as error:
        raise EngineError(
            f"the GPU does not answer any more ({reason(error)}): start the study again, it goes on "
            "where it was; --retry makes the run that failed once more"
        ) from None


class Engine(Protocol):
    """What makes the runs of a study."""

    @property
    def capacity(self) -> int:
        """How many jobs can be under way at once."""

    def start(self, job: Job) -> None:
        """Take a job."""

    def finish(self) -> tuple[Job, Outcome]:
        """Wait for one of the jobs under way, and hand over what came of it."""

    def close(self) -> None:
        """Drop what is under way."""


class LocalEngine:
    """Makes runs in this process: one after the other, or on a GPU several at once, each on a stream of its own.

    Parameters
    ----------
    digits : training and test digits by source, on the device to train on
    progress : show a bar while training, where runs are made one after the other
    at_once : how many runs are under way at once

    Raises
    ------
    EngineError
        Several at once on another device than CUDA, where nothing would be gained.
    """

    def __init__(self, digits: Mapping[str, tuple[Digits, Digits]], progress: bool = True, at_once: int = 1) -> None:
        devices = {train.images.device.type for train, _ in digits.values()}
        if at_once > 1 and devices - {"cuda"}:
            raise EngineError("several runs at once pay on CUDA only: leave --at-once out, or start several studies")
        self.capacity = at_once
        self._digits = digits
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
        train, test = self._digits[job.entry.source]
        _check_gpu(train.images.device)
        return job, attempt(job, train, test, self._progress) if outcome is None else outcome

    def _beside(self, job: Job) -> None:
        """Make a run in a thread of its own."""
        outcome: Outcome = "interrupted"
        try:
            with turns.taken():
                outcome = attempt(job, *self._digits[job.entry.source])
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


RETRIES = 5  # of a run whose machine or process is lost


class RayEngine:
    """Makes runs on a Ray cluster that is there, a task for each, with this checkout's code; results come back here.

    A run whose machine or process is lost is started again on another one.

    Parameters
    ----------
    digits : training and test digits by source, on the CPU; each machine is sent them
    address : of the cluster; by default ``$RAY_ADDRESS``, or the one on this machine
    gpu : share of a GPU that a run gets, where the cluster has GPUs

    Raises
    ------
    EngineError
        Ray is not installed, or there is no cluster.
    """

    def __init__(
        self, digits: Mapping[str, tuple[Digits, Digits]], address: str | None = None, gpu: float = 0.25
    ) -> None:
        try:
            import ray
        except ImportError:
            raise EngineError("the ray engine needs Ray: pip install 'gencaps_lib[ray]'") from None
        code = {"py_modules": [str(Path(__file__).parent)], "excludes": ["published", "__pycache__"]}
        try:
            ray.init(address or "auto", runtime_env=code, log_to_driver=False, logging_level="error")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise EngineError(
                f"no Ray cluster can be reached ({reason(error)}): start one with `ray start --head`, "
                "or name one with --address"
            ) from None
        self._ray = ray
        self._gpu = gpu if ray.cluster_resources().get("GPU") else 0
        options = {"num_cpus": 1, "num_gpus": self._gpu, "max_retries": RETRIES}
        self._attempt = ray.remote(**options)(_attempt_there)
        self._digits = {source: ray.put(pair) for source, pair in digits.items()}
        self._commit = commit()
        self._tasks: dict[ray.ObjectRef, Job] = {}

    @property
    def capacity(self) -> int:
        """What the machines that are there now have room for, and one more, to start as soon as one ends."""
        there = self._ray.cluster_resources()
        room = there.get("GPU", 0) / self._gpu if self._gpu else there.get("CPU", 0)
        return int(min(room, there.get("CPU", 0))) + 1

    def start(self, job: Job) -> None:
        self._tasks[self._attempt.remote(job, self._digits[job.entry.source])] = job

    def finish(self) -> tuple[Job, Outcome]:
        (ready,), _ = self._ray.wait(list(self._tasks))
        job = self._tasks.pop(ready)
        try:
            outcome = self._ray.get(ready)
        except self._ray.exceptions.RayError as error:
            return job, reason(error)
        if isinstance(outcome, str):
            return job, outcome
        # There the code is a copy, which knows no commit.
        machine = {**outcome.result.machine, "commit": self._commit}
        return job, outcome._replace(result=replace(outcome.result, machine=machine))

    def close(self) -> None:
        self._ray.shutdown()  # and with it the tasks of this process


def _attempt_there(job: Job, digits: tuple[Digits, Digits]) -> Outcome:
    """Make a run in a task of Ray, on the GPU if the task was given a share of one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train, test = (split.to(device) for split in digits)
    return attempt(job, train, test)
