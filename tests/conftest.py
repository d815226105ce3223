"""What every test stands on: no network, no MNIST of this machine, small digits, the built book and a browser."""

import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gencaps_lib import data
from gencaps_lib.data import load_digits
from gencaps_lib.tasks import Shift, Task, training_ranges


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


@pytest.fixture(scope="session")
def book(tmp_path_factory):
    """The folder of the book, built from the stored outputs as `make book` builds it."""
    folder = tmp_path_factory.mktemp("book")
    strict = ["--all", "--warningiserror", "--nitpick", "--keep-going", "--quiet", "--path-output", folder]
    builder = [Path(sys.executable).with_name("jupyter-book"), "build", *strict, Path(__file__).parents[1]]
    built = subprocess.run(builder, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "_build" / "html"


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium: the one that $CHROMIUM names, or the system's."""
    from playwright.sync_api import sync_playwright  # here, so that the tests of the numerics need none

    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.fail("no Chromium: apt-get install chromium, or name one in $CHROMIUM", pytrace=False)
    with sync_playwright() as playwright:
        # Root, as in a container, gets no sandbox; the pages are ours.
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def digits():
    """The embedded training digits."""
    return load_digits("train", "embedded")


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def task():
    """A small shift task, on which models of reduced size train in seconds."""
    slight = {"hidden": 32, "channels": 4, "maps": 4, "encoder": {"maps": (4, 8), "hidden": 32}}
    capsules = {**slight, "capsules": 8}
    composed = {"hidden": 32, "channels": 3, "capsules": 8, "encoder": slight["encoder"]}
    return Task(
        name="small",
        transform=Shift(margin=2),
        seen=training_ranges((-2, 2), {4: (0, 0), 9: (0, 0)}),
        grid=(-2, -1, 0, 1, 2),
        inside=(0, 0),
        outside=1,
        sizes={
            "autoencoder": slight,
            "adversarial-autoencoder": {**slight, "critic": {"hidden": 16}},
            "autoencoder-matched": capsules,
            "continuous-capsules": capsules,
            "digit-capsules": {**capsules, "z": 16},
            "learned-addresses": capsules,
            "learned-addresses-pretrained": {**capsules, "steps": 20},
            "composed-capsules-map": composed,
            "composed-capsules": composed,
            "composed-capsules-known": composed,
            "composed-capsules-oriented": composed,
            "autoencoder-warp": slight,
            "coordinate-decoder": {"hidden": 32, "width": 6, "encoder": slight["encoder"]},
            "spatial-broadcast": slight,
        },
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
