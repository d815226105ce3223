"""The command line: ``python -m gencaps_lib list``, ``run``, ``study``, ``report``, ``bench`` or ``explorer``."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TextIO

import torch

from gencaps_lib import bench, exporting, results, scenes
from gencaps_lib.data import DataError, load_digits
from gencaps_lib.engines import Engine, EngineError, LocalEngine, RayEngine
from gencaps_lib.evaluation import mean_inside, mean_outside, transfer_ratio
from gencaps_lib.experiments import EXPERIMENTS, PROFILES, Experiment, check_profile, current_profile
from gencaps_lib.files import check_writable
from gencaps_lib.jobs import FAILED, STALE, plan, table
from gencaps_lib.report import report
from gencaps_lib.results import ResultError
from gencaps_lib.scenes import SceneError
from gencaps_lib.study import Study
from gencaps_lib.tasks import Task
from gencaps_lib.training import DivergedError

FAILURE = 1
BAD_USE = 2
INTERRUPTED = 130
# Bounds of what can be asked for: what is above is a slip, and would take all memory before it fails.
MOST_STEPS = 10_000_000
MOST_SEED = 2**32 - 1
MOST_SEEDS = 1000
MOST_AT_ONCE = 64


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        # One line, and not the usage before it.
        self.exit(BAD_USE, f"{self.prog}: {message}\n")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; bad use exits with status 2 and one line."""
    parser = _Parser(prog="python -m gencaps_lib", description=__doc__)
    commands = parser.add_subparsers(
        dest="command",
        required=True,
        metavar="list | run | study | report | bench | explorer",
        parser_class=_Parser,
    )
    listing = commands.add_parser("list", help="every experiment and model, with sizes, steps, ranges and figures")
    run = commands.add_parser("run", help="train and judge one experiment's models, and write a result file for each")
    run.add_argument("experiment", metavar="EXPERIMENT", help=", ".join(EXPERIMENTS))
    run.add_argument("--model", help="one model; all of the experiment's models by default")
    run.add_argument("--steps", type=_steps, help="training steps, instead of the profile's")
    run.add_argument("--seed", type=_seed, default=0, help="seed of weights and batches (default: 0)")
    run.add_argument("--force", action="store_true", help="replace a result that is there already")
    study = commands.add_parser("study", help="make all runs that are missing; stop and start it as you like")
    study.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="all by default")
    study.add_argument("--models", nargs="+", default=[], metavar="MODEL", help="all of each experiment by default")
    study.add_argument("--seeds", type=_seeds, help="as 0-4 or 0,2 (default: each experiment's own)")
    study.add_argument("--minutes", type=_positive_number, default=math.inf, help="start no run that would end later")
    study.add_argument(
        "--status", action="store_true", help="run nothing: say what is there, missing, stale or damaged"
    )
    study.add_argument("--retry", action="store_true", help="make runs that failed before once more")
    study.add_argument("--force", action="store_true", help="replace stale results")
    study.add_argument("--engine", choices=("local", "ray"), default="local", help="this process, or a Ray cluster")
    study.add_argument("--at-once", type=_at_once, default=1, help="runs at once on a GPU of this machine (default: 1)")
    study.add_argument("--address", help="of the Ray cluster (default: $RAY_ADDRESS, or the one on this machine)")
    study.add_argument("--gpu", type=_share, default=0.25, help="share of a GPU for a run on Ray")
    making = commands.add_parser("explorer", help="train the small models of the book's explorers, and export them")
    making.add_argument("scenes", nargs="*", metavar="SCENE", help=f"{', '.join(scenes.SCENES)} (default: all)")
    making.add_argument("--seed", type=_seed, default=0, help="seed of weights and batches (default: 0)")
    for command, folder in ((run, "results"), (study, "results"), (making, str(scenes.FOLDER))):
        command.add_argument("--data", metavar="DIR", help="folder that holds MNIST's files, or MNIST/raw")
        command.add_argument(
            "--out", metavar="DIR", type=_folder, default=folder, help=f"folder to write to (default: {folder})"
        )
        command.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    reporting = commands.add_parser("report", help="what results say of each model and of each claim of the article")
    reporting.add_argument(
        "folder", nargs="?", type=_folder, default=results.PUBLISHED, help="of results (default: the published)"
    )
    measuring = commands.add_parser("bench", help="what a training step costs here, and what each change bought")
    bench.add_arguments(measuring, _steps)
    for command in (listing, run, study, reporting, measuring, making):
        command.add_argument(
            "--profile", help=f"{', '.join(PROFILES)} (default: $GENCAPS_PROFILE, or quick)", default=None
        )
    return parser.parse_args(arguments)


def _steps(text: str) -> int:
    return _whole(text, 1, MOST_STEPS)


def _at_once(text: str) -> int:
    return _whole(text, 1, MOST_AT_ONCE)


def _seed(text: str) -> int:
    return _whole(text, 0, MOST_SEED)


def _whole(text: str, least: int, most: int) -> int:
    # Python reads no number of more than some thousand digits.
    if not text.isascii() or not text.isdigit() or len(text) > 20 or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number of at least {least} and at most {most}")
    return int(text)


def _seeds(text: str) -> list[int]:
    """The seeds of ``"0-4"``, ``"3"`` or ``"0,2,7-9"``."""
    seeds: list[int] = []
    for part in text.split(","):
        low, dash, high = part.partition("-")
        first = _seed(low)
        last = _whole(high, first, MOST_SEED) if dash else first
        if len(seeds) + last - first >= MOST_SEEDS:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is more than {MOST_SEEDS} seeds")
        seeds += range(first, last + 1)
    return seeds


def _folder(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("a folder has a name, and this one is empty")
    return text


def _share(text: str) -> float:
    share = _positive_number(text)
    if share > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share, of at most 1")
    return share


def _positive_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def list_experiments(profile: str) -> None:
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
            kind = experiment.kind(name)
            optimiser = experiment.optimiser(name)
            growth = experiment.growth.get(name)
            print(
                f"    {name:28}{kind.size(built):>12,} {kind.counted:18}"
                f"{experiment.steps:>9,} steps of {experiment.batch}  {optimiser.name} {optimiser.lr:g}"
                + (f", transforms grow in the first {growth:.0%}" if growth else "")
                + (f", products in {experiment.precision[name]}" if name in experiment.precision else "")
            )


def _grouped(task: Task) -> dict[tuple[float, float], list[int]]:
    groups: dict[tuple[float, float], list[int]] = {}
    for digit in task.digits:
        groups.setdefault(task.seen[digit], []).append(digit)
    return groups


def run_experiment(experiment: Experiment, options: argparse.Namespace) -> int:
    """Run one or all models of an experiment; returns the exit status."""
    names = list(experiment.models) if options.model is None else [options.model]
    for name in names:  # before any work
        results.check_free(results.result_path(options.out, experiment.name, name, options.seed), options.force)
    train, test = (
        load_digits(split, experiment.source, root=options.data, device=options.device) for split in ("train", "test")
    )
    status = 0
    for name in names:
        print(
            f"{experiment.name}, {name}: {experiment.steps:,} steps on {train.source}, seed {options.seed}", flush=True
        )
        try:
            made = results.make(experiment, name, train, test, options.seed)
            result = made.result
            if not result.complete:
                print(f"  interrupted after {result.made:,} of {experiment.steps:,} steps")
                status = INTERRUPTED
            path = made.write(options.out, options.force)
        except (DivergedError, ResultError) as error:
            _complain(error)
            status = status or FAILURE
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
    """Make the missing runs of a study, or say how it stands; returns the exit status."""
    jobs = plan(profile, options.experiments, options.models, options.seeds)
    study = Study(jobs, options.out, options.retry, options.force, options.data)
    looked = options.status and Path(options.out).exists()
    complaints = results.check(options.out) if looked else []
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
        for line in results.unregistered(options.out) if looked else []:
            print(line)
    return FAILURE if bad or complaints else 0


def _engine(study: Study, options: argparse.Namespace) -> Engine:
    device = "cpu" if options.engine == "ray" else _usable(options.device)
    digits = {
        source: tuple(load_digits(split, source, root=options.data, device=device) for split in ("train", "test"))
        for source in {job.entry.source for job in study.missing}
    }
    if options.engine == "ray":
        return RayEngine(digits, options.address, options.gpu)
    return LocalEngine(digits, at_once=options.at_once)


def make_explorer(options: argparse.Namespace, profile: str) -> int:
    """Train and export the models of explorers; returns the exit status."""
    exporting.check_packages()
    names = options.scenes or list(scenes.SCENES)
    for name in names:
        check_writable(Path(options.out) / f"{name}.js")
    # Every one is a scene, and has the profile's source.
    (source,) = {scenes.experiment(name, profile).source for name in names}
    train, test = (
        load_digits(split, source, root=options.data, device=_usable(options.device)) for split in ("train", "test")
    )
    for name in names:
        scene = exporting.make(name, train, test, profile, options.seed)
        print(f"{name}: {scene.about}")
        for path in exporting.write(scene, Path(options.out)):
            print(f"  {path}: {path.stat().st_size:,} bytes")
    return 0


def _usable(device: str) -> str:
    """A device's name, or a ValueError if it cannot be used here."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        cause = str(error).splitlines()[0]
        raise ValueError(f"device {device!r} cannot be used here ({cause}): try --device cpu") from None
    return device


def _complain(error: Exception | str) -> None:
    print(f"python -m gencaps_lib: {error}", file=sys.stderr)


def _take_streams() -> None:
    """Print to whatever streams there are: to none, where a shell closed them, and in any encoding."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, as long as the process
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def _let_go(stream: TextIO) -> None:
    """Let a stream that nothing can be written to lead nowhere: else Python complains once more when it closes it."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    _take_streams()
    options = parse(arguments)
    try:
        status = _command(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        _let_go(sys.stdout)  # who reads our output wants no more, as `head` does
        return FAILURE
    except OSError as error:
        _let_go(sys.stdout)
        _complain(f"{error.filename or 'cannot write'}: {error.strerror or error}")
        return FAILURE
    except ValueError as error:
        _complain(error)
        return BAD_USE
    except (DataError, ResultError, SceneError, DivergedError, EngineError) as error:
        _complain(error)
        return FAILURE
    except KeyboardInterrupt:
        _complain("interrupted; finished results are kept")
        return INTERRUPTED


def _command(options: argparse.Namespace) -> int:
    """Do what the options say; returns the exit status."""
    profile = current_profile() if options.profile is None else check_profile(options.profile)
    if options.command == "list":
        list_experiments(profile)
        return 0
    if options.command == "report":
        print("\n".join(report(options.folder)))
        return 0
    if options.command == "study":
        return run_study(options, profile)
    if options.command == "explorer":
        return make_explorer(options, profile)
    if options.experiment not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {options.experiment!r}: choose one of {', '.join(EXPERIMENTS)}")
    experiment = EXPERIMENTS[options.experiment].at(profile)
    if options.command == "run" and options.model is not None and options.model not in experiment.models:
        raise ValueError(f"unknown model {options.model!r}: choose one of {', '.join(experiment.models)}")
    _usable(options.device)
    if options.command == "bench":
        print(bench.command(options, profile))
        return 0
    if options.steps:
        experiment = replace(experiment, steps=options.steps)
    return run_experiment(experiment, options)


if __name__ == "__main__":
    sys.exit(main())
