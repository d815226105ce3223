"""The commands on results: ``list``, ``run`` and ``study``."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from gencaps_lib.arguments import (
    FAILURE,
    INTERRUPTED,
    Commands,
    add_data_and_folder,
    at_once,
    complain,
    positive_number,
    seed,
    seeds,
    share,
    steps,
    usable,
)
from gencaps_lib.data import load_digits
from gencaps_lib.evaluation import mean_inside, mean_outside, transfer_ratio
from gencaps_lib.experiments import EXPERIMENTS, named
from gencaps_lib.results.engines import Engine, LocalEngine
from gencaps_lib.results.folder import check, unregistered
from gencaps_lib.results.jobs import FAILED, STALE, plan, table
from gencaps_lib.results.ray import RayEngine
from gencaps_lib.results.record import ResultError, check_free, result_path
from gencaps_lib.results.runs import make
from gencaps_lib.results.study import Study
from gencaps_lib.routing import NotANumberError
from gencaps_lib.tasks import Task
from gencaps_lib.training import DivergedError


def add_commands(commands: Commands) -> None:
    """Add the commands to the command line."""
    listing = commands.add_parser("list", help="every experiment and model, with sizes, steps, ranges and figures")
    listing.set_defaults(do=list_experiments)
    run = commands.add_parser("run", help="train and judge one experiment's models, and write a result file for each")
    run.add_argument("experiment", metavar="EXPERIMENT", help=", ".join(EXPERIMENTS))
    run.add_argument("--model", help="one model; all of the experiment's models by default")
    run.add_argument("--steps", type=steps, help="training steps, instead of the profile's")
    run.add_argument("--seed", type=seed, default=0, help="seed of weights and batches (default: 0)")
    run.add_argument("--force", action="store_true", help="replace a result that is there already")
    add_data_and_folder(run, "results")
    run.set_defaults(do=run_experiment)
    study = commands.add_parser("study", help="make all runs that are missing; stop and start it as you like")
    study.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="all by default")
    study.add_argument("--models", nargs="+", default=[], metavar="MODEL", help="all of each experiment by default")
    study.add_argument("--seeds", type=seeds, help="as 0-4 or 0,2 (default: each experiment's own)")
    study.add_argument(
        "--minutes",
        type=positive_number,
        default=math.inf,
        help="start no run that would end later; one that is under way goes on all the same",
    )
    study.add_argument(
        "--status", action="store_true", help="run nothing: say what is there, missing, stale or damaged"
    )
    study.add_argument("--retry", action="store_true", help="make runs that failed before once more")
    study.add_argument("--force", action="store_true", help="replace stale results")
    study.add_argument("--engine", choices=("local", "ray"), default="local", help="this process, or a Ray cluster")
    study.add_argument("--at-once", type=at_once, default=1, help="runs at once on a GPU of this machine (default: 1)")
    study.add_argument("--address", help="of the Ray cluster (default: $RAY_ADDRESS, or the one on this machine)")
    study.add_argument("--gpu", type=share, default=0.25, help="share of a GPU for a run on Ray")
    add_data_and_folder(study, "results")
    study.set_defaults(do=run_study)


def list_experiments(options: argparse.Namespace, profile: str) -> int:
    """Print every experiment and model with its size, steps, range and figures."""
    for experiment in (entry.at(profile) for entry in EXPERIMENTS.values()):
        task = experiment.task
        print(f"{experiment.name}  ({profile} profile): {experiment.title}")
        for (low, high), digits in _grouped(task).items():
            print(f"  {', '.join(map(str, digits))}: trained on {low:g} … {high:g} {task.transform.unit}")
        figures = f"; figures {', '.join(experiment.figures)}" if experiment.figures else ""
        print(f"  tested on {task.grid[0]:g} … {task.grid[-1]:g}{figures}")
        for name in experiment.models:
            with torch.device("meta"):
                built = experiment.build(name)
            spec = experiment.spec(name)
            print(
                f"    {name:28}{spec.kind.size(built):>12,} {spec.kind.counted:18}"
                f"{experiment.steps:>9,} steps of {experiment.batch}  {spec.optimiser.name} {spec.optimiser.lr:g}"
                + (f", transforms grow in the first {spec.growth:.0%}" if spec.growth else "")
                + (f", products in {spec.precision}" if spec.precision else "")
                + "".join(f", {times:g} times the rate for {part}" for part, times in spec.faster.items())
            )
    return 0


def _grouped(task: Task) -> dict[tuple[float, float], list[int]]:
    groups: dict[tuple[float, float], list[int]] = {}
    for digit in task.digits:
        groups.setdefault(task.seen[digit], []).append(digit)
    return groups


def run_experiment(options: argparse.Namespace, profile: str) -> int:
    """Run one or all models of an experiment; return the exit status."""
    experiment = named(options.experiment).at(profile)
    if options.model is not None and options.model not in experiment.models:
        raise ValueError(f"unknown model {options.model!r}: choose one of {', '.join(experiment.models)}")
    usable(options.device)
    if options.steps:
        experiment = replace(experiment, steps=options.steps)
    names = list(experiment.models) if options.model is None else [options.model]
    for name in names:  # before any work
        check_free(result_path(options.out, experiment.name, name, options.seed), options.force)
    train, test = (
        load_digits(split, experiment.source, root=options.data, device=options.device) for split in ("train", "test")
    )
    status = 0
    for name in names:
        print(
            f"{experiment.name}, {name}: {experiment.steps:,} steps on {train.source}, seed {options.seed}", flush=True
        )
        try:
            made = make(experiment, name, train, test, options.seed)
            result = made.result
            if not result.complete:
                print(f"  interrupted after {result.made:,} of {experiment.steps:,} steps")
            if made.interrupted or not result.complete:
                status = INTERRUPTED
            path = made.write(options.out, options.force)
        except (DivergedError, NotANumberError, ResultError) as error:
            complain(error)
            status = status or FAILURE
            if isinstance(error, ResultError):  # the next one could not be written, either
                break
        else:
            for digit in experiment.task.held_out:
                curve = result.curves.get(digit)
                if curve:
                    inside, outside = mean_inside(curve, experiment.task), mean_outside(curve, experiment.task)
                    ratio = transfer_ratio(curve, experiment.task)
                    print(f"  '{digit}': {inside:.4f} in range, {outside:.4f} out of it, ratio {ratio:.2f}")
            print(f"  {path}")
        if status == INTERRUPTED:
            break
    return status


def run_study(options: argparse.Namespace, profile: str) -> int:
    """Make the missing runs of a study, or print its status; return the exit status."""
    jobs = plan(profile, options.experiments, options.models, options.seeds)
    study = Study(jobs, options.out, options.retry, options.force, options.data)
    looked = options.status and Path(options.out).exists()
    complaints = check(options.out) if looked else []
    try:
        if study.missing and not options.status:
            study.run(_engine(study, options), options.minutes, report=partial(print, flush=True))
    finally:
        print("\n".join(["", *table(study.states)]))
        bad = [(job, state) for job, state in study.states.items() if state.kind in (FAILED, STALE)]
        for job, state in bad:
            print(f"{job}: {state.kind}, {state.note}")
        for kind, option in ((FAILED, "--retry"), (STALE, "--force")):
            if any(state.kind == kind for _, state in bad):
                print(f"{kind} runs are made again with {option}")
        told = {state.note for _, state in bad}
        for complaint in complaints:
            if complaint not in told:
                print(complaint)
        for line in unregistered(options.out) if looked else []:
            print(line)
    return FAILURE if bad or complaints else 0


def _engine(study: Study, options: argparse.Namespace) -> Engine:
    device = "cpu" if options.engine == "ray" else usable(options.device)
    load = partial(load_digits, root=options.data, device=device)
    sources = {job.entry.source for job in study.missing}
    digits = {source: (load("train", source), load("test", source)) for source in sources}
    if options.engine == "ray":
        return RayEngine(digits, options.address, options.gpu)
    return LocalEngine(digits, at_once=options.at_once, folder=study.folder)
