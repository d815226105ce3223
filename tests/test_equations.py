"""Displayed equations: each has a label, and code that is held to it, in the library with a test or on the page."""

import ast
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
DISPLAYED = re.compile(r"\$\$(?:.*?)\$\$(?:[ ]\((?P<label>eq-[a-z-]+)\))?", re.DOTALL)


def prose(path):
    return "\n".join(
        "".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "markdown"
    )


def labels():
    """The label of every displayed equation, None where it has none, with the chapter that it is in."""
    return [
        (match["label"], path.stem)
        for path in sorted((ROOT / "chapters").glob("*.ipynb"))
        for match in DISPLAYED.finditer(prose(path))
    ]


def named_in_docstrings():
    """The labels that docstrings of the library name."""
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return {
        label
        for path in (ROOT / "gencaps_lib").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, holders)
        for label in re.findall(r":eq:`([\w-]+)`", ast.get_docstring(node) or "")
    }


def marked():
    """The labels that tests are marked with."""
    return {
        decorator.args[0].value
        for path in (ROOT / "tests").glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.equation"
    }


def on_the_page():
    """The labels that code of a chapter names in a comment, `# (eq-label)`: what only the page builds, it computes."""
    return {
        label
        for path in (ROOT / "chapters").glob("*.ipynb")
        for cell in json.loads(path.read_text())["cells"]
        if cell["cell_type"] == "code"
        for label in re.findall(r"# \((eq-[a-z-]+)\)", "".join(cell["source"]))
    }


def test_every_displayed_equation_has_a_label_of_its_own():
    found = [label for label, _ in labels()]
    assert len(found) > 10
    assert [chapter for label, chapter in labels() if label is None] == []
    assert len(found) == len(set(found))


def test_docstrings_and_tests_name_every_equation_of_the_library():
    assert named_in_docstrings() == marked()
    assert {label for label, _ in labels()} == named_in_docstrings() | on_the_page()
