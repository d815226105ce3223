"""What a chapter owes its reader: goals, questions before results, exercises that check themselves, terms explained."""

import ast
import copy
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
BOOKS = {path.stem: json.loads(path.read_text()) for path in CHAPTERS}
GLOSSARY_LINK = re.compile(r"\[[^]]*\]\(\.\./glossary\.md#([^)]*)\)")
RESULTS = re.compile(r"^##+ (See it|Measure)")  # headings under which a chapter shows what came out
EXERCISES = {"## Exercise": "check", "## Second exercise": "check_second"}


def source(cell):
    return "".join(cell["source"])


def headings(notebook):
    """The notebook's headings below the title."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    return [line for cell in cells for line in source(cell).splitlines() if line.startswith("##")]


def wrong_with_header(notebook):
    header = source(notebook["cells"][0])
    if "What you need:" not in header:
        yield "it does not say what it needs"
    goals = re.search(r"^What you take away\. Afterwards you can\n\n((?:- .*\n)*)", header, re.MULTILINE)
    if not goals or not 2 <= goals.group(1).count("\n") <= 4:
        yield "its goals are not two to four lines of a list"
    if "*Time: " not in header or "(../statistics.md)" not in header:
        yield "it does not say how long it takes, with a link to the execution statistics"


def wrong_with_sections(notebook):
    found = headings(notebook)
    for needed in ("## The question", *EXERCISES, "## What to read next"):
        if found.count(needed) != 1:
            yield f"{needed!r} is there {found.count(needed)} times"
    if not any("Measure" in heading for heading in found):
        yield "nothing is measured"
    whole = "\n".join(map(source, notebook["cells"]))
    if "**Predict before you read on.**" not in whole:
        yield "it asks for no prediction"
    if "figures.claims_table(" not in whole and "protocols.verdicts(" not in whole:
        yield "it judges no claim"
    last = source(notebook["cells"][-1])
    if not last.startswith("## What to read next") or "{cite:" not in last:
        yield "it does not end with what to read next, with a work that it cites"


def wrong_with_questions(notebook):
    """A section of results asks before its first code cell."""
    asked, section = True, ""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            if not asked:
                yield f"{section!r} shows before it asks"
            asked = True
            continue
        for line in source(cell).splitlines():
            if RESULTS.match(line):
                asked, section = False, line
            elif "**Before you look.**" in line:
                asked = True


def left_open(code):
    """The names that a cell leaves to the reader: functions, classes and values that are `...`."""
    for node in ast.parse(code).body:
        body = node.body[-1] if isinstance(node, ast.FunctionDef | ast.ClassDef) else node
        value = getattr(body, "value", None)
        if isinstance(value, ast.Constant) and value.value is ...:
            yield node.targets[0].id if isinstance(node, ast.Assign) else node.name


def defined(code):
    """The names that a cell defines or assigns at its top."""
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def wrong_with_exercise(notebook, heading, check):
    cells = notebook["cells"]
    place = next((i for i, cell in enumerate(cells) if f"{heading}\n" in source(cell)), None)
    following = cells[place + 1 : place + 3] if place is not None else []
    if [cell["cell_type"] for cell in following] != ["code", "code"]:
        yield f"{heading!r} has no two code cells, to answer it and to show a solution"
        return
    stub, solution = map(source, following)
    checks = [node for node in ast.parse(stub).body if isinstance(node, ast.FunctionDef) and node.name == check]
    if not checks or not any(isinstance(node, ast.Assert) for node in ast.walk(checks[0])):
        yield f"{heading!r} has no {check} that asserts something"
    answers = set(left_open(stub))
    if not answers:
        yield f"{heading!r} leaves nothing to the reader"
    if not answers <= set(defined(solution)):
        yield f"the solution of {heading!r} does not answer it"
    if not any(re.search(rf"^(\w+ = )?{check}\({answer}\)$", solution, re.MULTILINE) for answer in answers):
        yield f"the solution of {heading!r} does not run {check}"
    folded = "hide-cell" in following[1]["metadata"].get("tags", [])
    if not folded or not solution.startswith("# @title Solution"):
        yield f"the solution of {heading!r} is not folded"


def missing(notebook):
    """Everything that a chapter lacks."""
    found = [*wrong_with_header(notebook), *wrong_with_sections(notebook), *wrong_with_questions(notebook)]
    for heading, check in EXERCISES.items():
        found += wrong_with_exercise(notebook, heading, check)
    return found


@pytest.mark.parametrize("name", BOOKS)
def test_each_chapter_has_the_parts_of_a_chapter(name):
    assert missing(BOOKS[name]) == []


def replaced(old, new):
    """A damage: every `old` in the chapter's cells becomes `new`."""

    def damage(cells):
        for cell in cells:
            cell["source"] = [source(cell).replace(old, new)]

    return damage


def unfold(cells):
    next(cell for cell in cells if "# @title Solution of the second" in source(cell))["metadata"] = {}


def drop_stub(cells):
    cells[:] = [cell for cell in cells if "def check_second(" not in source(cell)]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (replaced("What you need:", "You need:"), "what it needs"),
        (replaced("- ", "* "), "goals"),
        (replaced("../statistics.md", "../glossary.md"), "how long"),
        (replaced("## Second exercise\n", "## More\n"), "'## Second exercise' is there 0 times"),
        (replaced("## Measure it", "## The curves"), "nothing is measured"),
        (replaced("**Predict before", "**Think before"), "no prediction"),
        (replaced("figures.claims_table(", "print("), "no claim"),
        (replaced("{cite:", "{see:"), "what to read next"),
        (replaced("**Before you look.**", "By the way:"), "shows before it asks"),
        (drop_stub, "no two code cells"),
        (replaced("assert ", "bool(0), "), "asserts something"),
        (replaced("class Named(Shift): ...", "class Named(Shift): pass"), "leaves nothing"),
        (replaced("class Named(Shift):\n    @property", "class Other(Shift):\n    @property"), "does not answer"),
        (replaced("\ncheck_second(Named)\n", "\n"), "does not run check_second"),
        (replaced("\ncheck(loss_at)\n", "\n"), "does not run check"),
        (unfold, "not folded"),
    ],
)
def test_the_check_of_a_chapter_s_parts_can_fail(damage, complaint):
    notebook = copy.deepcopy(BOOKS["01-what-an-autoencoder-memorises"])
    damage(notebook["cells"])
    assert any(complaint in each for each in missing(notebook))


def glossary_terms():
    """The terms of the glossary, as a link names them."""
    found = re.findall(r"^## (.+)$", (ROOT / "glossary.md").read_text(), re.MULTILINE)
    return [term.lower().replace(" ", "-") for term in found]


def test_every_term_of_the_glossary_is_explained_once_in_order_and_linked_from_a_chapter():
    terms = glossary_terms()
    assert terms == sorted(set(terms))
    linked = {term for path in CHAPTERS for term in GLOSSARY_LINK.findall(path.read_text())}
    assert linked == set(terms)


@pytest.mark.parametrize("name", BOOKS)
def test_a_chapter_links_each_term_of_the_glossary_once(name):
    links = [term for cell in BOOKS[name]["cells"] for term in GLOSSARY_LINK.findall(source(cell))]
    assert links
    assert len(links) == len(set(links))


AMERICAN = re.compile(
    r"\b(\w*(color|center|behavior|neighbor)\w*|gray|(memor|normal|general|summar|recogn|optim|regular)iz\w+)\b", re.I
)


def prose():
    """The book's prose: page or cell → text, without code."""
    pages = {path.name: path.read_text() for path in (ROOT / "intro.md", ROOT / "glossary.md")}
    cells = {
        cell["id"]: source(cell) for book in BOOKS.values() for cell in book["cells"] if cell["cell_type"] == "markdown"
    }
    return {
        name: re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", text, flags=re.DOTALL)
        for name, text in {**pages, **cells}.items()
    }


def test_the_book_is_spelled_the_british_way():
    found = {name: AMERICAN.search(text).group() for name, text in prose().items() if AMERICAN.search(text)}
    assert found == {}


@pytest.mark.parametrize("word", ["color", "centered", "memorizes", "normalized", "gray", "recognize", "optimizer"])
def test_american_spelling_is_seen(word):
    assert AMERICAN.search(f"a {word}, for example")
