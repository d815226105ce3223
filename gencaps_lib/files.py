"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType


def digest(content: bytes) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def draft_prefix(path: Path) -> str:
    """What the names of all drafts of a file start with: hidden, and beside it."""
    return f".{path.name}."


# What fsync says where the content did not reach the disk; anything else is a file system that has no fsync.
_LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT)


def _draft(path: Path, content: bytes) -> Path:
    """Write a draft of a file beside it, with the permissions that any new file gets here."""
    draft = path.with_name(f"{draft_prefix(path)}{secrets.token_hex(4)}.draft")
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            try:
                os.fsync(file.fileno())
            except OSError as error:
                if error.errno in _LOST:
                    raise
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return draft


def check_writable(path: Path) -> None:
    """Make a file's folder, and write a draft of the file there and delete it: to be tried before hours of work.

    Raises
    ------
    OSError
        What `write_whole` would raise.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    _draft(path, b"").unlink()


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
    drafts: dict[Path, Path] = {}
    try:
        for target, part in {**parts, path: content}.items():
            drafts[target] = _draft(target, part)
        if any(old.exists() for old in beside):
            # Whoever is killed from here on leaves no file that counts, rather than one with another's parts.
            path.unlink(missing_ok=True)
            for old in beside.keys() - parts.keys():
                old.unlink(missing_ok=True)
        for target, draft in drafts.items():  # the one that counts is the last
            os.replace(draft, target)
    except BaseException:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
        raise


def sweep(path: Path) -> None:
    """Delete the drafts of a file that a killed process left; only for who knows that nobody is writing it."""
    for draft in path.parent.glob(f"{draft_prefix(path)}*.draft"):
        draft.unlink(missing_ok=True)
