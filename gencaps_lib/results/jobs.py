"""Jobs: the runs of a study, their order, and their states."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gencaps_lib import results
from gencaps_lib.experiments import EXPERIMENTS, Experiment, named
from gencaps_lib.results.record import FAILURE, Result, check_seed
from gencaps_lib.results.statistics import Runs
from gencaps_lib.tables import lines

KEPT = ".under-way"  # folder of runs that are not at their end
DONE, MISSING, STALE, FAILED, ELSEWHERE = "done", "missing", "stale", "failed", "elsewhere"


class Job(NamedTuple):
    """One run of a study, as plain data."""

    experiment: str  #: its name in the registry
    model: str  #: the model's name in the experiment
    seed: int  #: of the weights and the batches
    profile: str  #: one of `experiments.PROFILES`

    @property
    def entry(self) -> Experiment:
        """The experiment of the registry, at the job's profile."""
        return EXPERIMENTS[self.experiment].at(self.profile)

    @property
    def configuration(self) -> dict[str, Any]:
        """Everything that determines the run, except its seed."""
        return results.configuration(self.entry, self.model)

    def path(self, folder: str | os.PathLike) -> Path:
        """The path of the result."""
        return results.result_path(folder, self.experiment, self.model, self.seed)

    def kept(self, folder: str | os.PathLike) -> Path:
        """The file in which the run is kept while it is under way."""
        return Path(folder) / KEPT / f"{self.profile}.{self.experiment}.{self.model}.seed{self.seed}.pt"

    def __str__(self) -> str:
        return f"{self.experiment}, {self.model}, seed {self.seed}"


def plan(
    profile: str,
    experiments: Sequence[str] = (),
    models: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
) -> list[Job]:
    """The jobs of a study in order: first one seed of every model of every experiment, then the second seeds.

    Parameters
    ----------
    profile : profile of all runs
    experiments : names; by default all experiments of the registry
    models : names; by default all models of each experiment
    seeds : by default each experiment's own seeds

    Raises
    ------
    ValueError
        An experiment is unknown, no experiment has one of the models, or a seed is negative or no whole number.
    """
    if seeds is not None:
        seeds = list(map(check_seed, seeds))
    entries = [named(name).at(profile) for name in dict.fromkeys(experiments or EXPERIMENTS)]
    known = list(dict.fromkeys(model for entry in entries for model in entry.models))
    for name in models:
        if name not in known:
            raise ValueError(f"unknown model {name!r}: choose one of {', '.join(known)}")
    jobs = {
        Job(entry.name, model, seed, profile): place
        for entry in entries
        for model in entry.models
        if not models or model in models
        for place, seed in enumerate(dict.fromkeys(entry.seeds if seeds is None else seeds))
    }
    return sorted(jobs, key=jobs.__getitem__)  # stable: the first seed of each, then the second


@dataclass(frozen=True)
class State:
    """The state of a job.

    Attributes
    ----------
    kind : ``"done"``, ``"missing"``, ``"stale"``, ``"failed"``, or ``"elsewhere"``: another study is making it
    note : the reason
    seconds : the time it took, if it is done
    result : the result, if it is done
    """

    kind: str
    note: str = ""
    seconds: float = 0.0
    result: Result | None = field(default=None, repr=False)

    @classmethod
    def of(cls, result: Result) -> State:
        """The state of a job with this result."""
        return cls(DONE, seconds=result.seconds, result=result)


def look(job: Job, folder: str | os.PathLike, data: str | os.PathLike | None = None) -> State:
    """The state of a job, from the files in the folder.

    Parameters
    ----------
    job, folder : the job, and the folder of results
    data : folder of MNIST, as `root` of `data.load_digits`

    Raises
    ------
    DataError
        MNIST is not in the folder that you named.
    """
    path = job.path(folder)
    try:
        if path.exists():
            faults = results.faults(path, job.entry, data)
            return State(STALE, faults[0]) if faults else State.of(results.read(path))
    except OSError as error:
        return State(FAILED, f"cannot look at {path} ({error.strerror})")
    try:
        failure = json.loads(results.beside(path, FAILURE).read_text(encoding="utf-8"))
        # A run that failed at another profile, or before the configuration changed, may work now.
        if (failure["profile"], failure["config"]) == (job.profile, job.configuration):
            return State(FAILED, failure["reason"])
    except (OSError, ValueError, TypeError, KeyError):
        pass  # there is no record, or it cannot be read
    return State(MISSING)


def table(states: Mapping[Job, State]) -> list[str]:
    """The status of a study, one line for each model: its data, how many seeds are done, and their losses.

    Losses are those of `Runs.summary`; for a classifier they are error rates.
    """
    models = list(dict.fromkeys((job.experiment, job.model) for job in states))
    rows = [("experiment", "model", "data", "seeds", "inside", "outside", "ratio", "")]
    for experiment, model in models:
        mine = {job: state for job, state in states.items() if job[:2] == (experiment, model)}
        there = tuple(state.result for state in mine.values() if state.result is not None)
        data = sorted({result.source for result in there})
        # Results on different data have no common mean.
        numbers = Runs(there, next(iter(mine)).entry.task).summary if len(data) == 1 else ("", "", "")
        kinds = [state.kind for state in mine.values()]
        notes = ", ".join(
            f"{kinds.count(kind)} {kind}" for kind in (MISSING, STALE, FAILED, ELSEWHERE) if kind in kinds
        )
        rows.append((experiment, model, ", ".join(data), f"{len(there)}/{len(kinds)}", *numbers, notes))
    return lines(rows)
