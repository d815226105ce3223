"""The article's claims: of each, the effect and the bound that decide it, and what each protocol says.

The rules were written down before any run with a seed from `results.FRESH` on was made, and before any run of the
article's full protocol. Verdicts come from those seeds; the others were used to choose settings and to write the book.
A rule is not changed afterwards: one that turns out to be bad stays, with its verdict, beside a better one with a date
of its own.

- The error of a held-out digit is the mean over the points of the grid in its training range, or out of it. *All*
  held-out digits count, each as much as the others: '4' and '9' where the article draws. Their *transfer ratio* is
  their mean error out of range over that in range.
  A place may be hard for every digit. So beside the ratio of the first model of a claim stands that ratio over the same
  one of the other digits, where these saw all places. It is shown, and judges nothing.
- Intervals are 95 %, by a bootstrap over seeds, and over the judged images where the error of each is kept. With one
  seed they are over images only.
- With the bound *at most b* a claim holds if the whole interval is at most b, does not hold if the whole interval is
  above b, and is undecided otherwise; *at least b* likewise. That one model is better than another asks for a tenth.
- A run that never learned (`Result.stuck`, by its training loss alone) is left out, and named. Written on the same day
  as the rest, but after a run of that kind, which drew a blank image everywhere, had been counted as a perfect
  transfer: "Shift transfers with continuous capsules" held at quick by that run alone.
- A claim that one model is better than another says nothing if that model hardly draws. "Shift transfers with digit
  capsules better" got this premise on the same day, after digit capsules at large, which had hardly left the blank
  image (ratio 1.03), had counted as better.
- The longest protocol at which all models of the claim have a seed decides. Of `large` and `large-rmsprop`, which are
  equally long, the second decides, since it has the article's optimiser. This was written on 2026-11-27, before any run
  of `large-rmsprop` but for four of the experiment shift-extrapolation-optimiser: those of the article's capsules with
  RMSProp at a constant rate are its runs of shift-extrapolation, under another name.
- At `large` and `large-rmsprop` the autoencoder of shifts, with 83 million parameters, is not run. The matched
  autoencoder, as large as the capsules, stands in for it, and every table says so.

References
----------
Potapov (2018), "SingularityNET's AI Team Experiments With Generative Capsule Networks": the claims.
Efron, Tibshirani (1993), "An Introduction to the Bootstrap": the percentile interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from gencaps_lib.book.claims import FAILS, HOLDS, OPEN, UNSEEN
from gencaps_lib.evaluation import mean_inside, mean_outside, near_far_ratio
from gencaps_lib.results import RESAMPLES, Estimate, Runs
from gencaps_lib.tasks import Task

RATIO = "transfer ratio"  # the effect of most claims
WRITTEN = "2026-11-26"  # the day of the rules below; no result that they judge is older
# Profile → experiment → the model that is not run there, and the one that stands in for it.
STAND_INS: Mapping[str, Mapping[str, tuple[str, str]]] = dict.fromkeys(
    ("large", "large-rmsprop"),
    dict.fromkeys(("shift-transfer", "shift-extrapolation"), ("autoencoder", "autoencoder-matched")),
)

Score = Callable[[Sequence[float], Task], float]  # of a digit's curve
_SCORES: dict[str, Score] = {"inside": mean_inside, "outside": mean_outside, "near over far": near_far_ratio}


class Means:
    """What models score on the held-out digits: on average, and on every resample of seeds and images.

    Models are compared on the same resamples: their seeds are paired, and so are the images.

    Parameters
    ----------
    runs : the results by model
    models : those whose seeds must be paired

    Attributes
    ----------
    seeds : that all of the models have
    left_out : the runs that never learned, in words

    Raises
    ------
    ValueError
        The models have no seed in common.
    """

    def __init__(self, runs: Mapping[str, Runs], models: Sequence[str]) -> None:
        there = {model: runs[model] for model in models if model in runs}
        own = [{result.seed for result in there[model].learned} if model in there else set() for model in models]
        self.seeds = sorted(set.intersection(*own))
        stuck = [f"{model}, seed {each.seed}" for model, of in there.items() for each in of.results if each.stuck]
        self.left_out = f"left out, never learned: {'; '.join(stuck)}" if stuck else ""
        if not self.seeds:
            raise ValueError(f"{', '.join(models)} have no seed in common")
        self._results = {
            model: [result for result in of.results if result.seed in self.seeds] for model, of in there.items()
        }
        self._task = runs[models[0]].task
        self._seed_shares = _shares(len(self.seeds), 0)

    def over_seeds(self, model: str, score: str) -> np.ndarray:
        """The mean of a score over the held-out digits: (1 + resamples,), resampled over seeds."""
        means = [
            np.mean([_SCORES[score](result.curves[digit], self._task) for digit in self._task.held_out])
            for result in self._results[model]
        ]
        return self._seed_shares @ np.array(means)

    def error(self, model: str, side: str) -> np.ndarray:
        """The mean error ``"inside"`` or ``"outside"`` the range: (1 + resamples,), over images, too, if kept."""
        results, digits = self._results[model], self._task.held_out
        if not all(result.images for result in results):
            return self.over_seeds(model, side)
        means = []
        for digit in digits:
            losses = np.array([result.images[digit][side] for result in results])  # (seeds,images)
            by_seed = _shares(losses.shape[1], 1 + digit) @ losses.T  # (1+R,seeds)
            means.append((self._seed_shares * by_seed).sum(1))
        return np.mean(means, axis=0)

    def ratio(self, model: str) -> np.ndarray:
        """The transfer ratio of the held-out digits."""
        return self.error(model, "outside") / self.error(model, "inside")

    def of_others(self, model: str) -> float | None:
        """The same ratio of the digits that were not held out; None where they saw no more than the held-out ones."""
        seen = {self._task.seen[digit] for digit in self._task.digits}
        if len(seen) == 1:
            return None
        runs = Runs(tuple(self._results[model]), self._task)
        return runs.others("outside") / runs.others("inside")


@lru_cache(maxsize=16)  # a thousand images have 16 MB, and every claim about a digit's images asks for the same
def _shares(count: int, stream: int) -> np.ndarray:
    """How much each of `count` samples counts: (1 + resamples, count), in the first row all alike."""
    chosen = np.random.default_rng(stream).integers(count, size=(RESAMPLES, count))
    rows = count * np.arange(RESAMPLES)[:, None]
    drawn = np.bincount((rows + chosen).ravel(), minlength=RESAMPLES * count).reshape(RESAMPLES, count)
    shares = np.vstack([np.ones(count), drawn]) / count
    shares.setflags(write=False)
    return shares


def _holds_at_quick() -> dict[str, str]:
    return {"quick": HOLDS}


@dataclass(frozen=True)
class ArticleClaim:
    """A claim of the article, and the rule that decides it.

    Attributes
    ----------
    text : the claim
    experiment : where it is tested
    models : whose results it needs
    effect : what is measured, in words
    measure : the same as a function of the models' `Means`
    least, most : the bound; None where there is none
    verdicts : what the book says at each protocol; the published results must say the same
    premise, met : what the claim takes for granted, in words and as a function of the `Means`, if anything
    ours : the article does not claim it: a control, or our reading of a passage
    """

    text: str
    experiment: str
    models: tuple[str, ...]
    effect: str
    measure: Callable[[Means], np.ndarray]
    least: float | None = None
    most: float | None = None
    verdicts: Mapping[str, str] = field(default_factory=_holds_at_quick)
    premise: str = ""
    met: Callable[[Means], bool] | None = None
    ours: bool = False

    @property
    def rule(self) -> str:
        """The effect, its bound and the premise, in words."""
        bound = f"at most {self.most:g}" if self.least is None else f"at least {self.least:g}"
        return f"{self.effect}: {bound}" + (f", provided that {self.premise}" if self.premise else "")

    def judge(self, effect: Estimate) -> str:
        """The verdict on an effect and its interval."""
        ends = (effect.low, effect.high)
        kept = [(self.least is None or end >= self.least) and (self.most is None or end <= self.most) for end in ends]
        return HOLDS if all(kept) else OPEN if any(kept) else FAILS

    def decide(self, runs: Mapping[str, Runs]) -> Decision:
        """What the results of an experiment say of it.

        Parameters
        ----------
        runs : the experiment's results by model, see `results.fresh`

        Raises
        ------
        ValueError
            The models have no seed in common.
        """
        means = Means(runs, self.models)
        samples = self.measure(means)
        effect = Estimate(float(samples[0]), *map(float, np.quantile(samples[1:], [0.025, 0.975])))
        seen = self.met is None or self.met(means)
        verdict = self.judge(effect) if seen else UNSEEN
        others = means.of_others(self.models[0]) if self.effect == RATIO else None
        over = None if others is None else effect.value / others
        return Decision(effect, tuple(means.seeds), verdict, means.left_out, over_others=over)


class Decision(NamedTuple):
    """What results say of a claim."""

    effect: Estimate  #: with its interval
    seeds: tuple[int, ...]  #: that the effect is from
    verdict: str  #: what follows
    left_out: str = ""  #: the runs that were left out, in words, if any
    instead: str = ""  #: which model stood in for which, if one did
    over_others: float | None = None  #: a transfer ratio over that of the digits that saw all places, if any did

    def __str__(self) -> str:
        value, low, high = self.effect
        seeds = f"seed{'s' if len(self.seeds) > 1 else ''} {', '.join(map(str, self.seeds))}"
        told = "".join(f"; {words}" for words in (self.left_out, self.instead) if words)
        over = "" if self.over_others is None else f" ({self.over_others:.2f} over the others')"
        # Nothing could be drawn anew: one seed, and a score of which results keep no image's own.
        interval = f" [{low:.2f}, {high:.2f}]" if high > low else " (no interval: no image's errors by angle are kept)"
        return f"{self.verdict}: {value:.2f}{interval}{over}, {seeds}{told}"


def decide(claim: ArticleClaim, found: Mapping[str, Mapping[str, Mapping[str, Runs]]]) -> dict[str, Decision]:
    """What each protocol says of a claim, the longest last, and so the one that decides.

    `found` is what `results.fresh` returns. Protocols that lack runs are left out.
    """
    decisions = {}
    for profile, experiments in found.items():
        runs, instead = experiments.get(claim.experiment, {}), ""
        absent, other = STAND_INS.get(profile, {}).get(claim.experiment, ("", ""))
        if absent in claim.models and absent not in runs and other in runs:
            runs, instead = {**runs, absent: runs[other]}, f"{other} in place of {absent}"
        try:
            decisions[profile] = claim.decide(runs)._replace(instead=instead)
        except ValueError:
            continue
    return decisions


def in_words(
    claim: ArticleClaim,
    decisions: Mapping[str, Decision],
    found: Mapping[str, Mapping[str, Mapping[str, Runs]]],
) -> list[str]:
    """What each protocol of `found` says of a claim, by its decisions, and why where there is none."""
    words = []
    for profile, experiments in found.items():
        runs = experiments.get(claim.experiment, {})
        stuck = [model for model in claim.models if model in runs and not runs[model].learned]
        nothing = f"never learned: {', '.join(stuck)}" if stuck else "not run"
        words.append(str(decisions.get(profile, nothing)))
    return words


_BOTH = {"quick": HOLDS, "large": HOLDS}
_SHORT = {**_BOTH, "large-rmsprop": HOLDS}
_EVERYWHERE = {**_SHORT, "full": HOLDS}
_DRAWS = "its error in range is at most twice the autoencoder's"
_AUTO, _MATCHED, _ADVERSARIAL = "autoencoder", "autoencoder-matched", "adversarial-autoencoder"
_CONTINUOUS, _DIGIT = "continuous-capsules", "digit-capsules"
_LEARNED, _PRETRAINED = "learned-addresses", "learned-addresses-pretrained"


def _ratio(text: str, experiment: str, model: str, **rest) -> ArticleClaim:
    """A claim about a model's transfer ratio."""
    return ArticleClaim(text, experiment, (model,), RATIO, lambda means: means.ratio(model), **rest)


def _beside(text: str, experiment: str, model: str, other: str, side: str, **rest) -> ArticleClaim:
    """A claim about a model's error over that of another one."""
    where = {"inside": "in", "outside": "out of"}[side]
    return ArticleClaim(
        text,
        experiment,
        (model, other),
        f"error {where} range, over that of {other}",
        lambda means: means.error(model, side) / means.error(other, side),
        **rest,
    )


def _near_far(text: str, model: str, **rest) -> ArticleClaim:
    effect = "error 20° to 60° away from the seen angle, over that more than 90° away"
    return ArticleClaim(
        text, "rotation-one-shot", (model,), effect, lambda means: means.over_seeds(model, "near over far"), **rest
    )


def _in_range(model: str, other: str, most: float) -> Callable[[Means], bool]:
    """A premise: a model's error in range is at most so many times another's, on average."""
    return lambda means: bool(means.error(model, "inside")[0] <= most * means.error(other, "inside")[0])


def _long_code(who: str, architecture: str, well: str) -> list[ArticleClaim]:
    """The claims about a code of 128 numbers, which are about it only where the network has put it to use.

    `well` is what the full protocol says of "very well".
    """
    short, long = f"{architecture}-z10", f"{architecture}-z128"
    used: dict[str, Any] = {
        "premise": "the longer code halves the error in range",
        "met": _in_range(long, short, 0.5),
    }
    return [
        _beside(
            f"A code of 128 lowers the error of {who} where 4 and 9 were not seen",
            "rotation-long-code",
            long,
            short,
            "outside",
            most=0.5,
            verdicts={"quick": UNSEEN, "full": HOLDS},
            **used,
        ),
        ArticleClaim(
            f"With a code of 128, rotation transfers very well with {who}",
            "rotation-long-code",
            (long, short),
            RATIO,
            lambda means: means.ratio(long),
            most=1.5,
            verdicts={"quick": UNSEEN, "full": well},
            **used,
        ),
    ]


CLAIMS: tuple[ArticleClaim, ...] = (
    _ratio(
        "An autoencoder learns to shift only what it has seen", "shift-transfer", _AUTO, least=2, verdicts=_EVERYWHERE
    ),
    # A control, not of the article: is it the size?
    _ratio(
        "An autoencoder as large as the capsules shifts only what it has seen",
        "shift-transfer",
        _MATCHED,
        least=2,
        verdicts=_SHORT,
        ours=True,
    ),
    _ratio("Shift transfers with continuous capsules", "shift-transfer", _CONTINUOUS, most=1.2, verdicts=_EVERYWHERE),
    ArticleClaim(
        "Shift transfers with digit capsules better than with an autoencoder",
        "shift-transfer",
        (_DIGIT, _AUTO),
        f"transfer ratio, over that of {_AUTO}",
        lambda means: means.ratio(_DIGIT) / means.ratio(_AUTO),
        most=0.9,
        premise=_DRAWS,
        met=_in_range(_DIGIT, _AUTO, 2),
        verdicts={**_EVERYWHERE, "large": UNSEEN},
    ),
    _ratio(
        "An autoencoder does not shift beyond what it has seen of all digits",
        "shift-extrapolation",
        _AUTO,
        least=2,
        verdicts=_SHORT,
    ),
    _ratio(
        "Continuous capsules extrapolate a shift far beyond the range of all digits",
        "shift-extrapolation",
        _CONTINUOUS,
        most=1.2,
        verdicts={"quick": FAILS, "large": FAILS, "large-rmsprop": OPEN, "full": FAILS},
    ),
    _ratio(
        "Digit capsules extrapolate a shift far beyond the range of all digits",
        "shift-extrapolation",
        _DIGIT,
        most=1.2,
        verdicts={"quick": FAILS, "large-rmsprop": FAILS, "full": FAILS},
    ),
    _beside(
        "Beyond the range of all digits continuous capsules shift better than an autoencoder",
        "shift-extrapolation",
        _CONTINUOUS,
        _AUTO,
        "outside",
        most=0.9,
        verdicts=_SHORT,
    ),
    _beside(
        "Addresses learned end to end work poorly", "shift-extrapolation", _LEARNED, _CONTINUOUS, "inside", least=2
    ),
    _beside(
        "A preliminary training of the addresses lowers the error out of range",
        "shift-extrapolation",
        _PRETRAINED,
        _LEARNED,
        "outside",
        most=0.9,
    ),
    _ratio("An autoencoder rotates only what it has seen", "rotation-transfer", _AUTO, least=1.5, verdicts=_EVERYWHERE),
    # Controls, not of the article, written down before any of them was trained: is it the size? Is it the address?
    _ratio(
        "An autoencoder as large as the capsules rotates only what it has seen",
        "rotation-transfer",
        _MATCHED,
        least=1.5,
        ours=True,
        verdicts=_BOTH,
    ),
    _beside(
        "Addresses learned end to end draw rotations poorly, too",
        "rotation-transfer",
        _LEARNED,
        _CONTINUOUS,
        "inside",
        least=2,
        ours=True,
        verdicts={"quick": HOLDS, "large": FAILS},
    ),
    ArticleClaim(
        "An adversarial autoencoder, too, rotates only what it has seen",
        "rotation-transfer",
        (_ADVERSARIAL, _AUTO),
        RATIO,
        lambda means: means.ratio(_ADVERSARIAL),
        least=1.5,
        # A model that draws badly at every angle has a ratio of about 1, and has transferred nothing.
        premise=_DRAWS,
        met=_in_range(_ADVERSARIAL, _AUTO, 2),
        verdicts={"quick": UNSEEN, "large": UNSEEN, "large-rmsprop": UNSEEN},
    ),
    _ratio(
        "Rotation does not transfer fully with digit capsules",
        "rotation-transfer",
        _DIGIT,
        least=1.2,
        verdicts=_SHORT,
    ),
    _ratio(
        "Rotation does not transfer fully with continuous capsules",
        "rotation-transfer",
        _CONTINUOUS,
        least=1.2,
        verdicts=_EVERYWHERE,
    ),
    *_long_code("an autoencoder", _AUTO, HOLDS),
    *_long_code("continuous capsules", _CONTINUOUS, OPEN),
    _near_far(
        "Seen at one angle, an autoencoder is worse near it than far away",
        _AUTO,
        least=1.1,
        verdicts=_EVERYWHERE,
    ),
    _near_far(
        "Seen at one angle, continuous capsules are not worse near it",
        _CONTINUOUS,
        most=1.1,
        verdicts={"quick": OPEN, "large-rmsprop": HOLDS, "full": HOLDS},
    ),
    _beside(
        "Seen at one angle, 4 and 9 are drawn better elsewhere by continuous capsules than by an autoencoder",
        "rotation-one-shot",
        _CONTINUOUS,
        _AUTO,
        "outside",
        most=0.9,
        verdicts={"quick": FAILS, "large-rmsprop": FAILS, "full": HOLDS},
    ),
    _ratio(
        "An autoencoder does not rotate beyond the range of all digits",
        "rotation-extrapolation",
        _AUTO,
        least=2,
        verdicts=_EVERYWHERE,
    ),
    _ratio(
        "Continuous capsules do not rotate beyond the range of all digits",
        "rotation-extrapolation",
        _CONTINUOUS,
        least=2,
        verdicts=_EVERYWHERE,
    ),
    _ratio(
        "Digit capsules do not rotate beyond the range of all digits",
        "rotation-extrapolation",
        _DIGIT,
        least=2,
        verdicts=_EVERYWHERE,
    ),
    _beside(
        "Beyond the range of all digits continuous capsules rotate with a lower error than an autoencoder",
        "rotation-extrapolation",
        _CONTINUOUS,
        _AUTO,
        "outside",
        most=0.9,
        verdicts={"quick": FAILS, "large": FAILS, "large-rmsprop": OPEN, "full": HOLDS},
    ),
    # Ablations, with the same bound. Written down before any of them was trained.
    _ratio(
        "If their addresses are linear in the code, continuous capsules shift beyond the range of all digits",
        "shift-extrapolation-parts",
        "linear-addresses",
        most=1.2,
        ours=True,
        verdicts={"quick": FAILS},
    ),
    _ratio(
        "If, besides, their activations do not see the code, they shift beyond the range of all digits",
        "shift-extrapolation-parts",
        "linear-addresses-still",
        most=1.2,
        ours=True,
        verdicts={"quick": OPEN},
    ),
    # Controls, with the same bound. Written down before any of them was trained: is it the optimiser, or the length?
    *(
        _ratio(
            f"With the article's optimiser, {who} capsules shift beyond the range of all digits in a short run, too",
            "shift-extrapolation-optimiser",
            f"{who}-capsules-rmsprop",
            most=1.2,
            ours=True,
            verdicts={"quick": FAILS, "large": at_large},
        )
        for who, at_large in (("continuous", OPEN), ("digit", FAILS))
    ),
    *(
        _ratio(
            f"In our reading of ±180°, the raw angle as code, {who} not rotate beyond it",
            "rotation-raw-angle",
            model,
            least=2,
            ours=True,
            verdicts=said,
        )
        for who, model, said in (
            ("an autoencoder does", _AUTO, _SHORT),
            ("continuous capsules do", _CONTINUOUS, _SHORT),
            ("digit capsules do", _DIGIT, _SHORT),
            ("an autoencoder as large as the capsules does", _MATCHED, _BOTH),
        )
    ),
    ArticleClaim(
        "Capsules that recognise fail at angles at which no digit of the class was seen",
        "rotation-range",
        ("capsnet",),
        "error rate on 3 and 4 out of range",
        lambda means: means.error("capsnet", "outside"),
        least=0.5,
        verdicts=_BOTH,
    ),
)
