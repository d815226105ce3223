"""Explorers: what a notebook stores and shows, and what a page makes of it, held against PyTorch in a browser."""

import base64
import json
import math
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from axe_playwright_python.sync_playwright import Axe
from IPython.core.formatters import format_display_data

from gencaps_lib.book import explorers, scenes
from gencaps_lib.book.scenes import Pair, SceneError
from gencaps_lib.data import load_digits
from gencaps_lib.routing import route_by_address
from gencaps_lib.transforms import rotate

ROOT = Path(__file__).parents[1]
PACKAGES = Path(__file__).parent / "browser" / "node_modules"
NETWORK = re.compile(r"https://cdn\.jsdelivr\.net/npm/([\w-]+)@([\d.]+)/([\w./-]+)")
PHONE = {"width": 375, "height": 800}
LAPTOP = {"width": 1280, "height": 5500}  # high enough to see all explorers
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
DEGREES = torch.arange(-180.0, 180, 10)


def searched():
    """What a search explorer of a '4' and an '8' is given: random errors, drawings and names."""
    digits = load_digits("test", "embedded").of(4, 8).first(1)
    random = torch.Generator().manual_seed(0)
    errors = torch.rand(2, 36, 36, generator=random)
    drawn = 2 * torch.rand(2, 36, 1, 28, 28, generator=random) - 1
    names = torch.randint(10, (2, 36), generator=random)
    return digits, DEGREES, errors, drawn, names, [(-45.0, 45.0), (-180.0, 180.0)]


def search_explorer():
    return explorers.search_explorer(*searched())


EXPLORERS = (
    explorers.shift_explorer,
    explorers.placement_explorer,
    explorers.rotation_explorer,
    explorers.march_explorer,
    search_explorer,
)
START = {"digit": 4, "sample": 0, "row": 6, "column": 6, "latent": 10, "deviation": 0}
TURN = {"digit": 4, "sample": 0, "angle": 150, "latent": 0, "deviation": 0}
QUESTIONS = [
    {},
    {"digit": 4, "row": 8, "column": -8},
    {"digit": 9, "sample": 1, "row": -7, "column": 3, "latent": 0, "deviation": 2.5},
    {"digit": 0, "row": 1, "column": -2, "latent": 19, "deviation": -3},
]
TURNS = [
    {},
    {"digit": 6, "sample": 1, "angle": -90, "latent": 31, "deviation": 2},
    {"digit": 4, "angle": 180, "latent": 3, "deviation": -1.5},
]
HOST = "document.querySelector('.gencaps-explorer')"
TURNED = "document.querySelectorAll('.gencaps-explorer')[2]"
MARCH = "document.querySelectorAll('.gencaps-explorer')[3]"
SEARCH = "document.querySelectorAll('.gencaps-explorer')[4]"
ALL_ALIVE = "[...document.querySelectorAll('.gencaps-explorer')].every(host => host.live)"


@pytest.fixture(scope="module")
def scene():
    return scenes.load()


@pytest.fixture(scope="module")
def turning():
    return scenes.load("rotation-extrapolation")


def page_of(folder, *made, above="0"):
    """A page with explorers, laid out as the book's builder lays out its pages; returns its path."""
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]
    for kind, place in (("html_static_path", folder / "_static"), ("html_extra_path", folder)):
        for source in settings[kind]:
            shutil.copytree(ROOT / source, place, dirs_exist_ok=True)
    path = folder / "chapters" / "page.html"
    path.parent.mkdir()
    stills = "".join(explorer.still() for explorer in made)
    path.write_text(
        '<!DOCTYPE html><html lang="en"><head><title>Explorers</title><meta charset="utf-8">'
        '<link rel="stylesheet" href="../_static/explorer.css"><script src="../_static/explorer.js"></script></head>'
        f'<body><main><h1>Explorers</h1><div style="height: {above}"></div>{stills}</main></body></html>'
    )
    return path


def answered(route):
    """Answer what a page asks a network for from installed packages."""
    package, version, file = NETWORK.fullmatch(route.request.url).groups()
    folder = PACKAGES / package
    assert json.loads((folder / "package.json").read_text())["version"] == version
    kinds = {".mjs": "text/javascript", ".wasm": "application/wasm"}
    headers = {"Access-Control-Allow-Origin": "*"}
    route.fulfill(path=folder / file, content_type=kinds[Path(file).suffix], headers=headers)


def opened(context, path, network=answered):
    """Open a page from disk; returns it, and a list of what it asks for and of its errors."""
    page, asked = context.new_page(), []
    page.set_default_timeout(120_000)  # a busy machine takes long to compile the runtime
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: asked.append(str(error)))
    page.route(re.compile("^https?:"), network)
    page.goto(path.as_uri())
    return page, asked


@pytest.fixture
def context(browser, packages):
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture(scope="module")
def awake(browser, packages, tmp_path_factory):
    """A page with all explorers, alive."""
    folder = tmp_path_factory.mktemp("page") / "book"
    context = browser.new_context(viewport=LAPTOP)
    page, _ = opened(context, page_of(folder, *(make() for make in EXPLORERS)))
    page.wait_for_function(ALL_ALIVE)
    yield page
    context.close()


@pytest.fixture
def live(awake):
    """The page with all explorers, as it was at first."""
    awake.set_viewport_size(LAPTOP)
    shown(awake, {**START, "capsule": -1})
    shown(awake, {**TURN, "capsule": -1}, TURNED)
    awake.evaluate(f"{SEARCH}.live.ask({{ digit: 0, angle: 120 }})")
    return awake


def shown(page, question, host=HOST):
    """What an explorer shows when it is asked."""
    return page.evaluate(
        f"""async question => {{
            const {{ live }} = {host};
            await live.ask(question);
            const {{ asked, ...shown }} = live.shown();
            return Object.fromEntries(Object.entries(shown).map(([name, values]) => [name, Array.from(values)]));
        }}""",
        question,
    )


def close(values, expected, tolerance=1e-3):
    return torch.allclose(torch.tensor(values), expected.flatten(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_the_browser_draws_what_pytorch_draws(live, scene, question):
    found = shown(live, question)
    answer = scene.answer(scene.ask(**{**START, **question}))
    for name in Pair.outputs:
        assert close(found[name], answer[name]), name


@pytest.mark.parametrize("question", TURNS, ids=str)
def test_the_browser_turns_what_pytorch_turns(live, turning, question):
    found = shown(live, question, TURNED)
    answer = turning.answer(turning.ask(**{**TURN, **question}))
    for name in Pair.outputs:
        assert close(found[name], answer[name]), name


@pytest.mark.parametrize("angle", [0, 17, 90, -133, 180])
def test_the_browser_turns_a_digit_as_the_library(live, turning, angle):
    settings = turning.plain()
    turned = live.evaluate(
        "([text, angle]) => "
        "Array.from(gencapsExplorer.rotated(Uint8Array.from(atob(text), letter => letter.charCodeAt(0)), angle))",
        [settings["images"][8], angle],
    )
    assert close(turned, turning.target(4, 0, angle=angle))


def test_a_march_starts_where_nothing_is_shifted(live, scene):
    found = shown(live, {"digit": 7, "row": -4, "column": 6}, MARCH)
    before, after = (
        scene.answer(scene.ask(7, row=row, column=column))["addresses"][0] for row, column in ((0, 0), (-4, 6))
    )
    assert torch.allclose(torch.tensor(found["before"]), before, atol=1e-3)
    assert close(found["addresses"], after)
    down, right = (4 * (after - before).mean(0)).tolist()
    explorer = live.locator(".gencaps-explorer").nth(3)
    words = explorer.locator(".gencaps-words").text_content().replace("\N{MINUS SIGN}", "-")
    assert f"The addresses went {down:+.1f} down and {right:+.1f} right, on average." in words
    assert explorer.get_by_label("Latent").count() == 0
    assert explorer.get_by_role("img").count() == 3


def test_the_still_picture_of_a_march_says_how_far_it_goes(scene):
    alt = explorers.march_explorer(7, row=-4, column=6, scene=scene).picture.alt
    assert alt.startswith("A handwritten 7, asked for and drawn at no shift and at -4 pixels down and 6 to the right.")


def test_dragging_the_digit_around_turns_it(live):
    canvas = live.get_by_role("img", name="The 4 that is asked for, turned +150°").bounding_box()
    x, y = canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2
    arm = canvas["width"] / 3
    live.mouse.move(x + arm, y)
    live.mouse.down()
    live.mouse.move(x, y - arm)  # a quarter of a turn, counter-clockwise: 240°, which is −120°
    live.mouse.up()
    live.wait_for_function(f"{TURNED}.live.shown().asked.angle === -120")
    words = live.locator(".gencaps-words").nth(2).text_content()
    assert "every '4' was turned by −90° to +90° (the bar under the slider): this angle is not." in words


def test_the_browser_leaves_out_the_capsule_that_is_picked(live, scene):
    found = shown(live, {"capsule": 7})
    expected = scene.answer(scene.ask(**START, capsule=7))["image"]
    assert close(found["without"], expected)
    assert not close(found["image"], expected)
    words = live.locator(".gencaps-words").first.text_content()
    assert "Without capsule 8" in words


def test_the_controls_ask(live, scene):
    explorer = live.locator(".gencaps-explorer").first
    explorer.get_by_label("Digit").select_option("9")
    explorer.get_by_label("Shift down").press("ArrowLeft")
    explorer.get_by_label("Change it by").fill("1")
    live.wait_for_function(f"{HOST}.live.shown().asked.deviation === 1")
    found = shown(live, {})
    answer = scene.answer(scene.ask(**{**START, "digit": 9, "row": 5, "deviation": 1.0}))
    assert close(found["image"], answer["image"])
    error = (answer["image"][0, 0] - scene.target(9, 0, row=5, column=6)).square().mean().item()
    assert explorer.get_by_role("img", name="What the capsules draw").get_attribute("aria-label") == (
        f"What the capsules draw; mean squared error {error:.3f}."
    )
    words = explorer.locator(".gencaps-words").text_content()
    assert "every '9' was shifted by −2 to +2" in words
    assert words.endswith("this shift is not.")


def test_dragging_the_digit_shifts_it(live):
    canvas = live.get_by_role("img", name="The 4 that is asked for, shifted").bounding_box()
    pixel = canvas["width"] / 44
    x, y = canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2
    live.mouse.move(x, y)
    live.mouse.down()
    live.mouse.move(x - 9 * pixel, y - 4 * pixel)
    live.mouse.up()
    live.wait_for_function(f"{HOST}.live.shown().asked.row === 2 && {HOST}.live.shown().asked.column === -3")


def test_a_click_on_a_dot_picks_its_capsule(live, scene):
    places = scene.answer(scene.ask(**START))["addresses"][0]
    # One that no other covers.
    apart = torch.cdist(places, places).fill_diagonal_(torch.inf).min(1).values.argmax().item()
    canvas = live.get_by_role("img", name="Addresses of 40 capsules").bounding_box()
    cell = canvas["width"] / (scene.capsules.size - 1 + 4)
    row, column = places[apart].tolist()
    live.mouse.click(canvas["x"] + (column + 2) * cell, canvas["y"] + (row + 2) * cell)
    live.wait_for_function(f"{HOST}.live.shown().asked.capsule === {apart}")


@pytest.mark.parametrize("size", [1, 7, 11])
def test_the_browser_routes_as_the_library(live, size, generator):
    addresses = torch.rand(1, 30, 2, generator=generator) * (size + 3) - 2
    addresses[0, :5] = addresses[0, :5].round()
    activations = torch.rand(1, 30, 1, generator=generator)
    written = live.evaluate(
        f"([places, strengths]) => Array.from(gencapsExplorer.route(places, strengths, {size}))",
        [addresses[0].tolist(), activations.flatten().tolist()],
    )
    assert close(written, route_by_address(addresses, activations, size), 1e-5)


def test_placed_capsules_write_where_they_are_put(live):
    placement = live.locator(".gencaps-explorer").nth(1)
    placement.locator("select").select_option(label="3")
    placement.get_by_label("Row").fill("3.5")
    placement.get_by_label("Column").fill("9")
    words = placement.locator(".gencaps-words").text_content()
    assert words == "Capsule 3, at row 3.50 and column 9.00, writes 0.50 at (3, 9), 0.50 at (4, 9)."
    places = torch.tensor([explorers.PLACED])
    places[0, 2, :2] = torch.tensor([3.5, 9.0])
    written = placement.evaluate("host => Array.from(host.live.shown())")
    assert close(written, route_by_address(places[..., :2], places[..., 2:], 11), 1e-5)


def test_a_placed_capsule_is_dragged(live):
    canvas = live.get_by_role("img", name="A map of 11 by 11 cells").bounding_box()
    cell = canvas["width"] / 14

    def move(row, column):
        live.mouse.move(canvas["x"] + (column + 2) * cell, canvas["y"] + (row + 2) * cell)

    move(6.5, 6.5)
    live.mouse.down()
    move(9, 2)
    live.mouse.up()
    words = live.locator(".gencaps-words").nth(1).text_content()
    assert re.match(r"Capsule 4, at row (9\.0\d|8\.9\d) and column (2\.0\d|1\.9\d), ", words)


def test_a_search_shows_the_best_candidate_of_a_turned_digit(live):
    digits, degrees, errors, drawn, names, _ = searched()
    told = live.evaluate(
        f"""() => {{
            {SEARCH}.live.ask({{ digit: 1, angle: -70 }});
            const {{ given, back, drawn, errors, best }} = {SEARCH}.live.shown();
            return {{ given: [...given], back: [...back], drawn: [...drawn], errors, best }};
        }}"""
    )
    at = degrees.tolist().index(-70)
    best = degrees[errors[1, at].argmin()]
    assert told["best"] == best
    assert close(told["errors"], errors[1, at])
    given = rotate(digits.images[1:], torch.tensor([-70.0]))
    level = 1 / 127.5  # images are stored as bytes
    assert close(told["given"], given, level)
    assert close(told["back"], rotate(given, -best[None]), level)
    # Upright and turned back by best + 70°, it leans as this one does when it is turned back.
    leaning = degrees.tolist().index((best + 70 + 180) % 360 - 180)
    assert close(told["drawn"], drawn[1, leaning], level)
    words = live.locator(".gencaps-words").nth(4).text_content()
    assert words.endswith(f"and so the digit is named '{names[1, at]}'.")
    assert "every '8' was turned by −180° to +180° (the bar under the slider): this angle is among them." in words


def test_another_candidate_of_a_search_is_picked(live):
    errors = searched()[2][0, DEGREES.tolist().index(120)]
    explorer = live.locator(".gencaps-explorer").nth(4)
    explorer.get_by_role("slider", name="Candidate").fill("-20")
    words = explorer.locator(".gencaps-words")
    assert f"Candidate −20° has the error {errors[16]:.3f}." in words.text_content()
    chart = explorer.get_by_role("img", name="Errors of 36 candidates")
    box = chart.bounding_box()
    chart.click(position={"x": box["width"] * (16 + 448 * 3 / 35) / 480, "y": box["height"] / 2})
    assert f"Candidate −150° has the error {errors[3]:.3f}." in words.text_content()
    explorer.get_by_role("slider", name="Angle").fill("-180")
    assert explorer.get_by_role("img", name="A 4, turned by −180°.").count() == 1


def test_the_still_picture_of_a_search_has_the_best_candidate():
    errors = searched()[2][0, DEGREES.tolist().index(120)]
    told = search_explorer().picture.alt
    assert told.startswith("A handwritten 4, named ")
    assert f"turned back by {explorers.figures.signed(DEGREES[errors.argmin()].item())}°, the best of 36" in told


def test_what_does_not_fit_a_search_is_refused():
    digits, degrees, errors, drawn, names, seen = searched()
    with pytest.raises(ValueError, match=r"errors must have shape \(2, 36, 36\); got \(2, 36, 35\)"):
        explorers.search_explorer(digits, degrees, errors[..., 1:], drawn, names, seen)
    with pytest.raises(ValueError, match="once all round"):
        explorers.search_explorer(digits, degrees / 2, errors, drawn, names, seen)
    for wrong in ({"digit": 2}, {"angle": 115}, {"seen": seen[:1]}):
        with pytest.raises(ValueError, match="there are 2 digits, and angles from -180 to 170 degrees"):
            explorers.search_explorer(digits, degrees, errors, drawn, names, **{"seen": seen, **wrong})


def test_nothing_is_loaded_before_it_is_scrolled_to(context, tmp_path):
    path = page_of(tmp_path / "book", explorers.shift_explorer(), above="4000px")
    page, asked = opened(context, path, network=lambda route: route.abort())
    page.wait_for_timeout(300)
    assert [Path(url).name for url in asked if url.startswith("file:")] == ["page.html", "explorer.css", "explorer.js"]
    assert [url for url in asked if url.startswith("http")] == []
    page.locator(".gencaps-note").scroll_into_view_if_needed()
    page.wait_for_function(f"{HOST}.textContent.includes('The picture stays still')")
    assert sum("shift-transfer.js" in url for url in asked) == 1
    assert sum(url.startswith("https:") for url in asked) == 2


def test_without_a_connection_the_picture_stays_and_says_so(context, tmp_path):
    page, _ = opened(
        context, page_of(tmp_path / "book", explorers.shift_explorer()), network=lambda route: route.abort()
    )
    page.wait_for_function(f"{HOST}.textContent.includes('The picture stays still: to be live it needs a connection')")
    assert page.locator(".gencaps-explorer img").is_visible()


def test_a_runtime_that_was_tampered_with_is_refused(context, tmp_path):
    def tampered(route):
        """Answer with one byte too many."""
        file = PACKAGES / NETWORK.fullmatch(route.request.url).expand(r"\1/\3")
        headers = {"Access-Control-Allow-Origin": "*"}
        route.fulfill(body=file.read_bytes() + b" ", content_type="text/javascript", headers=headers)

    page, _ = opened(context, page_of(tmp_path / "book", explorers.shift_explorer()), network=tampered)
    page.wait_for_function(f"{HOST}.textContent.includes('The picture stays still')")


def test_without_scripts_the_picture_is_there(browser, tmp_path):
    path = page_of(tmp_path / "book", *(make() for make in EXPLORERS))
    context = browser.new_context(java_script_enabled=False)
    page, _ = opened(context, path)
    assert page.locator("img").count() == len(EXPLORERS)
    assert "A still picture" in page.locator(".gencaps-note").first.text_content()
    context.close()


def test_live_explorers_fit_on_a_phone_and_can_be_read_by_all(live):
    live.set_viewport_size(PHONE)
    assert live.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    found = Axe().run(live).response["violations"]
    assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
    unnamed = live.evaluate("[...document.querySelectorAll('canvas')].filter(each => !each.ariaLabel).length")
    assert unnamed == 0


def test_the_widget_s_questions_are_answered_by_python(context, tmp_path, scene):
    widget = explorers.shift_explorer(row=-3).widget()
    sent = []
    widget.send = lambda content, buffers=None: sent.append((content, buffers))

    def ask(message, buffers):
        explorers._answer(scene, widget, message, [base64.b64decode(each) for each in buffers])
        content, answers = sent.pop()
        return [content, [base64.b64encode(each).decode() for each in answers or []]]

    path = tmp_path / "page.html"
    path.write_text("<!DOCTYPE html><title>Notebook</title><body></body>")
    page, asked = opened(context, path)
    page.expose_function("askPython", ask)
    page.evaluate(
        """async ({ code, settings }) => {
            const module = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
            const { default: { render } } = await import(module);
            const text = buffer => btoa(String.fromCharCode(...new Uint8Array(buffer)));
            const bytes = text => new DataView(Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer);
            let answered;
            const model = {
                get: () => settings,
                on: (_, callback) => (answered = callback),
                send: async (message, _, buffers) => {
                    const [content, answers] = await askPython(message, buffers.map(text));
                    answered(content, answers.map(bytes));
                },
            };
            window.host = document.body;
            await render({ model, el: host });
        }""",
        {"code": widget._esm, "settings": json.loads(json.dumps(widget.settings))},
    )
    found = page.evaluate("Array.from(host.live.shown().image)")
    assert close(found, scene.answer(scene.ask(**{**START, "row": -3}))["image"])
    assert [url for url in asked if url.startswith("http")] == []


def test_a_question_that_cannot_be_answered_is_said_to_the_widget(scene):
    class Widget:
        def send(self, content, buffers=None):
            self.sent = content, buffers

    widget = Widget()
    explorers._answer(scene, widget, {"id": 3}, [b"\0\0\0\0"])
    content, buffers = widget.sent
    assert content["id"] == 3
    assert content["error"]
    assert buffers is None


@pytest.mark.parametrize("make", EXPLORERS)
def test_a_stored_output_is_a_still_and_no_widget(make, monkeypatch):
    monkeypatch.setenv(explorers.STATIC, "1")
    bundle, _ = format_display_data(make())
    assert set(bundle) == {"text/html", "text/plain"}
    assert len(re.search(r'<img[^>]* alt="([^"]*)"', bundle["text/html"]).group(1)) > 40
    assert "<script" not in bundle["text/html"]


@pytest.mark.parametrize("make", EXPLORERS)
def test_a_notebook_shows_a_widget(make, monkeypatch):
    monkeypatch.delenv(explorers.STATIC, raising=False)
    bundle, _ = format_display_data(make())
    assert WIDGET_VIEW in bundle


@pytest.mark.parametrize("show", [lambda: explorers.placement_explorer().widget(), explorers.sliders])
def test_a_missing_package_is_named(show, monkeypatch):
    explorers._widget_class.cache_clear()
    for package in ("anywidget", "ipywidgets"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"^a live explorer needs (\w+): pip install \1$"):
        show()
    explorers._widget_class.cache_clear()


@pytest.mark.parametrize("make", EXPLORERS)
def test_a_notebook_without_widgets_shows_the_still(make, monkeypatch):
    monkeypatch.delenv(explorers.STATIC, raising=False)
    explorers._widget_class.cache_clear()
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.warns(UserWarning, match=r"^a live explorer needs anywidget: pip install anywidget\. This is a still"):
        bundle, _ = format_display_data(make())
    assert "<img" in bundle["text/html"]
    explorers._widget_class.cache_clear()


def test_a_broken_package_is_said_in_a_line(monkeypatch):
    def broken(package):
        raise AttributeError("it does not fit traitlets\nand more")

    monkeypatch.setattr(explorers.importlib, "import_module", broken)
    with pytest.raises(
        ImportError, match=r"^.* needs anywidget, which cannot be imported here \(it does not fit traitlets\)$"
    ):
        explorers._needed("anywidget")


def test_settings_may_be_numpy_s(scene, turning):
    whole = np.int64(3)
    for made in (
        explorers.shift_explorer(whole, row=whole, column=whole, scene=scene),
        explorers.rotation_explorer(whole, angle=whole, scene=turning),
        explorers.placement_explorer(np.ones((2, 3)), size=np.int64(5)),
    ):
        assert "&quot;view&quot;" in made.still()


def test_a_missing_scene_says_how_to_make_it(monkeypatch, tmp_path):
    monkeypatch.setattr(scenes, "FOLDER", tmp_path)
    with pytest.raises(SceneError, match="python -m gencaps_lib explorer"):
        explorers.shift_explorer()


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="digit must be a whole number from 0 to 9; got 11"):
        explorers.shift_explorer(digit=11)
    with pytest.raises(ValueError, match="angle must be a whole number from -180 to 180; got 200"):
        explorers.rotation_explorer(angle=200)
    with pytest.raises(ValueError, match=r"capsules must be \(row, column, activation\)"):
        explorers.placement_explorer([(1.0, 2.0)])
    for capsule in ((1.0, 2.0, 1.5), (1.0, math.inf, 1.0), (1.0, 2.0, math.nan)):
        with pytest.raises(ValueError, match="activations from 0 to 1"):
            explorers.placement_explorer([capsule])


def test_sliders_draw_what_they_are_set_to(monkeypatch):
    drawn = []
    monkeypatch.setattr("IPython.display.display", drawn.append)
    panel = explorers.sliders()
    controls = {each.description: each for each in panel.children if hasattr(each, "description")}
    controls["digit"].value = 7
    controls["row"].value = -5
    controls["left out"].value = 3
    panel.update()
    assert drawn[-1].alt.startswith(
        "A handwritten 7, shifted by -5 pixels down and +6 to the right, a shift that was in"
    )


def test_sliders_turn(monkeypatch, turning):
    drawn = []
    monkeypatch.setattr("IPython.display.display", drawn.append)
    panel = explorers.sliders(turning)
    controls = {each.description: each for each in panel.children if hasattr(each, "description")}
    controls["angle"].value = -120
    panel.update()
    assert drawn[-1].alt.startswith("A handwritten 4, turned by -120 degrees, an angle that was not in its training")
