"""Result files: one JSON file for each run, written whole or not at all, with a digest of what is in it.

A result lies at ``<folder>/<experiment>/<model>/seed<k>.json``. Files beside it belong to it: ``seed<k>.gallery.npz``,
what the model draws, and for small models ``seed<k>.decoder.safetensors``, see `attachments`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gencaps_lib.evaluation import Curve, ImageMeans
from gencaps_lib.files import check_writable, digest, write_whole
from gencaps_lib.results.attachments import SUFFIXES

RESULT_NAME = re.compile(r"seed(?P<seed>\d+)\.json")
FAILURE = "failed.json"  # suffix of the file that says why a run of a study failed
HISTORY = 2000  # entries of a history, at most


class ResultError(RuntimeError):
    """A result that cannot be read or written; the message says what to do."""


@dataclass(frozen=True)
class Result:
    """One run.

    Attributes
    ----------
    experiment, model, seed, profile, source : what was run, and on which data
    config : everything that determines the run, as plain data
    grid : points of the evaluation, in `unit`
    curves : per digit, the loss at each point; a classifier's error rate
    images : per held-out digit, each judged image's mean loss ``"inside"`` and ``"outside"`` the range its digit was
        trained on; empty for a classifier
    history : loss of the training steps, the mean of every `stride` of them
    seconds : wall time of the training
    machine : device, versions and commit
    fingerprint : of the model, see `fingerprint`
    learned : what the model found out that has a meaning of its own, by name: ``"generators"``, (K, 3, 3)
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
        """Data, profile, steps and seed: what must be said beside a number from this run."""
        return f"{self.source}, {self.profile} profile, {self.made:,} steps, seed {self.seed}"

    @property
    def precision(self) -> str:
        """Of the products in training, see `training.fit`."""
        return self.machine.get("precision", "float32")

    @property
    def stride(self) -> int:
        """Of how many training steps an entry of the history is the mean; the last may be of fewer."""
        return stride(self.config["steps"])

    @property
    def made(self) -> int:
        """Training steps made; of an interrupted training, as far as the history tells."""
        return min(len(self.history) * self.stride, self.config["steps"])

    @property
    def stuck(self) -> bool:
        """Whether the training loss fell by less than a twentieth from its second tenth to its last.

        So it does where a model never learns to draw more than a blank image, which is found in the first tenth.
        """
        tenth = len(self.history) // 10
        early, late = self.history[tenth : 2 * tenth], self.history[-tenth:]
        return tenth > 0 and sum(late) > 0.95 * sum(early)

    @property
    def complete(self) -> bool:
        """Whether the training ran to its end, and was not interrupted."""
        return self.made == self.config["steps"]


def stride(steps: int) -> int:
    """How many training steps share an entry of a history, where `steps` are to be made."""
    return -(-steps // HISTORY)


def thinned(losses: Sequence[float], steps: int) -> list[float]:
    """A `Result.history` of the loss of each step, where `steps` were to be made.

    Of an interrupted training, the steps after the last whole stride are left out.
    """
    width = stride(steps)
    kept = losses if len(losses) == steps else losses[: len(losses) // width * width]
    return [sum(part) / len(part) for part in (kept[start : start + width] for start in range(0, len(kept), width))]


def result_path(folder: str | os.PathLike, experiment: str, model: str, seed: int) -> Path:
    """Where a run's result lies under `folder`."""
    return Path(folder) / experiment / model / f"seed{seed}.json"


def write(
    result: Result,
    folder: str | os.PathLike,
    force: bool = False,
    extras: Mapping[str, bytes] = MappingProxyType({}),
) -> Path:
    """Write a result with the files that belong to it, whole or not at all, and return its path.

    Parameters
    ----------
    result : to write
    folder : of all results
    force : replace a result that is there
    extras : content of the files beside it by suffix, see `attachments.extras`

    Raises
    ------
    ResultError
        There is one already and `force` is false, or this one is of an interrupted training and less than what is
        there; or the folder cannot be written.
    """
    path = result_path(folder, result.experiment, result.model, result.seed)
    _check_free(path, force)
    _check_more(path, result)
    # Through JSON once, so that the digest is of what a reader gets. Six digits say all that a loss has to say.
    content = json.loads(json.dumps(dataclasses.asdict(result), allow_nan=False))
    measured = json.dumps({name: content[name] for name in ("curves", "images", "history")})
    content.update(json.loads(measured, parse_float=lambda digits: float(f"{float(digits):.6g}")))
    content["files"] = {suffix: digest(data) for suffix, data in extras.items()}
    content["digest"] = _digest(content)
    text = json.dumps(content, indent=1) + "\n"
    try:
        write_whole(path, text.encode(), {beside(path, suffix): extras.get(suffix) for suffix in SUFFIXES})
    except OSError as error:
        raise _unwritable(path, error) from None
    return path


def _unwritable(path: Path, error: OSError) -> ResultError:
    why = f"{error.strerror}: {error.filename}" if error.filename else error.strerror or error
    return ResultError(f"cannot write {path} ({why}): make room there, or name another folder")


def beside(path: Path, suffix: str) -> Path:
    """Where a file lies that belongs to the result at `path`."""
    return path.with_name(f"{path.stem}.{suffix}")


def _digest(content: Mapping[str, Any]) -> str:
    """The digest of a result's content, whatever the order and the layout of its file."""
    return digest(json.dumps(content, sort_keys=True).encode())


def check_free(path: Path, force: bool = False) -> None:
    """Raise a ResultError if a result would overwrite `path` without leave, or cannot be written there: it is tried."""
    _check_free(path, force)
    try:
        check_writable(path)
    except OSError as error:
        raise _unwritable(path, error) from None


def _check_free(path: Path, force: bool) -> None:
    if path.is_dir():
        raise ResultError(f"{path} is a folder, and a result is a file: move the folder away, or name another")
    if path.exists() and not force:
        raise ResultError(f"{path} is there already: pass --force (force=True) to run it again and replace it")


def _check_more(path: Path, result: Result) -> None:
    """Raise a ResultError if an interrupted training would replace a whole one, or one that came further."""
    if result.complete or not path.exists():
        return
    try:
        there = read(path)
    except ResultError:
        return  # it is worth nothing
    if there.complete or there.made > result.made:
        raise ResultError(f"{path} is kept: it is of {there.made:,} steps, and this training was interrupted")


def read(path: str | os.PathLike) -> Result:
    """Read one result.

    Raises
    ------
    ResultError
        The file is missing, is not JSON, is no result, or was changed after it was written.
    """
    return open_result(Path(path))[0]


def open_result(path: Path) -> tuple[Result, dict[str, str]]:
    """A result, and the digests of the files beside it by suffix."""
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
