"""Give the book another address: ``python tools/repository.py https://github.com/OWNER/NAME``.

The address lives in ``_config.yml``. Badges and setup cells of the chapters, and pages that name it, repeat it; this
rewrites them all in place. Outputs of chapters are left as they are: they say what was run.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
HOST = "https://github.com/"


def owner_and_name(url: str) -> str:
    """The OWNER/NAME of a repository's address; a closing slash or ``.git`` is let pass.

    Raises
    ------
    ValueError : when it is not the address of a repository on GitHub, the one host that Colab opens notebooks from
    """
    found = re.fullmatch(re.escape(HOST) + r"([A-Za-z0-9-]+/[A-Za-z0-9._-]+?)(\.git)?/?", url)
    if not found:
        raise ValueError(f"'{url}' is not an address of the form {HOST}OWNER/NAME")
    return found[1]


def rewrite(root: Path, url: str) -> list[Path]:
    """Put a new address wherever the book in the folder `root` names its own; returns the files that changed.

    Raises
    ------
    ValueError : when `url` is not an address of a repository on GitHub; nothing is written then
    """
    new = owner_and_name(url)
    old = owner_and_name(yaml.safe_load((root / "_config.yml").read_text())["repository"]["url"])
    # github.com/OWNER/NAME, and Colab's …/github/OWNER/NAME; not a longer name that begins as the old one does.
    named = re.compile(rf"(github(?:\.com)?/){re.escape(old)}(?![\w-])")

    def renew(text: str) -> str:
        return named.sub(rf"\g<1>{new}", text)

    changed = []
    for path in (root / "_config.yml", root / "pyproject.toml", *sorted(root.glob("*.md"))):
        changed += _replace(path, renew)
    for path in sorted((root / "chapters").glob("*.ipynb")):
        changed += _replace(path, lambda text: _renew_cells(text, renew))
    return changed


def _replace(path: Path, change: Callable[[str], str]) -> list[Path]:
    before = path.read_text(encoding="utf-8")
    after = change(before)
    if after == before:
        return []
    path.write_text(after, encoding="utf-8")
    return [path]


def _renew_cells(text: str, renew: Callable[[str], str]) -> str:
    """A notebook's file with the source of its cells changed, and nothing else."""
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        source = cell["source"]
        cell["source"] = renew(source) if isinstance(source, str) else [renew(line) for line in source]
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help=f"{HOST}OWNER/NAME")
    url = parser.parse_args().url
    try:
        changed = rewrite(ROOT, url)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    print(f"{len(changed)} files changed: the book is at {HOST}{owner_and_name(url)}")


if __name__ == "__main__":
    main()
