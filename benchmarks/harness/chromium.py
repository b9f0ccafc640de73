"""Chromium, as every test of the page in a browser starts it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",  # containers run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAY = "to have it: `apt-get install chromium`, or `.venv/bin/playwright install --with-deps chromium`"


@contextmanager
def playing() -> Iterator[Any]:
    """Playwright; where it is missing, a line that says so. One at a time: it does not start twice in a thread."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        yield "the page in a browser: playwright is missing (tests/requirements.txt names it)"
        return
    with sync_playwright() as playwright:
        yield playwright


@contextmanager
def chromium(playwright: Any, *flags: str) -> Iterator[Any]:
    """Chromium with further flags; where there is none, a line that says so and how to have it."""
    if isinstance(playwright, str):
        yield playwright
        return
    from playwright.sync_api import Error

    path = next(filter(None, map(shutil.which, NAMES)), playwright.chromium.executable_path)
    try:
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
    except Error:
        yield f"the page in a browser: Chromium is missing or does not start; {WAY}"
        return
    yield browser
    browser.close()
