"""`make`: the environment is of a Python that will do, and what a user names reaches the commands whole."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gencaps_lib import results

ROOT = Path(__file__).parents[1]
# A Python of some version, whose environments are copies of itself, with a pip that says what it is asked for.
PYTHON = """#!{python}
import os, shutil, sys
sys.version_info = {version} + ("final", 0)
if "version_info" in " ".join(sys.argv):
    exec(sys.argv[2])
elif sys.argv[1:4] == ["-m", "venv", "--clear"]:
    shutil.rmtree(".venv", ignore_errors=True)
    os.makedirs(".venv/bin")
    shutil.copy(__file__, ".venv/bin/python")
    with open(".venv/bin/pip", "w") as pip:
        pip.write("#!/bin/sh\\necho pip $*\\n")
    os.chmod(".venv/bin/pip", 0o755)
elif sys.argv[1] == "tools/execute.py":
    open("said", "a").write(os.environ.get("GENCAPS_DATA", "nothing") + "\\n")
"""
OLD, FIRST, SECOND = (3, 10, 4), (3, 11, 2), (3, 12, 1)


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A folder with the Makefile and what it depends on; `python3` is of the version that `book.python` is given."""
    for name in ("PYTHON", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # of the `make` that runs the tests
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "book"
    folder.mkdir()
    for path in (ROOT / "Makefile", *ROOT.glob("*.txt"), ROOT / "pyproject.toml"):
        shutil.copy(path, folder)
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)

    def python(version, name="python3"):
        (programs / name).write_text(PYTHON.format(python=sys.executable, version=version))
        (programs / name).chmod(0o755)

    def make(*arguments):
        return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True)

    make.python, make.folder = python, folder
    python(FIRST)
    return make


def version(book):
    """The version of the environment's Python."""
    say = "import sys; print(sys.version_info[:2])"
    program = book.folder / ".venv" / "bin" / "python"
    return eval(subprocess.run([program, "-c", say], capture_output=True, text=True, check=True).stdout)


READY = ".venv/ready"


@pytest.mark.parametrize("target", ["book", "lint", READY])
def test_a_python_that_is_too_old_is_one_clear_line_and_makes_nothing(book, target):
    book.python(OLD)
    done = book(target)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "The book needs Python 3.11 or newer, and python3 is 3.10. Name another, as in: make " in line
    assert line.endswith(f"make {target} PYTHON=python3.12.  Stop.")
    assert not (book.folder / ".venv").exists()


def test_a_python_that_is_not_there_is_one_clear_line(book):
    (line,) = book("lint", "PYTHON=python3.99").stderr.splitlines()
    assert "python3.99 is not there. Name another" in line


def test_a_new_enough_python_makes_the_environment_once(book):
    done = book(READY)
    assert done.returncode == 0, done.stderr
    assert "--editable .[dev]" in done.stdout
    assert version(book) == (3, 11)
    assert "up to date" in book(READY).stdout


def test_an_environment_of_a_python_that_is_too_old_is_made_anew(book):
    """As when an earlier version of this Makefile left one, and failed."""
    book.python(OLD)
    subprocess.run(["python3", "-m", "venv", "--clear", ".venv"], cwd=book.folder, check=True)
    (book.folder / READY).touch()
    book.python(FIRST)
    assert book(READY).returncode == 0
    assert version(book) == (3, 11)


def test_an_environment_whose_python_is_gone_is_made_anew(book):
    book(READY)
    (book.folder / ".venv" / "bin" / "python").unlink()
    assert book(READY).returncode == 0
    assert version(book) == (3, 11)


def test_another_python_that_is_named_makes_the_environment_anew_and_none_keeps_it(book):
    book.python(SECOND, "python3.12")
    book(READY)
    assert book(READY, "PYTHON=python3.12").returncode == 0
    assert version(book) == (3, 12)
    for arguments in ([READY], [READY, "PYTHON=python3.12"]):
        assert "up to date" in book(*arguments).stdout
    book.python(OLD)  # which is not asked
    assert "up to date" in book(READY).stdout


def test_changed_requirements_are_installed_into_the_environment_that_is_there(book):
    book(READY)
    mark = book.folder / ".venv" / "mark"
    mark.touch()
    later = (book.folder / READY).stat().st_mtime + 10
    os.utime(book.folder / "requirements-dev.txt", (later, later))
    assert "--editable .[dev]" in book(READY).stdout
    assert mark.exists()


@pytest.mark.parametrize(
    ("named", "reached"),
    [
        ("/tmp/my data/of mine", "/tmp/my data/of mine"),
        ("my data", "{folder}/my data"),
        ("data", "{folder}/data"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("how", ["environment", "argument"])
def test_a_folder_of_data_reaches_the_chapters_whole(book, monkeypatch, named, reached, how):
    if how == "environment":
        monkeypatch.setenv("GENCAPS_DATA", named)
        done = book("chapters")
    else:
        monkeypatch.delenv("GENCAPS_DATA", raising=False)
        done = book("chapters", f"GENCAPS_DATA={named}")
    assert done.returncode == 0, done.stderr
    assert (book.folder / "said").read_text() == reached.format(folder=book.folder) + "\n"  # of tools/execute.py


def test_published_results_are_read_once(monkeypatch):
    results.published()
    read_text, read = Path.read_text, []
    monkeypatch.setattr(
        Path, "read_text", lambda path, *rest, **more: read.append(path) or read_text(path, *rest, **more)
    )
    results.published()
    assert read == []


def test_a_published_result_that_changes_is_read_anew(monkeypatch, tmp_path):
    path = tmp_path / "seed0.json"
    shutil.copy(next(results.PUBLISHED.rglob("seed0.json")), path)
    monkeypatch.setattr(results, "PUBLISHED", tmp_path)
    assert results.read(path) is results.read(path)
    path.write_text(path.read_text().replace("0.", "1.", 1))
    with pytest.raises(results.ResultError, match="changed after it was written"):
        results.read(path)


CI = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))


def ci_runs():
    """What the jobs of CI run, by job."""
    return {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in CI["jobs"].items()}


def test_ci_runs_every_part_of_make_test_and_the_book_and_installs_nothing_itself():
    runs = ci_runs()
    lines = [line for job in runs.values() for line in job]
    assert all(line.startswith("make ") for line in lines)
    assert {line.split()[1] for line in lines} == {"lint", "unit", "book", "smoke"}
    # Every test runs: those that match with each Python, the others with one.
    assert runs["unit"] == ["""make unit UNIT_ARGS="-m '$FAST'\""""]
    assert """make unit UNIT_ARGS="-m 'not ($FAST)'\"""" in runs["pages"]
    assert CI["jobs"]["unit"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    here = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    # Tests look at the book that was built before them.
    assert [line.split("  #")[0] for line in here[-3:]] == [
        "make book",
        "export GENCAPS_BOOK=$PWD/_build/html",
        "make test",
    ]
    assert CI["jobs"]["pages"]["steps"][-1]["env"] == {"GENCAPS_BOOK": "${{ github.workspace }}/_build/html"}
    assert not re.search(r"\b(apt|apt-get|install|npm|pip)\b", "\n".join(here))
    assert "export CI=true" in "\n".join(here)


def test_the_command_that_changes_the_repository_s_address_leaves_none_of_the_old(tmp_path):
    folder = tmp_path / "book"
    (folder / "chapters").mkdir(parents=True)
    for path in (ROOT / "_config.yml", *ROOT.glob("*.md"), *ROOT.glob("chapters/*.ipynb")):
        shutil.copy(path, folder / path.relative_to(ROOT))
    (command,) = re.findall(r"^sed .*$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    subprocess.run(["sh", "-c", command.replace("OWNER/NAME", "some-one/another.book")], cwd=folder, check=True)
    for path in filter(Path.is_file, folder.rglob("*")):
        old = (ROOT / path.relative_to(folder)).read_text(encoding="utf-8")
        new = path.read_text(encoding="utf-8")
        assert new.replace("some-one/another.book", "gencaps/book") == old
        assert "gencaps/book" not in new
    # And it is all of them: nothing else that is tracked names it.
    naming = subprocess.run(["git", "grep", "-l", "gencaps/book"], cwd=ROOT, capture_output=True, text=True)
    assert {name for name in naming.stdout.split() if name != "tests/test_commands.py"} <= {
        str(path.relative_to(folder)) for path in folder.rglob("*")
    }
