"""The page's document: its language, link preview, icons and deep links, and how steady it is while it loads."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any, NoReturn

import httpx
import pytest
from PIL import Image

from benchmarks.harness.app_server import AppServer
from ui.document import PUBLIC

MAX_SHIFT = 0.05  # cumulative layout shift; 0.1 is the limit of what counts as good
SHIFTS = """
window.shifts = [];
const add = (list) => list.getEntries().forEach((entry) => entry.hadRecentInput || shifts.push(entry.value));
new PerformanceObserver(add).observe({ type: "layout-shift", buffered: true });
"""
SELECTED = "[role=tab][aria-selected=true]"


class Head(HTMLParser):
    """The meta and link elements of a page, as (name, property or rel) to contents or addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name") or given.get("property") or given.get("rel")
        if tag in ("meta", "link") and name:
            self.found.setdefault(name, []).append(given.get("content") or given.get("href") or "")


@contextmanager
def visit(browser: Any, url: str, width: int = 1280, **options: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": width, "height": 844}, **options)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.add_init_script(SHIFTS)
    page.goto(url)
    page.wait_for_selector(SELECTED)
    yield page
    context.close()


@pytest.fixture
def url(browser: Any, server: AppServer, leave_out: Callable[[str], NoReturn]) -> str:
    if isinstance(browser, str):
        leave_out(browser)
    return server.url


def test_a_link_preview_is_ours_alone(server: AppServer) -> None:
    found = Head(httpx.get(server.url).text).found
    assert all(len(found[name]) == 1 for name in found if name.startswith(("og:", "twitter:")))
    assert found["og:title"][0].startswith("DeepFER")
    assert found["description"] == found["og:description"]
    assert "seven emotions" in found["description"][0]
    assert not [value for values in found.values() for value in values if "gradio" in value.lower()]
    (address,) = found["og:image"]
    assert address == f"{server.url}thumbnail.png"
    image = httpx.get(address)
    assert Image.open(io.BytesIO(image.content)).size == (1200, 630)
    assert len(image.content) < 60_000


def test_the_page_can_be_installed(server: AppServer) -> None:
    manifest = httpx.get(f"{server.url}manifest.json").json()
    assert (manifest["name"], manifest["display"]) == ("DeepFER", "standalone")
    for icon in manifest["icons"]:
        content = httpx.get(server.url + icon["src"]).content
        width, height = Image.open(io.BytesIO(content)).size
        assert icon["sizes"] == f"{width}x{height}"
    assert {192, 512} <= {int(icon["sizes"].partition("x")[0]) for icon in manifest["icons"]}
    assert httpx.get(f"{server.url}config").json()["pwa"]
    assert httpx.get(f"{server.url}favicon.ico").content == (PUBLIC / "icon-192.png").read_bytes()


def test_icons_come_in_no_other_size(server: AppServer) -> None:
    for path in ("pwa_icon", "pwa_icon/192", "pwa_icon/20000"):
        assert httpx.get(server.url + path).status_code == 404


@pytest.mark.parametrize(
    ("locale", "language", "words"), [("de-AT", "de", "Mit Gradio erstellt"), ("nl-NL", "en", "Built with Gradio")]
)
def test_gradios_own_words_are_in_the_language(browser: Any, url: str, locale: str, language: str, words: str) -> None:
    with visit(browser, url, locale=locale) as page:
        page.wait_for_selector("footer button")
        assert page.evaluate("document.documentElement.lang") == language
        assert words in page.locator("footer").last.inner_text()


def test_an_address_opens_its_tab_and_back_returns(page: Any) -> None:
    home = page.url

    def at(tab: str, address: str) -> None:
        page.wait_for_function(
            "([css, tab]) => document.querySelector(css)?.innerText === tab", arg=[SELECTED, tab], timeout=20_000
        )
        assert page.url == home + address

    at("Photo", "")
    page.get_by_role("tab", name="Model").click()
    at("Model", "#model")
    page.get_by_role("tab", name="Webcam").click()
    at("Webcam", "#webcam")
    page.reload()
    at("Webcam", "#webcam")
    page.go_back()
    at("Model", "#model")
    page.go_back()
    at("Photo", "")
    page.go_forward()
    at("Model", "#model")
    page.evaluate("location.hash = 'video'")
    at("Video", "#video")
    page.goto(f"{home}#nothing")
    at("Video", "#nothing")  # no such tab: the page stays where it is


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390, 320])
@pytest.mark.parametrize("tab", ["image", "model"])
def test_nothing_jumps_while_the_page_loads(browser: Any, url: str, width: int, tab: str) -> None:
    with visit(browser, f"{url}#{tab}", width) as page:
        page.wait_for_timeout(1500)
        assert page.evaluate("shifts.length") > 0
        assert page.evaluate("shifts.reduce((sum, value) => sum + value, 0)") < MAX_SHIFT
        assert page.locator("[role=tab]").count() == 4  # none is in a menu
        assert page.evaluate("document.documentElement.scrollWidth") <= width
