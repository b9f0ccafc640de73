"""Fixtures of the tests of the photo tab: a browser, a server and the page."""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
from photo_page import opened

from benchmarks.harness.app_server import AppServer, serve
from benchmarks.harness.chromium import chromium, playing


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, or a line that says how to install it."""
    with playing() as playwright, chromium(playwright) as browser:
        yield browser


@pytest.fixture(scope="module")
def server(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer | None]:
    if isinstance(browser, str):
        yield None
        return
    with serve(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def page(browser: Any, server: AppServer, leave_out: Callable[[str], NoReturn]) -> Iterator[Any]:
    if isinstance(browser, str):
        leave_out(browser)
    with opened(browser, server.url) as page:
        yield page
