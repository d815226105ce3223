"""The command line: ``python -m gencaps_lib list``, ``run EXPERIMENT`` and ``bench``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

import torch

from gencaps_lib import bench, results
from gencaps_lib.data import DataError, load_digits
from gencaps_lib.evaluation import mean_inside, mean_outside, transfer_ratio
from gencaps_lib.experiments import EXPERIMENTS, PROFILES, Experiment, check_profile, current_profile
from gencaps_lib.results import ResultError
from gencaps_lib.tasks import Task
from gencaps_lib.training import DivergedError

FAILED = 1
BAD_USE = 2
INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        # One line, and not the usage before it.
        self.exit(BAD_USE, f"{self.prog}: {message}\n")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; bad use exits with status 2 and one line."""
    parser = _Parser(prog="python -m gencaps_lib", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="list | run | bench", parser_class=_Parser)
    listing = commands.add_parser("list", help="every experiment and model, with sizes, steps, ranges and figures")
    run = commands.add_parser("run", help="train and judge one experiment's models, and write a result file for each")
    run.add_argument("experiment", metavar="EXPERIMENT", help=", ".join(EXPERIMENTS))
    run.add_argument("--model", help="one model; all of the experiment's models by default")
    run.add_argument("--steps", type=_positive, help="training steps, instead of the profile's")
    run.add_argument("--seed", type=_seed, default=0, help="seed of weights and batches (default: 0)")
    run.add_argument("--data", metavar="DIR", help="folder that holds MNIST/raw")
    run.add_argument("--out", metavar="DIR", default="results", help="folder for the results (default: results)")
    run.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    run.add_argument("--force", action="store_true", help="replace a result that is there already")
    measuring = commands.add_parser("bench", help="what a training step costs here, and what each change bought")
    bench.add_arguments(measuring, _positive)
    for command in (listing, run, measuring):
        command.add_argument(
            "--profile", help=f"{', '.join(PROFILES)} (default: $GENCAPS_PROFILE, or quick)", default=None
        )
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    return _whole(text, 1)


def _seed(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)


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
            print(
                f"    {name:28}{kind.size(built):>12,} {kind.counted:18}"
                f"{experiment.steps:>9,} steps of {experiment.batch}  {optimiser.name} {optimiser.lr:g}"
            )


def _grouped(task: Task) -> dict[tuple[float, float], list[int]]:
    groups: dict[tuple[float, float], list[int]] = {}
    for digit in task.digits:
        groups.setdefault(task.seen[digit], []).append(digit)
    return groups


def run_experiment(experiment: Experiment, options: argparse.Namespace) -> int:
    """Run one or all models of an experiment; returns the exit status."""
    names = [options.model] if options.model else list(experiment.models)
    for name in names:  # before any work
        results.check_free(results.result_path(options.out, experiment.name, name, options.seed), options.force)
    train, test = (
        load_digits(split, experiment.source, root=options.data, device=options.device) for split in ("train", "test")
    )
    for name in names:
        print(
            f"{experiment.name}, {name}: {experiment.steps:,} steps on {train.source}, seed {options.seed}", flush=True
        )
        result, _ = results.run(experiment, name, train, test, options.seed)
        path = results.write(result, options.out, options.force)
        for digit in experiment.task.held_out:
            curve = result.curves.get(digit)
            if curve:
                inside, outside = mean_inside(curve, experiment.task), mean_outside(curve, experiment.task)
                ratio = transfer_ratio(curve, experiment.task)
                print(f"  '{digit}': {inside:.4f} in range, {outside:.4f} out of it, ratio {ratio:.2f}")
        print(f"  {path}")
        if not result.complete:
            print(f"  interrupted after {len(result.history):,} of {experiment.steps:,} steps; the result says so")
            return INTERRUPTED
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parse(arguments)
    try:
        profile = check_profile(options.profile) if options.profile else current_profile()
        if options.command == "list":
            list_experiments(profile)
            return 0
        if options.experiment not in EXPERIMENTS:
            raise ValueError(f"unknown experiment {options.experiment!r}: choose one of {', '.join(EXPERIMENTS)}")
        experiment = EXPERIMENTS[options.experiment].at(profile)
        if options.command == "run" and options.model and options.model not in experiment.models:
            raise ValueError(f"unknown model {options.model!r}: choose one of {', '.join(experiment.models)}")
        try:
            torch.empty(0, device=options.device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"device {options.device!r} cannot be used here ({reason}): try --device cpu") from None
        if options.command == "bench":
            print(bench.command(options, profile))
            return 0
        if options.steps:
            experiment = replace(experiment, steps=options.steps)
        return run_experiment(experiment, options)
    except ValueError as error:
        print(f"python -m gencaps_lib: {error}", file=sys.stderr)
        return BAD_USE
    except (DataError, ResultError, DivergedError) as error:
        print(f"python -m gencaps_lib: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("python -m gencaps_lib: interrupted; finished results are kept", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
