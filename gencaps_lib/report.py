"""The reproduction report as text: what results say of each model, and of each claim."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from gencaps_lib.claims import OWN_CLAIMS, by_seed
from gencaps_lib.experiments import PROFILES
from gencaps_lib.results import FRESH, fresh, published
from gencaps_lib.seeds import Estimate, Runs
from gencaps_lib.verdicts import CLAIMS, decide

HEADER = ("experiment", "model", "profile", "steps", "seeds", "inside", "outside", "ratio", "95 % over seeds")
Found = Mapping[str, Mapping[str, Runs]]


def report(folder: str | os.PathLike) -> list[str]:
    """Lines of text: a row for each model of each experiment, then the claims with their verdicts.

    Losses are those of the first held-out digit, inside and outside its training range. Where the folder has one for
    each profile, as that of the published results, the article's claims are judged by the seeds from `results.FRESH`
    on, at each profile; elsewhere by all that is there. Claims whose runs are not there are listed as not decided.

    Raises
    ------
    ResultError
        As `results.published`.
    """
    profiles = [Path(folder) / name for name in PROFILES if (Path(folder) / name).is_dir()]
    if profiles:
        seeds = (range(FRESH), range(FRESH, sys.maxsize))
        tables = [published(path, chosen) for path in profiles for chosen in seeds]
        judging, own = fresh(folder), tables[0]
    else:
        tables = [published(folder, range(sys.maxsize))]
        judging, own = {"here": tables[0]}, tables[0]
    rows = [HEADER, *(_row(*entry) for found in tables for entry in _each(found))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*table, "", *_article(judging), "", *_own(own)]


def _each(found: Found) -> Iterable[tuple[str, str, Runs]]:
    return ((name, model, runs) for name, models in found.items() for model, runs in models.items())


def _row(name: str, model: str, runs: Runs) -> tuple[str, ...]:
    digit, first = runs.task.held_out[0], runs.results[0]
    inside, outside, ratio = runs.inside(digit), runs.outside(digit), runs.ratio(digit)
    seeds = ", ".join(map(str, runs.seeds))
    losses = (f"{inside.value:.4f}", f"{outside.value:.4f}")
    return (name, model, first.profile, f"{first.made:,}", seeds, *losses, f"{ratio.value:.2f}", _interval(ratio))


def _interval(estimate: Estimate) -> str:
    one_seed = estimate.low != estimate.low  # not a number
    return "" if one_seed else f"{estimate.low:.2f} … {estimate.high:.2f}"


def _article(judging: Mapping[str, Found]) -> Iterable[str]:
    """A line for each of the article's claims: the verdict of the longest protocol, and what each says."""
    for claim in CLAIMS:
        line = f"{claim.experiment}: {claim.text} ({claim.rule})"
        decisions = decide(claim, judging)
        if decisions:
            said = "; ".join(f"{profile} {decision}" for profile, decision in decisions.items())
            yield f"{list(decisions.values())[-1].verdict}: {line}: {said}"
        else:
            yield f"not decided, its runs are not there: {line}"


def _own(found: Found) -> Iterable[str]:
    for claim in OWN_CLAIMS:
        line = f"{claim.experiment}: {claim.text} ({claim.rule})"
        try:
            values = claim.values(found.get(claim.experiment, {}))
        except ValueError:
            yield f"not decided, its runs are not there: {line}"
        else:
            yield f"{claim.judge(values)}: {line}: {by_seed(values)}"
