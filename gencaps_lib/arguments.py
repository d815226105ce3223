"""Common parts of the commands: types of arguments, exit statuses, and error messages."""

from __future__ import annotations

import argparse
import math
import os
import sys
from typing import Any

import torch

FAILURE = 1
BAD_USE = 2
INTERRUPTED = 130
# Upper bounds of arguments: a larger value is a typing mistake and would use all memory before it fails.
MOST_STEPS = 10_000_000
MOST_SEED = 2**32 - 1
MOST_SEEDS = 1000
MOST_AT_ONCE = 64

Commands = Any  # what argparse's `add_subparsers` returns; it has no public name


def steps(text: str) -> int:
    """A number of steps, or any number of at least 1."""
    return _whole(text, 1, MOST_STEPS)


def at_once(text: str) -> int:
    """A number of runs at the same time."""
    return _whole(text, 1, MOST_AT_ONCE)


def seed(text: str) -> int:
    """A seed: a whole number from 0."""
    return _whole(text, 0, MOST_SEED)


def _whole(text: str, least: int, most: int) -> int:
    # Python cannot parse a number with more than some thousand digits.
    if not text.isascii() or not text.isdigit() or len(text) > 20 or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number of at least {least} and at most {most}")
    return int(text)


def seeds(text: str) -> list[int]:
    """The seeds of ``"0-4"``, ``"3"`` or ``"0,2,7-9"``."""
    found: list[int] = []
    for part in text.split(","):
        low, dash, high = part.partition("-")
        if not low:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is no list of seeds, such as 0-4 or 0,2: none is below 0")
        first = seed(low)
        last = _whole(high, first, MOST_SEED) if dash else first
        if len(found) + last - first >= MOST_SEEDS:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is more than {MOST_SEEDS} seeds")
        found += range(first, last + 1)
    return found


def folder(text: str) -> str:
    """The name of a folder."""
    if not text:
        raise argparse.ArgumentTypeError("the folder's name is empty")
    return text


def there(text: str) -> str:
    """The name of a folder that exists."""
    if not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a folder")
    return text


def share(text: str) -> float:
    """A number above 0 and at most 1."""
    number = positive_number(text)
    if number > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share: it must be at most 1")
    return number


def positive_number(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def usable(device: str) -> str:
    """Return a device's name; a ValueError if this machine cannot use the device."""
    try:
        if torch.empty(0, device=device).is_meta:
            raise RuntimeError("it holds no numbers")
    except (RuntimeError, AssertionError) as error:
        cause = str(error).splitlines()[0]
        raise ValueError(f"device {device!r} cannot be used here ({cause}): try --device cpu") from None
    return device


def complain(error: Exception | str) -> None:
    """Print an error to stderr, as one line that starts with the command."""
    print(f"python -m gencaps_lib: {error}", file=sys.stderr)


def add_data_and_folder(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the common arguments of commands that train; `default` is the folder to write to."""
    add_data(parser)
    parser.add_argument(
        "--out", metavar="DIR", type=folder, default=default, help=f"folder to write to (default: {default})"
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the folder of the digits and for the device."""
    parser.add_argument("--data", metavar="DIR", type=there, help="folder with MNIST's files, or with MNIST/raw")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
