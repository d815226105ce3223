"""The command line: ``python -m gencaps_lib list``, ``run``, ``study``, ``report``, ``bench`` or ``explorer``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn, TextIO

import gencaps_lib.bench.cli
import gencaps_lib.book.cli
import gencaps_lib.results.cli
from gencaps_lib.arguments import BAD_USE, FAILURE, INTERRUPTED, complain
from gencaps_lib.book.scenes import SceneError
from gencaps_lib.data import DataError
from gencaps_lib.experiments import PROFILES, check_profile, current_profile
from gencaps_lib.results import EngineError, ResultError
from gencaps_lib.training import DivergedError

ROOMS = (gencaps_lib.results.cli, gencaps_lib.book.cli, gencaps_lib.bench.cli)  # rooms with commands


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # One line, without the usage before it.
        self.exit(BAD_USE, f"{self.prog}: {message}\n")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; wrong use exits with status 2 and a one-line message."""
    parser = _Parser(prog="python -m gencaps_lib", description=__doc__)
    commands = parser.add_subparsers(
        dest="command",
        required=True,
        metavar="list | run | study | report | bench | explorer",
        parser_class=_Parser,
    )
    for room in ROOMS:
        room.add_commands(commands)
    for command in commands.choices.values():
        command.add_argument(
            "--profile", help=f"{', '.join(PROFILES)} (default: $GENCAPS_PROFILE, or quick)", default=None
        )
    return parser.parse_args(arguments)


def _take_streams() -> None:
    """Make printing work with closed streams, whose output is dropped, and in any encoding."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, open until the process ends
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def _let_go(stream: TextIO) -> None:
    """Redirect a broken stream to nowhere; otherwise Python reports an error again when it closes the stream."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    _take_streams()
    options = parse(arguments)
    try:
        profile = current_profile() if options.profile is None else check_profile(options.profile)
        status = options.do(options, profile)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        _let_go(sys.stdout)  # the reader of our output, for example `head`, has ended
        return FAILURE
    except OSError as error:
        _let_go(sys.stdout)
        complain(f"{error.filename or 'cannot write'}: {error.strerror or error}")
        return FAILURE
    except ValueError as error:
        complain(error)
        return BAD_USE
    except (DataError, ResultError, SceneError, DivergedError, EngineError) as error:
        complain(error)
        return FAILURE
    except KeyboardInterrupt:
        complain("interrupted; finished results are kept")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
