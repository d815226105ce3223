"""Studies: many runs that can be stopped and continued at any time, one seed of every model first.

The folder of results is the only record of what is done; a run under way is kept in it, too, see `Job.kept`. Before a
study makes a run, it claims the run with a file lock. The system releases the lock when the process ends, in whatever
way.
"""

from __future__ import annotations

import json
import math
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import filelock

from gencaps_lib import results
from gencaps_lib.data import DataError
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
    jobs : the jobs, in the order in which to make them
    folder : folder of results
    retry : repeat runs that failed before
    force : replace stale results
    data : folder of MNIST, as `root` of `data.load_digits`

    Attributes
    ----------
    states : the state of each job

    Raises
    ------
    DataError
        MNIST is not in the folder that you named.
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
        self._under_way: dict[Job, filelock.BaseFileLock] = {}  # jobs and their claims

    @property
    def missing(self) -> list[Job]:
        """The jobs to make."""
        return [job for job, state in self.states.items() if state.kind in self._wanted]

    def run(self, engine: Engine, minutes: float = math.inf, report: Callable[[str], None] = lambda line: None) -> None:
        """Make the missing runs, and write each result when it is ready.

        Parameters
        ----------
        engine : makes the runs; it is closed at the end
        minutes
            start only runs that should end within this time, or that are under way; earlier runs of the same model give
            the estimate
        report : called with one line about each job

        Raises
        ------
        ResultError
            The folder cannot be written.
        EngineError
            A GPU does not answer any more; finished results are kept.
        KeyboardInterrupt
            The study was interrupted; finished results are kept.
        """
        deadline = time.monotonic() + 60 * minutes
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "interrupted", UserWarning)  # models that were interrupted are not kept
            try:
                self._make_folder()
                self._pass(self.missing, engine, deadline, report)
                # Runs of other studies may be done by now, or may have been stopped.
                there = [job for job, state in self.states.items() if state.kind == ELSEWHERE]
                self._pass(there, engine, deadline, report)
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
                # The expected time: the longest of a run of the same model, 0 if there is none. A run that is kept goes
                # on in any case: to stop it costs nothing.
                expected = max(state.seconds for other, state in self.states.items() if other[:2] == job[:2])
                if left <= (0 if job.kept(self.folder).exists() else expected):
                    report(f"{job}: not started, with {max(left, 0) / 60:.1f} minutes left")
                elif (claim := self._claim(job)) is None:
                    state = self.states[job]
                    report(f"{job}: {state.kind}, {state.note or 'by another study'}")
                else:
                    self._under_way[job] = claim
                    engine.start(job)
            if self._under_way:
                job, outcome = engine.finish()
                line, unwritable = self._close(job, outcome)
                report(f"{job}: {line}")
                if unwritable:  # every other run would be made in vain
                    raise ResultError(f"{unwritable}; then start the study again: what it has made is kept")
                if not isinstance(outcome, str) and outcome.interrupted:
                    raise KeyboardInterrupt

    def _claim(self, job: Job) -> filelock.BaseFileLock | None:
        """Claim a job. Return None, and set the job's state, if another study is making it or has made it."""
        claim = filelock.FileLock(self.folder / CLAIMS / f"{job.experiment}.{job.model}.seed{job.seed}.lock")
        path = job.path(self.folder)
        try:
            claim.acquire(blocking=False)
            self.states[job] = look(job, self.folder, self.data)
            if self.states[job].kind in self._wanted:
                beside = [results.beside(path, suffix) for suffix in (*SUFFIXES, FAILURE)]
                for target in (path, *beside, job.kept(self.folder)):
                    sweep(target)
                check_writable(path)
                return claim
        except filelock.Timeout:
            self.states[job] = State(ELSEWHERE, "another study is making it")
        except NotImplementedError as error:  # the file system has no locks
            self.states[job] = State(FAILED, f"cannot claim it ({error}): name another folder")
        except OSError as error:
            self.states[job] = State(FAILED, f"cannot write {path} ({error.strerror}): name another folder")
        claim.release()
        return None

    def _close(self, job: Job, outcome: Outcome) -> tuple[str, str]:
        """Write a job's result or failure, and release its claim.

        Returns
        -------
        the line to report, and why nothing can be written, if that is so
        """
        failure, unwritable = results.beside(job.path(self.folder), FAILURE), ""
        with suppress(DataError):  # what was made is not lost because MNIST is gone
            now = look(job, self.folder, self.data)
            if now.kind == DONE:  # it was not when the run was claimed; `run` takes no claim
                self.states[job] = now
                self._under_way.pop(job).release()
                return "not kept: while it was made, something else wrote a result of it, which stays", ""
        if not isinstance(outcome, str):
            try:
                outcome.write(self.folder, force=True)
                failure.unlink(missing_ok=True)
                job.kept(self.folder).unlink(missing_ok=True)
            except (ResultError, OSError) as error:  # a full disk
                outcome = unwritable = reason(error)
            except Exception as error:  # what cannot be kept must not end the study
                outcome = reason(error)
        if isinstance(outcome, str):
            self.states[job] = State(FAILED, outcome)
            line = f"failed, {outcome}"
            if not unwritable:  # else it is no fault of the run, which is to be made again
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
        return line, unwritable
