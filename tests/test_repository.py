"""`make repository URL=…`: the book's address, wherever it stands."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
NEW = "https://github.com/some-one/another.book"
OLD = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"].removeprefix("https://github.com/")


@pytest.fixture
def copy(tmp_path):
    """A copy of what may name the address: everything but environments, builds and results."""
    kept_out = (".git", ".venv", ".*_cache", ".hypothesis", "_build", "results", "published", "__pycache__", "mathjax")
    left_out = shutil.ignore_patterns(*kept_out, "*.egg-info")
    return shutil.copytree(ROOT, tmp_path / "copy", ignore=left_out)


def move(book, url):
    """Run the command in a copy of the book."""
    return subprocess.run([sys.executable, "tools/repository.py", url], cwd=book, capture_output=True, text=True)


def texts(book):
    """The text files of the copy, by path; of chapters, without outputs."""
    found = {}
    for path in book.rglob("*"):
        if path.is_file() and path.suffix in {".py", ".md", ".yml", ".toml", ".txt", ".ipynb", ""}:
            text = path.read_text()
            if path.suffix == ".ipynb":
                text = json.dumps([cell["source"] for cell in json.loads(text)["cells"]])
            found[str(path.relative_to(book))] = text
    return found


def outputs(book):
    """What chapters hold besides the source of their cells."""
    found = {}
    for path in (book / "chapters").glob("*.ipynb"):
        notebook = json.loads(path.read_text())
        for cell in notebook["cells"]:
            del cell["source"]
        found[path.name] = notebook
    return found


def test_a_new_address_reaches_every_file_that_names_the_old_one(copy):
    naming = {name for name, text in texts(copy).items() if OLD in text}
    assert {"_config.yml", "intro.md"} <= naming
    assert len(naming) >= 2 + len(list((ROOT / "chapters").glob("*.ipynb")))
    stored = outputs(copy)
    done = move(copy, NEW)
    assert done.returncode == 0, done.stderr
    after = texts(copy)
    assert {name for name, text in after.items() if OLD in text} == set()
    assert naming <= {name for name, text in after.items() if "some-one/another.book" in text}
    assert yaml.safe_load(after["_config.yml"])["repository"]["url"] == NEW
    assert outputs(copy) == stored


def test_the_command_run_again_changes_nothing_and_back_restores_every_byte(copy):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    move(copy, NEW + ".git")
    moved = {path: path.read_bytes() for path in before}
    assert moved != before
    assert "0 files changed" in move(copy, NEW + "/").stdout
    assert {path: path.read_bytes() for path in before} == moved
    move(copy, f"https://github.com/{OLD}")
    assert {path: path.read_bytes() for path in before} == before


def test_outputs_and_longer_names_keep_the_old_address(copy):
    longer = f"https://github.com/{OLD}-of-exercises"
    (copy / "README.md").write_text(f"See {longer} and https://github.com/{OLD}.\n")
    chapter = sorted((copy / "chapters").glob("*.ipynb"))[0]
    notebook = json.loads(chapter.read_text())
    code = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    code["outputs"] = [{"output_type": "stream", "name": "stdout", "text": f"from https://github.com/{OLD}"}]
    chapter.write_text(json.dumps(notebook))
    move(copy, NEW)
    assert (copy / "README.md").read_text() == f"See {longer} and {NEW}.\n"
    assert f"from https://github.com/{OLD}" in chapter.read_text()


@pytest.mark.parametrize(
    "url", ["", "owner/name", "http://github.com/a/b", "https://gitlab.com/a/b", NEW + "/tree/main"]
)
def test_a_bad_address_is_one_clear_error_and_changes_nothing(copy, url):
    before = texts(copy)
    done = move(copy, url)
    assert done.returncode == 2
    assert done.stderr == f"'{url}' is not an address of the form https://github.com/OWNER/NAME\n"
    assert texts(copy) == before
