"""Result files: one JSON file for each run, written completely or not at all, with a digest of its content.

The path of a result is ``<folder>/<experiment>/<model>/seed<k>.json``. In the same folder are its other files: the
model's drawings, ``seed<k>.gallery.npz``, and for small models ``seed<k>.decoder.safetensors``, see `attachments`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gencaps_lib.evaluation import Curve, ImageMeans
from gencaps_lib.files import check_writable, digest, write_whole
from gencaps_lib.results.attachments import SUFFIXES

RESULT_NAME = re.compile(r"seed(?P<seed>\d+)\.json")
FAILURE = "failed.json"  # suffix of the file that says why a run of a study failed
HISTORY = 2000  # greatest number of entries of a history


class ResultError(RuntimeError):
    """A result cannot be read or written; the message says what to do."""


def check_seed(seed: Any) -> int:
    """A seed as an int of Python; a ValueError if it is negative or no whole number."""
    if not isinstance(seed, Integral) or seed < 0:
        raise ValueError(f"a seed must be a whole number of at least 0; got {seed!r}")
    return int(seed)


@dataclass(frozen=True)
class Result:
    """The result of one run.

    Attributes
    ----------
    experiment, model, seed, profile, source : what was run, and on which data
    config : everything that determines the run, except its seed, as plain data
    grid : points of the test grid, in `unit`
    curves : per digit, the loss at each point; for a classifier, the error rate
    images
        per held-out digit, each test image's mean loss ``"inside"`` and ``"outside"`` the digit's training range; empty
        for a classifier
    history : the training loss, averaged over each `stride` steps
    seconds : wall time of the training
    machine : device, versions and commit
    fingerprint : fingerprint of the configuration and the model, see `fingerprint`
    learned
        what the model learned that a reader can interpret, by name: ``"generators"``, (K, 3, 3); ``"sorted"``, see
        `evaluation.sorted_ink`
    """

    experiment: str
    model: str
    seed: int
    profile: str
    source: str
    config: dict[str, Any]
    unit: str
    grid: list[float]
    curves: Curve
    images: ImageMeans
    history: list[float]
    seconds: float
    machine: dict[str, str]
    fingerprint: dict[str, Any]
    learned: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Data, profile, steps and seed, to be shown with each number from this run."""
        return f"{self.source}, {self.profile} profile, {self.made:,} steps, seed {self.seed}"

    @property
    def precision(self) -> str:
        """The precision of the products in training, see `training.fit`."""
        return self.machine.get("precision", "float32")

    @property
    def stride(self) -> int:
        """How many training steps an entry of the history averages; the last entry may average fewer."""
        return stride(self.config["steps"])

    @property
    def made(self) -> int:
        """Training steps made; for an interrupted training, those that the history covers."""
        return min(len(self.history) * self.stride, self.config["steps"])

    @property
    def stuck(self) -> bool:
        """Whether the training loss fell by less than 5 % from the second tenth of the training to the last tenth.

        This happens if a model learns a blank image in the first tenth, and nothing more.
        """
        tenth = len(self.history) // 10
        early, late = self.history[tenth : 2 * tenth], self.history[-tenth:]
        return tenth > 0 and sum(late) > 0.95 * sum(early)

    @property
    def complete(self) -> bool:
        """Whether the training reached its end without an interruption."""
        return self.made == self.config["steps"]


def stride(steps: int) -> int:
    """How many training steps share an entry of a history, for a training of ``steps`` steps."""
    return -(-steps // HISTORY)


def thinned(losses: Sequence[float], steps: int) -> list[float]:
    """A `Result.history` from the loss of each step, for a training of ``steps`` steps.

    If the training was interrupted, the steps after the last full stride are left out.
    """
    width = stride(steps)
    kept = losses if len(losses) == steps else losses[: len(losses) // width * width]
    return [sum(part) / len(part) for part in (kept[start : start + width] for start in range(0, len(kept), width))]


def result_path(folder: str | os.PathLike, experiment: str, model: str, seed: int) -> Path:
    """The path of a run's result under ``folder``."""
    return Path(folder) / experiment / model / f"seed{seed}.json"


def write(
    result: Result,
    folder: str | os.PathLike,
    force: bool = False,
    extras: Mapping[str, bytes] = MappingProxyType({}),
) -> Path:
    """Write a result and its other files, completely or not at all, and return its path.

    Parameters
    ----------
    result : the result to write
    folder : folder of all results
    force : replace an existing result
    extras : suffix → content of the result's other files, see `attachments.extras`

    Raises
    ------
    ResultError
        The result exists and `force` is false; or this training was interrupted, and the existing one has as many
        steps or more; or the folder cannot be written.
    """
    path = result_path(folder, result.experiment, result.model, result.seed)
    _check_free(path, force)
    _check_more(path, result)
    # First to JSON and back, so that the digest is of what a reader gets. Losses are rounded to six digits.
    content = json.loads(json.dumps(dataclasses.asdict(result), allow_nan=False))
    measured = json.dumps({name: content[name] for name in ("curves", "images", "history")})
    content.update(json.loads(measured, parse_float=lambda digits: float(f"{float(digits):.6g}")))
    content["files"] = {suffix: digest(data) for suffix, data in extras.items()}
    content["digest"] = _digest(content)
    text = "{\n" + ",\n".join(f" {json.dumps(name)}: {json.dumps(part)}" for name, part in content.items()) + "\n}\n"
    try:
        write_whole(path, text.encode(), {beside(path, suffix): extras.get(suffix) for suffix in SUFFIXES})
    except OSError as error:
        raise _unwritable(path, error) from None
    return path


def _unwritable(path: Path, error: OSError) -> ResultError:
    why = f"{error.strerror}: {error.filename}" if error.filename else error.strerror or error
    return ResultError(f"cannot write {path} ({why}): make room there, or name another folder")


def beside(path: Path, suffix: str) -> Path:
    """The path of a file that belongs to the result at `path`."""
    return path.with_name(f"{path.stem}.{suffix}")


def _digest(content: Mapping[str, Any]) -> str:
    """The digest of a result's content; it does not depend on the order and layout of the file."""
    return digest(json.dumps(content, sort_keys=True).encode())


def check_free(path: Path, force: bool = False) -> None:
    """Raise a ResultError if `path` exists and `force` is false, or if a test file cannot be written there."""
    _check_free(path, force)
    try:
        check_writable(path)
    except OSError as error:
        raise _unwritable(path, error) from None


def _check_free(path: Path, force: bool) -> None:
    if path.is_dir():
        raise ResultError(f"{path} is a folder, but a result is a file: move the folder away, or name another")
    if path.exists() and not force:
        raise ResultError(f"{path} exists already: pass --force (force=True) to run it again and replace it")


def _check_more(path: Path, result: Result) -> None:
    """Raise a ResultError if an interrupted training would replace one with as many steps or more."""
    if result.complete or not path.exists():
        return
    try:
        there = read(path)
    except ResultError:
        return  # an unreadable result may be replaced
    if there.made >= result.made:
        raise ResultError(f"{path} is kept: it has {there.made:,} steps, and this training was interrupted")


def read(path: str | os.PathLike) -> Result:
    """Read one result.

    Raises
    ------
    ResultError
        The file is missing, is not JSON, is not a result, or was changed after it was written.
    """
    return open_result(Path(path))[0]


def open_result(path: Path) -> tuple[Result, dict[str, str]]:
    """Read a result, and the digests of its other files by suffix."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        written, found = content.pop("digest"), _digest(content)
        files = content.pop("files")
        for name in ("curves", "images"):
            content[name] = {int(digit): entry for digit, entry in content[name].items()}
        result = Result(**content)
    except OSError as error:
        raise ResultError(f"cannot read {path} ({error.strerror})") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ResultError(f"{path} is not a result of gencaps_lib ({error}): delete it and run it again") from None
    if written != found:
        raise ResultError(f"{path} was changed after it was written: delete it and run it again")
    return result, files
