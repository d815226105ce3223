"""Folders of results: all seeds of a model, decoders that were kept, and checks of what lies there."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gencaps_lib.data import expected_sources
from gencaps_lib.experiments import EXPERIMENTS, PROFILES, Experiment
from gencaps_lib.files import digest
from gencaps_lib.models import Decoder
from gencaps_lib.results.attachments import DECODER, SUFFIXES, unpack_decoder
from gencaps_lib.results.fingerprints import configuration, fingerprint, matches
from gencaps_lib.results.record import FAILURE, RESULT_NAME, Result, ResultError, beside, open_result, read, result_path
from gencaps_lib.results.statistics import Runs

PUBLISHED = Path(__file__).parent / "published"  # the results that are shipped with the library, a folder a profile
FRESH = 10  # seeds from here on were run after the rules that they judge were written down, see `verdicts`


def published(
    folder: str | os.PathLike = PUBLISHED / "quick", seeds: range = range(FRESH), experiments: Sequence[str] = ()
) -> dict[str, dict[str, Runs]]:
    """All results in a folder: experiment → model → its seeds, in the order of the registry.

    Parameters
    ----------
    folder : of results; by default those of the quick profile that chapters show
    seeds : that count
    experiments : names, all by default

    Raises
    ------
    ResultError
        As `load`, or the folder is not there.
    """
    found, complaints = readable(folder, seeds, experiments)
    if complaints:
        raise ResultError(complaints[0])
    return found


def readable(
    folder: str | os.PathLike, seeds: range = range(sys.maxsize), experiments: Sequence[str] = ()
) -> tuple[dict[str, dict[str, Runs]], list[str]]:
    """As `published`, but for models whose results cannot be read or counted together; and of these a line each.

    Raises
    ------
    ResultError
        The folder is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ResultError(
            f"{folder} is no folder of results: make them with `python -m gencaps_lib study --out {folder}`"
        )
    found: dict[str, dict[str, Runs]] = {}
    complaints = []
    for name, entry in EXPERIMENTS.items():
        for model in entry.models if not experiments or name in experiments else ():
            if _results(folder, name, model, seeds):
                try:
                    found.setdefault(name, {})[model] = load(folder, name, model, seeds)
                except ResultError as error:
                    complaints.append(str(error))
    return {name: models for name, models in found.items() if models}, complaints


def unregistered(folder: str | os.PathLike) -> list[str]:
    """The results in a folder that are of an experiment or a model of the user's own, a line each."""
    paths = (path for path in sorted(Path(folder).glob("*/*/*")) if RESULT_NAME.fullmatch(path.name))
    return [
        f"{path} is of an experiment or a model that the registry lacks, and is kept: read it with results.read"
        for path in paths
        if path.parts[-3] not in EXPERIMENTS or path.parts[-2] not in EXPERIMENTS[path.parts[-3]].models
    ]


def fresh(*experiments: str, folder: str | os.PathLike = PUBLISHED) -> dict[str, dict[str, dict[str, Runs]]]:
    """The results that judge the article's claims: profile → experiment → model → its seeds from `FRESH` on.

    Parameters
    ----------
    experiments : names, all by default
    folder : has a folder of results for each profile

    Returns
    -------
    profiles in the order of `PROFILES`, from the shortest to the longest

    Raises
    ------
    ResultError
        As `load`.
    """
    there = {name: Path(folder) / name for name in PROFILES if (Path(folder) / name).is_dir()}
    return {name: published(path, range(FRESH, sys.maxsize), experiments) for name, path in there.items()}


def _results(folder: Path, experiment: str, model: str, seeds: range) -> list[Path]:
    """The files of a model's results, in the order of seeds."""
    paths = {
        int(found["seed"]): path
        for path in (folder / experiment / model).glob("seed*.json")
        if (found := RESULT_NAME.fullmatch(path.name))
    }
    return [paths[seed] for seed in sorted(paths) if seed in seeds]


def load(
    folder: str | os.PathLike, experiment: str | Experiment, model: str, seeds: range = range(sys.maxsize)
) -> Runs:
    """The results of a model's seeds, all by default, for mean curves, means and ratios with intervals.

    Parameters
    ----------
    folder : of results
    experiment : a name of the registry, or an experiment of your own
    model : its name in the experiment
    seeds : that count

    Raises
    ------
    ResultError
        There are none, one cannot be read, they are not of one kind (profile, steps, data, code), or of another task
        than the experiment's today.
    """
    name = experiment if isinstance(experiment, str) else experiment.name
    paths = _results(Path(folder), name, model, seeds)
    if not paths:
        made = f"python -m gencaps_lib study {name} --models {model} --out {folder}"
        raise ResultError(f"there are no results of {model} in {Path(folder) / name}: make them with `{made}`")
    runs = [read(path) for path in paths]
    registered = _registered(paths[0], runs[0]) if isinstance(experiment, str) else experiment
    for path, result in zip(paths, runs, strict=True):
        if _kind(result) != _kind(runs[0]):
            raise ResultError(
                f"{paths[0]} ({runs[0].label}) and {path} ({result.label}) cannot be counted together: "
                "run one again with --force, or move it away"
            )
    if runs[0].config["task"] != configuration(registered, model)["task"]:
        raise ResultError(f"{paths[0]} is of another task than {name} is today: run it again with --force")
    return Runs(tuple(runs), registered.task)


def _kind(result: Result) -> tuple:
    """What results must have in common to be counted together."""
    return result.profile, result.source, result.fingerprint["config"], result.made


def _registered(path: Path, result: Result) -> Experiment:
    """The experiment of the registry that a result is of, at its profile."""
    registered = EXPERIMENTS.get(result.experiment)
    if registered is None or result.model not in registered.models:
        raise ResultError(
            f"{path} is of {result.experiment}, {result.model}, which the registry lacks: give the experiment itself, "
            "and not its name"
        )
    if result.profile not in PROFILES:
        raise ResultError(f"{path} was made at the profile {result.profile}: those of the registry are {PROFILES}")
    return registered.at(result.profile)


def load_decoder(folder: str | os.PathLike, experiment: str | Experiment, model: str) -> Decoder:
    """The trained decoder that is kept beside the result of seed 0: latent (B, z), code (B, code_length) → image.

    Takes the arguments of `load`.

    Raises
    ------
    ResultError
        There is no such result, no decoder is kept beside it (only small ones are), or it is damaged.
    """
    path = result_path(folder, experiment if isinstance(experiment, str) else experiment.name, model, 0)
    result, files = open_result(path)
    kept = beside(path, DECODER)
    if DECODER not in files:
        raise ResultError(f"no decoder is kept beside {path}: only small ones are")
    complaint = _damage(kept, files[DECODER])
    if complaint:
        raise ResultError(complaint)
    try:
        entry = _registered(path, result) if isinstance(experiment, str) else experiment
        return unpack_decoder(entry, model, kept.read_bytes())
    except ValueError as error:
        raise ResultError(f"{kept}: {error}; delete {path} and run it again") from None


def _damage(path: Path, written: str) -> str | None:
    """What is wrong with a file beside a result, whose digest is `written` there."""
    try:
        if digest(path.read_bytes()) == written:
            return None
        return f"{path} was changed after it was written: delete its result and run it again"
    except OSError as error:
        return f"cannot read {path} ({error.strerror}): delete its result and run it again"


def faults(
    path: str | os.PathLike, experiment: Experiment | None = None, data: str | os.PathLike | None = None
) -> list[str]:
    """What is wrong with a result, a line each: nothing, where it is whole, in its place, and still true.

    Parameters
    ----------
    path : of the result
    experiment : that it should be of, at a profile, on the data that are here now; by default the registry's, at the
        result's own profile and on any data. Of one that the registry lacks it is not known whether it is still true.
    data : folder of MNIST, as `root` of `data.load_digits`

    Raises
    ------
    DataError
        The folder of MNIST that was named lacks it.
    """
    path = Path(path)
    try:
        result, files = open_result(path)
    except ResultError as error:
        return [str(error)]
    complaints = [_damage(beside(path, suffix), written) for suffix, written in files.items()]
    complaints += [
        f"{beside(path, suffix)} does not belong to {path}: delete it"
        for suffix in SUFFIXES
        if suffix not in files and beside(path, suffix).exists()
    ]
    place = result_path("", result.experiment, result.model, result.seed)
    if path.parts[-3:] != place.parts:
        complaints.append(f"{path} is the result of {place}: move it there, or delete it")
    wanted = experiment
    if wanted is None and result.model in getattr(EXPERIMENTS.get(result.experiment), "models", ()):
        try:
            wanted = _registered(path, result)
        except ResultError as error:
            complaints.append(str(error))
    if not result.complete:
        complaints.append(f"{path} was interrupted after {result.made:,} of {result.config['steps']:,} steps")
    elif wanted is not None:
        complaints.append(_outdated(path, result, wanted))
        if experiment is not None and result.source not in (expected := expected_sources(wanted.source, data)):
            complaints.append(f"{path} was made on {result.source} digits, and here is {' or '.join(expected)}")
    return [complaint for complaint in complaints if complaint]


def _outdated(path: Path, result: Result, wanted: Experiment) -> str | None:
    """In what a result differs from what would be made today."""
    if result.profile != wanted.profile:
        return f"{path} was made at the {result.profile} profile, and not at {wanted.profile}"
    if result.config["steps"] != wanted.steps:
        return f"{path} was trained for {result.config['steps']:,} steps, and not for {wanted.steps:,}"
    if not matches(result.fingerprint, fingerprint(wanted, result.model, result.seed)):
        return f"{path} was made by another configuration or model than today's: run it again"
    return None


def check(folder: str | os.PathLike) -> list[str]:
    """What is wrong in a folder of results, a line each: stale, damaged, hand-edited and misplaced files.

    Hidden files are left alone: studies keep their claims and drafts in them. So are whole results of experiments that
    the registry lacks, see `unregistered`.

    Raises
    ------
    ResultError
        There is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ResultError(f"{folder} is no folder of results")
    complaints = []
    for path in sorted(folder.rglob("*")):
        try:
            complaints += _misplaced(path, path.relative_to(folder))
        except OSError as error:
            complaints.append(f"cannot look at {path} ({error.strerror})")
    return complaints


def _misplaced(path: Path, inner: Path) -> list[str]:
    """What is wrong with a file at `inner` in a folder of results, a line each."""
    if path.is_dir() or any(part.startswith(".") for part in inner.parts):
        return []
    stem, _, suffix = path.name.partition(".")
    result = path.with_name(f"{stem}.json")
    if len(inner.parts) == 3 and RESULT_NAME.fullmatch(result.name):
        if suffix == "json":
            return faults(path)
        if suffix in SUFFIXES:
            return [] if result.exists() else [f"{path} belongs to a result that is not there: delete it"]
        if suffix == FAILURE:
            return []
    return [f"{path} is no result, and in no result's place: move it away"]
