"""Publish results of a study: those that are not published yet, without pictures that no chapter shows.

As in: .venv/bin/python tools/publish.py results
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gencaps_lib import results
from gencaps_lib.results.record import RESULT_NAME, open_result


def publish(path: Path, folder: Path) -> str:
    """Write a result to the folder of its profile, with the files that are to be published; return a line about it."""
    faults = results.faults(path)
    result, files = open_result(path)
    if faults or result.source != "mnist":
        raise results.ResultError(
            faults[0] if faults else f"{path} was made on {result.source} digits, and not on MNIST"
        )
    there = results.result_path(folder / result.profile, result.experiment, result.model, result.seed)
    if there.exists():
        return f"{there} is there already, and kept"
    # Of quick runs chapters show pictures of these seeds. Those of all would be most of what a clone fetches.
    pictured = result.profile != "quick" or result.seed <= results.FRESH
    kept = [suffix for suffix in files if suffix != results.GALLERY or pictured]
    extras = {suffix: results.read_beside(path, suffix) for suffix in kept}
    return str(results.write(result, folder / result.profile, extras=extras))


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish what the folder that the command line names has."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of results, or of folders of results")
    folder = parser.parse_args(arguments).folder
    found = sorted(path for path in folder.rglob("seed*.json") if RESULT_NAME.fullmatch(path.name))
    if not found:
        parser.error(f"{folder} has no results")
    try:
        for path in found:
            print(publish(path, results.PUBLISHED))
    except results.ResultError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
