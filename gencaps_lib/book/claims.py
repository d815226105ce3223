"""The book's own claims beyond the article: for each, the quantity and bound that decide it, and the book's verdict.

The article's claims are in `verdicts`. The claims about composed capsules (`OWN_CLAIMS`) are judged by the seeds that
chapters show. All others (`FRESH_CLAIMS`) are judged by seeds from `results.FRESH` or `Claim.since` on, none of which
was run before the rule was written down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch

from gencaps_lib.evaluation import generator_error, mean_inside, mean_outside, spectrum_error, transfer_ratio
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.models import LearnedLinear
from gencaps_lib.results import FRESH, PUBLISHED, Result, Runs, final_loss, fresh, load
from gencaps_lib.tasks import Task

HOLDS, FAILS, OPEN, UNSEEN = "holds", "does not hold", "undecided", "not visible at this size"

# Model → its result for one seed, and the task → one number.
Quantity = Callable[[Mapping[str, Result], Task], float]


@dataclass(frozen=True)
class Claim:
    """A claim that is decided by one number for each seed.

    Attributes
    ----------
    text : the claim
    experiment : the experiment that tests it
    models : the models whose results it needs
    quantity : the measured quantity, in words
    measure : the quantity as a function of the results of one seed
    least, most : the claim holds between these bounds; None means no bound
    verdict : the verdict in the book; the published results must give the same
    premise, met : the claim's premise, if any, in words and as a function of the results of one seed
    since : the first seed that judges; earlier ones were seen before the rule was written down
    profile : that of the published runs that judge
    """

    text: str
    experiment: str
    models: tuple[str, ...]
    quantity: str
    measure: Quantity
    least: float | None = None
    most: float | None = None
    verdict: str = HOLDS
    premise: str = ""
    met: Callable[[Mapping[str, Result], Task], bool] | None = None
    since: int = 0
    profile: str = "quick"

    @property
    def rule(self) -> str:
        """The quantity, its bounds and the premise, in words."""
        least = "" if self.least is None else f" at least {self.least:g}"
        most = "" if self.most is None else f" at most {self.most:g}"
        return f"{self.quantity}:{least}{most}" + (f", provided that {self.premise}" if self.premise else "")

    def is_run(self, runs: Mapping[str, Runs]) -> bool:
        """Whether the experiment's `runs` have a seed from `since` on that all models share."""
        return bool(self._seeds(runs))

    def _seeds(self, runs: Mapping[str, Runs]) -> list[int]:
        """The seeds from `since` on that all models share, in order."""
        shared = set.intersection(*(set(runs[name].seeds) if name in runs else set() for name in self.models))
        return sorted(seed for seed in shared if seed >= self.since)

    def values(self, runs: Mapping[str, Runs]) -> list[float | None]:
        """The quantity for every seed from `since` on that all models have, in order; None if the premise is not met.

        Parameters
        ----------
        runs : the experiment's results by model, see `results.published`

        Raises
        ------
        ValueError
            The models have no seed in common, or their results are of different profiles or data.
        """
        seeds = self._seeds(runs)
        if not seeds:
            which = f"no seed in common from {self.since} on" if self.since else "no seed in common"
            raise ValueError(f"{self.experiment}: {', '.join(self.models)} have {which}; run the study first")
        by_seed = [{result.seed: result for result in runs[model].results} for model in self.models]
        settings = {(results[seed].profile, results[seed].source) for results in by_seed for seed in seeds}
        if len(settings) > 1:
            raise ValueError(f"{self.experiment}: results of different profiles or data cannot be compared: {settings}")
        ((profile, _),) = settings
        task = EXPERIMENTS[self.experiment].at(profile).task
        chosen = [dict(zip(self.models, (results[seed] for results in by_seed), strict=True)) for seed in seeds]
        return [
            self.measure(results, task) if self.met is None or self.met(results, task) else None for results in chosen
        ]

    def judge(self, values: Sequence[float | None]) -> str:
        """Decide: the claim holds if all seeds are within the bounds, fails if none is, and is undecided otherwise.

        It is not visible at this size if a seed does not meet the premise.
        """
        if None in values:
            return UNSEEN
        kept = [
            (self.least is None or value >= self.least) and (self.most is None or value <= self.most)
            for value in values
            if value is not None
        ]
        return HOLDS if all(kept) else OPEN if any(kept) else FAILS


def _over(score: Callable[[Sequence[float], Task], float], model: str, other: str) -> Quantity:
    """One model's score of '4' ÷ the other model's."""
    return lambda results, task: score(results[model].curves[4], task) / score(results[other].curves[4], task)


_COMPOSED, _LONG = "composed-capsules", "continuous-capsules-z32"
_AT_ONCE, _KNOWN = "composed-capsules-at-once", "composed-capsules-known"


def _extrapolates(text: str, experiment: str, model: str = _COMPOSED, most: float = 1.1, verdict: str = HOLDS) -> Claim:
    """A claim about every held-out digit of a task, or about every digit if none is held out."""

    def measure(results: Mapping[str, Result], task: Task) -> float:
        asked = task.held_out if len(set(task.seen)) > 1 else task.digits
        return max(transfer_ratio(results[model].curves[digit], task) for digit in asked)

    quantity = "the worst transfer ratio of a digit in question"
    return Claim(text, experiment, (model,), quantity, measure, most=most, verdict=verdict)


def _found(text: str, experiment: str, model: str = _COMPOSED, verdict: str = HOLDS) -> Claim:
    """A claim that the learned generators are the true ones."""

    def measure(results: Mapping[str, Result], task: Task) -> float:
        return max(generator_error(torch.tensor(results[model].learned["generators"]), task.transform.generators()))

    quantity = "distance of G to the true generator over its size, of the worst G"
    return Claim(text, experiment, (model,), quantity, measure, most=0.05, verdict=verdict)


# The claims of chapter 12 beyond the article.
OWN_CLAIMS: tuple[Claim, ...] = (
    _extrapolates("A learned generator extrapolates a rotation, for every digit", "rotation-extrapolation"),
    _found("It is the rotation that is found", "rotation-extrapolation"),
    _extrapolates("The known matrix does as well", "rotation-extrapolation", _KNOWN),
    Claim(
        "In range it draws no worse than the article's capsules with as long a code",
        "rotation-extrapolation",
        (_COMPOSED, _LONG),
        "error of '4' in range over theirs",
        _over(mean_inside, _COMPOSED, _LONG),
        most=1,
    ),
    Claim(
        "To learn the generator costs nothing",
        "rotation-extrapolation",
        (_COMPOSED, _KNOWN),
        "error of '4' in range over that with the known matrix",
        _over(mean_inside, _COMPOSED, _KNOWN),
        most=1,
        verdict=FAILS,
    ),
    _found("The rotation is found from angles within ±20°", "rotation-within-20"),
    _found("It is found when only the '2' was ever seen rotated", "rotation-one-class"),
    _extrapolates("A learned generator extrapolates a shift, for every digit", "shift-extrapolation"),
    _found("It is the shift that is found", "shift-extrapolation"),
    _found("Scale is found", "scale-extrapolation"),
    _extrapolates("Scale is drawn as well beyond the sizes seen as within", "scale-extrapolation", verdict=FAILS),
    _found("Shear is found", "shear-extrapolation"),
    _extrapolates("Shear is drawn as well beyond the shears seen as within", "shear-extrapolation", verdict=FAILS),
    _found("Rotation and shift are found at once", "rotation-and-shift"),
    _extrapolates("A '4' and a '9' that were seen at one angle are drawn at all", "rotation-one-shot", most=1.2),
    _extrapolates("So are a '2' and a '5'", "rotation-one-shot-2-5", most=1.2),
    Claim(
        "Small angles first: the '4' is drawn better than after all angles from the start",
        "rotation-one-shot",
        (_COMPOSED, _AT_ONCE),
        "error of '4' out of range over the other's",
        _over(mean_outside, _COMPOSED, _AT_ONCE),
        most=1,
    ),
)


# The rules of 2026-11-26 about the controls, written before any of them was run with a seed from `results.FRESH` on.
# Every control is asked the same in every experiment of the chapter, with the bounds of the composed capsules' claims:
# is the matrix found, does the model extrapolate, and does it draw at least as well in range?
CONTROLS: Mapping[str, str] = {
    "composed-capsules-linear": "Parts, moved by a matrix that is linear in the code",
    "autoencoder-warp-generator": "A picture, moved by a learned generator",
    "coordinate-decoder-generator": "The pixels' coordinates, moved by a learned generator",
}
CONTROLLED: tuple[str, ...] = (
    "rotation-extrapolation",
    "rotation-within-45",
    "rotation-within-20",
    "rotation-within-10",
    "rotation-one-class",
    "rotation-one-shot",
    "shift-extrapolation",
    "scale-extrapolation",
    "shear-extrapolation",
    "rotation-and-shift",
)


# What the published seeds say of a control's three claims, where they do not all hold.
_SAID: Mapping[tuple[str, str], tuple[str, str, str]] = {
    ("rotation-extrapolation", "composed-capsules-linear"): (OPEN, HOLDS, OPEN),
    ("rotation-within-45", "composed-capsules-linear"): (HOLDS, HOLDS, OPEN),
    ("rotation-within-20", "composed-capsules-linear"): (HOLDS, OPEN, OPEN),
    ("rotation-within-10", "composed-capsules-linear"): (HOLDS, OPEN, OPEN),
    ("rotation-one-class", "composed-capsules-linear"): (HOLDS, HOLDS, OPEN),
    ("rotation-one-shot", "composed-capsules-linear"): (HOLDS, HOLDS, OPEN),
    ("shift-extrapolation", "composed-capsules-linear"): (HOLDS, HOLDS, OPEN),
    ("scale-extrapolation", "composed-capsules-linear"): (FAILS, FAILS, HOLDS),
    ("shear-extrapolation", "composed-capsules-linear"): (HOLDS, FAILS, OPEN),
    ("rotation-and-shift", "composed-capsules-linear"): (OPEN, HOLDS, OPEN),
    ("scale-extrapolation", "autoencoder-warp-generator"): (HOLDS, FAILS, HOLDS),
    ("rotation-extrapolation", "coordinate-decoder-generator"): (HOLDS, HOLDS, FAILS),
    ("rotation-within-45", "coordinate-decoder-generator"): (HOLDS, HOLDS, FAILS),
    ("rotation-within-20", "coordinate-decoder-generator"): (HOLDS, HOLDS, FAILS),
    ("rotation-within-10", "coordinate-decoder-generator"): (HOLDS, FAILS, FAILS),
    ("rotation-one-class", "coordinate-decoder-generator"): (HOLDS, HOLDS, FAILS),
    ("rotation-one-shot", "coordinate-decoder-generator"): (FAILS, FAILS, FAILS),
    ("shift-extrapolation", "coordinate-decoder-generator"): (OPEN, HOLDS, FAILS),
    ("scale-extrapolation", "coordinate-decoder-generator"): (OPEN, FAILS, OPEN),
    ("shear-extrapolation", "coordinate-decoder-generator"): (OPEN, HOLDS, FAILS),
    ("rotation-and-shift", "coordinate-decoder-generator"): (FAILS, OPEN, FAILS),
}


def _linear_found(experiment: str, model: str) -> Claim:
    """A claim that a matrix that is linear in the code is the true one, at every point of the grid.

    Parts may be in another frame, so only A(t)A(0)⁻¹ has a meaning.
    """

    def measure(results: Mapping[str, Result], task: Task) -> float:
        act = LearnedLinear(task.transform)
        act.load_state_dict({"upper": torch.tensor(results[model].learned["linear"])})
        code, start = (task.code(task.transform.along_grid(torch.tensor(at))) for at in (task.grid, (0.0,)))
        true = task.transform.matrix(task.transform.parameters(code))
        with torch.no_grad():
            off = act(code) @ torch.linalg.inv(act(start)) - true
        return float((off.norm(dim=(1, 2)) / true.norm(dim=(1, 2))).max())

    quantity = "distance of A(t)A(0)⁻¹ to the true matrix over its size, at the worst point of the grid"
    return Claim(CONTROLS[model], experiment, (model,), quantity, measure, most=0.05)


def _draws_as_well(experiment: str, model: str) -> Claim:
    """A claim that a control draws the '4' no worse than the composed capsules' published seeds below `FRESH`."""

    def measure(results: Mapping[str, Result], task: Task) -> float:
        beside = load(PUBLISHED / "quick", experiment, _COMPOSED, range(FRESH)).inside(4).value
        return mean_inside(results[model].curves[4], task) / beside

    quantity = "error of '4' in range over the mean of composed capsules"
    return Claim(CONTROLS[model], experiment, (model,), quantity, measure, most=1)


def _controls() -> tuple[Claim, ...]:
    claims = []
    for experiment in CONTROLLED:
        most = 1.2 if experiment == "rotation-one-shot" else 1.1
        for model, text in CONTROLS.items():
            linear = model.endswith("-linear")
            three = [
                _linear_found(experiment, model) if linear else _found(text, experiment, model),
                _extrapolates(text, experiment, model, most),
                _draws_as_well(experiment, model),
            ]
            said = _SAID.get((experiment, model), (HOLDS, HOLDS, HOLDS))
            claims += [replace(claim, verdict=verdict) for claim, verdict in zip(three, said, strict=True)]
    return tuple(claims)


CONTROL_CLAIMS = _controls()

# Written on 2026-11-27, before a run: a picture is moved by bilinear interpolation, as the targets are. Is that why it
# draws better than parts? Here no model interpolates as the targets do.
_BICUBIC, _MOVED = "rotation-extrapolation-bicubic", "autoencoder-warp-generator"
BICUBIC_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "A picture with a learned generator draws better than parts where targets are interpolated in another way, too",
        _BICUBIC,
        (_MOVED, _COMPOSED),
        "error of '4' in range over that of composed capsules",
        _over(mean_inside, _MOVED, _COMPOSED),
        most=0.9,
    ),
    _extrapolates("There, too, it goes on, for every digit", _BICUBIC, _MOVED),
    _extrapolates("So do parts", _BICUBIC),
)

# Of 2026-11-26, before a run: stamps that the matrix moves, too, are the remedy if round stamps are the fault.
_GROWING = "composed-capsules-growing"
GROWING_CLAIMS: tuple[Claim, ...] = tuple(
    claim
    for experiment, what, said in (
        ("scale-extrapolation", "scale", FAILS),
        ("shear-extrapolation", "shear", HOLDS),
    )
    for claim in (
        replace(
            _found(f"With stamps that are moved, the bias of {what} is gone", experiment, _GROWING),
            most=0.005,
            verdict=said,
        ),
        _extrapolates(
            f"With stamps that are moved, {what} is drawn as well beyond", experiment, _GROWING, verdict=said
        ),
    )
)


def shares(result: Result, task: Task, digits: Sequence[int]) -> tuple[float, float]:
    """The share of digits that a result names rightly, within the held-out digits' range and beyond.

    The result may have a finer grid than the task.
    """
    points = [[point for point in result.grid if counts(point)] for counts in (task.is_inside, task.is_outside)]
    means = [
        sum(1 - result.curves[digit][result.grid.index(point)] for digit in digits for point in side)
        / (len(digits) * len(side))
        for side in points
    ]
    return means[0], means[1]


_BACKWARDS = "capsules-backwards"


def _names(
    text: str,
    quantity: str,
    *others: str,
    measure: Callable[..., float],
    least: float | None = None,
    experiment: str = "rotation-backwards",
    **rest: Any,
) -> Claim:
    """A claim about the shares (within, beyond) of held-out digits that models name, capsules run backwards first."""

    def of_seed(results: Mapping[str, Result], task: Task) -> float:
        return measure(*(shares(results[model], task, task.held_out) for model in (_BACKWARDS, *others)))

    return Claim(text, experiment, (_BACKWARDS, *others), quantity, of_seed, least, **rest)


def _best_of_chapter_2(profile: str, task: Task) -> float:
    """The larger mean share of 3s and 4s beyond the range that a network of chapter 2 names: published seeds."""
    runs = fresh("rotation-range")[profile]["rotation-range"].values()
    return max(
        sum(shares(result, task, task.held_out)[1] for result in each.results) / len(each.results) for each in runs
    )


def _named_and_kept(experiment: str, named: str, kept: str, verdict: str = HOLDS) -> tuple[Claim, Claim]:
    """That a generator run backwards names what it has not seen of a digit, and loses nothing there.

    `named` and `kept` are the claims in words, `verdict` is that of the first.
    """
    return (
        _names(
            named,
            "share named rightly beyond",
            measure=lambda own: own[1],
            least=0.9,
            experiment=experiment,
            verdict=verdict,
        ),
        _names(
            kept,
            "share within, less that beyond",
            measure=lambda own: own[0] - own[1],
            most=0.05,
            experiment=experiment,
        ),
    )


def _names_more(text: str, other: str, whose: str, least: float, **rest: Any) -> Claim:
    """A claim that capsules run backwards name so much more beyond than another model; `whose` share, in words."""
    return _names(
        text,
        f"share beyond, less that {whose}",
        other,
        measure=lambda own, others: own[1] - others[1],
        least=least,
        **rest,
    )


def _parts_add(experiment: str, verdict: str) -> Claim:
    return _names_more(
        "Parts add something",
        "warp-backwards",
        "of a warped picture",
        0.03,
        experiment=experiment,
        verdict=verdict,
    )


def _law_adds(experiment: str, to_linear: str, to_map: str, **rest: Any) -> Iterator[Claim]:
    """That a law adds something to a matrix without one; `to_linear` and `to_map` are the verdicts."""
    for action, what, verdict in (
        ("linear", "a matrix that is linear in the code", to_linear),
        ("map", "a matrix that a network computes from the code", to_map),
    ):
        yield _names_more(
            f"A law adds something to {what}",
            f"{_BACKWARDS}-{action}",
            f"with {what}",
            0.03,
            experiment=experiment,
            verdict=verdict,
            **rest,
        )


def _beyond(experiment: str, named: str = HOLDS, parts: str = FAILS, who: str = "3s and 4s") -> tuple[Claim, ...]:
    """The four claims about an experiment beside chapter 13's first; `named` and `parts` are verdicts."""
    return (
        *_named_and_kept(
            experiment,
            f"A generator run backwards names {who} beyond what was seen of them",
            "It loses nothing beyond",
            named,
        ),
        _names_more(
            "A plain network that saw the same pictures does not",
            "plain-classifier",
            "of the plain network",
            0.3,
            experiment=experiment,
        ),
        _parts_add(experiment, parts),
    )


_NAMED_BEYOND_45 = _named_and_kept(
    "rotation-backwards",
    "A generator run backwards names 3s and 4s beyond ±45°",
    "It loses nothing beyond ±45°",
)

_CHAPTER_2_DOES_NOT = Claim(
    "The networks of chapter 2 do not",
    "rotation-backwards",
    (_BACKWARDS,),
    "share beyond, less the mean of the better one of chapter 2",
    lambda results, task: (
        shares(results[_BACKWARDS], task, task.held_out)[1] - _best_of_chapter_2(results[_BACKWARDS].profile, task)
    ),
    least=0.3,
)

# The rules about naming by drawing, of 2026-11-26, written after two trials and after seed 0 with another network that
# names (chapter 13 says so), and before any seed from `results.FRESH` on. The bounds are those of the trials.
NAMING_CLAIMS: tuple[Claim, ...] = (
    *_NAMED_BEYOND_45,
    _CHAPTER_2_DOES_NOT,
    _names(
        "The rotation need not be known",
        "share beyond with the known matrix, less that with a learned one",
        "capsules-backwards-known",
        measure=lambda own, known: known[1] - own[1],
        most=0.03,
    ),
    _parts_add("rotation-backwards", OPEN),
    _names_more("It takes a drawing", "surest-upright", "by a plain network's confidence", 0.1, verdict=OPEN),
)
# The same rules at the article's sizes, of 2026-11-27, before any run there. That about chapter 2 was taken out when
# its networks could not be run, and put back, unchanged, while their first runs were still training.
LARGE_NAMING_CLAIMS: tuple[Claim, ...] = tuple(
    replace(claim, profile="large")
    for claim in (*_NAMED_BEYOND_45, _CHAPTER_2_DOES_NOT, _parts_add("rotation-backwards", FAILS))
)

# The rules of 2026-11-26 about naming by drawing where there is more than a rotation. They were written after one trial
# with seed 0 of each transform, asked training digits, and before any seed from `results.FRESH` on was run. The bounds
# are those above; the plain network is of the same seed. The search of rotation with shift was chosen by the training
# digits of which all is seen, after a first one had named 82 % of the 3s and 4s among them beyond.
BEYOND_CLAIMS: tuple[Claim, ...] = (
    *_beyond("shift-backwards"),
    *_beyond("rotation-and-shift-backwards", named=OPEN, parts=OPEN),
)
# The same rules for a generator that saw only 2s turned, of 2026-11-27, before any run of it. Of the same day is the
# rule about the spatial transformer; only the training loss of three trials of its rate, seed 0, had been seen.
ONE_CLASS_CLAIMS: tuple[Claim, ...] = _beyond("rotation-backwards-one-class", parts=OPEN)
# All angles were seen, of other digits, or of the '2'. So no law may be needed: a matrix for each angle can be undone,
# too. The rules of 2026-11-27, before any run of these. Seed 10 was then run with a search that took A(0) for the
# identity, which it need not be here (.34 and .14 were named; only 2s turned, .48 and .13). So the later seeds judge.
LAW_CLAIMS: tuple[Claim, ...] = (
    *_law_adds("rotation-backwards", FAILS, FAILS, since=11),
    *_law_adds("rotation-backwards-one-class", FAILS, FAILS, since=11),
)
# The same rules, of 2026-11-27 and before any run, where *no* digit was seen beyond: on the pictures of Dinh and Deny
# (2026). Does it take a law here? It was noticed after the runs that on this grid, which holds with each angle that one
# half a turn on, a matrix that is linear in cosine and sine has to name as many beyond as within.
_COARSE = "rotation-coarse-backwards"
COARSE_CLAIMS: tuple[Claim, ...] = (
    *_beyond(_COARSE, who="digits"),
    *_law_adds(_COARSE, FAILS, HOLDS),
)
# So the same rules again, of the same day and before any run, where that is not so: on multiples of 40°, of which none
# is another and half a turn. The angle is told as one number, not as cosine and sine, the entries of the true matrix.
_COARSE_RAW = "rotation-coarse-raw-backwards"
COARSE_RAW_CLAIMS: tuple[Claim, ...] = (
    *_beyond(_COARSE_RAW, who="digits"),
    *_law_adds(_COARSE_RAW, HOLDS, HOLDS),
)
UNASKED_CLAIMS: tuple[Claim, ...] = (
    _names_more(
        "A spatial transformer, a network that learns to move its picture, does not",
        "spatial-transformer",
        "of a spatial transformer",
        0.3,
    ),
)

_UNTOLD, _ONE_WAY = "untold-capsules", "untold-capsules-one-way"


def read_off(result: Result, task: Task) -> float:
    """How far what a result reads off pairs is from the true angle, in degrees: the median of pairs in range."""
    inside = [place for place, point in enumerate(result.grid) if task.is_inside(point)]
    return median(abs(row[place] - result.grid[place]) for row in result.learned["read"] for place in inside)


def _untold(text: str, quantity: str, *models: str, measure: Callable[..., float], **bounds: Any) -> Claim:
    """A claim about the results of models that read the angle off pairs, and the task."""

    def of_seed(results: Mapping[str, Result], task: Task) -> float:
        return measure(*(results[model] for model in models), task)

    return Claim(text, "rotation-untold", models, quantity, of_seed, **bounds)


# The rules of 2026-11-26 about the angle that is never told, chapter 13. They were written after six trials of 400
# steps with the seeds 0 and 1 (one of them without the way back, 8.0° off), and whole runs of the first model with
# these seeds (generator .2 % off, readings 1.7° and 2.6°), and before any seed from `results.FRESH` on. Of no run had
# the error beyond ±60° been seen.
UNTOLD_CLAIMS: tuple[Claim, ...] = (
    _found("The generator is found though no angle is told", "rotation-untold", _UNTOLD),
    _extrapolates("With it every digit is drawn beyond ±60° as within", "rotation-untold", _UNTOLD),
    _untold(
        "The angle that is read off a pair is the true one",
        "median distance of the angle read from the true one, in degrees, within ±60°",
        _UNTOLD,
        measure=read_off,
        most=4,
    ),
    _untold(
        "To know the group is no help in reading",
        "this median, less that where the group is known",
        _UNTOLD,
        f"{_UNTOLD}-known",
        measure=lambda own, known, task: read_off(own, task) - read_off(known, task),
        most=1,
    ),
    _untold(
        "Not to be told costs little",
        "error of '4' in range over that of capsules that are told",
        _UNTOLD,
        _COMPOSED,
        measure=lambda own, told, task: mean_inside(own.curves[4], task) / mean_inside(told.curves[4], task),
        most=1.1,
        verdict=FAILS,
    ),
    # Pairs with small turns first, which is how the others are drawn, are something that is told, too. Of 2026-11-27,
    # before any run of this.
    _found("It takes no small turns first to find the generator", "rotation-untold", f"{_UNTOLD}-at-once"),
    _untold(
        "Nor to read the angle",
        "median distance of the angle read from the true one, in degrees, within ±60°",
        f"{_UNTOLD}-at-once",
        measure=read_off,
        most=4,
    ),
    _found("It takes no parts", "rotation-untold", "untold-warp"),
    _found("It takes no way back to find the generator", "rotation-untold", _ONE_WAY),
    _untold(
        "Nor to draw the pairs",
        "its training loss in the last tenth over that with the way back",
        _ONE_WAY,
        _UNTOLD,
        measure=lambda one_way, own, task: final_loss(one_way) / final_loss(own),
        most=1.1,
    ),
    _untold(
        "It takes the way back to read the angle",
        "median distance of the angle read without it over that with it",
        _ONE_WAY,
        _UNTOLD,
        measure=lambda one_way, own, task: read_off(one_way, task) / read_off(own, task),
        least=2,
    ),
)

_DEPTH, _WARP, _PLAIN = "composed-capsules-depth", "autoencoder-warp", "autoencoder-z32"


def _turns(text: str, experiment: str, model: str = _DEPTH, verdict: str = HOLDS) -> Claim:
    """A claim that the group that is learned, in a frame that no picture shows, is the turn in space."""

    def measure(results: Mapping[str, Result], task: Task) -> float:
        return spectrum_error(torch.tensor(results[model].learned["generators"]), task.transform.generators())

    quantity = "distance of the eigenvalues of G to those of the turn, i, −i and zeros, of the worst"
    return Claim(text, experiment, (model,), quantity, measure, most=0.05, verdict=verdict)


def _needs_depth(text: str, experiment: str) -> Claim:
    """A claim that the same capsules without the third coordinate draw the '4' worse from behind."""
    quantity = "error of '4' from behind, from ±120° on, without the third coordinate over that with it"
    return Claim(text, experiment, (_COMPOSED, _DEPTH), quantity, _over(mean_outside, _COMPOSED, _DEPTH), least=2)


# The claims of chapter 14. Their rules were written down after one trial with seed 0, on the bent sheet (worst ratio
# 2.1, eigenvalues .03 away), and before any run with a seed from `results.FRESH` on; those seeds judge. The bounds are
# those of chapter 12. What lies from ±120° on mirrors what was seen, within ±60°, so it is as hard to draw.
DEPTH_CLAIMS: tuple[Claim, ...] = (
    _extrapolates(
        "With a third coordinate that is not drawn, a flat sheet is drawn from behind as from the front, every digit",
        "flat-sheet",
        _DEPTH,
    ),
    _turns("It is the turn in space that is found for the flat sheet", "flat-sheet"),
    _needs_depth("Without the third coordinate the flat sheet is not drawn from behind", "flat-sheet"),
    _extrapolates(
        "A bent sheet is drawn from behind as from the front, every digit", "bent-sheet", _DEPTH, verdict=FAILS
    ),
    _turns("It is the turn in space that is found for the bent sheet", "bent-sheet"),
    _needs_depth("Without the third coordinate the bent sheet is not drawn from behind", "bent-sheet"),
)


def _from_behind(
    text: str,
    experiment: str,
    other: str,
    verdict: str = HOLDS,
    least: float | None = None,
    most: float | None = None,
    since: int = 11,
) -> Claim:
    """A claim about the '4' from behind, of another model and of capsules with a hidden coordinate, by fresh seeds."""
    return Claim(
        text,
        experiment,
        (other, _DEPTH),
        "error of '4' from behind over that of capsules with a hidden coordinate and all three aids",
        _over(mean_outside, other, _DEPTH),
        least,
        most,
        verdict,
        since=since,
    )


# The rules of 2026-11-26 about the aids of chapter 14 and its other controls. They were written when seed 10 of each
# had been seen, so the seeds 11 and 12 judge, of which none was run then.
AID_CLAIMS: tuple[Claim, ...] = (
    _from_behind("Without a rate of its own for G it is worse", "bent-sheet", f"{_DEPTH}-slow", least=1),
    _from_behind("Without small angles first it is worse", "bent-sheet", f"{_DEPTH}-at-once", FAILS, least=1),
    _from_behind("Without the imbalance in the loss it is worse", "bent-sheet", f"{_DEPTH}-unbalanced", FAILS, least=1),
)
# Also of that day, after one trial with seed 0, in which G was held at the true turn (error of '4' within: .0330), and
# before any run of this model: is it the loss that makes the learned turn slow, or the training? That it is drawn from
# behind as from the front is no claim: its pictures at t + 180° mirror those at t.
_TOLD = f"{_DEPTH}-known"
TOLD_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "Told the turn, parts draw no worse within ±60°, so the loss does not ask for a slow one",
        "bent-sheet",
        (_TOLD, _DEPTH),
        "error of '4' in range over that of capsules that learn the turn",
        _over(mean_inside, _TOLD, _DEPTH),
        most=1,
    ),
)
# The rules of 2026-11-27, with the bounds of the others, before any run of these. (That both aids together are needed
# had been seen in two trials with the seeds 0 and 1, of which nothing is stored.)
MORE_SHEET_CLAIMS: tuple[Claim, ...] = (
    _from_behind(
        "Without small angles first and the imbalance it is worse", "bent-sheet", f"{_DEPTH}-bare", since=10, least=1
    ),
    *(
        claim
        for bend in (25, 75, 100)
        for claim in (
            _turns(f"With a bend of {bend / 100:g} the turn in space is found", f"bent-sheet-{bend}"),
            _extrapolates(
                f"With a bend of {bend / 100:g} the sheet is drawn from behind as from the front, every digit",
                f"bent-sheet-{bend}",
                _DEPTH,
                verdict=FAILS,
            ),
        )
    ),
    *(
        claim
        for model, how, drawn in ((_DEPTH, "", OPEN), (f"{_DEPTH}-unbalanced", ", without the imbalance", FAILS))
        for claim in (
            _turns(f"In three times the steps{how} the turn in space is found", "bent-sheet-longer", model),
            _extrapolates(
                f"In three times the steps{how} the sheet is drawn from behind as from the front, every digit",
                "bent-sheet-longer",
                model,
                verdict=drawn,
            ),
        )
    ),
    # Written when seed 10 of the first of these was known (worst ratio 1.05), before any run without the coordinate.
    _needs_depth(
        "In three times the steps, too, the sheet is not drawn from behind without the third coordinate",
        "bent-sheet-longer",
    ),
    _turns("With a fourth coordinate, too, the turn in space is found", "bent-sheet", f"{_DEPTH}-four", FAILS),
    _from_behind("A fourth coordinate costs nothing", "bent-sheet", f"{_DEPTH}-four", FAILS, since=10, most=1.1),
)
# Cosine and sine stand in the code, so no law and no hidden coordinate may be needed. The rules of 2026-11-27, before
# any run of these two models.
CODE_CLAIMS: tuple[Claim, ...] = (
    _extrapolates(
        "A picture whose matrix is learned, linear in 1, cos t and sin t, is drawn from behind as from the front, "
        "every digit",
        "flat-sheet",
        f"{_WARP}-affine",
        verdict=FAILS,
    ),
    _extrapolates(
        "Parts that obey no law, with addresses linear in 1, cos t and sin t, draw the bent sheet from behind as from "
        "the front, every digit",
        "bent-sheet",
        "linear-parts",
        verdict=FAILS,
    ),
    # Written when the first seed of the one above was known (worst ratio 8.7), before any run of this.
    _extrapolates(
        "In three times the steps they do, too",
        "bent-sheet-longer",
        "linear-parts",
        verdict=FAILS,
    ),
)
PICTURE_CLAIMS: tuple[Claim, ...] = (
    _from_behind("A picture that is told its matrix is drawn from behind as well", "flat-sheet", _WARP, most=1),
    _from_behind("A picture with a learned generator is not", "flat-sheet", f"{_WARP}-generator", least=2),
    _from_behind("A network that is told the angle does not draw the back", "flat-sheet", _PLAIN, least=2),
    _from_behind("A picture that is told that matrix is not drawn from behind", "bent-sheet", _WARP, least=2),
    _from_behind("A picture with a learned generator is not", "bent-sheet", f"{_WARP}-generator", least=2),
    _from_behind("A network that is told the angle does not draw the back", "bent-sheet", _PLAIN, least=2),
)

_GROUPS, _LAYERS, _ADDED = "composed-capsules-groups", "autoencoder-layers", "composed-capsules-added"


def _goes_on(text: str, model: str, experiment: str = "two-objects", **bounds: Any) -> Claim:
    """A claim about the pairs of which a '4' turns."""
    quantity = "error of the pairs in which a '4' turns, out of range over in range"
    return Claim(
        text,
        experiment,
        (model,),
        quantity,
        lambda results, task: transfer_ratio(results[model].curves[4], task),
        **bounds,
    )


def _two_beside(text: str, one: str, other: str, **bounds: Any) -> Claim:
    """A claim about the error in range of one model of two objects over that of another."""
    names = {
        _GROUPS: "parts in two groups",
        _ADDED: "groups painted apart",
        _LAYERS: "layers",
        _COMPOSED: "parts in one group",
    }
    quantity = f"error in range of {names[one]} over that of {names[other]}, pairs in which a '4' turns"
    return Claim(text, "two-objects", (one, other), quantity, _over(mean_inside, one, other), **bounds)


def _sorted(text: str, index: int, least: float) -> Claim:
    quantity = "of the ink drawn where one digit has more than the other" + (
        ", on the other's half of the picture" if index else ""
    )
    return Claim(
        text,
        "two-objects",
        (_GROUPS,),
        f"{quantity}, the share that its own group draws",
        lambda results, task: results[_GROUPS].learned["sorted"][index],
        least,
    )


# The rules of 2026-11-26 about two objects in one picture, written after trials with seed 0 of parts in groups (ratio
# of '4' 1.16, worst distance .063, sorted .85 and .59) and of layers (ratio 1.10, .033; error in range .68 of that of
# parts), and before any run with a seed from `results.FRESH` on; nothing else had been tried. The bounds are those of
# chapter 12, though the trials did not keep them all: the question is the same.
OBJECT_CLAIMS: tuple[Claim, ...] = (
    _goes_on("Parts in two groups draw two digits beyond as within", _GROUPS, most=1.1, verdict=FAILS),
    _found("Turn and shift are found, each of its own digit", "two-objects", _GROUPS, FAILS),
    _two_beside("Parts draw better than layers that are warped", _GROUPS, _LAYERS, most=1, verdict=FAILS),
    _goes_on("Warped layers draw two digits beyond as within", _LAYERS, most=1.1),
    _found("Warped layers find turn and shift, too", "two-objects", _LAYERS),
    _goes_on("An autoencoder that gets the codes does not go on", "autoencoder", least=2),
    _two_beside("One group of parts, moved by all the codes, does not draw two objects", _COMPOSED, _GROUPS, least=2),
    _sorted("Parts are sorted", 0, 0.8),
    _sorted("They are sorted where the place does not tell, too", 1, 0.5),
    # Of the same day, when seed 10 of parts in groups was known (ratio 1.17, worst distance .062), before any run of
    # this model: one digit that does both, in chapter 12, saw all angles from the start, and its G is .003 off.
    _goes_on(
        "Without small angles first, parts draw them beyond as within", f"{_GROUPS}-at-once", most=1.1, verdict=FAILS
    ),
    _found("Without small angles first, turn and shift are found", "two-objects", f"{_GROUPS}-at-once", FAILS),
    # Of 2026-11-27, before any run of this model: is it the painter, which sees both groups at once?
    _goes_on("Groups that are painted apart and added draw them beyond as within", _ADDED, most=1.1),
    _found("Groups that are painted apart find turn and shift", "two-objects", _ADDED),
    _two_beside("To paint groups apart draws better", _ADDED, _GROUPS, most=0.9, verdict=FAILS),
)
# The same rules of 2026-11-27, before any run of this length.
LONGER_OBJECT_CLAIMS: tuple[Claim, ...] = tuple(
    claim
    for model, who, drawn in ((_GROUPS, "parts in two groups", FAILS), (_LAYERS, "warped layers", HOLDS))
    for claim in (
        _goes_on(
            f"In three times the steps, {who} draw them beyond as within",
            model,
            "two-objects-longer",
            most=1.1,
            verdict=drawn,
        ),
        _found(f"In three times the steps, {who} find turn and shift", "two-objects-longer", model),
    )
)


def by_seed(values: Sequence[float | None]) -> str:
    """The `values` of a claim in one line, with a dash for a seed that does not meet the premise."""
    return ", ".join("–" if value is None else f"{value:.3g}" for value in values)


# What seeds from `results.FRESH` on judge, in the order of the chapters.
FRESH_CLAIMS: tuple[Claim, ...] = (
    *CONTROL_CLAIMS,
    *BICUBIC_CLAIMS,
    *GROWING_CLAIMS,
    *NAMING_CLAIMS,
    *LARGE_NAMING_CLAIMS,
    *BEYOND_CLAIMS,
    *ONE_CLASS_CLAIMS,
    *LAW_CLAIMS,
    *COARSE_CLAIMS,
    *COARSE_RAW_CLAIMS,
    *UNASKED_CLAIMS,
    *UNTOLD_CLAIMS,
    *DEPTH_CLAIMS,
    *AID_CLAIMS,
    *TOLD_CLAIMS,
    *CODE_CLAIMS,
    *PICTURE_CLAIMS,
    *MORE_SHEET_CLAIMS,
    *OBJECT_CLAIMS,
    *LONGER_OBJECT_CLAIMS,
)
