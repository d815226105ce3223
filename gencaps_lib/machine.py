"""What a run is made with, and how long it will take here."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from gencaps_lib.data import Digits
from gencaps_lib.experiments import Experiment
from gencaps_lib.training import fit


def setting(digits: Digits, profile: str) -> str:
    """What the numbers of a chapter depend on, in a line: profile, data, device and version."""
    return (
        f"{profile} profile; data: {digits.source}, {len(digits):,} digits; "
        f"{device_name(digits.images.device)}; PyTorch {torch.__version__}"
    )


def forecast(experiment: Experiment, models: Sequence[str], train: Digits, steps: int = 5) -> str:
    """How long training the models will take here, in a line: a few steps of each are timed."""
    seconds = 0.0
    for name in models:
        model = experiment.build(name).to(train.images.device, memory_format=torch.channels_last)
        options = experiment.fit_options(train.images.device, name) | {"progress": False}
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
