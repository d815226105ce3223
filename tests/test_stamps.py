"""Stamps of stored chapters: they are true, and notice when code, outputs, numerics or the stamp itself changed."""

import copy
import dataclasses
import json
from pathlib import Path

import execute
import nbformat
import pytest
import smoke_times
import stamps

from gencaps_lib.experiments import EXPERIMENTS
from gencaps_lib.models import parts
from gencaps_lib.training import REFERENCE
from gencaps_lib.transforms import families

CHAPTERS = sorted((Path(__file__).parents[1] / "chapters").glob("*.ipynb"))
UNCACHED = stamps.numerics.__wrapped__  # of what was patched, nothing may be remembered
SETTING = "smoke profile; data: embedded, 1,437 digits; CPU, 1 thread; PyTorch 2.15.0"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_outputs_of_stored_chapters_are_what_the_code_makes_today(path):
    assert stamps.faults(json.loads(path.read_text()), path.name) == []


def written(*sources, kind="code"):
    """Cells with these sources, of which the first prints the setting."""
    cells = []
    for number, source in enumerate(sources):
        cell = {"cell_type": kind, "id": f"{kind}-{number}", "metadata": {}, "source": source}
        if kind == "code":
            output = {"output_type": "stream", "name": "stdout", "text": f"{number} is drawn\n"}
            cell |= {"execution_count": number + 1, "outputs": [output]}
        cells.append(cell)
    return cells


@pytest.fixture
def chapter():
    """An executed and stamped chapter on shift extrapolation."""
    cells = written("%pip install x\nprint(1)", 'experiment = EXPERIMENTS["shift-extrapolation"]')
    cells[0]["outputs"][0]["text"] = SETTING + "\n"
    notebook = {
        "cells": cells + written("# Prose", kind="markdown"),
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    notebook["metadata"]["gencaps"] = stamps.make(notebook, {"python": "3.11"}, "abc", "2026-11-22T12:00:00", 3.21)
    return notebook


def test_a_stamp_says_what_the_chapter_was_made_from(chapter):
    stamp = chapter["metadata"]["gencaps"]
    said = {key: stamp[key] for key in ("profile", "source", "device", "commit", "seconds", "published")}
    assert said == {
        "profile": "smoke",
        "source": "embedded",
        "device": "CPU, 1 thread",
        "commit": "abc",
        "seconds": 3.2,
        "published": None,
    }
    assert stamp["versions"] == {"python": "3.11", "torch": "2.15.0"}
    assert list(stamp["numerics"]) == ["shift-extrapolation"]
    assert set(stamp["numerics"]["shift-extrapolation"]) == set(EXPERIMENTS["shift-extrapolation"].models)


def test_a_stamped_chapter_has_no_faults_however_its_text_is_split_or_its_prose_changed(chapter):
    chapter["cells"][-1]["source"] = "# Other prose"
    for cell in chapter["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)
    assert stamps.faults(json.loads(json.dumps(chapter)), "it") == []


def test_neither_layout_nor_where_names_lie_is_computing(chapter):
    change_layout(chapter)
    assert stamps.faults(chapter, "it") == []
    chapter["cells"][1]["source"] = 'def f():\n    """Does it."""\n    return 1'
    said = stamps.computing(chapter)
    chapter["cells"][1]["source"] = "def f():\n    return (\n        1\n    )"
    assert stamps.computing(chapter) == said
    chapter["cells"][1]["source"] = "def f():\n    return 2"
    assert stamps.computing(chapter) != said


def test_the_book_may_get_another_address(chapter):
    setup = written('# @title Setup\n%pip install --quiet "git+https://github.com/one/book"')[0]
    setup["outputs"] = []
    chapter["cells"].insert(0, setup)
    chapter["metadata"]["gencaps"] = stamps.make(chapter, {}, "abc", "2026-11-22T12:00:00", 1.0)
    setup["source"] = setup["source"].replace("one/book", "another/book")
    assert stamps.faults(chapter, "it") == []


def change_code(notebook):
    notebook["cells"][1]["source"] += "\n1"


def change_layout(notebook):
    before = notebook["cells"][1]["source"]
    notebook["cells"][1]["source"] = f"from gencaps_lib.somewhere import (\n    a,\n)\n{before}  # a comment\n"


def improve_output(notebook):
    notebook["cells"][1]["outputs"][0]["text"] = "all is well"


def improve_time(notebook):
    notebook["metadata"]["gencaps"]["seconds"] = 1.0


def reseal_another_device(notebook):
    notebook["metadata"]["gencaps"] |= {"device": "H200", "seal": "0" * 64}


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda notebook: notebook["metadata"].clear(), "has no stamp"),
        (change_code, "code cells of it changed"),
        (lambda notebook: notebook["cells"].pop(0), "code cells of it changed"),
        (improve_output, "outputs of it were edited"),
        (improve_time, "stamp of it was edited"),
        (reseal_another_device, "stamp of it was edited"),
        (lambda notebook: notebook["metadata"]["gencaps"].pop("seal"), "stamp of it was edited"),
    ],
)
def test_the_check_of_stamps_can_fail(chapter, damage, complaint):
    damage(chapter)
    found = stamps.faults(chapter, "it")
    assert any(complaint in each for each in found)
    assert all("make chapters NOTEBOOKS=chapters/it" in each for each in found)


def registry_with(monkeypatch, name, **changes):
    """Today's registry with one experiment's smoke profile changed."""
    entry = EXPERIMENTS[name]
    changed = dataclasses.replace(
        entry, profiles={**entry.profiles, "smoke": dataclasses.replace(entry.at("smoke"), **changes)}
    )
    monkeypatch.setattr(stamps, "EXPERIMENTS", {**EXPERIMENTS, name: changed})
    monkeypatch.setattr(stamps, "numerics", UNCACHED)


def test_a_change_of_an_experiment_makes_its_chapters_stale_and_no_other(chapter, monkeypatch):
    registry_with(monkeypatch, "shift-transfer", steps=21)
    assert stamps.faults(chapter, "it") == []
    registry_with(monkeypatch, "shift-extrapolation", steps=21)
    (complaint,) = stamps.faults(chapter, "it")
    assert "shift-extrapolation computes other numbers" in complaint


@pytest.mark.parametrize(
    ("holder", "name", "change"),
    [
        (parts, "route_by_address", lambda route: lambda *inputs: 2 * route(*inputs)),
        (families, "shift", lambda shift: lambda images, offsets, margin: shift(images, -offsets, margin)),
        (type(REFERENCE), "rates", lambda rates: lambda self, steps: [2 * rate for rate in rates(self, steps)]),
    ],
    ids=["a forward pass", "a transform", "the optimiser's schedule"],
)
def test_a_change_of_the_library_s_numerics_makes_chapters_stale(chapter, monkeypatch, holder, name, change):
    monkeypatch.setattr(holder, name, change(getattr(holder, name)))
    monkeypatch.setattr(stamps, "numerics", UNCACHED)
    (complaint,) = stamps.faults(chapter, "it")
    assert "computes other numbers" in complaint


def test_rounding_is_no_change_of_numerics():
    today = stamps.numerics("shift-transfer", "smoke")
    other = copy.deepcopy(today)
    for factor, same in ((1 + 1e-5, True), (1.01, False)):
        other["autoencoder"]["rehearsal"] = [factor * value for value in today["autoencoder"]["rehearsal"]]
        assert stamps.same_numerics(today, other) is same
    del other["autoencoder"]
    assert not stamps.same_numerics(today, other)
    assert not stamps.same_numerics(other, today)


@pytest.mark.parametrize(
    ("code", "stale"),
    [
        ("names = task.models", True),
        ("names = list(experiment.specs)", True),
        ("from gencaps_lib.models import a", False),
    ],
)
def test_a_new_model_concerns_chapters_that_ask_for_all(chapter, code, stale):
    """A model that is gone, or is another one, concerns every chapter."""
    today = stamps.numerics("shift-transfer", "smoke")
    fewer = {name: entry for name, entry in today.items() if name != "autoencoder"}
    assert stamps.all_models({"cells": written(code)}) is stale
    assert stamps.same_numerics(fewer, today, added=True)
    assert not stamps.same_numerics(today, fewer, added=True)
    assert not stamps.same_numerics({}, today, added=True)
    assert not stamps.same_numerics({**fewer, "digit-capsules": fewer["continuous-capsules"]}, today, added=True)


def test_other_benchmarks_concern_a_chapter_that_shows_them(chapter, monkeypatch, tmp_path):
    shows = {**chapter, "cells": written("%pip", "bench.stored()")}
    monkeypatch.setattr(stamps, "STORED", tmp_path)
    assert stamps.benchmarks(chapter) is None
    before = stamps.benchmarks(shows)
    (tmp_path / "machine.json").write_text("{}")
    assert stamps.benchmarks(shows) != before
    assert stamps.faults(chapter, "it") == []
    chapter["metadata"]["gencaps"] |= {"benchmarks": before}
    stamp = {key: value for key, value in chapter["metadata"]["gencaps"].items() if key != "seal"}
    chapter["metadata"]["gencaps"]["seal"] = stamps._digest(stamp)
    (complaint,) = stamps.faults(chapter, "it")
    assert "the stored benchmarks that it shows have changed" in complaint


@pytest.mark.parametrize(
    ("code", "other", "stale"),
    [
        ("runs = results.published()", "shift-transfer", True),
        ("runs = results.published()[task.name]", "shift-extrapolation", True),
        ("runs = results.published()[task.name]", "shift-transfer", False),
        ("runs = results.published()[task.name]; every = published().values()", "shift-transfer", True),
        ("runs = 1", "shift-extrapolation", False),
        ("runs = results.published()", "fresh", False),
        ("runs = results.fresh()", "fresh", True),
        ("runs = results.fresh(task.name)", "fresh", False),
    ],
)
def test_a_chapter_is_stale_when_the_published_results_that_it_shows_are_others(
    chapter, monkeypatch, tmp_path, code, other, stale
):
    results = {name: tmp_path / "quick" / name / "seed0.json" for name in ("shift-transfer", "shift-extrapolation")}
    results["fresh"] = tmp_path / "full" / "shift-transfer" / "seed10.json"
    for path in results.values():
        path.parent.mkdir(parents=True)
        path.write_text('{"digest": "1"}')
    monkeypatch.setattr(stamps, "PUBLISHED", tmp_path)
    stamps.published.cache_clear()
    chapter["cells"][1]["source"] += f"\n{code}"
    chapter["metadata"]["gencaps"] = stamps.make(chapter, {}, "abc", "2026-11-22T12:00:00", 3.21)
    assert stamps.faults(chapter, "it") == []
    results[other].write_text('{"digest": "2"}')
    stamps.published.cache_clear()
    assert any("published results" in complaint for complaint in stamps.faults(chapter, "it")) == stale
    stamps.published.cache_clear()


def test_a_chapter_without_its_setting_cannot_be_stamped(chapter):
    improve_output(chapter)
    chapter["cells"][0]["outputs"] = []
    with pytest.raises(ValueError, match=r"results.setting"):
        stamps.make(chapter, {}, "abc", "2026-11-22T12:00:00", 3.21)


def notebook_file(path, *sources):
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources]), path)
    return path


def test_executing_stores_outputs_and_a_stamp(tmp_path):
    path = notebook_file(tmp_path / "it.ipynb", f"print({SETTING!r})", "1 + 1")
    assert execute.main([str(path)]) == 0
    stored = json.loads(path.read_text())
    assert stored["cells"][1]["outputs"][0]["data"]["text/plain"] == ["2"]
    stamp = stored["metadata"]["gencaps"]
    assert 0 < stamp["seconds"] < 60
    assert "numpy" in stamp["versions"]
    assert stamps.faults(stored, "it") == []


def test_a_chapter_that_fails_is_left_as_it_was(tmp_path, capsys):
    path = notebook_file(tmp_path / "it.ipynb", f"print({SETTING!r})", "1 / 0")
    before = path.read_bytes()
    assert execute.main([str(path)]) == 1
    assert path.read_bytes() == before
    assert "ZeroDivisionError" in capsys.readouterr().err


REPORT = """<testsuites><testsuite>
<testcase classname="" name="chapters/01-a.ipynb" time="3.14" />
<testcase classname="chapters.02-b" name="02-b.ipynb" time="2.0">{}</testcase>
</testsuite></testsuites>"""


def test_times_at_smoke_are_those_of_the_report():
    assert smoke_times.seconds_of(REPORT.format(""), ["01-a", "02-b"]) == {"01-a": 3.1, "02-b": 2.0}


@pytest.mark.parametrize(("report", "stems"), [(REPORT.format("<failure/>"), ["02-b"]), (REPORT, ["03-c"])])
def test_a_chapter_that_failed_or_did_not_run_has_no_time(report, stems):
    with pytest.raises(ValueError, match=stems[0]):
        smoke_times.seconds_of(report, stems)
