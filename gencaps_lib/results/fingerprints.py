"""What a result depends on: a run's configuration as plain data, and fingerprints that detect changes."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from gencaps_lib.experiments import Experiment
from gencaps_lib.files import digest
from gencaps_lib.transforms import SIDE


def plain(value: Any) -> Any:
    """Convert dataclasses and other objects, mappings, sequences, arrays and tensors to dicts and lists, for JSON.

    Raises
    ------
    TypeError
        It holds something that has no plain data, as a function or a class.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.generic, np.ndarray, torch.Tensor)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list, range)):
        return [plain(entry) for entry in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value)}
    elif hasattr(value, "__dict__") and not isinstance(value, type) and not callable(value):
        fields = vars(value)
    else:
        raise TypeError(
            f"an experiment is kept with its result as plain data, and {value!r} has none: use numbers, words, tuples "
            "and dataclasses"
        )
    return {"kind": type(value).__name__, **plain(fields)}


def configuration(experiment: Experiment, model: str) -> dict[str, Any]:
    """Everything that determines a run of a model, except its seed, as plain data."""
    spec = experiment.spec(model)
    # Default values are left out, so that older results, from before these options existed, stay valid.
    sizes = {**({"architecture": spec.architecture} if spec.architecture != model else {}), **spec.sizes}
    return plain(
        {
            "task": {**plain(experiment.task), "sizes": sizes},
            **({"growth": spec.growth} if spec.growth else {}),
            **({"precision": spec.precision} if spec.precision else {}),
            **({"faster": spec.faster} if spec.faster else {}),
            **({"rival": spec.rival} if spec.rival else {}),
            **({"draws": experiment.draws} if experiment.draws != 1 else {}),
            **({"test_sample": experiment.test_sample} if experiment.test_sample is not None else {}),
            "steps": experiment.steps,
            "batch": experiment.batch,
            "optimiser": spec.optimiser,
            "test_digits": experiment.test_digits,
        }
    )


def config_digest(experiment: Experiment, model: str) -> str:
    """The SHA-256 of a run's `configuration`."""
    return digest(json.dumps(configuration(experiment, model), sort_keys=True).encode())


def fingerprint(experiment: Experiment, model: str, seed: int = 0) -> dict[str, Any]:
    """A hash of the configuration and a probe of the model; if one of them changes, a result is stale.

    The probe has the means and standard deviations of a new model's outputs for a fixed input. It is kept as numbers
    and compared with a tolerance. A hash of rounded numbers could change if a number is close to a rounding border.
    """
    built = experiment.build(model, seed).eval()
    ramp = torch.linspace(-1, 1, SIDE)
    images = torch.stack([ramp[:, None] * ramp, ramp[:, None].expand(-1, SIDE).clone()])[:, None]  # (2,1,28,28)
    values = experiment.task.grid_values()[[0, -1]]
    with torch.no_grad():
        drawn = experiment.kind(model).answer(built, experiment.task, images, values)
    probe = [drawn[0].mean(), drawn[0].std(), drawn[1].mean(), drawn[1].std(), (drawn[0] - drawn[1]).abs().mean()]
    return {"config": config_digest(experiment, model), "probe": [float(f"{value.item():.6g}") for value in probe]}


def matches(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two fingerprints have the same configuration, and probes that agree."""
    return one["config"] == other["config"] and all(
        math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-5) for a, b in zip(one["probe"], other["probe"], strict=True)
    )
