"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType


def digest(content: bytes) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def draft_prefix(path: Path) -> str:
    """What the names of all drafts of a file start with: hidden, and beside it."""
    return f".{path.name}."


def write_whole(path: Path, content: bytes, beside: Mapping[Path, bytes | None] = MappingProxyType({})) -> None:
    """Write a file whole or not at all, with files that belong to it.

    Parameters
    ----------
    path : the file that counts; its folder is made if needed
    content : of it
    beside : the content of files in the same folder that are part of it; None where there must be none

    Raises
    ------
    OSError
        The folder cannot be made or written. What was there before is left as it was, but for a failure to rename.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = {name: part for name, part in beside.items() if part is not None}
    drafts: dict[Path, str] = {}
    try:
        for target, part in {**parts, path: content}.items():
            handle, drafts[target] = tempfile.mkstemp(dir=path.parent, prefix=draft_prefix(target), suffix=".draft")
            with os.fdopen(handle, "wb") as file:
                file.write(part)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(drafts[target], 0o644)  # drafts are for their maker alone, results for all
        if any(old.exists() for old in beside):
            # Whoever is killed from here on leaves no file that counts, rather than one with another's parts.
            path.unlink(missing_ok=True)
            for old in beside.keys() - parts.keys():
                old.unlink(missing_ok=True)
        for target, draft in drafts.items():  # the one that counts is the last
            os.replace(draft, target)
    except BaseException:
        for draft in drafts.values():
            Path(draft).unlink(missing_ok=True)
        raise


def sweep(path: Path) -> None:
    """Delete the drafts of a file that a killed process left; only for who knows that nobody is writing it."""
    for draft in path.parent.glob(f"{draft_prefix(path)}*.draft"):
        draft.unlink(missing_ok=True)
