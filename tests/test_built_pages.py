"""The built book, opened from disk in a browser: offline, on a phone, on a dark screen, by a screen reader."""

import hashlib
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from weights import weigh

ROOT = Path(__file__).parents[1]
MATHJAX_SHA256 = "d4295dc33744836935c1399feece5159577b34c5c8ffb9f1c6324cd82e03a882"  # of mathjax@3.2.2
PHONE = {"width": 375, "height": 800}
LAPTOP = {"width": 1280, "height": 800}
MOST = 1_000_000  # bytes of a page, without what all pages share


def listed(contents):
    """The pages that the table of contents names."""
    return [contents["root"], *(each["file"] for part in contents["parts"] for each in part["chapters"])]


PAGES = [f"{name}.html" for name in listed(yaml.safe_load((ROOT / "_toc.yml").read_text()))]
PAGES += ["genindex.html", "search.html"]


@pytest.fixture(scope="module")
def visit(book, browser):
    """Open a page from disk, once: what it asked for, what it shows on a phone and on a laptop, light and dark."""

    @cache
    def look(name):
        # Buttons fade from one theme's colours to the other's, unless motion is unwanted.
        context = browser.new_context(viewport=PHONE, reduced_motion="reduce")
        page = context.new_page()
        page.set_default_timeout(120_000)  # milliseconds: a busy machine is slow, which is no fault of a page
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((book / name).as_uri())
        page.evaluate("() => window.MathJax?.startup?.promise")
        seen = SimpleNamespace(asked=asked, errors=errors, violations={}, searches=[])
        seen.formulas = page.evaluate(FORMULAS)
        seen.pictures = page.evaluate(PICTURES)
        seen.unnamed = page.evaluate(UNNAMED)
        seen.too_wide = page.evaluate(TOO_WIDE)
        seen.cut_captions = page.evaluate(CUT_CAPTIONS)
        seen.cut_tables = page.evaluate(CUT_TABLES)
        seen.cut_formulas = page.evaluate(CUT_FORMULAS)
        page.evaluate(ONE_TOKEN_OF_A_KIND)
        for theme, size in (("light", PHONE), ("dark", LAPTOP)):
            page.set_viewport_size(size)
            page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
            if size is LAPTOP:
                page.wait_for_timeout(500)  # 300 ms after a change of size the theme makes what scrolls reachable
                seen.cut_formulas += page.evaluate(CUT_FORMULAS)
                seen.cut_code = page.evaluate(CUT_CODE)
            seen.violations[theme] = violations(page)
            buttons = page.get_by_role("button", name="Search")
            seen.searches.append(sum(button.is_visible() for button in buttons.all()))
        context.close()
        return seen

    return look


FORMULAS = """() => ({
    written: document.querySelectorAll(".math").length,
    drawn: document.querySelectorAll(".math mjx-container > svg").length,
    broken: [...document.querySelectorAll("mjx-merror, [data-mjx-error]")].map(each => each.textContent),
})"""

PICTURES = """() => [...document.images].map(image => ({source: image.src.slice(0, 80), width: image.naturalWidth}))"""

# Folded cells that the page does not call by their titles.
UNNAMED = """() => [...document.querySelectorAll(".cell details summary")].map(each => each.innerText)
    .filter(label => label.includes("code cell"))"""

CUT_CAPTIONS = """() => [...document.querySelectorAll("caption")]
    .filter(each => each.getBoundingClientRect().right > innerWidth).map(each => each.textContent)"""

# Tables with sentences in their cells that have to be scrolled, or whose cells do not say which column they are of.
CUT_TABLES = """() => [...document.querySelectorAll(".gencaps-table > table")].filter(each => {
    const cells = [...each.querySelectorAll("tbody td")];
    const named = cells.every(cell => getComputedStyle(cell, "::before").content.includes(cell.dataset.column)
        || cell.cellIndex === 0);
    return cells.some(cell => cell.textContent.length > 40)
        && (each.getBoundingClientRect().right > innerWidth || !named);
}).map(each => each.textContent.slice(0, 60))"""

# Displayed equations that are wider than their box, which then scrolls. Beside its number the formula is the box.
CUT_FORMULAS = """() => [...document.querySelectorAll(".bd-article div.math")]
    .filter(each => [each, ...each.querySelectorAll("mjx-container")]
        .some(box => box.scrollWidth > box.clientWidth + 1))
    .map(each => `${each.id}: cut at ${innerWidth}`)"""

# Cells of code that are wider than their box. Those that are folded are not shown.
CUT_CODE = """() => [...document.querySelectorAll(".bd-article .cell_input pre")]
    .filter(each => !each.closest("details:not([open])") && each.scrollWidth > each.clientWidth + 1)
    .map(each => `${each.scrollWidth} of ${each.clientWidth} px: ${each.textContent.slice(0, 60)}`)"""

# How far the page is too wide, and what sticks out of the screen with no box around it that scrolls. What is only read
# aloud is left out.
TOO_WIDE = """() => {
    const page = document.documentElement;
    const scrolls = element => element
        && (/auto|scroll/.test(getComputedStyle(element).overflowX) || scrolls(element.parentElement));
    const out = [...document.querySelectorAll(".bd-article *")].filter(each =>
        each.getBoundingClientRect().right > page.clientWidth + 1 && !each.closest("mjx-assistive-mml")
        && !scrolls(each.parentElement));
    const found = out.map(each => `${each.tagName}.${each.className}: ${each.textContent.slice(0, 40)}`);
    return page.scrollWidth > page.clientWidth ? [`the page is ${page.scrollWidth} px wide`, ...found] : found;
}"""

# Leaves one coloured token of each kind in the code and in the signatures of a page. Contrast is what takes time, and
# there are thousands.
ONE_TOKEN_OF_A_KIND = """() => {
    const met = new Set();
    for (const token of document.querySelectorAll(".highlight pre span[class], .sig span[class], .sig em[class]")) {
        const kind = `${token.closest(".sig") ? "signature" : "code"} ${token.tagName} ${token.className}`;
        if (met.has(kind)) token.replaceWith(...token.childNodes);
        met.add(kind);
    }
}"""


def violations(page):
    """What axe-core calls serious or critical, and where."""
    # Without a preload of style sheets: from disk it fails, after ten seconds of trying.
    found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
    return [
        f"{each['id']} at {node['target'][0]}: {node['html'][:160]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("name", PAGES)
def test_no_request_leaves_the_machine(visit, name):
    seen = visit(name)
    assert seen.asked
    assert [url for url in seen.asked if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("name", PAGES)
def test_no_script_of_a_page_fails(visit, name):
    # Jupyter Book declares a constant of Thebe, which we do not use, twice.
    assert [error for error in visit(name).errors if "THEBE_JS_URL" not in error] == []


@pytest.mark.parametrize("name", PAGES)
def test_formulas_are_drawn_from_disk(visit, name):
    formulas = visit(name).formulas
    assert formulas["drawn"] == formulas["written"]
    assert formulas["broken"] == []


@pytest.mark.parametrize("name", PAGES)
def test_pictures_are_shown_from_disk(visit, name):
    assert [picture for picture in visit(name).pictures if picture["width"] == 0] == []


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("chapters/")])
def test_folded_cells_are_called_by_their_titles(visit, name):
    assert visit(name).unnamed == []


@pytest.mark.parametrize("name", PAGES)
def test_one_button_searches_on_a_phone_and_on_a_laptop(visit, name):
    assert visit(name).searches == [1, 1]


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_needs_no_sideways_scrolling(visit, name):
    assert visit(name).too_wide == []


@pytest.mark.parametrize("name", PAGES)
def test_tables_with_sentences_are_read_on_a_phone_without_scrolling(visit, name):
    assert visit(name).cut_tables == []


@pytest.mark.parametrize("name", PAGES)
def test_captions_of_tables_are_read_on_a_phone_without_scrolling(visit, name):
    assert visit(name).cut_captions == []


# In the API reference equations are indented with their docstrings; there they may scroll.
@pytest.mark.parametrize("name", [name for name in PAGES if not name.startswith("api")])
def test_equations_fit_their_column_on_a_phone_and_on_a_laptop(visit, name):
    assert visit(name).cut_formulas == []


@pytest.mark.parametrize("name", PAGES)
def test_code_fits_its_column_on_a_laptop(visit, name):
    assert visit(name).cut_code == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_no_serious_violation_of_accessibility(visit, name, theme):
    assert visit(name).violations[theme] == []


def test_what_is_wrong_with_a_page_is_found(visit, book, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        '<!doctype html><html lang="en"><head><title>A page</title></head><body><main class="bd-article">'
        f'<script defer src="{(book / "mathjax" / "tex-svg.js").as_uri()}"></script><h1>A page</h1>'
        '<script>throw new Error("a script that fails")</script><img src="missing.png" alt="missing">'
        '<img src="https://example.com/picture.png" alt="elsewhere"><p style="width: 900px">wide</p>'
        '<p style="color: #bbb; background: #fff">pale</p><span class="math">\\(\\frac{1}\\)</span>'
        '<div class="math" id="eq" tabindex="0" style="width: 50px; overflow: auto"><p style="width: 90px">x</p></div>'
        '<div class="cell_input"><pre tabindex="0" style="width: 50px; overflow: auto">a = 1  # more</pre></div>'
        '<div class="cell"><details><summary>Show code cell content</summary></details></div></main>'
    )
    seen = visit(page)
    assert "https://example.com/picture.png" in seen.asked
    assert [picture["width"] for picture in seen.pictures] == [0, 0]
    assert seen.errors == ["a script that fails"]
    assert seen.formulas["broken"] != []
    assert seen.cut_formulas == ["eq: cut at 375", "eq: cut at 1280"]
    assert len(seen.cut_code) == 1
    assert seen.unnamed == ["Show code cell content"]
    assert seen.too_wide == ["the page is 908 px wide", "P.: wide"]
    for theme in ("light", "dark"):
        (violation,) = seen.violations[theme]
        assert violation.startswith("color-contrast at ")
        assert violation.endswith(">pale</p>")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_light(book, name):
    assert weigh(book / name).own < MOST


def test_a_page_weighs_itself_and_its_pictures_and_apart_from_them_its_scripts_and_styles(tmp_path):
    for name, size in (("a picture.png", 300), ("code.js", 50), ("book.css", 7)):
        (tmp_path / name).write_bytes(bytes(size))
    page = tmp_path / "page.html"
    page.write_text(
        '<link rel="stylesheet" href="book.css?v=1"><link rel="next" href="other.html"><script src="code.js"></script>'
        '<img src="a%20picture.png"><img alt="again" src="a%20picture.png"><img src="data:image/png;base64,AA==">'
    )
    weight = weigh(page)
    assert (weight.html, weight.images, weight.assets) == (page.stat().st_size, 300, 57)
    assert weight.own == page.stat().st_size + 300


@pytest.mark.parametrize("name", PAGES)
def test_links_within_the_book_lead_somewhere(book, name):
    assert broken_links(book / name) == []


def broken_links(page):
    """The links of a built page to pages and places of the book that are not there."""
    broken = []
    for link in BeautifulSoup(page.read_text(), "html.parser").select("a[href]"):
        address, _, place = link["href"].partition("#")
        if "://" in address or address.startswith("mailto:"):
            continue
        target = (page.parent / address.partition("?")[0]) if address else page
        if not target.is_file() or (place and place not in places(target)):
            broken.append(link["href"])
    return broken


@cache
def places(page):
    """What a link can point to on a built page."""
    return {element["id"] for element in BeautifulSoup(page.read_text(), "html.parser").select("[id]")}


@pytest.mark.parametrize("link", ["chapters/no-such-chapter.html", "#no-such-place", "intro.html#no-such-place"])
def test_a_link_that_leads_nowhere_is_found(book, tmp_path, link):
    page = tmp_path / "page.html"
    (tmp_path / "intro.html").write_text((book / "intro.html").read_text())
    page.write_text(f'<a href="intro.html">there</a> <a href="{link}">nowhere</a>')
    assert broken_links(page) == [link]


def test_search_finds_a_page_from_disk(book, browser):
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto((book / "search.html").as_uri() + "?q=autoencoder")
    page.wait_for_selector("#search-results ul.search li a")
    found = page.eval_on_selector_all("#search-results ul.search li a", "links => links.map(link => link.href)")
    assert any("01-what-an-autoencoder-memorises.html" in link for link in found)
    page.close()


def test_mathjax_is_the_version_that_it_says():
    code = (ROOT / "vendor" / "mathjax" / "tex-svg.js").read_bytes()
    assert hashlib.sha256(code).hexdigest() == MATHJAX_SHA256
    assert code.count(b'"3.2.2"') >= 1
