"""The book as it is stored: chapters executed in order on the data they name, without errors, and consistent."""

import json
import re
from pathlib import Path

import pytest
import yaml
from stamps import texts_of

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())
TABLE_OF_CONTENTS = yaml.safe_load((ROOT / "_toc.yml").read_text())
STORED = {"profile": "quick", "source": "mnist"}  # what `make chapters` stores


def complaints(notebook):
    """Everything that is wrong with what a chapter stores."""
    found = []
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    counts = [cell["execution_count"] for cell in code]
    if counts != list(range(1, len(code) + 1)):
        found.append(f"cells not executed once and in order: {counts}")
    for number, cell in enumerate(code, 1):
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                found.append(f"cell {number} stores an error: {output['ename']}")
            content = "".join(output.get("text", "")) or "".join(map("".join, output.get("data", {}).values()))
            if not content.strip():
                found.append(f"cell {number} stores an empty output")
            if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
                found.append(f"cell {number} stores a widget, which is dead on a page")
            if output.get("name") == "stderr":
                found.append(f"cell {number} stores a warning: {content[:80]}")
    settings = re.findall(r"^(\w+) profile; data: (\w+)", texts_of(notebook), re.MULTILINE)
    if settings != [(STORED["profile"], STORED["source"])]:
        found.append(f"outputs are of {settings}, and must be of one run at {STORED}")
    # Published runs of longer protocols are shown as well.
    allowed = {(STORED["source"], profile) for profile in (STORED["profile"], "large", "large-rmsprop", "full")}
    others = set(re.findall(r"\b(embedded|mnist), ([\w-]+) profile", texts_of(notebook))) - allowed
    if others:
        found.append(f"some outputs are of {others}")
    return found


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request):
    return json.loads(request.param.read_text())


def test_there_are_chapters_and_the_table_of_contents_has_each():
    chapters, _ = TABLE_OF_CONTENTS["parts"]
    assert chapters["numbered"]
    assert [entry["file"] for entry in chapters["chapters"]] == [f"chapters/{path.stem}" for path in CHAPTERS]
    # The sidebar's numbers and the files' are the same.
    assert [int(path.stem[:2]) for path in CHAPTERS] == list(range(1, len(CHAPTERS) + 1))


def test_stored_outputs_are_real(chapter):
    assert complaints(chapter) == []


def damaged(damage):
    notebook = json.loads(CHAPTERS[0].read_text())
    damage(notebook, [cell for cell in notebook["cells"] if cell["cell_type"] == "code"])
    return complaints(notebook)


def swap_source(notebook, code):
    for cell in code:
        for output in cell["outputs"]:
            for holder, key in ((output, "text"), (output.get("data", {}), "text/plain")):
                if key in holder:
                    holder[key] = "".join(holder[key]).replace("mnist", "embedded")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda book, code: code[1]["outputs"].append({"output_type": "error", "ename": "E"}), "stores an error"),
        (lambda book, code: code[1].update(execution_count=None), "in order"),
        (lambda book, code: code[1].update(execution_count=9), "in order"),
        (lambda book, code: code[2].update(outputs=[]), "must be of one run"),
        (lambda book, code: code[2].update(outputs=[{"output_type": "display_data", "data": {}}]), "empty output"),
        (
            lambda book, code: code[2].update(outputs=[{"output_type": "stream", "name": "stderr", "text": "W"}]),
            "a warning",
        ),
        (
            lambda book, code: code[2].update(
                outputs=[
                    {
                        "output_type": "display_data",
                        "data": {"application/vnd.jupyter.widget-view+json": "{}", "text/plain": "bar"},
                    }
                ]
            ),
            "a widget",
        ),
        (swap_source, "must be of one run"),
        (swap_source, "some outputs are of"),
    ],
)
def test_the_check_of_stored_outputs_can_fail(damage, complaint):
    assert any(complaint in each for each in damaged(damage))


def test_no_chapter_may_go_on_after_an_error(chapter):
    assert CONFIG["execute"].get("allow_errors", False) is False
    tags = {tag for cell in chapter["cells"] for tag in cell["metadata"].get("tags", [])}
    assert tags <= {"hide-cell", "hide-input", "remove-cell"}


def test_badges_and_setup_cells_agree_with_the_repository_s_address():
    repository = CONFIG["repository"]
    colab = f"https://colab.research.google.com/github/{repository['url'].removeprefix('https://github.com/')}"
    for path in CHAPTERS:
        notebook = json.loads(path.read_text())
        sources = ["".join(cell["source"]) for cell in notebook["cells"]]
        assert f"({colab}/blob/{repository['branch']}/chapters/{path.name})" in sources[0], path.name
        assert f'"git+{repository["url"]}"' in sources[1], path.name
    assert repository["url"] in (ROOT / "intro.md").read_text()


def pictures(notebook):
    """The <img> elements that a chapter stores."""
    shown = [
        "".join(output["data"]["text/html"])
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if "text/html" in output.get("data", {})
    ]
    return [image for text in shown for image in re.findall(r"<img[^>]*>", text)]


def test_every_chapter_has_pictures():
    without = [path.stem for path in CHAPTERS if not pictures(json.loads(path.read_text()))]
    assert without == []


def test_every_picture_has_alt_text(chapter):
    for image in pictures(chapter):
        assert len(re.search(r'alt="([^"]*)"', image).group(1)) > 40
    raw = [
        output
        for cell in chapter["cells"]
        for output in cell.get("outputs", [])
        if any(kind.startswith("image/") for kind in output.get("data", {}))
    ]
    assert not raw, "a picture that is not shown through gencaps_lib.figures has no alt text"


def test_citations_are_in_the_bibliography():
    keys = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "references.bib").read_text(), re.MULTILINE))
    pages = [(ROOT / "intro.md").read_text()] + [path.read_text() for path in CHAPTERS]
    cited = {
        key for page in pages for group in re.findall(r"\{cite[:\w]*\}`([^`]+)`", page) for key in group.split(",")
    }
    assert cited
    assert cited <= keys


def test_requirements_have_lower_bounds_and_tested_pins():
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().lower().splitlines()
        if line and not line.startswith("#")
    )
    for file in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / file).read_text().splitlines():
            if line and not line.startswith("#"):
                name = re.match(r"[A-Za-z0-9_-]+>=", line)
                assert name, f"{file}: {line} needs a lower bound"
                assert name.group()[:-2].lower() in pins, f"{line} needs a pin in constraints.txt"
