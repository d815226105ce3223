"""Run chapters as in Colab: ``python tools/colab.py --repository file:///folder/of/a/clone chapters/*.ipynb``.

Each chapter runs in this Python, alone in an empty folder, without the library. The chapter's setup cell must install
the library from the given repository, and must not replace any other package. `$GENCAPS_PROFILE` is the profile, as
usual.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from importlib.metadata import distributions
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

LIBRARY = "gencaps-lib"
TIMEOUT = 600  # longest time of one cell, in seconds


def installed() -> dict[str, str]:
    """Every distribution of this Python, with the version that an import finds."""
    found = {}
    for each in distributions():
        found.setdefault(each.metadata["Name"].lower().replace("_", "-"), each.version)
    return found


def run(chapter: Path, repository: str) -> list[str]:
    """Run a chapter like a reader in Colab, then uninstall the library; return what went wrong.

    Parameters
    ----------
    chapter : the notebook
    repository : address from which its setup cell installs the library, as ``file:///folder``
    """
    notebook = nbformat.read(chapter, as_version=4)
    setup = notebook.cells[1]
    setup.source, count = re.subn(r'"git\+[^"]+"', f'"git+{repository}"', setup.source)
    if count != 1:
        return ["its second cell does not install the library"]
    before = installed()
    if LIBRARY in before:
        return [f"{LIBRARY} is installed in {sys.prefix} already: use an environment without it"]
    try:
        with tempfile.TemporaryDirectory() as empty:
            NotebookClient(notebook, timeout=TIMEOUT, resources={"metadata": {"path": empty}}).execute()
        problems = []
    except CellExecutionError as error:
        problems = [str(error)]
    after = installed()
    if LIBRARY in after:
        subprocess.run([sys.executable, "-m", "pip", "uninstall", "--quiet", "--yes", LIBRARY], check=True)
    else:
        problems.append("its setup cell did not install the library")
    changed = [name for name in sorted(before) if before[name] != after.get(name)]
    return problems + [f"{name} was {before[name]}, is {after.get(name, 'gone')}" for name in changed]


def main() -> None:
    """The command line: print one line for each chapter; the exit status is 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", required=True, help="file:///folder/of/a/clone, or https://…")
    parser.add_argument("chapters", nargs="+", type=Path)
    arguments = parser.parse_args()
    failed = False
    for chapter in arguments.chapters:
        start = time.perf_counter()
        problems = run(chapter, arguments.repository)
        print(f"{chapter.name}: {'; '.join(problems) or 'ran'} ({time.perf_counter() - start:.0f} s)", flush=True)
        failed = failed or bool(problems)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
