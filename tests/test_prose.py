"""The numbers in the chapters' prose: each stands in a stored output, so prose that a new run left behind is found."""

import json
import re
from pathlib import Path

import pytest
from stamps import texts_of

ROOT = Path(__file__).parents[1]
CHAPTERS = {path.name: json.loads(path.read_text()) for path in sorted((ROOT / "chapters").glob("*.ipynb"))}
DECIMAL = re.compile(r"(?<![\w.])\d*\.\d+(?!\d|\.\d)")
LINK = re.compile(r"\]\((\d\d-[\w-]+\.ipynb)\)")
COMPUTED = {"0.577"}  # 1/√3, the standard deviation of what is evenly spread on [-1, 1]


def sources_of(notebook, kind):
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def numbers_of(notebook):
    """What a chapter shows, and what its code sets; also as a share of a percentage."""
    shown = "\n".join([texts_of(notebook), *sources_of(notebook, "code")])
    values = {float(number) for number in DECIMAL.findall(shown)}
    return values | {value / 100 for value in values} | {value * 100 for value in values}


NUMBERS = {name: numbers_of(notebook) for name, notebook in CHAPTERS.items()}
# A trial that is told of is stored here, and not every one is shown.
TRIALS = {float(number) for number in DECIMAL.findall((ROOT / "gencaps_lib/experiments/trials.csv").read_text())}


def left_behind(prose, shown):
    """The decimals of a text that no number among `shown` is rounded to."""
    for number in DECIMAL.findall(prose):
        half = 0.500001 * 10 ** -len(number.split(".")[1])
        if number not in COMPUTED and not any(abs(value - float(number)) <= half for value in shown):
            yield number


@pytest.mark.parametrize("name", CHAPTERS)
def test_each_decimal_in_prose_is_shown_by_its_chapter_or_one_that_it_links_to(name):
    for prose in sources_of(CHAPTERS[name], "markdown"):
        shown = TRIALS.union(NUMBERS[name], *(NUMBERS[other] for other in LINK.findall(prose)))
        assert list(left_behind(prose, shown)) == [], prose


def test_a_number_that_no_output_shows_is_found():
    shown = {0.9672, 1.25}
    assert list(left_behind("It names .967, where we ask for 1.3, see version 2.11.0.", shown)) == []
    assert list(left_behind("It names .968 and 1.2. Of these 9.87.", shown)) == [".968", "9.87"]
