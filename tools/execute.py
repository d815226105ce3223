"""Execute chapters in place and stamp them: ``python tools/execute.py chapters/01*.ipynb …``.

One program executes and stamps, so that every stamp belongs to outputs of this code.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import nbformat
import stamps
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from gencaps_lib.files import write_whole
from gencaps_lib.results import provenance as machine

PACKAGES = ("torch", "numpy", "scikit-learn", "matplotlib")
TIMEOUT = 1200  # longest time of one cell, in seconds


def execute(path: Path, commit: str) -> dict:
    """Run all cells of a notebook and write it with outputs and a stamp. If a cell fails, the file is not changed.

    Returns
    -------
    the stamp
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop(stamps.NAME, None)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    start = time.perf_counter()
    NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        coalesce_streams=True,  # lines that a cell prints one by one are one output
    ).execute()
    seconds = time.perf_counter() - start
    versions = {"python": platform.python_version()} | {package: version(package) for package in PACKAGES}
    stored = json.loads(nbformat.writes(notebook))  # digests must be of the stored form
    stamp = stamps.make(stored, versions, commit, date, seconds)
    notebook.metadata[stamps.NAME] = stamp
    write_whole(path, (nbformat.writes(notebook) + "\n").encode())
    return stamp


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute the notebooks that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    commit = machine.commit("chapters")  # chapters have digests of their own
    for path in options.notebooks:
        try:
            stamp = execute(path, commit)
        except (OSError, CellExecutionError, TimeoutError, ValueError) as error:
            print(f"{path} was not executed and not changed: {error}", file=sys.stderr)
            return 1
        print(f"{path}: {stamp['profile']} profile, {stamp['source']}, {stamp['seconds']:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
