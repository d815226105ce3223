"""Studies: many runs, in an order that soon says something about everything, that can be stopped and taken up again.

What is done is what lies in the folder of results: a study keeps no other record. A run that it is about to make it
claims by a file lock, which the system releases when the process ends, however it ends.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import filelock

from gencaps_lib import results
from gencaps_lib.files import check_writable, sweep, write_whole
from gencaps_lib.results.attachments import SUFFIXES
from gencaps_lib.results.engines import Engine, Outcome, reason
from gencaps_lib.results.jobs import DONE, ELSEWHERE, FAILED, MISSING, STALE, Job, State, look
from gencaps_lib.results.record import FAILURE, ResultError

CLAIMS = ".claims"  # folder of the locks


class Study:
    """The jobs of a study in a folder of results.

    Parameters
    ----------
    jobs : in the order in which to make them
    folder : of the results
    retry : make runs that failed before once more
    force : replace stale results
    data : folder of MNIST, as `root` of `data.load_digits`

    Attributes
    ----------
    states : of each job

    Raises
    ------
    DataError
        The folder of MNIST that was named lacks it.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        folder: str | os.PathLike,
        retry: bool = False,
        force: bool = False,
        data: str | os.PathLike | None = None,
    ) -> None:
        self.folder, self.data = Path(folder), data
        self.states = {job: look(job, folder, data) for job in jobs}
        self._wanted = {MISSING} | ({FAILED} if retry else set()) | ({STALE} if force else set())
        self._under_way: dict[Job, filelock.BaseFileLock] = {}  # with their claims

    @property
    def missing(self) -> list[Job]:
        """The jobs to make."""
        return [job for job, state in self.states.items() if state.kind in self._wanted]

    def run(self, engine: Engine, minutes: float = math.inf, report: Callable[[str], None] = lambda line: None) -> None:
        """Make the missing runs, and write each result as it comes.

        Parameters
        ----------
        engine : makes the runs; it is closed at the end
        minutes : no run is started that is not expected to end in this time, by what runs of the same model took
        report : called with a line about each job

        Raises
        ------
        ResultError
            The folder cannot be written at all.
        EngineError
            A GPU does not answer any more; what had been finished is kept.
        KeyboardInterrupt
            It was interrupted; what had been finished is kept.
        """
        deadline = time.monotonic() + 60 * minutes
        try:
            self._make_folder()
            self._pass(self.missing, engine, deadline, report)
            # What other studies were at may be done by now, or left by them.
            self._pass([job for job, state in self.states.items() if state.kind == ELSEWHERE], engine, deadline, report)
        finally:
            engine.close()
            for claim in self._under_way.values():
                claim.release()
            self._under_way.clear()

    def _make_folder(self) -> None:
        try:
            (self.folder / CLAIMS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResultError(f"cannot write {self.folder} ({error.strerror}): name another folder") from None

    def _pass(self, jobs: Sequence[Job], engine: Engine, deadline: float, report: Callable[[str], None]) -> None:
        waiting = deque(jobs)
        while waiting or self._under_way:
            while waiting and len(self._under_way) < engine.capacity:
                job = waiting.popleft()
                left = deadline - time.monotonic()
                if left <= self._expected(job):
                    report(f"{job}: not started, with {max(left, 0) / 60:.1f} minutes left")
                elif (claim := self._claim(job)) is None:
                    state = self.states[job]
                    report(f"{job}: {state.kind}, {state.note or 'by another study'}")
                else:
                    self._under_way[job] = claim
                    engine.start(job)
            if self._under_way:
                job, outcome = engine.finish()
                report(f"{job}: {self._close(job, outcome)}")

    def _expected(self, job: Job) -> float:
        """How many seconds a run will take: the most that one of the same model took; 0 if there was none."""
        return max(state.seconds for other, state in self.states.items() if other[:2] == job[:2])

    def _claim(self, job: Job) -> filelock.BaseFileLock | None:
        """Claim a job, unless another study is at it or has done it by now, which its state then says."""
        claim = filelock.FileLock(self.folder / CLAIMS / f"{job.experiment}.{job.model}.seed{job.seed}.lock")
        path = job.path(self.folder)
        try:
            claim.acquire(blocking=False)
            self.states[job] = look(job, self.folder, self.data)
            if self.states[job].kind in self._wanted:
                for target in (path, *(results.beside(path, suffix) for suffix in (*SUFFIXES, FAILURE))):
                    sweep(target)
                check_writable(path)
                return claim
        except filelock.Timeout:
            self.states[job] = State(ELSEWHERE, "another study is at it")
        except NotImplementedError as error:  # of a file system without locks
            self.states[job] = State(FAILED, f"cannot claim it ({error}): name another folder")
        except OSError as error:
            self.states[job] = State(FAILED, f"cannot write {path} ({error.strerror}): name another folder")
        claim.release()
        return None

    def _close(self, job: Job, outcome: Outcome) -> str:
        """Write what came of a job, and release its claim; returns what to report."""
        failure = results.beside(job.path(self.folder), FAILURE)
        if not isinstance(outcome, str):
            try:
                outcome.write(self.folder, force=True)
                failure.unlink(missing_ok=True)
            except (ResultError, OSError, ValueError) as error:  # a full disk; a curve that is not finite
                outcome = reason(error)
        if isinstance(outcome, str):
            self.states[job] = State(FAILED, outcome)
            line = f"failed, {outcome}"
            record = {**job._asdict(), "reason": outcome, "config": job.configuration}
            try:
                write_whole(failure, (json.dumps(record, indent=1) + "\n").encode())
            except OSError as error:
                line += f" (and it cannot be recorded: {error.strerror})"
        else:
            self.states[job] = replace(State.of(outcome.result), seconds=outcome.seconds)
            there = sum(state.kind == DONE for state in self.states.values())
            line = f"done in {outcome.seconds:.0f} s, {there} of {len(self.states)} are there"
        self._under_way.pop(job).release()
        return line
