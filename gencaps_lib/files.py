"""Write files completely or not at all."""

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
    """The start of the names of all drafts of a file. Drafts are hidden files in the same folder."""
    return f".{path.name}."


# Errors of fsync if the content did not reach the disk. Other errors mean that the file system has no fsync.
_LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT)


def _draft(path: Path, content: bytes) -> Path:
    """Write a draft of a file in the same folder, with the usual permissions of new files."""
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
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a full disk names no file
            error.filename = str(path)
        raise
    return draft


ROOM = 2**20  # bytes, about what a run writes; a full disk still takes an empty file


def check_writable(path: Path) -> None:
    """Make a file's folder, then write a draft of `ROOM` bytes there and delete it. Call this before hours of work.

    Raises
    ------
    OSError
        The error that `write_whole` would raise.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    _draft(path, bytes(ROOM)).unlink()


def write_whole(path: Path, content: bytes, beside: Mapping[Path, bytes | None] = MappingProxyType({})) -> None:
    """Write a file, and other files that belong to it, completely or not at all.

    Parameters
    ----------
    path : the main file; its folder is made if needed
    content : content of the main file
    beside : files in the same folder that belong to it → their content, or None to delete the file

    Raises
    ------
    OSError
        The folder cannot be made or written. Existing files are not changed, unless renaming fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = {name: part for name, part in beside.items() if part is not None}
    drafts: dict[Path, Path] = {}
    try:
        for target, part in {**parts, path: content}.items():
            drafts[target] = _draft(target, part)
        if any(old.exists() for old in beside):
            # If the process is killed after this, there is no main file, rather than one with files of another.
            path.unlink(missing_ok=True)
            for old in beside.keys() - parts.keys():
                old.unlink(missing_ok=True)
        for target, draft in drafts.items():  # the main file is the last
            os.replace(draft, target)
    except BaseException:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
        raise


def sweep(path: Path) -> None:
    """Delete the drafts of a file that a killed process left. Call this only if no process is writing the file."""
    for draft in path.parent.glob(f"{draft_prefix(path)}*.draft"):
        draft.unlink(missing_ok=True)
