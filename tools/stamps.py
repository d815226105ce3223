"""Stamps of stored chapters: what their outputs were made from, and whether the outputs are still valid.

A stamp is in a notebook's metadata, as `gencaps`. Only `execute.py`, which runs the cells, writes it. It has digests of
the code cells and of the outputs, the numerics of the experiments that the chapter names, and facts for the reader:
profile, data, device, versions, commit, date and seconds.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from gencaps_lib.bench import STORED
from gencaps_lib.data import load_digits
from gencaps_lib.evaluation import image_losses
from gencaps_lib.experiments import DRAWS, EXPERIMENTS, Experiment
from gencaps_lib.results import PUBLISHED, fingerprint, matches
from gencaps_lib.training import Trainer

NAME = "gencaps"  # name of the stamp in a notebook's metadata
REMEDY = "run `make chapters NOTEBOOKS=chapters/{}`"
# The line of `gencaps_lib.results.setting`, which every chapter prints.
SETTING = re.compile(
    r"^(?P<profile>\w+) profile; data: (?P<source>\w+), [\d,]+ digits; (?P<device>.+); PyTorch (?P<torch>\S+)$",
    re.MULTILINE,
)


def code_of(notebook: Mapping[str, Any]) -> list[str]:
    """The sources of the code cells."""
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def trees(notebook: Mapping[str, Any]) -> Iterator[ast.Module]:
    """The syntax trees of the code cells, without IPython's magic lines."""
    return map(_tree, code_of(notebook))


def _tree(source: str) -> ast.Module:
    return ast.parse(re.sub(r"^(\s*)%.*", r"\1pass", source, flags=re.MULTILINE))


def computing(notebook: Mapping[str, Any]) -> list[Any]:
    """The code cells' syntax as plain data, without layout, comments and docstrings.

    The setup cell, which installs the library from the book's address, and imports from the library are left out. So
    outputs stay valid if code moves or lines are broken in another way.
    """
    sources = [source for source in code_of(notebook) if not source.startswith("# @title Setup")]
    return [[_syntax(node) for node in _tree(source).body if not _of_the_library(node)] for source in sources]


def _of_the_library(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "gencaps_lib"


def _syntax(node: Any) -> Any:
    """A syntax tree as plain data, without positions and empty fields, so that it is the same in every Python."""
    if isinstance(node, list):
        return [_syntax(entry) for entry in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value is not None and value != []}
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
        fields["body"] = node.body[1:]
    return [type(node).__name__, {name: _syntax(value) for name, value in fields.items()}]


def texts_of(notebook: Mapping[str, Any]) -> str:
    """All plain text in the outputs."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return "\n".join(
        part
        for output in outputs
        for part in ("".join(output.get("text", "")), "".join(output.get("data", {}).get("text/plain", "")))
    )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _outputs(notebook: Mapping[str, Any]) -> list[Any]:
    return [cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"]


def experiments_of(notebook: Mapping[str, Any]) -> list[str]:
    """The experiments of the registry that a chapter's code names."""
    words = {node.value for tree in trees(notebook) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return [name for name in EXPERIMENTS if name in words]


def all_models(notebook: Mapping[str, Any]) -> bool:
    """Whether a chapter lists an experiment's models, so that a new model changes its outputs."""
    return bool(_attributes(notebook) & {"models", "specs"})


def _attributes(notebook: Mapping[str, Any]) -> set[str]:
    """The names of all attributes in a chapter's code."""
    return {node.attr for tree in trees(notebook) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def benchmarks(notebook: Mapping[str, Any]) -> str | None:
    """A digest of the stored benchmarks, if a chapter shows them."""
    if "stored" not in _attributes(notebook):
        return None
    return _digest({path.name: path.read_text(encoding="utf-8") for path in sorted(STORED.glob("*.json"))})


def shown_of_published(notebook: Mapping[str, Any]) -> tuple[str, ...]:
    """The experiments whose published results a chapter shows.

    If every use of ``published`` has the form ``published()[…]``, these are the experiments that it names; otherwise
    all.
    """
    nodes = [node for tree in trees(notebook) for node in ast.walk(tree)]
    reads = [node for node in nodes if getattr(node, "attr", getattr(node, "id", None)) in {"published", "PUBLISHED"}]
    if not reads:
        return ()
    picks = {id(getattr(node.value, "func", None)) for node in nodes if isinstance(node, ast.Subscript)}
    return tuple(experiments_of(notebook) if all(id(read) in picks for read in reads) else EXPERIMENTS)


@cache
def published(experiments: tuple[str, ...]) -> str | None:
    """A digest of the published results of some experiments."""
    shown = PUBLISHED / "quick"
    paths = [path for name in experiments for path in (shown / name).rglob("seed?.json")]  # below `FRESH`
    return _digest(_contents(paths)) if experiments else None


def _contents(paths: Iterable[Path]) -> dict[str, str]:
    """The digest that each result has of its content, and of its other files, by its path among the published."""
    return {
        path.relative_to(PUBLISHED).as_posix(): json.loads(path.read_text(encoding="utf-8"))["digest"] for path in paths
    }


def shown(notebook: Mapping[str, Any]) -> str | None:
    """A digest of the published results that a chapter shows, including those for the verdicts if it reads them.

    If every ``fresh(…)`` has an argument, it reads those of the experiments that it names; otherwise all.
    """
    usual = published(shown_of_published(notebook))
    nodes = [node for tree in trees(notebook) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    reads = [node for node in nodes if getattr(node.func, "attr", None) == "fresh"]
    if not reads:
        return usual
    names = set(experiments_of(notebook) if all(read.args for read in reads) else EXPERIMENTS)
    judging = [
        path
        for path in PUBLISHED.rglob("seed*.json")
        if not path.match("seed?.json") and path.relative_to(PUBLISHED).parts[1] in names
    ]
    return _digest({"usual": usual, **_contents(judging)})


def rehearse(experiment: Experiment, model: str) -> list[float]:
    """The losses of two training steps on a few embedded digits, and then of drawings at the ends of the grid.

    They detect changes that `fingerprint` does not see: another transform, batch, loss, optimiser or evaluation.
    """
    digits = load_digits("train", "embedded")
    built = experiment.build(model)
    built.prepare = lambda _: None  # a preliminary training would take too long
    options = experiment.fit_options(digits.images.device, model) | {"batch": 8}
    trainer = Trainer(built, experiment.task, digits, experiment.steps, **options)
    for _ in range(2):
        trainer.step()
    seen = trainer.losses[:2].tolist()
    if experiment.kind(model) is DRAWS:
        ends = replace(experiment.task, grid=(experiment.task.grid[0], experiment.task.grid[-1]))
        seen += image_losses(built, ends, digits.first(1)).mean(0).tolist()
    return [float(f"{value:.6g}") for value in seen]


@cache
def numerics(name: str, profile: str) -> dict[str, dict[str, Any]]:
    """What an experiment computes at a profile: for each model, its fingerprint and a rehearsal of its run."""
    experiment = EXPERIMENTS[name].at(profile)
    return {
        model: {**fingerprint(experiment, model), "rehearsal": rehearse(experiment, model)}
        for model in experiment.models
    }


def same_numerics(stored: Mapping[str, Any], today: Mapping[str, Any], added: bool = False) -> bool:
    """Whether the present `numerics` agree with a stamp's, up to rounding; `added` allows new models."""
    models_agree = stored.keys() <= today.keys() if added else stored.keys() == today.keys()
    return (
        bool(stored)
        and models_agree
        and all(
            matches(stored[model], today[model])
            and len(stored[model]["rehearsal"]) == len(today[model]["rehearsal"])
            and all(
                math.isclose(a, b, rel_tol=1e-3)
                for a, b in zip(stored[model]["rehearsal"], today[model]["rehearsal"], strict=True)
            )
            for model in stored
        )
    )


def make(notebook: Mapping[str, Any], versions: Mapping[str, str], commit: str, date: str, seconds: float) -> dict:
    """The stamp of a notebook that was just executed.

    Parameters
    ----------
    notebook : as it will be stored, without the stamp
    versions : versions of Python and of the packages
    commit, date : commit and date of the execution
    seconds : total time of all cells

    Raises
    ------
    ValueError
        The notebook does not print its setting, `results.setting`, exactly once.
    """
    settings = list(SETTING.finditer(texts_of(notebook)))
    if len(settings) != 1:
        raise ValueError(
            f"a chapter must print results.setting(…) once, for its stamp; it prints it {len(settings)} times"
        )
    setting = settings[0].groupdict()
    stamp = {
        "code": _digest(computing(notebook)),
        "outputs": _digest(_outputs(notebook)),
        "numerics": {name: numerics(name, setting["profile"]) for name in experiments_of(notebook)},
        "published": shown(notebook),
        "benchmarks": benchmarks(notebook),
        **{key: setting[key] for key in ("profile", "source", "device")},
        "versions": {**versions, "torch": setting["torch"]},
        "commit": commit,
        "date": date,
        "seconds": round(seconds, 1),
    }
    return {**stamp, "seal": _digest(stamp)}


def faults(notebook: Mapping[str, Any], name: str) -> list[str]:
    """Why the outputs of a stored chapter are not valid, one line for each fault; none if they are valid.

    Parameters
    ----------
    notebook : the stored notebook
    name : name of its file
    """
    remedy = REMEDY.format(name)
    stamp = notebook["metadata"].get(NAME)
    if stamp is None:
        return [f"{name} has no stamp: {remedy}"]
    content = {key: value for key, value in stamp.items() if key != "seal"}
    if stamp.get("seal") != _digest(content):
        return [f"the stamp of {name} was edited by hand: {remedy}"]
    found = []
    if stamp["code"] != _digest(computing(notebook)):
        found.append(f"code cells of {name} changed after its outputs were made: {remedy}")
    if stamp["outputs"] != _digest(_outputs(notebook)):
        found.append(f"outputs of {name} were edited by hand: {remedy}")
    found += [
        f"{experiment} computes other numbers now than when {name} was executed: {remedy}"
        for experiment in experiments_of(notebook)
        if not same_numerics(
            stamp["numerics"].get(experiment, {}), numerics(experiment, stamp["profile"]), not all_models(notebook)
        )
    ]
    if stamp["published"] != shown(notebook):
        found.append(f"the published results that {name} shows have changed: {remedy}")
    if stamp.get("benchmarks") != benchmarks(notebook):
        found.append(f"the stored benchmarks that {name} shows have changed: {remedy}")
    return found
