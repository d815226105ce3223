"""Folders of results: read all seeds of a model, read decoders, and check the files."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gencaps_lib.data import expected_sources
from gencaps_lib.experiments import EXPERIMENTS, PROFILES, Experiment, named
from gencaps_lib.files import digest
from gencaps_lib.models import Decoder
from gencaps_lib.results.attachments import DECODER, SUFFIXES, unpack_decoder
from gencaps_lib.results.fingerprints import configuration, fingerprint, matches
from gencaps_lib.results.record import FAILURE, RESULT_NAME, Result, ResultError, beside, open_result, read, result_path
from gencaps_lib.results.statistics import Runs

PUBLISHED = Path(__file__).parent / "published"  # results that come with the library, one folder for each profile
FRESH = 10  # seeds from here on were run after the rules for the verdicts were written down, see `verdicts`


def published(
    folder: str | os.PathLike = PUBLISHED / "quick", seeds: range = range(FRESH), experiments: Sequence[str] = ()
) -> dict[str, dict[str, Runs]]:
    """All results in a folder: experiment → model → its seeds, in the order of the registry.

    Parameters
    ----------
    folder : folder of results; by default those of the quick profile, which chapters show
    seeds : the seeds to read
    experiments : names; all by default

    Raises
    ------
    ResultError
        As `load`, or the folder does not exist.
    TypeError, ValueError
        The experiments are one string, or one is unknown.
    """
    found, complaints = readable(folder, seeds, experiments)
    if complaints:
        raise ResultError(complaints[0])
    return found


def readable(
    folder: str | os.PathLike, seeds: range = range(sys.maxsize), experiments: Sequence[str] = ()
) -> tuple[dict[str, dict[str, Runs]], list[str]]:
    """As `published`, without results that cannot be read or compared; also one line about each of these models.

    Raises
    ------
    ResultError
        The folder does not exist, or has a folder of results for each profile.
    TypeError, ValueError
        The experiments are one string, or one is unknown.
    """
    if isinstance(experiments, str):
        raise TypeError(f"experiments must be a list or tuple of names; got {experiments!r}")
    for name in experiments:
        named(name)
    folder = Path(folder)
    if not folder.is_dir():
        raise ResultError(
            f"{folder} is not a folder of results: make results with `python -m gencaps_lib study --out {folder}`"
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
    if not found and (inner := _by_profile(folder)):
        raise ResultError(f"{folder} has a folder for each profile: name one of its folders, {', '.join(inner)}")
    return {name: models for name, models in found.items() if models}, complaints


def unregistered(folder: str | os.PathLike) -> list[str]:
    """One line for each result of an experiment or a model that is not in the registry, but the user's own."""
    paths = (path for path in sorted(Path(folder).glob("*/*/*")) if RESULT_NAME.fullmatch(path.name))
    return [
        f"{path} is of an experiment or a model that is not in the registry, and is kept: read it with results.read"
        for path in paths
        if path.parts[-3] not in EXPERIMENTS or path.parts[-2] not in EXPERIMENTS[path.parts[-3]].models
    ]


def fresh(*experiments: str, folder: str | os.PathLike = PUBLISHED) -> dict[str, dict[str, dict[str, Runs]]]:
    """The results that decide about the article's claims: profile → experiment → model → its seeds from `FRESH` on.

    Parameters
    ----------
    experiments : names; all by default
    folder : contains a folder of results for each profile

    Returns
    -------
    the results by profile, in the order of `PROFILES`, from the shortest to the longest

    Raises
    ------
    ResultError
        As `load`, or the folder has none of a profile.
    ValueError
        An experiment is unknown.
    """
    there = _by_profile(Path(folder))
    if not there:
        raise ResultError(f"{folder} has no folder of a profile: {', '.join(PROFILES)}")
    return {name: published(path, range(FRESH, sys.maxsize), experiments) for name, path in there.items()}


def _by_profile(folder: Path) -> dict[str, Path]:
    """The folders of results in a folder that has one for each profile."""
    return {name: folder / name for name in PROFILES if (folder / name).is_dir()}


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
    """Read a model's results, for mean curves, and for means and ratios with intervals.

    Parameters
    ----------
    folder : folder of results
    experiment : a name of the registry, or your own experiment
    model : the model's name in the experiment
    seeds : the seeds to read; all by default

    Raises
    ------
    ResultError
        There are no results, one cannot be read, they differ in profile, steps, data or code, or their task is not the
        experiment's present task.
    """
    name = experiment if isinstance(experiment, str) else experiment.name
    paths = _results(Path(folder), name, model, seeds)
    if not paths:
        raise ResultError(f"there are no results of {model} in {Path(folder) / name}: {_advice(folder, name, model)}")
    runs = [read(path) for path in paths]
    registered = _registered(paths[0], runs[0]) if isinstance(experiment, str) else experiment
    for path, result in zip(paths, runs, strict=True):
        if _kind(result) != _kind(runs[0]):
            raise ResultError(
                f"{paths[0]} ({runs[0].label}) and {path} ({result.label}) cannot be compared: "
                "run one again with --force, or move it away"
            )
    _check_task(paths[0], runs[0], registered)
    return Runs(tuple(runs), registered.task)


def _check_task(path: Path, result: Result, experiment: Experiment) -> None:
    if result.config["task"] != configuration(experiment, result.model)["task"]:
        raise ResultError(
            f"{path} was made with another task, or other sizes, than {experiment.name} has now: give the experiment "
            "that it was made with, or run it again with --force"
        )


def _advice(folder: str | os.PathLike, name: str, model: str) -> str:
    """What to do where there are no results of a model."""
    if name not in EXPERIMENTS:
        return "make them with `results.make` if the experiment is your own, or choose one that `list` names"
    if model not in EXPERIMENTS[name].models:
        return f"choose one of {', '.join(EXPERIMENTS[name].models)}"
    if profiles := _by_profile(Path(folder)):
        return f"name one of its folders, {', '.join(profiles)}"
    return f"make them with `python -m gencaps_lib study {name} --models {model} --out {folder}`"


def _kind(result: Result) -> tuple:
    """What results must have in common to be compared."""
    return result.profile, result.source, result.fingerprint["config"], result.made


def _registered(path: Path, result: Result) -> Experiment:
    """The registry's experiment for a result, at the result's profile."""
    registered = EXPERIMENTS.get(result.experiment)
    if registered is None or result.model not in registered.models:
        raise ResultError(
            f"{path} is of {result.experiment}, {result.model}, which is not in the registry: give the experiment "
            "itself, not its name"
        )
    if result.profile not in PROFILES:
        raise ResultError(f"{path} was made at the unknown profile {result.profile!r}: known are {', '.join(PROFILES)}")
    return registered.at(result.profile)


def load_decoder(folder: str | os.PathLike, experiment: str | Experiment, model: str) -> Decoder:
    """Read the trained decoder stored with the result of seed 0: latent (B, z), code (B, code_length) → image.

    Takes the arguments of `load`.

    Raises
    ------
    ResultError
        There is no such result, it has no decoder (only small ones are stored), its task or sizes are not the
        experiment's, its architecture is unknown here, or the decoder is damaged.
    """
    path = result_path(folder, experiment if isinstance(experiment, str) else experiment.name, model, 0)
    result, files = open_result(path)
    if DECODER not in files:
        raise ResultError(f"there is no decoder for {path}: only small ones are stored")
    content = _kept(beside(path, DECODER), files[DECODER])
    try:
        entry = _registered(path, result) if isinstance(experiment, str) else experiment
        _check_task(path, result, entry)
        return unpack_decoder(entry, model, content)
    except ValueError as error:
        raise ResultError(f"{beside(path, DECODER)} cannot be used: {error}") from None


def read_beside(path: Path, suffix: str) -> bytes:
    """The content of a file that belongs to a result.

    Raises
    ------
    ResultError
        The result cannot be read, it has no such file, or the file is missing or damaged.
    """
    files = open_result(path)[1]
    if suffix not in files:
        raise ResultError(f"{path} has no {suffix}: run it again with --force")
    return _kept(beside(path, suffix), files[suffix])


def _kept(path: Path, written: str) -> bytes:
    """The content of a file that belongs to a result; `written` is its digest in the result.

    Raises
    ------
    ResultError
        The file is missing, or was changed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ResultError(f"cannot read {path} ({error.strerror}): delete its result and run it again") from None
    if digest(content) != written:
        raise ResultError(f"{path} was changed after it was written: delete its result and run it again")
    return content


def _damage(path: Path, written: str) -> str | None:
    """What is wrong with a file that belongs to a result, see `_kept`."""
    try:
        _kept(path, written)
    except ResultError as error:
        return str(error)
    return None


def faults(
    path: str | os.PathLike, experiment: Experiment | None = None, data: str | os.PathLike | None = None
) -> list[str]:
    """What is wrong with a result, one line for each fault; none if it is complete, in its place, and not stale.

    Parameters
    ----------
    path : path of the result
    experiment
        the experiment that it should be of, at a profile and on the present data; by default the registry's, at the
        result's own profile and on any data. If it is not in the registry, it is not checked whether the result is
        stale.
    data : folder of MNIST, as `root` of `data.load_digits`

    Raises
    ------
    DataError
        MNIST is not in the folder that you named.
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
        try:
            complaints.append(_outdated(path, result, wanted))
        except ValueError as error:  # of an architecture that this session does not know
            complaints.append(f"{path}: {error}")
        if experiment is not None and result.source not in (expected := expected_sources(wanted.source, data)):
            complaints.append(
                f"{path} was made on {result.source} digits, but the data here are {' or '.join(expected)}"
            )
    return [complaint for complaint in complaints if complaint]


def _outdated(path: Path, result: Result, wanted: Experiment) -> str | None:
    """How a result differs from one that would be made now."""
    if result.profile != wanted.profile:
        return f"{path} was made at the {result.profile} profile, not at {wanted.profile}"
    if result.config["steps"] != wanted.steps:
        return f"{path} was trained for {result.config['steps']:,} steps, not for {wanted.steps:,}"
    if not matches(result.fingerprint, fingerprint(wanted, result.model, result.seed)):
        return f"{path} was made with another configuration or model than the present one: run it again"
    return None


def check(folder: str | os.PathLike) -> list[str]:
    """What is wrong in a folder of results, one line for each stale, damaged, edited or misplaced file.

    Hidden files are ignored: they are claims and drafts of studies. Good results of experiments that are not in the
    registry are accepted, see `unregistered`.

    Raises
    ------
    ResultError
        The folder does not exist.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ResultError(f"{folder} is not a folder of results")
    complaints = []
    for path in sorted(folder.rglob("*")):
        try:
            complaints += _misplaced(path, path.relative_to(folder))
        except OSError as error:
            complaints.append(f"cannot look at {path} ({error.strerror})")
    return complaints


def _misplaced(path: Path, inner: Path) -> list[str]:
    """What is wrong with a file at `inner` in a folder of results, one line for each fault."""
    if path.is_dir() or any(part.startswith(".") for part in inner.parts):
        return []
    stem, _, suffix = path.name.partition(".")
    result = path.with_name(f"{stem}.json")
    if len(inner.parts) == 3 and RESULT_NAME.fullmatch(result.name):
        if suffix == "json":
            return faults(path)
        if suffix in SUFFIXES:
            return [] if result.exists() else [f"{path} belongs to a result that does not exist: delete it"]
        if suffix == FAILURE:
            return []
    return [f"{path} is not a result and does not belong to one: move it away"]
