"""What every test stands on: no network, no MNIST of this machine, small digits, the built book and a browser."""

import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import find_browser
import numpy as np
import pytest
import torch
from filelock import FileLock

from gencaps_lib import __main__ as command_line
from gencaps_lib import data, results
from gencaps_lib.data import load_digits
from gencaps_lib.tasks import Task, training_ranges
from gencaps_lib.transforms import Shift


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Every attempt to reach a host fails, as on a machine with no network."""

    def refuse(*_args, **_kwargs):
        raise OSError("the tests have no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(autouse=True)
def no_mnist(monkeypatch, tmp_path):
    """No data set of the machine is seen: no environment variable, and an empty cache folder."""
    monkeypatch.delenv("GENCAPS_DATA", raising=False)
    monkeypatch.delenv("GENCAPS_PROFILE", raising=False)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path / "cache")


@pytest.fixture(autouse=True, scope="session")
def published_results_are_read_once():
    """Reading all of them takes a second, and dozens of tests ask for them. A file that changes is read anew."""
    module = sys.modules[results.read.__module__]
    open_result, kept = module.open_result, {}

    def open_once(path):
        if not path.is_relative_to(results.PUBLISHED):
            return open_result(path)
        try:
            found = path.stat()
        except OSError:
            return open_result(path)  # which says what is wrong
        state = path, found.st_mtime_ns, found.st_size
        if state not in kept:
            kept[state] = open_result(path)
        return kept[state]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "open_result", open_once)
        yield


@pytest.fixture(scope="session")
def book(tmp_path_factory):
    """The folder of the book, built from the stored outputs as `make book` builds it, by the first test that asks.

    CI has built it before: `$GENCAPS_BOOK` is its folder.
    """
    if "GENCAPS_BOOK" in os.environ:
        return Path(os.environ["GENCAPS_BOOK"])
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent  # of all workers of this session
    folder, built = common / "book", common / "book-is-built"
    with FileLock(common / "book.lock"):
        if not built.exists():
            build_book(folder)
            built.touch()
    return folder / "_build" / "html"


def build_book(folder):
    """Build the book into a folder; a warning is an error."""
    strict = ["--all", "--warningiserror", "--nitpick", "--keep-going", "--quiet", "--path-output", folder]
    builder = [Path(sys.executable).with_name("jupyter-book"), "build", *strict, Path(__file__).parents[1]]
    done = subprocess.run(builder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium, see `tools/find_browser.py`. Without one its tests are skipped, which is said last."""
    from playwright.sync_api import sync_playwright  # here, so that the tests of the numerics need none

    try:
        program = find_browser.find()
    except find_browser.BrowserError as error:
        pytest.fail(str(error), pytrace=False)
    if program is None:
        pytest.skip(find_browser.NONE)
    with sync_playwright() as playwright:
        # Root, as in a container, gets no sandbox; the pages are ours.
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def packages():
    """The folder of what pages load from a content delivery network, as npm installed it."""
    folder = find_browser.HERE / "node_modules"
    if not (folder / "onnxruntime-web").is_dir():
        pytest.skip(find_browser.NONE_INSTALLED)
    return folder


# What a test's fixtures say of it.
MARKED_BY = {"browser": "browser", "packages": "browser", "book": "slow"}


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at them
def pytest_collection_modifyitems(items):
    """Mark the tests that open pages, and those that build the book."""
    for item in items:
        for fixture in MARKED_BY.keys() & set(item.fixturenames):
            item.add_marker(MARKED_BY[fixture])


def without_browser(config):
    """How many tests were skipped for want of a browser or of npm's packages, by what was missing."""
    skipped = config.pluginmanager.get_plugin("terminalreporter").stats.get("skipped", [])
    reasons = [report.longrepr[2].removeprefix("Skipped: ") for report in skipped if isinstance(report.longrepr, tuple)]
    return {said: reasons.count(said) for said in (find_browser.NONE, find_browser.NONE_INSTALLED) if said in reasons}


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """CI fails where tests were skipped for want of a browser."""
    if not hasattr(session.config, "workerinput") and os.environ.get("CI") and without_browser(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    """Say last, and in one line, what was skipped for want of a browser."""
    for said, count in without_browser(config).items():
        terminalreporter.write_line(f"{count} tests skipped: {said}", yellow=True, bold=True)


@pytest.fixture(scope="session")
def digits():
    """The embedded training digits."""
    return load_digits("train", "embedded")


@pytest.fixture
def refused(capsys):
    """Gives a command that is refused; returns its exit status, its one line of complaint, and what it printed."""

    def give(*arguments):
        try:
            status = command_line.main(list(arguments))
        except SystemExit as stop:
            status = stop.code
        shown = capsys.readouterr()
        (line,) = shown.err.strip().splitlines()
        return status, line, shown.out

    return give


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def task():
    """A small shift task."""
    return Task(
        name="small",
        transform=Shift(margin=2),
        seen=training_ranges((-2, 2), {4: (0, 0), 9: (0, 0)}),
        grid=(-2, -1, 0, 1, 2),
        inside=(0, 0),
        outside=1,
    )


def write_idx(path, array, magic=None):
    """Write an array of bytes as an IDX file."""
    header = struct.pack(f">{array.ndim + 1}I", 0x0800 + array.ndim if magic is None else magic, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """A folder that holds a tiny data set in MNIST's format, taken for MNIST; returns the folder."""
    import hashlib

    raw = tmp_path / "root" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 10)):
        images, labels = data.MNIST_FILES[split]
        write_idx(raw / images, random.integers(0, 256, (count, 28, 28)))
        write_idx(raw / labels, np.arange(count) % 10)
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in raw.iterdir()}
    monkeypatch.setattr(data, "MNIST_SHA256", sums)
    return tmp_path / "root"


@pytest.fixture
def ctrl_c_while_tested(monkeypatch):
    """A function that has Ctrl-C pressed so many times as soon as a trained model is tested.

    It raises KeyboardInterrupt then, also where the tests were started in the background, which ignores it.
    """
    from gencaps_lib.evaluation import curves

    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def press(times):
        def pressed(*arguments):
            while left:
                left.pop()
                signal.raise_signal(signal.SIGINT)
            return real(*arguments)

        left, real = [None] * times, curves.image_losses
        monkeypatch.setattr(curves, "image_losses", pressed)

    yield press
    signal.signal(signal.SIGINT, before)
