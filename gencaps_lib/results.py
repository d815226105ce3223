"""Results of runs: one JSON file for each, written whole or not at all.

A result lies at ``<folder>/<experiment>/<model>/seed<k>.json``. It carries its configuration, the data and machine that
made it, the loss history and curves, and the model's fingerprint.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gencaps_lib.data import SIDE, Digits
from gencaps_lib.evaluation import Curve
from gencaps_lib.experiments import Experiment
from gencaps_lib.training import fit


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
    history : loss of each training step
    seconds : wall time of the training
    machine : device, versions and commit
    fingerprint : of the model, see `fingerprint`
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
    history: list[float]
    seconds: float
    machine: dict[str, str]
    fingerprint: dict[str, Any]

    @property
    def label(self) -> str:
        """Data, profile, steps and seed: what must be said beside a number from this run."""
        return f"{self.source}, {self.profile} profile, {len(self.history):,} steps, seed {self.seed}"

    @property
    def complete(self) -> bool:
        """Whether the training ran to its end, and was not interrupted."""
        return len(self.history) == self.config["steps"]


def run(
    experiment: Experiment, model: str, train: Digits, test: Digits, seed: int = 0, progress: bool = True
) -> tuple[Result, nn.Module]:
    """Build, train and judge one model of an experiment, on the device of the digits.

    Parameters
    ----------
    experiment : at the profile that is wanted
    model : one of its models
    train, test : the digits; the experiment says how many of the test digits are judged
    seed : of the weights and the batches
    progress : show a bar while training

    Returns
    -------
    the result, and the trained model. After an interrupted training the result is not ``complete``.
    """
    built = experiment.build(model, seed).to(train.images.device, memory_format=torch.channels_last)
    start = time.perf_counter()
    history = fit(
        built,
        experiment.task,
        train.of(*experiment.task.digits),
        experiment.steps,
        seed,
        optimiser=experiment.optimiser(model),
        batch=experiment.batch,
        progress=progress,
    )
    seconds = time.perf_counter() - start
    judged = test.of(*experiment.task.digits)
    if experiment.test_digits is not None:
        judged = judged.first(experiment.test_digits)
    result = Result(
        experiment=experiment.name,
        model=model,
        seed=seed,
        profile=experiment.profile,
        source=train.source,
        config=configuration(experiment, model),
        unit=experiment.task.transform.unit,
        grid=list(experiment.task.grid),
        curves=experiment.kind(model).judge(built, experiment.task, judged),
        history=history,
        seconds=seconds,
        machine=machine(train.images.device),
        fingerprint=fingerprint(experiment, model, seed),
    )
    return result, built


def result_path(folder: str | os.PathLike, experiment: str, model: str, seed: int) -> Path:
    """Where a run's result lies under `folder`."""
    return Path(folder) / experiment / model / f"seed{seed}.json"


def write(result: Result, folder: str | os.PathLike, force: bool = False) -> Path:
    """Write a result, whole or not at all, and return its path.

    Raises
    ------
    ResultError
        There is one already and `force` is false, or the folder cannot be written.
    """
    path = result_path(folder, result.experiment, result.model, result.seed)
    check_free(path, force)
    text = json.dumps(dataclasses.asdict(result), indent=1, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".draft")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ResultError(f"cannot write {path} ({error.strerror}): free the disk, or name another folder") from None
    return path


def check_free(path: Path, force: bool = False) -> None:
    """Raise a ResultError if a result would overwrite `path` without leave, or can't be a file there."""
    if path.is_dir():
        raise ResultError(f"{path} is a folder, and a result is a file: move the folder away, or name another")
    if path.exists() and not force:
        raise ResultError(f"{path} is there already: pass --force (force=True) to run it again and replace it")


def read(path: str | os.PathLike) -> Result:
    """Read one result.

    Raises
    ------
    ResultError
        The file is missing, is not JSON, or is no result.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        content["curves"] = {int(digit): curve for digit, curve in content["curves"].items()}
        return Result(**content)
    except OSError as error:
        raise ResultError(f"cannot read {path} ({error.strerror})") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ResultError(f"{path} is not a result of gencaps_lib ({error}): delete it and run it again") from None


def plain(value: Any) -> Any:
    """Dataclasses, mappings and tuples as the dicts and lists that JSON has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **plain(fields)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(entry) for entry in value]
    return value


def configuration(experiment: Experiment, model: str) -> dict[str, Any]:
    """Everything that determines a run of a model but its seed, as plain data."""
    task = plain(experiment.task)
    task["sizes"] = task["sizes"].get(model, {})
    return {
        "task": task,
        "steps": experiment.steps,
        "batch": experiment.batch,
        "optimiser": plain(experiment.optimiser(model)),
        "test_digits": experiment.test_digits,
    }


def fingerprint(experiment: Experiment, model: str, seed: int = 0) -> dict[str, Any]:
    """What must stay as it is for a result to stay true: a hash of the configuration, and a probe of the model.

    The probe is the mean and the deviation of what the freshly built model draws from a fixed input. It is kept as
    numbers and compared with a tolerance, because a hash of rounded numbers flips where one lies on the
    border of its rounding.
    """
    config = json.dumps(configuration(experiment, model), sort_keys=True)
    digest = hashlib.sha256(config.encode()).hexdigest()
    built = experiment.build(model, seed).eval()
    ramp = torch.linspace(-1, 1, SIDE)
    images = torch.stack([ramp[:, None] * ramp, ramp[:, None].expand(-1, SIDE).clone()])[:, None]  # (2,1,28,28)
    code = experiment.task.code(experiment.task.grid_values()[[0, -1]])
    with torch.no_grad():
        drawn = experiment.kind(model).answer(built, images, code)
    probe = [drawn[0].mean(), drawn[0].std(), drawn[1].mean(), drawn[1].std(), (drawn[0] - drawn[1]).abs().mean()]
    return {"config": digest, "probe": [float(f"{value.item():.6g}") for value in probe]}


def matches(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two fingerprints are of the same configuration and of models that compute the same."""
    return one["config"] == other["config"] and all(
        math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-5) for a, b in zip(one["probe"], other["probe"], strict=True)
    )


def setting(digits: Digits, profile: str) -> str:
    """What the numbers of a chapter depend on, in a line: profile, data, device and version."""
    return (
        f"{profile} profile; data: {digits.source}, {len(digits):,} digits; "
        f"{_device_name(digits.images.device)}; PyTorch {torch.__version__}"
    )


def forecast(experiment: Experiment, models: Sequence[str], train: Digits, steps: int = 5) -> str:
    """How long training the models will take here, in a line: a few steps of each are timed."""
    seconds = 0.0
    for name in models:
        model = experiment.build(name).to(train.images.device, memory_format=torch.channels_last)
        options = {"optimiser": experiment.optimiser(name), "batch": experiment.batch, "progress": False}
        fit(model, experiment.task, train, 1, **options)  # the first step warms up
        start = time.perf_counter()
        fit(model, experiment.task, train, steps, **options)
        seconds += (time.perf_counter() - start) / steps * experiment.steps
    return (
        f"{experiment.steps:,} steps at batch {experiment.batch} for {', '.join(models)}: "
        f"about {_duration(seconds)} of training here"
    )


def _duration(seconds: float) -> str:
    return f"{max(seconds, 1):.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def machine(device: torch.device) -> dict[str, str]:
    """The device, the versions and the commit that a run is made with."""
    return {
        "device": _device_name(device),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": _commit(),
    }


def _commit() -> str:
    """The commit of the checkout that this file is in; "unknown" for an installed package."""
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
