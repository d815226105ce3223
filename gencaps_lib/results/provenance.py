"""Device, versions and commit of a run, and how long it will take on this machine."""

from __future__ import annotations

import platform
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gencaps_lib.data import Digits
from gencaps_lib.experiments import Experiment
from gencaps_lib.training import WARM_UP, fit


def setting(digits: Digits, profile: str) -> str:
    """One line with what a chapter's numbers depend on: profile, data, device and version."""
    return (
        f"{profile} profile; data: {digits.source}, {len(digits):,} digits; "
        f"{device_name(digits.images.device)}; PyTorch {torch.__version__}"
    )


def forecast(experiment: Experiment, models: Sequence[str], train: Digits) -> str:
    """One line that says how long training will take here, from timing a few steps of each model (300 on a GPU).

    A model that is named twice is trained twice. A preliminary training is not included.
    """
    device = train.images.device
    few, many = (1, 6) if device.type == "cpu" else (WARM_UP + 1, 300)
    seconds = 0.0
    for name, times in Counter(models).items():
        model = experiment.build(name).to(device).to(memory_format=torch.channels_last)
        options = experiment.fit_options(device, name) | {"progress": False}
        train_for: Callable[[int], Any] = partial(fit, model, experiment.task, train, **options)
        train_for(few)  # warms up, and prepares the model
        # On CUDA, both include the capture of a step, which cancels out.
        short, long = (seconds_of(partial(train_for, steps), device) for steps in (few, many))
        seconds += (long - short) / (many - few) * experiment.steps * times
    return (
        f"{experiment.steps:,} steps at batch {experiment.batch} for {', '.join(dict.fromkeys(models))}: "
        f"about {_duration(seconds)} of training here"
    )


def seconds_of(run: Callable[[], Any], device: torch.device, times: int = 1) -> float:
    """The mean time of one call, over some calls in a row."""
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
    """The GPU's name, or "CPU" with the number of threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def machine(device: torch.device) -> dict[str, str]:
    """The device, the versions, the commit and the date of a run."""
    return {
        "device": device_name(device),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": commit(),
        "made": date.today().isoformat(),
    }


def commit(*apart: str) -> str:
    """The commit of the checkout that this file is in, with "-dirty" if files were changed.

    It is "unknown" if this file is not in a checkout of its own, for example in an installed package.

    Parameters
    ----------
    apart : paths in the checkout whose changes do not count
    """
    here = Path(__file__)

    def git(*arguments: str) -> str:
        asked = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(asked, capture_output=True, encoding="utf-8", check=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)
        others = [f":(top,exclude){path}" for path in apart]
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", *others)
        return git("describe", "--always") + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
