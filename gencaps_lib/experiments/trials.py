"""The trials that chose the learning rates of the profile large: training losses, and no test digit.

Each trial is 2,000 steps of seed 0 at the sizes of that profile, on an H200, with a one-cycle schedule of its own. The
rule was written down before: the lowest training loss wins. Of the adversarial autoencoder, only trials count in which
the codes are spread as the prior's are, within a tenth.
"""

from __future__ import annotations

import csv
import math
from functools import cache
from pathlib import Path
from typing import NamedTuple

PRIOR_SPREAD = 1 / math.sqrt(3)  # standard deviation of the adversarial autoencoder's prior, uniform on [-1, 1]


class Trial(NamedTuple):
    """One trial of a learning rate."""

    experiment: str
    model: str
    rate: float  #: the peak of the schedule
    own_rival: bool  #: whether the model's rival has an optimiser of its own, and the model less momentum
    loss: float  #: mean of the training loss over the last tenth of the steps
    spread: float | None  #: mean standard deviation of the codes, of the adversarial autoencoder

    @property
    def counts(self) -> bool:
        """Whether the codes, if they are pushed into a prior, are spread as it is."""
        return self.spread is None or abs(self.spread / PRIOR_SPREAD - 1) < 0.1


@cache
def trials() -> tuple[Trial, ...]:
    """All trials."""
    with (Path(__file__).parent / "trials.csv").open(encoding="utf-8", newline="") as file:
        return tuple(
            Trial(
                row["experiment"],
                row["model"],
                float(row["rate"]),
                row["rival"] == "own",
                float(row["loss"]),
                float(row["spread"]) if row["spread"] else None,
            )
            for row in csv.DictReader(file)
        )


def winners() -> list[Trial]:
    """The trial that won, for each model of each experiment that has some."""
    pairs = dict.fromkeys(trial[:2] for trial in trials())
    return [
        min((trial for trial in trials() if trial[:2] == pair and trial.counts), key=lambda trial: trial.loss)
        for pair in pairs
    ]
