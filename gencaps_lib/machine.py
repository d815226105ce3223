"""What a run is made with, and how long it will take here."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gencaps_lib.data import Digits
from gencaps_lib.experiments import Experiment
from gencaps_lib.training import WARM_UP, fit


def setting(digits: Digits, profile: str) -> str:
    """What the numbers of a chapter depend on, in a line: profile, data, device and version."""
    return (
        f"{profile} profile; data: {digits.source}, {len(digits):,} digits; "
        f"{device_name(digits.images.device)}; PyTorch {torch.__version__}"
    )


def forecast(experiment: Experiment, models: Sequence[str], train: Digits) -> str:
    """How long training the models will take here, in a line: a few steps of each are timed, on a GPU some hundreds.

    A preliminary training is not counted.
    """
    device = train.images.device
    few, many = (1, 6) if device.type == "cpu" else (WARM_UP + 1, 300)
    seconds = 0.0
    for name in models:
        model = experiment.build(name).to(device, memory_format=torch.channels_last)
        options = experiment.fit_options(device, name) | {"progress": False}
        train_for = partial(fit, model, experiment.task, train, **options)
        train_for(few)  # warms up, and prepares the model
        # The capture of a step on CUDA is in both and cancels.
        short, long = (seconds_of(partial(train_for, steps), device) for steps in (few, many))
        seconds += (long - short) / (many - few) * experiment.steps
    return (
        f"{experiment.steps:,} steps at batch {experiment.batch} for {', '.join(models)}: "
        f"about {_duration(seconds)} of training here"
    )


def seconds_of(run: Callable[[], Any], device: torch.device, times: int = 1) -> float:
    """The time that one call takes, over some in a row."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    for _ in range(times):
        run()
    wait()
    return (time.perf_counter() - start) / times


def _duration(seconds: float) -> str:
    return f"{max(seconds, 1):.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def device_name(device: torch.device) -> str:
    """The GPU's name, or how many threads the CPU is used with."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def machine(device: torch.device) -> dict[str, str]:
    """The device, the versions and the commit that a run is made with."""
    return {
        "device": device_name(device),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": commit(),
    }


def commit() -> str:
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
