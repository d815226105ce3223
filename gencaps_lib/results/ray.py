"""An engine that makes the runs of a study on the machines of a Ray cluster.

References
----------
Moritz et al. (2018), "Ray: A Distributed Framework for Emerging AI Applications": tasks, and how lost tasks are
repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

import gencaps_lib
from gencaps_lib.data import Digits
from gencaps_lib.results.engines import EngineError, Outcome, attempt, reason
from gencaps_lib.results.jobs import Job
from gencaps_lib.results.provenance import commit

RETRIES = 5  # how often a run is repeated if its machine or process is lost


class RayEngine:
    """Makes runs on a running Ray cluster, one task for each run, with this checkout's code; results come back here.

    If a machine or process is lost, its runs are started again on another one.

    Parameters
    ----------
    digits : source → training and test digits, on the CPU; they are sent to each machine
    address : address of the cluster; by default ``$RAY_ADDRESS``, or the cluster on this machine
    gpu : share of a GPU for a run, if the cluster has GPUs

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
        code = {"py_modules": [str(Path(gencaps_lib.__file__).parent)], "excludes": ["published", "__pycache__"]}
        try:
            ray.init(address or "auto", runtime_env=code, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise EngineError(
                f"no Ray cluster can be reached ({reason(error)}): start one with `ray start --head`, "
                "or name one with --address"
            ) from None
        self._ray = ray
        self._gpu = gpu if ray.cluster_resources().get("GPU") else 0
        self._attempt = ray.remote(num_cpus=1, num_gpus=self._gpu, max_retries=RETRIES)(_attempt_there)
        self._digits = {source: ray.put(pair) for source, pair in digits.items()}
        self._commit = commit()
        self._tasks: dict[ray.ObjectRef, Job] = {}

    @property
    def capacity(self) -> int:
        """How many runs the present machines have room for, plus one that waits for the next free place."""
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
        # On the cluster the code is a copy without Git, so the commit is added here.
        machine = {**outcome.result.machine, "commit": self._commit}
        return job, outcome._replace(result=replace(outcome.result, machine=machine))

    def close(self) -> None:
        self._ray.shutdown()  # this also stops the tasks of this process


def _attempt_there(job: Job, digits: tuple[Digits, Digits]) -> Outcome:
    """Make a run in a Ray task, on the GPU if the task has a share of one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train, test = (split.to(device) for split in digits)
    return attempt(job, train, test)
