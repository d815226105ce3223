"""Digits: MNIST if it is available, and otherwise real handwritten digits that need no network.

References
----------
LeCun, Bottou, Bengio, Haffner (1998), "Gradient-based learning applied to document recognition": MNIST.
Alpaydin, Kaynak (1998), "Optical Recognition of Handwritten Digits": the 1,797 digits that scikit-learn ships.
"""

from __future__ import annotations

import gzip
import os
import struct
import urllib.request
import warnings
import zlib
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from http.client import HTTPException
from pathlib import Path

import filelock
import numpy as np
import platformdirs
import torch
import torch.nn.functional as F
from torch import Tensor

from gencaps_lib.files import digest, write_whole
from gencaps_lib.transforms import BACKGROUND, SIDE, shift

SPLITS = ("train", "test")
SOURCES = ("auto", "mnist", "embedded")

MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
# SHA-256 of MNIST's four unpacked files, to detect damaged copies.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist")
PATIENCE = 10.0  # seconds without data after which the next mirror is tried


class DataError(RuntimeError):
    """A data set is missing or damaged; the message says what to do."""


@dataclass(frozen=True)
class Digits:
    """A set of labelled digits.

    Attributes
    ----------
    images
        (M, 1, 28, 28) float32 in [-1, 1], background -1; (M, 2, 28, 28) if they are `paired`
    labels : (M,) int64, 0 … 9
    source : name of the data set, ``"mnist"`` or ``"embedded"``

    Raises
    ------
    TypeError, ValueError
        Images or labels have another dtype (byte labels would index images as a mask), or another shape; a label is not
        from 0 to 9; or a pixel is not from -1 to 1.
    """

    images: Tensor
    labels: Tensor
    source: str

    def __post_init__(self) -> None:
        for what, tensor, wanted in (("images", self.images, torch.float32), ("labels", self.labels, torch.int64)):
            if tensor.dtype != wanted:
                raise TypeError(f"{what} of digits must be {wanted}; got {tensor.dtype}")
        shapes = [(len(self.labels), layers, SIDE, SIDE) for layers in (1, 2)] if self.labels.ndim == 1 else []
        if self.images.shape not in shapes:
            raise ValueError(
                f"digits need images (M, 1, {SIDE}, {SIDE}) and labels (M,); got {tuple(self.images.shape)} and "
                f"{tuple(self.labels.shape)}"
            )
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) <= 9:
            raise ValueError(f"labels must be from 0 to 9; got {int(self.labels.min())} … {int(self.labels.max())}")
        low, high = map(float, self.images.aminmax()) if len(self.labels) else (-1, 1)
        if not -1 <= low <= high <= 1:  # nor NaN
            raise ValueError(f"pixels must be from -1, the background, to 1; got {low} … {high}")

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str | torch.device) -> Digits:
        """The same digits on `device`."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def paired(self) -> Digits:
        """Each digit with the one that stands half the list further on: images (M, 2, 28, 28), labels of the first.

        Digits that are paired already stay as they are.
        """
        if self.images.shape[1] == 2:
            return self
        return replace(self, images=torch.cat([self.images, self.images.roll(-(len(self) // 2), 0)], 1))

    def of(self, *digits: int) -> Digits:
        """Only the images of these digits, in the original order."""
        chosen = torch.isin(self.labels, torch.tensor(digits, device=self.labels.device))
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])

    def first(self, per_digit: int) -> Digits:
        """The first `per_digit` images of each digit: a fixed, balanced subset, in the original order."""
        if per_digit < 0:
            raise ValueError(f"there must be at least 0 images of each digit; got {per_digit}")
        # Rank of every image among those of its own digit.
        one_hot = F.one_hot(self.labels, 10)
        rank = (one_hot.cumsum(0) * one_hot).sum(1)
        chosen = rank <= per_digit
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])

    def sample(self, count: int) -> Digits:
        """A fixed random sample of ``count`` images, in the original order; all images if there are fewer."""
        if count < 0:
            raise ValueError(f"a sample has at least 0 images; got {count}")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))
        chosen = order[:count].sort().values.to(self.labels.device)
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])


def cache_folder() -> Path:
    """The current user's folder for a downloaded MNIST."""
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
    source
        ``"mnist"``, ``"embedded"``, or ``"auto"``: MNIST if it is on this machine or can be downloaded, otherwise the
        embedded digits, with one warning
    root
        folder with MNIST's files, unpacked or as ``.gz``, directly in it or in ``MNIST/raw``; by default
        ``$GENCAPS_DATA``. If neither is given, MNIST is downloaded to the user's cache folder and read from there.
    device : device of the tensors

    Returns
    -------
    Digits with images (M, 1, 28, 28) float32 in [-1, 1]

    Raises
    ------
    ValueError
        The split or source is unknown.
    DataError
        MNIST is not in the folder that you named; a file of MNIST is damaged and cannot be downloaded again; or
        `source` is ``"mnist"``, and MNIST is not here and cannot be downloaded.
    """
    _check_choice("split", split, SPLITS)
    _check_choice("source", source, SOURCES)
    if source == "embedded":
        return _embedded(split, device)
    named = _named(root)
    if named is not None:
        return _read_mnist(named, split, f"Put a whole file in its place, or {_NAME_A_FOLDER}").to(device)
    folder = cache_folder()
    try:
        if not _holds_mnist(folder):
            _fetch(folder)
    except _Unavailable as reason:
        advice = f"MNIST is not in {folder} and could not be downloaded ({reason}). {_CONNECT}, or {_NAME_A_FOLDER}"
        if source == "mnist":
            raise DataError(f"{advice}.") from None
        # Located here, not at the caller, so that Python shows it once and not for each split.
        warnings.warn(f"{advice}. Using scikit-learn's 1,797 embedded digits instead.", stacklevel=1)
        return _embedded(split, device)
    try:
        return _read_mnist(folder, split, _CONNECT).to(device)
    except DataError as damage:
        try:
            _fetch(folder)
        except _Unavailable as reason:
            raise DataError(f"{damage} It could not be downloaded again ({reason}).") from None
    return _read_mnist(folder, split, _CONNECT).to(device)


def expected_sources(source: str, root: str | os.PathLike | None = None) -> tuple[str, ...]:
    """The data sets that `load_digits` may return on this machine for these arguments.

    Embedded digits replace MNIST only if MNIST is not on this machine.

    Raises
    ------
    DataError
        MNIST is not in the folder that you named.
    """
    _check_choice("source", source, SOURCES)
    if source != "auto":
        return (source,)
    named = _named(root)
    if named is None:
        return ("mnist",) if _holds_mnist(cache_folder()) else ("mnist", "embedded")
    for name in MNIST_SHA256:
        _find(named, name)
    return ("mnist",)


_NAME_A_FOLDER = "name a folder with MNIST's four files (GENCAPS_DATA, --data or root=)"
_CONNECT = "Connect to the network and call again"


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"unknown {what} {value!r}: choose one of {', '.join(choices)}")


class _Unavailable(Exception):
    """MNIST could not be downloaded; the message says why."""


def _named(root: str | os.PathLike | None) -> Path | None:
    """The folder that the user named, if any."""
    place = (os.environ.get("GENCAPS_DATA") or None) if root is None else root
    return None if place is None else Path(os.path.expanduser(place)).absolute()


def _find(folder: Path, name: str) -> Path:
    """Find one of MNIST's files in a folder: in torchvision's place, with Kaggle's name, or packed.

    Raises
    ------
    DataError
        The file is not there, or the folder cannot be read.
    """
    places = [
        folder / inner / f"{spelling}{packed}"
        for inner in ("MNIST/raw", "raw", "")
        for packed in ("", ".gz")
        for spelling in (name, name.replace("-idx", ".idx"))
    ]
    try:
        found = next((place for place in places if place.is_file()), None)
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}): {_NAME_A_FOLDER}.") from None
    if found is None:
        raise DataError(
            f"MNIST is not in {folder}: neither {name} nor {name}.gz is in it or in its MNIST/raw. Put it there, "
            f"{_NAME_A_FOLDER}, or name no folder to download it."
        )
    return found


def _holds_mnist(folder: Path) -> bool:
    """Whether all of MNIST's files are in a folder. Their contents are checked when they are read."""
    try:
        return all(_find(folder, name) for name in MNIST_SHA256)
    except DataError:
        return False


def _fetch(folder: Path) -> None:
    """Download MNIST's missing or damaged files to the cache, one process at a time.

    This does not use torchvision, which does not check existing files, and cannot be imported with a PyTorch of another
    version than its own.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock")
        with suppress(NotImplementedError):  # if the file system has no locks, MNIST may be downloaded twice
            lock.acquire()
        try:
            for name in MNIST_SHA256:
                try:
                    _read(folder, name, _CONNECT)
                except DataError:
                    write_whole(folder / "MNIST" / "raw" / name, _download(name))
        finally:
            lock.release()
    except OSError as error:
        raise _Unavailable(f"{type(error).__name__}: {error}") from None


def _download(name: str) -> bytes:
    """Download one of MNIST's files and unpack it."""
    reasons = []
    for mirror in MIRRORS:
        url = f"{mirror}/{name}.gz"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return _unpacked(answer.read(), name)
        # No network, or a wrong answer from a proxy.
        except (OSError, ValueError, HTTPException) as error:
            reasons.append(f"{url}: {getattr(error, 'reason', '') or str(error) or type(error).__name__}")
    raise _Unavailable("; ".join(reasons))


def _unpacked(content: bytes, name: str) -> bytes:
    """The unpacked content of one of MNIST's files; a ValueError if it is not this file's."""
    with suppress(OSError, EOFError, zlib.error):
        content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    if digest(content) != MNIST_SHA256[name]:
        raise ValueError(f"not MNIST's {name}: it is truncated, damaged or another file")
    return content


def _read(folder: Path, name: str, mend: str) -> bytes:
    """The complete, checked content of one of MNIST's files in a folder; `mend` says what to do if it is damaged."""
    path = _find(folder, name)
    try:
        return _unpacked(path.read_bytes(), name)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}). {mend}.") from None
    except ValueError as error:
        raise DataError(f"{path} is {error}. {mend}.") from None


def _read_mnist(folder: Path, split: str, mend: str) -> Digits:
    images, labels = (_array(_read(folder, name, mend)) for name in MNIST_FILES[split])
    return Digits(
        images=torch.from_numpy(images).unsqueeze(1).float().div_(127.5).sub_(1),
        labels=torch.from_numpy(labels).long(),
        source="mnist",
    )


def _array(content: bytes) -> np.ndarray:
    """The array of an IDX file: 4 bytes (the last one is the number of dimensions), the dimensions, the values."""
    dimensions = content[3]
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    return np.frombuffer(bytearray(content), dtype=np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _embedded(split: str, device: str | torch.device) -> Digits:
    """The embedded digits, as copies: what is done to them must not reach the next caller's."""
    kept = _made(split)
    return replace(kept, images=kept.images.to(device, copy=True), labels=kept.labels.to(device, copy=True))


@cache
def _made(split: str) -> Digits:
    """scikit-learn's digits, made like MNIST's: 20×20 pixels, moved by whole pixels to centre the mass."""
    from sklearn.datasets import load_digits as load_sklearn_digits  # slow to import, and needed only here

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
