"""What each profile says: tables of claims, of losses beside the authors', and of bands of angles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from textwrap import wrap

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from gencaps_lib.book.authors import AUTHORS
from gencaps_lib.book.figures import WIDTH, Picture, log_scale, own_style
from gencaps_lib.book.verdicts import CLAIMS, WRITTEN, Decision, decide, in_words
from gencaps_lib.data import Digits
from gencaps_lib.evaluation import band_means, blank_curve, mean_inside, mean_outside
from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.results import Runs
from gencaps_lib.tables import Table

Found = Mapping[str, Mapping[str, Mapping[str, Runs]]]  # profile → experiment → model → its seeds
BANDS = (0, 20, 60, 90, 180)  # degrees from the one angle that was seen


def verdicts(
    found: Found,
    about: str = "Claims of the article",
    wanted: Callable[[Mapping[str, Decision]], bool] = bool,
) -> Table:
    """What each profile says of the article's claims, by the rules of the library's module `verdicts`.

    Parameters
    ----------
    found : the results that judge, see `results.fresh`
    about : the claims, in words
    wanted : of a claim's decisions by profile, whether to show it; by default if there is any
    """
    decided = [(claim, decide(claim, found)) for claim in CLAIMS]
    return Table(
        ["claim and rule", *found],
        [
            [f"{claim.text} ({claim.rule})", *in_words(claim, decisions, found)]
            for claim, decisions in decided
            if decisions and wanted(decisions)
        ],
        caption=f'{about} (MNIST; rules of {WRITTEN}; the longest profile that has the runs decides; "over the '
        "others'\": divided by the ratio of the digits that saw all places)",
    )


def beside_authors(found: Found, *models: str, test: Digits | None = None) -> Table:
    """The errors of the held-out digits, the authors' and ours: a row for each model at each profile.

    Parameters
    ----------
    found : the results, see `results.fresh`
    models : whose, by default all those that the authors measured
    test : the test digits of the results; with them, rows say what a blank image scores
    """
    groups: dict[str, dict[str, None]] = {}  # experiment → its models, each once
    for experiments in found.values():
        for experiment, runs in experiments.items():
            for model in runs:
                if model in models if models else (experiment, model) in AUTHORS:
                    groups.setdefault(experiment, {})[model] = None
    blank = {} if test is None else _blanks(groups, found, test)
    rows: list[list[str]] = []
    for experiment, names in groups.items():
        own: list[list[str]] = []
        for model in names:
            if theirs := AUTHORS.get((experiment, model)):
                errors = (theirs.four_in, theirs.four_out, None, theirs.nine_out, theirs.others_out)
                own.append([model, "authors", *_cells(*errors)])
            for profile, experiments in found.items():
                if model in experiments.get(experiment, {}):
                    own.append([model, profile, *_ours(experiments[experiment][model])])
        own += blank.get(experiment, [])
        rows += [[experiment, *row] for row in own] if len(groups) > 1 else own
    header = [*(["experiment"] if len(groups) > 1 else []), "model", "profile"]
    return Table(
        [*header, "'4' in", "'4' out", "ratio", "over the others'", "'9' out", "others out"],
        rows,
        caption="Mean squared error in range and out of it: of '4', their ratio, and that over the ratio of the digits "
        "that were not held out; of '9'; of the digits that were not held out (MNIST; the authors: one run each; ours: "
        "seeds from 10 on; runs that never learned are left out)",
    )


def _cells(
    inside: float,
    outside: float,
    adjusted: float | None = None,
    nine_out: float | None = None,
    others_out: float | None = None,
) -> list[str]:
    """The cells of a row: errors of '4', their ratio, that over the others'; the other errors. Empty if not known."""
    numbers = ((inside, 4), (outside, 4), (outside / inside, 2), (adjusted, 2), (nine_out, 4), (others_out, 4))
    return ["" if number is None else f"{number:.{places}f}" for number, places in numbers]


def _ours(runs: Runs) -> list[str]:
    if not runs.learned:
        return ["never learned", *[""] * 5]
    runs = Runs(runs.learned, runs.task)
    four, nine = runs.task.held_out
    inside, outside = runs.inside(four).value, runs.outside(four).value
    return _cells(inside, outside, runs.adjusted_ratio(four), runs.outside(nine).value, runs.others("outside"))


def _blanks(names: Iterable[str], found: Found, test: Digits) -> dict[str, list[list[str]]]:
    """Of each experiment, a blank image's errors of '4' at each profile, since canvases and test digits differ."""
    rows: dict[str, list[list[str]]] = {}
    curves: dict[tuple, Sequence[float]] = {}  # experiments share them
    for name in names:
        runs = {profile: experiments.get(name, {}) for profile, experiments in found.items()}
        sources = {result.source for models in runs.values() for each in models.values() for result in each.results}
        if sources - {test.source}:
            rows[name] = [["blank image", "", f"needs other digits than {test.source}", *[""] * 5]]
            continue
        of_curve: dict[tuple, list[str]] = {}  # the profiles that have it
        for profile in found:
            if not runs[profile] and profile != "full":  # the authors' protocol, whether we have runs of it or not
                continue
            at = EXPERIMENTS[name].at(profile)
            four = at.task.held_out[0]
            key = (at.task.transform, at.task.grid, four, at.test_digits, at.test_sample)
            if key not in curves:
                curves[key] = blank_curve(at.task, at.judged(test).of(four))[four]
            of_curve.setdefault(key, []).append(profile)
        rows[name] = []
        for key, profiles in of_curve.items():
            task = EXPERIMENTS[name].at(profiles[0]).task
            errors = (side(curves[key], task) for side in (mean_inside, mean_outside))
            rows[name].append(["blank image", ", ".join(profiles), *_cells(*errors)])
    return rows


def bands(found: Found, experiment: str, *models: str) -> Table:
    """The held-out digits' loss by the distance from the one angle that was seen, at each profile.

    A mean over all angles hides that one model may win near that angle, and another far away.

    Parameters
    ----------
    found : the results, see `results.fresh`
    experiment : of rotations
    models : whose, by default all
    """
    ends = [f"{low}° to {high}°" for low, high in pairwise(BANDS)]
    rows = [
        [profile, model, f"'{digit}'", *(f"{mean:.4f}" for mean in band_means(runs.curve(digit), runs.task, BANDS))]
        for profile, experiments in found.items()
        for model, every in experiments.get(experiment, {}).items()
        if every.learned and (not models or model in models)
        for runs in [Runs(every.learned, every.task)]
        for digit in runs.task.held_out
    ]
    return Table(
        ["profile", "model", "digit", *ends],
        rows,
        caption="Mean squared error by the distance from the one angle that was seen (MNIST; seeds from 10 on; runs "
        "that never learned are left out)",
    )


@own_style()
def effects(found: Found, wanted: Callable[[Mapping[str, Decision]], bool] = bool) -> Picture:
    """The effects of the article's claims with their intervals: a row for each claim, a mark for each profile.

    Parameters
    ----------
    found : the results that judge, see `results.fresh`
    wanted : as in `verdicts`

    Raises
    ------
    ValueError
        No claim is wanted.
    """
    rows = [(claim, decisions) for claim in CLAIMS if (decisions := decide(claim, found)) and wanted(decisions)]
    if not rows:
        raise ValueError("there are no claims to draw")
    figure = Figure(figsize=(WIDTH, 0.98 * len(rows) + 1.1), layout="constrained")
    axes, told = figure.subplots(), []
    marks = dict(zip(found, (("o", "#56B4E9"), ("s", "#0072B2"), ("v", "#009E73"), ("D", "#000000")), strict=False))
    for place, (claim, decisions) in enumerate(rows):
        (bound,) = (each for each in (claim.least, claim.most) if each is not None)
        text = "\n".join(wrap(claim.text, 56))
        axes.text(
            0, place - 0.2, text, transform=axes.get_yaxis_transform(), fontsize=11.5, va="bottom", in_layout=False
        )
        axes.plot([bound, bound], [place - 0.12, place + 0.32], color="#D55E00", lw=2)
        side = "<" if claim.least is None else ">"  # where the claim holds
        axes.plot([bound], [place + 0.12], side, color="#D55E00", markersize=7)
        for step, (profile, decision) in enumerate(decisions.items()):
            (mark, colour), y = marks[profile], place + 0.15 * (step - (len(decisions) - 1) / 2) + 0.12
            value, low, high = decision.effect
            axes.plot([low, high], [y, y], color=colour, lw=1.5)
            axes.plot([value], [y], mark, color=colour, markersize=5)
        values = ", ".join(f"{profile} {decision.effect.value:.2f}" for profile, decision in decisions.items())
        told.append(f"{claim.text} ({claim.rule}): {values}")
    handles = [Line2D([], [], color=colour, marker=mark, label=name) for name, (mark, colour) in marks.items()]
    bounds = Line2D([], [], color="#D55E00", lw=2, marker=">", label="bound (the arrow: holds)")
    figure.legend(handles=[*handles, bounds], loc="outside lower center", ncols=4, fontsize=11)
    log_scale(axes, "x")
    axes.xaxis.set_major_locator(FixedLocator([0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 10]))
    axes.set(ylim=(len(rows) - 0.5, -0.7), yticks=[], xlabel="effect (a ratio) with its 95 % interval")
    axes.spines["left"].set_visible(False)
    return Picture(figure, alt="Effects of the claims at each profile. " + "; ".join(told) + ".")
