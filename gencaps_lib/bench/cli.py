"""The command ``bench``."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import torch

from gencaps_lib.arguments import Commands, add_data, steps, usable
from gencaps_lib.bench.measuring import MODELS, Setup, run, table
from gencaps_lib.data import load_digits
from gencaps_lib.experiments import named
from gencaps_lib.files import check_writable, write_whole


def add_commands(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("bench", help="what a training step costs here, and what each change bought")
    parser.add_argument("--experiment", default="shift-transfer", help="default: shift-transfer")
    parser.add_argument("--models", nargs="+", default=MODELS, help=f"default: {' '.join(MODELS)}")
    parser.add_argument("--repeats", type=steps, default=5, help="of each measurement; the median counts (default: 5)")
    parser.add_argument("--steps", type=steps, default=20, help="in each repeat (default: 20)")
    parser.add_argument("--out", metavar="FILE.json", type=Path, help="write the numbers there, too")
    add_data(parser)
    parser.set_defaults(do=measure)


def measure(options: argparse.Namespace, profile: str) -> int:
    """Measure as the options say, write the file that they name, and print the table.

    Raises
    ------
    OSError
        The file cannot be written; this is checked before anything is measured.
    """
    experiment = named(options.experiment).at(profile)
    usable(options.device)
    out = options.out
    if out:
        check_writable(out)
    # Determined once, so that every process uses the same data.
    source = load_digits("train", experiment.source, root=options.data).source
    numbers = {"threads": torch.get_num_threads(), "steps": options.steps, "repeats": options.repeats}
    setup = Setup(options.experiment, profile, source, options.data, options.device, **numbers)
    benchmark = run(setup, options.models)
    print(table(benchmark), flush=True)  # before a write that may fail
    if out:
        write_whole(out, (json.dumps(dataclasses.asdict(benchmark), indent=1) + "\n").encode())
    return 0
