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
    if "claims_table(" not in whole and "protocols.verdicts(" not in whole:
        yield "it judges no claim"
    last = source(notebook["cells"][-1])
    if not last.startswith("## What to read next") or "{cite:" not in last:
        yield "it does not end with what to read next, with a work that it cites"


QUESTION = re.compile(r"\*\*(Predict before you read on|Before you look)\.\*\*")
FOLDED = {"hide-input", "hide-cell", "remove-cell", "remove-input"}
# What begins with one of these names shows, loads or judges, and is not about a chapter's idea.
PLUMBING = {"figures", "diagrams", "explorers", "results", "protocols", "verdicts", "print", "load_digits", "display"}
BUILT = ("01", "02", "03", "04", "05", "07", "12", "14")  # chapters that build what the library has


def is_folded(cell):
    return bool(FOLDED & set(cell["metadata"].get("tags", [])))


def code_lines(node, text):
    """The lines of a statement that are neither blank nor a comment."""
    lines = text.splitlines()[node.lineno - 1 : node.end_lineno]
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in lines)


def is_plumbing(node):
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.FunctionDef) and node.name.startswith("check"):
        return True
    value = getattr(node, "value", None)
    if isinstance(value, ast.GeneratorExp):
        value = value.elt
    while isinstance(value, ast.Call | ast.Attribute | ast.Subscript):
        value = value.func if isinstance(value, ast.Call) else value.value
    return isinstance(value, ast.Name) and value.id in PLUMBING


def visible_lines(notebook):
    """How many visible lines of code there are, and how many of them are not about the idea."""
    total = plumbing = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code" or is_folded(cell):
            continue
        text = source(cell)
        for node in ast.parse(text).body:
            count = code_lines(node, text)
            total, plumbing = total + count, plumbing + count * is_plumbing(node)
    return total, plumbing


def wrong_with_code(name, notebook):
    total, plumbing = visible_lines(notebook)
    if 3 * plumbing > total:
        yield f"{plumbing} of {total} visible lines of code are not about its idea"
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and is_folded(cell) and not source(cell).startswith("# @title "):
            yield f"a folded cell has no title, which folds it in Colab: {source(cell)[:40]!r}"
    shown = "\n".join(source(cell) for cell in notebook["cells"] if cell["cell_type"] == "code" and not is_folded(cell))
    if name.startswith(BUILT) and "assert_close(" not in shown:
        yield "what it builds is not asserted equal to the library's"


def wrong_with_figures(name, notebook):
    """Figures are numbered in order, and the text refers to each."""
    code = "\n".join(source(cell) for cell in notebook["cells"] if cell["cell_type"] == "code")
    text = "\n".join(source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    numbers = re.findall(r'\.captioned\(\s*"([\d.]+)"', code)
    if numbers != [f"{int(name[:2])}.{place}" for place in range(1, len(numbers) + 1)]:
        yield f"figures are not numbered in order: {numbers}"
    if not numbers:
        yield "no figure has a number"
    told = re.findall(r"Figures? (\d+\.\d+)", text) + re.findall(r"Figures? \d+\.\d+ (?:and|to) (\d+\.\d+)", text)
    if not set(numbers) <= set(told):
        yield f"the text does not refer to figure {sorted(set(numbers) - set(told))}"
    own = {each for each in told if each.startswith(f"{int(name[:2])}.")}
    if not own <= set(numbers):
        yield f"the text refers to figure {sorted(own - set(numbers))}, which is not there"


def wrong_with_questions(notebook):
    """A question only where a reader can be wrong."""
    count = sum(len(QUESTION.findall(source(cell))) for cell in notebook["cells"])
    if not 1 <= count <= 3:
        yield f"it asks {count} times before it shows"


def wrong_with_end(notebook):
    """What was learned, in about three sentences, and then the claims."""
    found = headings(notebook)
    if "## What you learned" not in found or "## Claims" not in found:
        yield "it does not say what was learned, and then judge"
    elif found.index("## Claims") != found.index("## What you learned") + 1:
        yield "the claims do not follow on what was learned"
    else:
        text = "\n".join(source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
        learned = text.split("## What you learned")[1].split("## ")[0]
        count = len(re.findall(r"[.!?](?=\s|$)", learned))
        if not 3 <= count <= 5:
            yield f"what was learned has {count} sentences"


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
    """A folded check, the stub that is left to the reader, and a folded solution."""
    cells = notebook["cells"]
    place = next((i for i, cell in enumerate(cells) if f"{heading}\n" in source(cell)), None)
    following = cells[place + 1 : place + 4] if place is not None else []
    if [cell["cell_type"] for cell in following] != ["code", "code", "code"]:
        yield f"{heading!r} has no three code cells: a check, a stub and a solution"
        return
    checker, stub, solution = map(source, following)
    checks = [node for node in ast.parse(checker).body if isinstance(node, ast.FunctionDef) and node.name == check]
    if not checks or not any(isinstance(node, ast.Assert) for node in ast.walk(checks[0])):
        yield f"{heading!r} has no {check} that asserts something"
    answers = set(left_open(stub))
    if not answers:
        yield f"{heading!r} leaves nothing to the reader"
    if not answers <= set(defined(solution)):
        yield f"the solution of {heading!r} does not answer it"
    if not any(re.search(rf"^(\w+ = )?{check}\({answer}\)$", solution, re.MULTILINE) for answer in answers):
        yield f"the solution of {heading!r} does not run {check}"
    if not is_folded(following[0]) or is_folded(following[1]):
        yield f"the check of {heading!r} is not folded, or the stub is"
    if not is_folded(following[2]) or not solution.startswith("# @title Solution"):
        yield f"the solution of {heading!r} is not folded"


def missing(name, notebook):
    """Everything that a chapter lacks."""
    found = [*wrong_with_header(notebook), *wrong_with_sections(notebook), *wrong_with_questions(notebook)]
    found += [*wrong_with_code(name, notebook), *wrong_with_figures(name, notebook), *wrong_with_end(notebook)]
    for heading, check in EXERCISES.items():
        found += wrong_with_exercise(notebook, heading, check)
    return found


@pytest.mark.parametrize("name", BOOKS)
def test_each_chapter_has_the_parts_of_a_chapter(name):
    assert missing(name, BOOKS[name]) == []


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


def no_questions(cells):
    for cell in cells:
        cell["source"] = [QUESTION.sub("By the way:", source(cell))]


def unfold_figures(cells):
    for cell in cells:
        if "hide-input" in cell["metadata"].get("tags", []):
            cell["metadata"] = {}


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (replaced("What you need:", "You need:"), "what it needs"),
        (replaced("- ", "* "), "goals"),
        (replaced("../statistics.md", "../glossary.md"), "how long"),
        (replaced("## Second exercise\n", "## More\n"), "'## Second exercise' is there 0 times"),
        (replaced("## Measure it", "## The curves"), "nothing is measured"),
        (replaced("protocols.verdicts(", "print("), "no claim"),
        (replaced("{cite:", "{see:"), "what to read next"),
        (no_questions, "asks 0 times"),
        (drop_stub, "no three code cells"),
        (replaced("assert ", "bool(0), "), "asserts something"),
        (replaced("class Moved(Decoder): ...", "class Moved(Decoder): pass"), "leaves nothing"),
        (
            replaced("class Moved(Decoder):\n    def forward", "class Other(Decoder):\n    def forward"),
            "does not answer",
        ),
        (replaced("\ncheck_second(Moved)\n", "\n"), "does not run check_second"),
        (replaced("\ncheck(loss_at)\n", "\n"), "does not run check"),
        (unfold, "not folded"),
        (unfold_figures, "are not about its idea"),
        (replaced("assert_close(", "print("), "not asserted equal"),
        (replaced("# @title Solution { ", "# Solution { "), "no title"),
        (replaced('"1.2"', '"1.3"'), "not numbered in order"),
        (replaced("Figure 1.2", "The figure"), "does not refer to figure ['1.2']"),
        (replaced("## What you learned", "## The end"), "what was learned"),
    ],
)
def test_the_check_of_a_chapter_s_parts_can_fail(damage, complaint):
    name = "01-what-an-autoencoder-memorises"
    notebook = copy.deepcopy(BOOKS[name])
    damage(notebook["cells"])
    assert any(complaint in each for each in missing(name, notebook))


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
