"""Files that belong together appear together or not at all, whatever kills who writes them."""

import errno
import os
import resource
import subprocess
import sys

import pytest

from gencaps_lib.files import check_writable, sweep, write_whole

# Kills itself at the given call of os.fsync or os.replace.
WRITER = """
import os, signal, sys
from pathlib import Path
from gencaps_lib.files import write_whole

folder, version, name, call = Path(sys.argv[1]), sys.argv[2].encode(), sys.argv[3], int(sys.argv[4])
calls = 0
real = getattr(os, name)

def fatal(*arguments):
    global calls
    if calls == call:
        os.kill(os.getpid(), signal.SIGKILL)
    calls += 1
    return real(*arguments)

setattr(os, name, fatal)
write_whole(folder / "it.json", version, {folder / "it.npz": version, folder / "it.bin": None})
"""


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(("name", "call"), [("fsync", 0), ("fsync", 1), ("replace", 0), ("replace", 1)])
def test_killed_at_any_moment_it_leaves_no_mixture(tmp_path, there, name, call):
    path, part, gone = (tmp_path / f"it.{suffix}" for suffix in ("json", "npz", "bin"))
    if there:
        write_whole(path, b"old", {part: b"old", gone: b"old"})
    killed = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), "new", name, str(call)])
    assert killed.returncode == -9
    if path.exists():
        assert path.read_bytes() == part.read_bytes() == gone.read_bytes() == b"old"
    # And the next one makes it whole, and clears up.
    write_whole(path, b"new", {part: b"new", gone: None})
    sweep(path)
    sweep(part)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {"it.json": b"new", "it.npz": b"new"}


def test_a_disk_that_takes_an_empty_file_only_is_full(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            check_writable(tmp_path / "it.json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    check_writable(tmp_path / "it.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOTSUP, errno.EPERM])
def test_a_file_system_without_fsync_holds_files_all_the_same(tmp_path, monkeypatch, error):
    def refuse(*_arguments):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(os, "chmod", refuse)
    write_whole(tmp_path / "it.json", b"new")
    assert (tmp_path / "it.json").read_bytes() == b"new"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_says_who_may_read(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "it.json", b"{}", {tmp_path / "it.npz": b"x"})
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {mode}


def test_a_place_is_tried_and_left_as_it_was(tmp_path):
    check_writable(tmp_path / "new" / "it.json")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").touch()
    places = (tmp_path / "file" / "it.json", tmp_path / "file" / "deeper" / "it.json", tmp_path / "new")
    for path in (*places, tmp_path / ("long" * 100)):
        with pytest.raises(OSError, match=r"File exists|Not a directory|Is a directory|File name too long"):
            check_writable(path)
