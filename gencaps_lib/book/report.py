"""The reproduction report as text: the results of each model, and the verdict on each claim."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from gencaps_lib.book.claims import FRESH_CLAIMS, OWN_CLAIMS, by_seed
from gencaps_lib.book.verdicts import CLAIMS, decide, in_words
from gencaps_lib.experiments import PROFILES
from gencaps_lib.results import FRESH, Estimate, Runs, readable, unregistered
from gencaps_lib.tables import lines

HEADER = ("experiment", "model", "data", "profile", "steps", "seeds", "inside", "outside", "ratio", "95 % over seeds")
Found = Mapping[str, Mapping[str, Runs]]


def report(folder: str | os.PathLike) -> list[str]:
    """Lines of text: one row for each model of each experiment, then the claims with their verdicts.

    Losses are those of `Runs.summary`. If the folder has a folder for each profile, as the published results have, the
    article's claims are decided at each profile by the seeds from `results.FRESH` on, and so are the book's own
    (`claims.FRESH_CLAIMS`), each at its profile; otherwise by all results. Claims without runs are listed as not
    decided. The last lines name results that were left out.

    Raises
    ------
    ResultError
        The folder does not exist.
    """
    profiles = {name: Path(folder) / name for name in PROFILES if (Path(folder) / name).is_dir()}
    usual, later = range(FRESH), range(FRESH, sys.maxsize)
    parts = [(name, path, seeds) for name, path in profiles.items() for seeds in (usual, later)]
    tables, shown, judging, left_out = [], {}, {}, []
    for name, path, seeds in parts or [("here", Path(folder), range(sys.maxsize))]:
        found, complaints = readable(path, seeds)
        tables.append(found)
        left_out += complaints
        if seeds != later:
            shown[name] = found
        if seeds != usual:
            judging[name] = found
            left_out += unregistered(path)
    rows = [HEADER, *(_row(*entry) for found in tables for entry in _each(found))]
    return [*lines(rows), "", *_article(judging), "", *_own(shown, judging), *(["", *left_out] if left_out else [])]


def _each(found: Found) -> Iterable[tuple[str, str, Runs]]:
    return ((name, model, runs) for name, models in found.items() for model, runs in models.items())


def _row(name: str, model: str, runs: Runs) -> tuple[str, ...]:
    first, ratio = runs.results[0], runs.ratio(runs.task.held_out[0])
    seeds = ", ".join(map(str, runs.seeds))
    return (name, model, first.source, first.profile, f"{first.made:,}", seeds, *runs.summary, _interval(ratio))


def _interval(estimate: Estimate) -> str:
    one_seed = estimate.low != estimate.low  # not a number
    return "" if one_seed else f"{estimate.low:.2f} … {estimate.high:.2f}"


def _article(judging: Mapping[str, Found]) -> Iterable[str]:
    """One row for each of the article's claims: the verdict of the longest profile, and the result of each one."""
    rows = [("verdict", "experiment", "claim of the article", *judging, "rule")]
    for claim in CLAIMS:
        decisions = decide(claim, judging)
        verdict = list(decisions.values())[-1].verdict if decisions else "not decided"
        rows.append((verdict, claim.experiment, claim.text, *in_words(claim, decisions, judging), claim.rule))
    return lines(rows)


def _own(shown: Mapping[str, Found], judging: Mapping[str, Found]) -> Iterable[str]:
    """A line for each of the book's own claims, with the profile that judges it where the folder has profiles."""
    for claim, by_profile in [(claim, shown) for claim in OWN_CLAIMS] + [(claim, judging) for claim in FRESH_CLAIMS]:
        found = by_profile.get("here", by_profile.get(claim.profile, {}))
        where = claim.experiment if "here" in by_profile else f"{claim.experiment}, {claim.profile}"
        line = f"{where}: {claim.text} ({claim.rule})"
        try:
            values = claim.values(found.get(claim.experiment, {}))
        except ValueError:
            yield f"not decided, its runs are not there: {line}"
        else:
            yield f"{claim.judge(values)}: {line}: {by_seed(values)}"
