"""The reproduction report as text: what results say of each model, and of each claim."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from gencaps_lib.claims import CLAIMS, OWN_CLAIMS, by_seed
from gencaps_lib.results import published
from gencaps_lib.seeds import Estimate, Runs

HEADER = ("experiment", "model", "profile", "steps", "seeds", "inside", "outside", "ratio", "95 % over seeds")


def report(folder: str | os.PathLike) -> list[str]:
    """Lines of text: a row for each model of each experiment, then the claims with their verdicts.

    Losses are those of the first held-out digit, inside and outside its training range. Claims whose runs are not
    there are listed as not decided.

    Raises
    ------
    ResultError
        As `results.published`.
    """
    found = published(folder)
    rows = [HEADER, *(_row(name, model, runs) for name, models in found.items() for model, runs in models.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*table, "", *_claims(found)]


def _row(name: str, model: str, runs: Runs) -> tuple[str, ...]:
    digit, first = runs.task.held_out[0], runs.results[0]
    inside, outside, ratio = runs.inside(digit), runs.outside(digit), runs.ratio(digit)
    seeds = ", ".join(map(str, runs.seeds))
    losses = (f"{inside.value:.4f}", f"{outside.value:.4f}")
    return (name, model, first.profile, f"{first.made:,}", seeds, *losses, f"{ratio.value:.2f}", _interval(ratio))


def _interval(estimate: Estimate) -> str:
    one_seed = estimate.low != estimate.low  # not a number
    return "" if one_seed else f"{estimate.low:.2f} … {estimate.high:.2f}"


def _claims(found: Mapping[str, Mapping[str, Runs]]) -> Iterable[str]:
    for claim in (*CLAIMS, *OWN_CLAIMS):
        line = f"{claim.experiment}: {claim.text} ({claim.rule})"
        try:
            values = claim.values(found.get(claim.experiment, {}))
        except ValueError:
            yield f"not decided, its runs are not there: {line}"
        else:
            yield f"{claim.judge(values)}: {line}: {by_seed(values)}"
