"""Digits: MNIST where it can be had, and real handwritten digits that need no network where it cannot.

References
----------
LeCun, Bottou, Bengio, Haffner (1998), "Gradient-based learning applied to document recognition": MNIST.
Alpaydin, Kaynak (1998), "Optical Recognition of Handwritten Digits": the 1,797 digits that scikit-learn ships.
"""

from __future__ import annotations

import hashlib
import os
import struct
import urllib.error
import urllib.request
import warnings
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import platformdirs
import torch
import torch.nn.functional as F
from torch import Tensor

from gencaps_lib.transforms import BACKGROUND, shift

SPLITS = ("train", "test")
SOURCES = ("auto", "mnist", "embedded")
SIDE = 28  # pixels

MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
# SHA-256 of MNIST's four unpacked files, so that a damaged copy is never mistaken for the data set.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
PROBE_SECONDS = 10.0  # how long to wait for a mirror before calling the machine offline


class DataError(RuntimeError):
    """A data set that is missing or damaged; the message says what to do about it."""


@dataclass(frozen=True)
class Digits:
    """A set of labelled digits.

    Attributes
    ----------
    images : (M, 1, 28, 28) float32 in [-1, 1], background -1
    labels : (M,) int64, 0 … 9
    source : name of the data set, ``"mnist"`` or ``"embedded"``
    """

    images: Tensor
    labels: Tensor
    source: str

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str | torch.device) -> Digits:
        """The same digits on `device`."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def of(self, *digits: int) -> Digits:
        """Only the images of these digits, in their order."""
        chosen = torch.isin(self.labels, torch.tensor(digits, device=self.labels.device))
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])

    def first(self, per_digit: int) -> Digits:
        """The first `per_digit` images of each digit: a fixed, balanced subset, in the original order."""
        # Rank of every image among those of its own digit.
        one_hot = F.one_hot(self.labels, 10)
        rank = (one_hot.cumsum(0) * one_hot).sum(1)
        chosen = rank <= per_digit
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])


def cache_folder() -> Path:
    """The folder of the current user in which a downloaded MNIST is kept."""
    return Path(platformdirs.user_cache_dir("gencaps", appauthor=False))


def load_digits(
    split: str,
    source: str = "auto",
    root: str | os.PathLike | None = None,
    device: str | torch.device = "cpu",
) -> Digits:
    """Load handwritten digits.

    Parameters
    ----------
    split : ``"train"`` or ``"test"``
    source : ``"mnist"``, ``"embedded"``, or ``"auto"``: MNIST if it is on this machine or can be downloaded, else the
        embedded digits, with one warning
    root : folder that holds ``MNIST/raw`` (torchvision's layout). Looked at first; then ``$GENCAPS_DATA``, then the
        user's cache folder, into which torchvision downloads MNIST if it is nowhere.
    device : where the tensors go

    Returns
    -------
    Digits with images (M, 1, 28, 28) float32 in [-1, 1]

    Raises
    ------
    ValueError
        An unknown split or source.
    DataError
        A damaged file of MNIST, wherever it lies; or `source` is ``"mnist"`` and MNIST is nowhere to be had.
    """
    _check_choice("split", split, SPLITS)
    _check_choice("source", source, SOURCES)
    if source == "embedded":
        return _embedded(split).to(device)
    try:
        folder = _find_mnist(root) or _download(cache_folder())
    except _Unavailable as reason:
        advice = (
            f"MNIST is not in {', '.join(str(place) for place in _places(root))}, and could not be downloaded "
            f"({reason}). Connect to the network and call again, or set GENCAPS_DATA to a folder that holds MNIST/raw "
            f"(python -c \"from torchvision.datasets import MNIST; MNIST('FOLDER', download=True)\" makes one)"
        )
        if source == "mnist":
            raise DataError(advice + ".") from None
        # Located here and not at the caller, so that Python shows it once and not for each split.
        warnings.warn(advice + ". Using scikit-learn's 1,797 embedded digits instead.", stacklevel=1)
        return _embedded(split).to(device)
    return _read_mnist(folder, split).to(device)


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"unknown {what} {value!r}: choose one of {', '.join(choices)}")


class _Unavailable(Exception):
    """Why MNIST could not be downloaded."""


def _places(root: str | os.PathLike | None) -> list[Path]:
    named = [root, os.environ.get("GENCAPS_DATA")]
    return [Path(place).absolute() for place in named if place] + [cache_folder()]


def _find_mnist(root: str | os.PathLike | None) -> Path | None:
    """The first folder that holds any of MNIST's files; whether they are whole is checked when they are read."""
    names = [name for pair in MNIST_FILES.values() for name in pair]
    for place in _places(root):
        raw = place / "MNIST" / "raw"
        if any((raw / name).exists() for name in names):
            return raw
    return None


@cache
def _download(folder: Path) -> Path:
    """Let torchvision put MNIST into `folder`; returns its raw folder. A success is remembered, a failure is not."""
    from torchvision.datasets import MNIST  # slow to import, and only needed for this

    try:
        # torchvision waits without a limit; a short probe (which honours proxies) finds out first.
        request = urllib.request.Request(MNIST.mirrors[0], method="HEAD")
        urllib.request.urlopen(request, timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError:
        pass  # the mirror answered: there is a network, and torchvision has other mirrors
    except OSError as error:
        raise _Unavailable(f"no network: {getattr(error, 'reason', error)}") from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        MNIST(str(folder), download=True)
    except (OSError, RuntimeError) as error:
        raise _Unavailable(f"{type(error).__name__}: {error}") from None
    return folder / "MNIST" / "raw"


def _read_mnist(raw: Path, split: str) -> Digits:
    image_file, label_file = MNIST_FILES[split]
    images = _read_idx(raw / image_file, dimensions=3)
    labels = _read_idx(raw / label_file, dimensions=1)
    return Digits(
        images=torch.from_numpy(images).unsqueeze(1).float().div_(127.5).sub_(1),
        labels=torch.from_numpy(labels).long(),
        source="mnist",
    )


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    """One unpacked IDX file of unsigned bytes, checked from its header to its last byte."""
    mend = f"Remove {path} and load again to download it afresh, or point GENCAPS_DATA at a whole copy."
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"MNIST's file {path} cannot be read ({error.strerror}). {mend}") from None
    header = 4 + 4 * dimensions
    magic = 0x0800 + dimensions
    if len(content) < header or struct.unpack_from(">I", content)[0] != magic:
        raise DataError(f"{path} does not begin with the number {magic}, so it is no MNIST file. {mend}")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    if len(content) != header + int(np.prod(shape)):
        raise DataError(
            f"{path} is {len(content):,} bytes long, but its header announces {header + int(np.prod(shape)):,}: "
            f"it is truncated or corrupt. {mend}"
        )
    if hashlib.sha256(content).hexdigest() != MNIST_SHA256[path.name]:
        raise DataError(f"{path} has the right size but not the checksum of MNIST: it is corrupt. {mend}")
    return np.frombuffer(bytearray(content), dtype=np.uint8, offset=header).reshape(shape)


@cache
def _embedded(split: str) -> Digits:
    """scikit-learn's digits made to look like MNIST's: 20×20, moved by whole pixels so that the mass is centred."""
    from sklearn.datasets import load_digits as load_sklearn_digits  # slow to import, and only needed for this

    bunch = load_sklearn_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) / 16  # (1797,1,8,8) in [0,1]
    images = F.interpolate(images, size=(20, 20), mode="bilinear", align_corners=False)
    images = F.pad(images, (4, 4, 4, 4))  # (1797,1,28,28)
    cells = torch.arange(SIDE, dtype=torch.float32)
    mass = images.sum((1, 2, 3))
    centre = torch.stack([images.sum((1, 3)) @ cells, images.sum((1, 2)) @ cells], 1) / mass[:, None]
    offsets = ((SIDE - 1) / 2 - centre).round().long()
    images = shift(images * 2 + BACKGROUND, offsets, margin=0)
    in_test = torch.arange(len(images)) % 6 == 5  # fixed split: every sixth image is a test image
    chosen = in_test if split == "test" else ~in_test
    labels = torch.from_numpy(bunch.target).long()
    return Digits(images[chosen], labels[chosen], "embedded")
