"""Publish results of a study: those that are not published yet, without pictures that no chapter shows.

As in: .venv/bin/python tools/publish.py results
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gencaps_lib import results
from gencaps_lib.results.folder import read_beside
from gencaps_lib.results.record import RESULT_NAME, open_result


def publish(path: Path, folder: Path, force: bool = False) -> Path:
    """Write a result to the folder of its profile, with the files that are to be published."""
    result, files = open_result(path)
    # Of quick runs chapters show pictures of these seeds. Those of all would be most of what a clone fetches.
    pictured = result.profile != "quick" or result.seed <= results.FRESH
    kept = [suffix for suffix in files if suffix != results.GALLERY or pictured]
    extras = {suffix: read_beside(path, suffix) for suffix in kept}
    return results.write(result, folder / result.profile, force, extras)


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish what the folder that the command line names has."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of results, or of folders of results")
    folder = parser.parse_args(arguments).folder
    found = sorted(path for path in folder.rglob("seed*.json") if RESULT_NAME.fullmatch(path.name))
    if not found:
        print(f"{folder} has no results", file=sys.stderr)
        return 1
    for path in found:
        try:
            print(publish(path, results.PUBLISHED))
        except results.ResultError as error:  # as of one that is published already
            print(error, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
