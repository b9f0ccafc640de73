"""Start Chromium, for the tests and benchmarks of the page in a browser."""

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
INSTALL = "install it with `apt-get install chromium` or `.venv/bin/playwright install --with-deps chromium`"


@contextmanager
def playing() -> Iterator[Any]:
    """Yield Playwright, or a line saying that it is missing. Playwright cannot start twice in one thread."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        yield "the page in a browser: playwright is missing (tests/requirements.txt names it)"
        return
    with sync_playwright() as playwright:
        yield playwright


@contextmanager
def chromium(playwright: Any, *flags: str) -> Iterator[Any]:
    """Yield Chromium, started with more flags, or a line saying how to install it, or the line from `playing`."""
    if isinstance(playwright, str):
        yield playwright
        return
    from playwright.sync_api import Error

    path = next(filter(None, map(shutil.which, NAMES)), playwright.chromium.executable_path)
    try:
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
    except Error:
        yield f"the page in a browser: Chromium is missing or does not start; {INSTALL}"
        return
    yield browser
    browser.close()
