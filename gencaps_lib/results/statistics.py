"""Statistics over all seeds of a model: mean curves, and means and ratios with bootstrap intervals.

References
----------
Efron, Tibshirani (1993), "An Introduction to the Bootstrap": the percentile interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gencaps_lib.evaluation import mean_inside, mean_outside
from gencaps_lib.results.record import Result
from gencaps_lib.tasks import Task

RESAMPLES = 5000


class Estimate(NamedTuple):
    """A number and the ends of its 95 % interval; the ends are NaN if there is only one sample."""

    value: float  #: the number itself
    low: float  #: lower end of the interval
    high: float  #: upper end of the interval


def bootstrap(statistic: Callable[..., np.ndarray], *samples: np.ndarray) -> Estimate:
    """A statistic of the means of samples, with its bootstrap 95 % percentile interval.

    The resamples are always the same. With few seeds, the interval covers less than 95 %: five seeds show only roughly
    how much seeds differ.

    Parameters
    ----------
    statistic : means → a number; also called with arrays of means
    samples : each (n,); they are paired and resampled together
    """
    count = len(samples[0])
    with np.errstate(divide="ignore", invalid="ignore"):  # a ratio to a loss of zero is infinite
        value = float(statistic(*(sample.mean() for sample in samples)))
        if count < 2:
            return Estimate(value, float("nan"), float("nan"))
        chosen = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
        low, high = np.quantile(statistic(*(sample[chosen].mean(1) for sample in samples)), [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def final_loss(result: Result) -> float:
    """The mean training loss of the last tenth of the steps; not a number if there was none."""
    if not result.history:
        return math.nan
    last = result.history[-max(1, len(result.history) // 10) :]
    return sum(last) / len(last)


class Moved(NamedTuple):
    """How much a change in training moved a mean over seeds, compared with the spread of seeds without the change."""

    quantity: str  #: its name, in words
    before: float  #: mean over the seeds without the change
    after: float  #: mean over the seeds with it
    noise: float  #: largest − smallest value of the seeds without the change

    @property
    def within_noise(self) -> bool:
        """Whether the change moved the mean by no more than the spread of seeds."""
        return abs(self.after - self.before) <= self.noise


@dataclass(frozen=True)
class Runs:
    """The results of one model with several seeds.

    Intervals are over seeds (how much do the initial weights matter?), or over test images (how much do the test digits
    matter?). For intervals over images, each image's loss is averaged over the seeds first.

    Attributes
    ----------
    results : one result for each seed, in the order of seeds
    task : defines which points count as inside and as outside the held-out digits' range
    """

    results: tuple[Result, ...]
    task: Task

    @property
    def seeds(self) -> list[int]:
        return [result.seed for result in self.results]

    @property
    def learned(self) -> tuple[Result, ...]:
        """The results of the runs that learned to draw, see `Result.stuck`."""
        return tuple(result for result in self.results if not result.stuck)

    @property
    def label(self) -> str:
        """Data, profile, steps and seeds, to be shown with each number from these runs."""
        first = self.results[0]
        return f"{first.source}, {first.profile} profile, {first.made:,} steps, {self.which}"

    @property
    def which(self) -> str:
        """The seeds in words: ``"seed 10"`` or ``"seeds 10, 11"``."""
        return f"seed{'s' if len(self.seeds) > 1 else ''} {', '.join(map(str, self.seeds))}"

    def curve(self, digit: int) -> list[float]:
        """The mean over seeds of a digit's loss at each point of the grid."""
        return np.mean([result.curves[digit] for result in self._with(digit)], axis=0).tolist()

    def spread(self, digit: int) -> tuple[list[float], list[float]]:
        """A digit's smallest and largest loss over the seeds at each point of the grid."""
        curves = np.array([result.curves[digit] for result in self._with(digit)])
        return curves.min(axis=0).tolist(), curves.max(axis=0).tolist()

    def inside(self, digit: int, over: str = "seeds") -> Estimate:
        """A digit's mean loss inside the held-out digits' range, with an interval over ``"seeds"`` or ``"images"``."""
        return bootstrap(lambda inside: inside, self.samples(digit, over)[0])

    def outside(self, digit: int, over: str = "seeds") -> Estimate:
        """A digit's mean loss outside the held-out digits' range, with an interval as in `inside`."""
        return bootstrap(lambda outside: outside, self.samples(digit, over)[1])

    def ratio(self, digit: int, over: str = "seeds") -> Estimate:
        """A digit's transfer ratio, mean loss outside the range ÷ mean loss inside, with an interval as in `inside`."""
        return bootstrap(lambda inside, outside: outside / inside, *self.samples(digit, over))

    def others(self, side: str) -> float:
        """The mean loss of the digits that were not held out, ``"inside"`` or ``"outside"`` the range."""
        mean = {"inside": mean_inside, "outside": mean_outside}[side]
        digits = [digit for digit in self.results[0].curves if digit not in self.task.held_out]
        return float(np.mean([mean(self.curve(digit), self.task) for digit in digits]))

    def adjusted_ratio(self, digit: int) -> float:
        """A digit's transfer ratio ÷ that of the other digits: 1 if points outside are harder for all digits."""
        return self.ratio(digit).value / (self.others("outside") / self.others("inside"))

    @property
    def summary(self) -> tuple[str, str, str]:
        """The first held-out digit's mean losses inside and outside the range, and its transfer ratio, as text.

        The ratio is empty where nothing is lost on either side.
        """
        digit = self.task.held_out[0]
        inside, outside, ratio = (of(digit).value for of in (self.inside, self.outside, self.ratio))
        return f"{inside:.4f}", f"{outside:.4f}", "" if math.isnan(ratio) else f"{ratio:.2f}"

    def _with(self, digit: int) -> tuple[Result, ...]:
        judged = sorted(self.results[0].curves)
        if digit not in judged:
            raise ValueError(f"there is no curve of digit {digit}: choose one of {', '.join(map(str, judged))}")
        return self.results

    def samples(self, digit: int, over: str = "seeds") -> tuple[np.ndarray, np.ndarray]:
        """A digit's losses inside and outside the range, for each seed or for each image."""
        results = self._with(digit)
        if over == "seeds":
            curves = [result.curves[digit] for result in results]
            means = (mean_inside, mean_outside)
            inside, outside = (np.array([mean(curve, self.task) for curve in curves]) for mean in means)
            return inside, outside
        if over != "images":
            raise ValueError(f"an interval must be over 'seeds' or 'images'; got {over!r}")
        if digit not in results[0].images:
            raise ValueError(
                f"there are no losses of single images of {digit}: choose a held-out digit, and a model that draws"
            )
        images = [result.images[digit] for result in results]
        inside, outside = (np.mean([entry[side] for entry in images], axis=0) for side in ("inside", "outside"))
        return inside, outside


def moved(before: Runs, after: Runs, digit: int) -> list[Moved]:
    """Compare the effect of a change in training with the spread of seeds, in the training loss and a digit's error.

    Parameters
    ----------
    before, after
        runs of a model without and with the change, with the same seeds, steps, profile and data; `before` with
        products in float32
    digit : a held-out digit

    Returns
    -------
    one entry each for the training loss in the last tenth of the steps, the digit's error in range, and out of range

    Raises
    ------
    ValueError
        The seeds, steps, profiles or data differ, there is only one seed, or `before` has another precision.
    """
    if before.label != after.label:
        raise ValueError(f"runs of different settings cannot be compared: {before.label}, and {after.label}")
    if any(result.precision != "float32" for result in before.results):
        raise ValueError("the runs before a change must have products in float32 only; these have another precision")
    if len(before.results) < 2:
        raise ValueError("one seed cannot show the spread of seeds: give runs with at least two seeds")

    names = ("training loss, last tenth", f"error of '{digit}' in range", f"error of '{digit}' out of range")
    without, changed = ((np.array([*map(final_loss, runs.results)]), *runs.samples(digit)) for runs in (before, after))
    return [
        Moved(name, float(one.mean()), float(other.mean()), float(one.max() - one.min()))
        for name, one, other in zip(names, without, changed, strict=True)
    ]
