"""What each protocol says: tables of claims, of losses beside the authors', and of bands of angles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from textwrap import wrap

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from gencaps_lib.book.authors import AUTHORS
from gencaps_lib.book.figures import WIDTH, Picture, log_scale, own_style
from gencaps_lib.book.verdicts import CLAIMS, WRITTEN, Decision, decide
from gencaps_lib.data import Digits
from gencaps_lib.evaluation import band_means, blank_curve, mean_outside
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
    """What each protocol says of the article's claims, by the rules of the library's module `verdicts`.

    Parameters
    ----------
    found : the results that judge, see `results.fresh`
    about : the claims, in words
    wanted : of a claim's decisions by protocol, whether to show it; by default if there is any
    """
    decided = [(claim, decide(claim, found)) for claim in CLAIMS]
    return Table(
        ["claim", "rule", *found],
        [
            [
                claim.text,
                claim.rule,
                *(str(decisions.get(profile, "not run")) for profile in found),
            ]
            for claim, decisions in decided
            if decisions and wanted(decisions)
        ],
        caption=f"{about} (MNIST; rules of {WRITTEN}; the longest protocol that has the runs decides)",
    )


def beside_authors(found: Found, *models: str, test: Digits | None = None) -> Table:
    """The losses of the held-out digits, the authors' and ours at each protocol.

    Parameters
    ----------
    found : the results, see `results.fresh`
    models : whose, by default all those that the authors measured
    test : the test digits of the results; with them a column says what a blank image scores
    """
    pairs = dict.fromkeys(
        (experiment, model)
        for experiments in found.values()
        for experiment, runs in experiments.items()
        for model in runs
        if (model in models if models else (experiment, model) in AUTHORS)
    )
    several = len({experiment for experiment, _ in pairs}) > 1
    drawn: dict = {}  # experiments share curves of blank images
    blank = {} if test is None else {experiment: _blank(experiment, found, test, drawn) for experiment, _ in pairs}
    rows = []
    for experiment, model in pairs:
        theirs = AUTHORS.get((experiment, model))
        authors = (
            f"{theirs.four_in:.4f} → {theirs.four_out:.4f} ({theirs.ratio:.1f}); {theirs.nine_out:.4f}; "
            f"{theirs.others_out:.4f}"
            if theirs
            else "not in their records"
        )
        ours = (experiments.get(experiment, {}).get(model) for experiments in found.values())
        column = [blank[experiment]] if blank else []
        which = [experiment] if several else []
        rows.append([*which, model, *column, authors, *map(_losses, ours)])
    return Table(
        [
            *(["experiment"] if several else []),
            "model",
            *(["blank image, '4' out"] if blank else []),
            "authors",
            *found,
        ],
        rows,
        caption="Mean squared error of '4' in range → out of it (their ratio; that over the other digits'); of '9' "
        "out of range; of the digits that were not held out, out of range (MNIST; seeds from 10 on, but for runs that "
        "never learned)",
    )


def _blank(experiment: str, found: Found, test: Digits, drawn: dict) -> str:
    """The error of the first held-out digit out of range if nothing is drawn: by protocol, since canvases differ."""
    values: dict[str, list[str]] = {}
    for profile, experiments in found.items():
        runs = experiments.get(experiment)
        if not runs and profile != "full":  # the authors' protocol, too, whether we have runs of it or not
            continue
        if any(result.source != test.source for each in (runs or {}).values() for result in each.results):
            return f"needs other digits than {test.source}"
        at = EXPERIMENTS[experiment].at(profile)
        digit = at.task.held_out[0]
        judged = at.judged(test).of(digit)
        key = (at.task.transform, at.task.grid, digit, len(judged))
        if key not in drawn:
            drawn[key] = blank_curve(at.task, judged)[digit]
        curve = drawn[key]
        values.setdefault(f"{mean_outside(curve, at.task):.4f}", []).append(profile)
    return "; ".join(f"{value} ({', '.join(profiles)})" for value, profiles in values.items())


def _losses(runs: Runs | None) -> str:
    if runs is None:
        return "not run"
    if not runs.learned:
        return "never learned"
    runs = Runs(runs.learned, runs.task)
    four, nine = runs.task.held_out
    return (
        f"{runs.inside(four).value:.4f} → {runs.outside(four).value:.4f} ({runs.ratio(four).value:.2f}; "
        f"{runs.adjusted_ratio(four):.2f}); {runs.outside(nine).value:.4f}; {runs.others('outside'):.4f}"
    )


def bands(found: Found, experiment: str, *models: str) -> Table:
    """The held-out digits' loss by the distance from the one angle that was seen, at each protocol.

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
        for model, runs in experiments.get(experiment, {}).items()
        if not models or model in models
        for digit in runs.task.held_out
    ]
    return Table(
        ["protocol", "model", "digit", *ends],
        rows,
        caption="Mean squared error by the distance from the one angle that was seen (MNIST; seeds from 10 on)",
    )


@own_style()
def effects(found: Found, wanted: Callable[[Mapping[str, Decision]], bool] = bool) -> Picture:
    """The effects of the article's claims with their intervals: a row for each claim, a mark for each protocol.

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
    marks = dict(zip(found, (("o", "#56B4E9"), ("s", "#0072B2"), ("D", "#000000")), strict=False))
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
            (mark, colour), y = marks[profile], place + 0.16 * (step - 1) + 0.12
            value, low, high = decision.effect
            axes.plot([low, high], [y, y], color=colour, lw=1.5)
            axes.plot([value], [y], mark, color=colour, markersize=5)
        values = ", ".join(f"{profile} {decision.effect.value:.2f}" for profile, decision in decisions.items())
        told.append(f"{claim.text} ({claim.rule}): {values}")
    handles = [Line2D([], [], color=colour, marker=mark, label=name) for name, (mark, colour) in marks.items()]
    bounds = Line2D([], [], color="#D55E00", lw=2, marker=">", label="bound")
    figure.legend(handles=[*handles, bounds], loc="outside lower center", ncols=4, fontsize=11)
    log_scale(axes, "x")
    axes.xaxis.set_major_locator(FixedLocator([0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 10]))
    axes.set(ylim=(len(rows) - 0.5, -0.7), yticks=[], xlabel="effect (a ratio) with its 95 % interval")
    axes.spines["left"].set_visible(False)
    return Picture(figure, alt="Effects of the claims at each protocol. " + "; ".join(told) + ".")
