"""All seeds of a model together: mean curves, and means and ratios with bootstrap intervals.

References
----------
Efron, Tibshirani (1993), "An Introduction to the Bootstrap": the percentile interval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gencaps_lib.evaluation import mean_inside, mean_outside
from gencaps_lib.results.record import Result
from gencaps_lib.tasks import Task

RESAMPLES = 5000


class Estimate(NamedTuple):
    """A number, and the ends of its 95 % interval; these are NaN where it rests on one sample only."""

    value: float
    low: float
    high: float


def bootstrap(statistic: Callable[..., np.ndarray], *samples: np.ndarray) -> Estimate:
    """A statistic of the means of samples, with its bootstrap 95 % percentile interval.

    The resamples are always the same ones. With the few seeds of a study the interval is narrower than its name says:
    five of them can only say roughly how much seeds differ.

    Parameters
    ----------
    statistic : means → a number; it is given arrays of means, too
    samples : each (n,); they are paired, and drawn together
    """
    count = len(samples[0])
    with np.errstate(divide="ignore", invalid="ignore"):  # a ratio to no loss is infinite
        value = float(statistic(*(sample.mean() for sample in samples)))
        if count < 2:
            return Estimate(value, float("nan"), float("nan"))
        chosen = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
        low, high = np.quantile(statistic(*(sample[chosen].mean(1) for sample in samples)), [0.025, 0.975])
    return Estimate(value, float(low), float(high))


class Moved(NamedTuple):
    """How far a change of training moved a mean over seeds, beside how far seeds lie apart without it.

    Attributes
    ----------
    quantity : what is meant, in words
    before, after : the mean over the seeds without the change and with it
    noise : the most of the seeds without the change, less the least
    """

    quantity: str
    before: float
    after: float
    noise: float

    @property
    def within_noise(self) -> bool:
        """Whether the change moved the mean by no more than seeds lie apart."""
        return abs(self.after - self.before) <= self.noise


@dataclass(frozen=True)
class Runs:
    """The results of one model, which differ in their seeds only.

    Intervals are over seeds (how much does it depend on the weights at the start?), or over test images (how much on
    the digits that were judged?), of which each counts by its mean over the seeds.

    Attributes
    ----------
    results : one for each seed, in the order of seeds
    task : says which points count as inside and as outside the held-out digits' range
    """

    results: tuple[Result, ...]
    task: Task

    @property
    def seeds(self) -> list[int]:
        return [result.seed for result in self.results]

    @property
    def label(self) -> str:
        """Data, profile, steps and seeds: what must be said beside a number from these runs."""
        first = self.results[0]
        seeds = ", ".join(map(str, self.seeds))
        return f"{first.source}, {first.profile} profile, {first.made:,} steps, seeds {seeds}"

    def curve(self, digit: int) -> list[float]:
        """The mean over seeds of a digit's loss at each point of the grid."""
        return np.mean([result.curves[digit] for result in self._with(digit)], axis=0).tolist()

    def spread(self, digit: int) -> tuple[list[float], list[float]]:
        """The least and the most of the seeds' losses at each point of the grid, for a digit."""
        curves = np.array([result.curves[digit] for result in self._with(digit)])
        return curves.min(axis=0).tolist(), curves.max(axis=0).tolist()

    def inside(self, digit: int, over: str = "seeds") -> Estimate:
        """A digit's mean loss inside the held-out digits' range, with an interval over ``"seeds"`` or ``"images"``."""
        return bootstrap(lambda inside: inside, self.samples(digit, over)[0])

    def outside(self, digit: int, over: str = "seeds") -> Estimate:
        """The same outside the range."""
        return bootstrap(lambda outside: outside, self.samples(digit, over)[1])

    def ratio(self, digit: int, over: str = "seeds") -> Estimate:
        """A digit's transfer ratio, its mean loss outside the range ÷ that inside, with an interval like `inside`'s."""
        return bootstrap(lambda inside, outside: outside / inside, *self.samples(digit, over))

    def others(self, side: str) -> float:
        """The mean loss of the digits that were not held out, ``"inside"`` or ``"outside"`` the range."""
        mean = {"inside": mean_inside, "outside": mean_outside}[side]
        digits = [digit for digit in self.results[0].curves if digit not in self.task.held_out]
        return float(np.mean([mean(self.curve(digit), self.task) for digit in digits]))

    def adjusted_ratio(self, digit: int) -> float:
        """A digit's transfer ratio over that of the digits not held out: 1 where places are harder for all."""
        return self.ratio(digit).value / (self.others("outside") / self.others("inside"))

    @property
    def summary(self) -> tuple[str, str, str]:
        """The first held-out digit's mean losses inside and outside the range, and its transfer ratio, as text."""
        digit = self.task.held_out[0]
        inside, outside, ratio = (of(digit).value for of in (self.inside, self.outside, self.ratio))
        return f"{inside:.4f}", f"{outside:.4f}", f"{ratio:.2f}"

    def _with(self, digit: int) -> tuple[Result, ...]:
        judged = sorted(self.results[0].curves)
        if digit not in judged:
            raise ValueError(f"digit {digit} was not judged: choose one of {', '.join(map(str, judged))}")
        return self.results

    def samples(self, digit: int, over: str = "seeds") -> tuple[np.ndarray, np.ndarray]:
        """A digit's losses inside and outside the range, of each seed or of each image."""
        results = self._with(digit)
        if over == "seeds":
            curves = [result.curves[digit] for result in results]
            means = (mean_inside, mean_outside)
            inside, outside = (np.array([mean(curve, self.task) for curve in curves]) for mean in means)
            return inside, outside
        if over != "images":
            raise ValueError(f"an interval is over 'seeds' or 'images'; got {over!r}")
        if digit not in results[0].images:
            raise ValueError(f"losses of single images are kept of held-out digits that are drawn, and not of {digit}")
        images = [result.images[digit] for result in results]
        inside, outside = (np.mean([entry[side] for entry in images], axis=0) for side in ("inside", "outside"))
        return inside, outside


def moved(before: Runs, after: Runs, digit: int) -> list[Moved]:
    """Whether a change of training is to be seen beside the seeds: in the training loss, and in a digit's error.

    Parameters
    ----------
    before, after : a model without the change and with it, of the same seeds, steps, profile and data; those before
        with products in float32
    digit : one that was held out

    Returns
    -------
    for the training loss of the last tenth of the steps, and for the digit's error in range and out of it

    Raises
    ------
    ValueError
        Other seeds, steps, profiles or data, only one seed, or another precision before.
    """
    if before.label != after.label:
        raise ValueError(f"runs of different settings cannot be compared: {before.label}, and {after.label}")
    if any(result.precision != "float32" for result in before.results):
        raise ValueError("what a change moves is told from runs with products in float32 only; these have others")
    if len(before.results) < 2:
        raise ValueError("one seed cannot say how far seeds lie apart")

    def last_losses(runs: Runs) -> np.ndarray:
        return np.array([np.mean(result.history[-max(1, len(result.history) // 10) :]) for result in runs.results])

    names = ("training loss, last tenth", f"error of '{digit}' in range", f"error of '{digit}' out of range")
    without, changed = ((last_losses(runs), *runs.samples(digit)) for runs in (before, after))
    return [
        Moved(name, float(one.mean()), float(other.mean()), float(one.max() - one.min()))
        for name, one, other in zip(names, without, changed, strict=True)
    ]
