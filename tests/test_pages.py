"""The pages that the book's own Sphinx extensions make: feet with stamps, statistics, and the API reference."""

import json
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import library_use
import pytest
import yaml

ROOT = Path(__file__).parents[1]
STAMP = {
    "profile": "quick",
    "source": "mnist",
    "device": "CPU, 2 threads",
    "versions": {"python": "3.11.7", "torch": "2.15.0"},
    "commit": "abc1234",
    "date": "2026-11-22T12:34:56+00:00",
    "seconds": 125.0,
}
REFERENCE = ("routing", "models.parts", "evaluation.curves", "results.folder")  # modules of the small book
PROSE = "# A chapter\n\n`route_by_address` writes. `route_by_address` again, and `nothing`.\n\n$$x$$ (eq-routing)\n\n"


def notebook(source, code, stamp):
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": source},
        {"cell_type": "code", "id": "b", "metadata": {}, "source": code, "execution_count": 1, "outputs": []},
    ]
    metadata = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}} | (
        {"gencaps": stamp} if stamp else {}
    )
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A small book: a part of the API reference, and two chapters, of which one has a stamp; name → HTML."""
    folder = tmp_path_factory.mktemp("book")
    (folder / "chapters").mkdir()
    config = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]
    of_reference = ("autodoc", "codeautolink", "default_role", "nitpick", "numpydoc")
    settings = {name: value for name, value in config["config"].items() if name.startswith(of_reference)}
    extensions = ["myst_nb", *config["extra_extensions"], *config["local_extensions"]]
    options = {"myst_enable_extensions": ["dollarmath"], "nb_execution_mode": "off", "extensions": extensions}
    lines = [f"{name} = {value!r}" for name, value in (options | settings).items()]
    (folder / "conf.py").write_text("\n".join(lines))
    code = "from gencaps_lib import results, routing\nfrom gencaps_lib.evaluation import loss_curve as curve\n"
    code += "routing.route_by_address(results.published('quick'), curve)\nother.load()"
    (folder / "chapters" / "01-a.ipynb").write_text(notebook(PROSE, code, STAMP))
    (folder / "chapters" / "02-b.ipynb").write_text(notebook("# Another", "1", None))
    (folder / "chapters" / "smoke-times.json").write_text(
        json.dumps({"date": "2026-11-21", "device": "CPU", "torch": "2.15.0", "seconds": {"01-a": 7.4}})
    )
    (folder / "statistics.md").write_text((ROOT / "statistics.md").read_text())
    modules = "\n\n".join(f".. automodule:: gencaps_lib.{name}\n   :members:" for name in REFERENCE)
    (folder / "api.md").write_text(f"# API\n\n```{{eval-rst}}\n{modules}\n```\n")
    (folder / "index.md").write_text("# Book\n\n```{toctree}\nchapters/01-a\nchapters/02-b\nstatistics\napi\n```\n")
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", folder, folder / "html"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tools"), str(ROOT)])},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return {path.stem: path.read_text() for path in (folder / "html").rglob("*.html")}


def text(page):
    return " ".join(unescape(re.sub(r"<[^>]+>", "", page)).split())


def foot(page):
    return page.split("gencaps-foot")[1]


def test_a_chapter_s_foot_shows_its_stamp(pages):
    assert (
        "quick profile, data mnist, made on 2026-11-22 in 2 min 05 s (CPU, 2 threads; PyTorch 2.15.0; commit abc1234)"
        in text(foot(pages["01-a"]))
    )
    assert "carry no stamp" in text(foot(pages["02-b"]))
    assert "gencaps-foot" not in pages["statistics"]


def test_prose_links_to_the_reference_at_the_first_mention(pages):
    prose = pages["01-a"].split("<pre>")[0]
    assert prose.count('"../api.html#gencaps_lib.routing.route_by_address"') == 1
    assert not re.search(r"<a[^>]*><code[^>]*><span[^>]*>nothing", prose)


def test_code_links_to_the_reference_and_back(pages):
    code = re.search("<pre>.*?</pre>", pages["01-a"], re.DOTALL)[0]
    linked = set(re.findall('"../api.html#(?:module-)?gencaps_lib.(.*?)"', code))
    names = {"routing.route_by_address", "evaluation.curves.loss_curve", "results.folder.published"}
    assert linked == names | {"routing"}
    assert pages["api"].count("<summary>Used in chapters</summary>") == len(linked)
    assert pages["api"].count('href="chapters/01-a.html#a-chapter"') == len(linked)


def test_statistics_are_those_of_the_stamps(pages):
    rows = [re.findall(r"<td.*?</td>", row, re.DOTALL) for row in pages["statistics"].split("<tr")]
    cells = [[text(cell) for cell in row] for row in rows if row]
    assert cells[0][:4] == ["A chapter", "2 min 05 s", "7 s", "mnist"]
    assert cells[0][5:] == ["abc1234", "CPU, 2 threads"]
    assert cells[1][:3] == ["Another", "no stamp", ""]
    assert ["torch", "2.15.0 (01)"] in cells
    assert "2026-11-21" in text(pages["statistics"])


def test_docstrings_are_shown_with_their_equation_numbers_and_links(pages):
    api = pages["api"]
    assert re.search(r'href="chapters/01-a.html#equation-eq-routing"', api)
    shown = text(api)
    assert re.search(r"addresses ?\(B, N, 2\) floating point, \(row, column\) in index space", shown)
    assert re.search("ValueError ?Wrong ranks or shapes", shown)
    assert '<a class="reference internal" href="#gencaps_lib.evaluation.curves.image_losses"' in api
    assert "Neural Turing Machines" in shown
    assert not re.search(r"<h\d>(References|Returns|Raises)", api), "the contents list names of the library only"


def test_a_docstring_s_names_of_other_modules_are_links(pages):
    link = '<a class="reference internal" href="#gencaps_lib.models.parts.Autoencoder"'
    assert f"What evaluation needs of a model that draws, for example an {link}" in pages["api"]


def test_the_reference_has_every_public_module_once():
    pages = "\n".join((ROOT / name).read_text() for name in ("api.md", "api-results.md"))
    shown = re.findall(r"^\.\. automodule:: gencaps_lib\.([\w.]+)$", pages, re.MULTILINE)
    assert sorted(shown) == sorted(library_use.modules())
