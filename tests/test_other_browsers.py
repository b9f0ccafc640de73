"""The page's main states in Firefox and in WebKitGTK, whose engine is Safari's.

Playwright drives only builds of its own, so Mozilla's client drives Firefox, and Selenium drives WebKitGTK. Both have a
fake camera, which shows no face. Tried with Firefox 153.8 ESR and WebKitGTK 2.50.6 of Debian 12.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from waiting import within

from benchmarks.harness.app_server import ROOT, AppServer, serve

pytestmark = [
    pytest.mark.slow,
    # Mozilla's client leaves sockets open while it waits for the browser, and calls what is deprecated.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PATIENCE_S = 120
FIREFOX = next(filter(None, map(shutil.which, ("firefox", "firefox-esr"))), None)
FIREFOX_SETTINGS = {"media.navigator.streams.fake": True, "media.navigator.permission.disabled": True}
WEBKIT = next(iter(sorted(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"), reverse=True)), None)
WEBKIT_FLAGS = ("--automation", "--enable-mock-capture-devices=true", "--enable-media-stream=true")
COLLECT_ERRORS = """
    document.documentElement.dataset.errors = "";
    const collect = (text) => { document.documentElement.dataset.errors += text; };
    addEventListener("error", (event) => collect(event.message));
    addEventListener("unhandledrejection", (event) => collect(event.reason));
"""


class Visitor:
    """What both clients can do; `driver` is Mozilla's or Selenium's."""

    def __init__(self, driver: Any, url: str) -> None:
        self.driver = driver
        (driver.navigate if hasattr(driver, "navigate") else driver.get)(url)
        # The content is hidden until it is complete.
        self.until("document.querySelector('.picker-drop')?.checkVisibility({ visibilityProperty: true })")
        driver.execute_script(COLLECT_ERRORS)

    def read(self, expression: str) -> Any:
        return self.driver.execute_script(f"return {expression};")

    def until(self, condition: str) -> None:
        """Wait until an expression is true."""
        assert within(PATIENCE_S, lambda: self.read(f"Boolean({condition})"), every_s=0.3), condition

    def text(self, selector: str) -> str:
        return self.read(f"document.querySelector({selector!r}).innerText")

    def click(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()

    def choose(self, selector: str, file: Path) -> None:
        self.driver.find_element("css selector", selector).send_keys(str(file))

    def open_tab(self, name: str) -> None:
        self.click(f"[role=tablist] [data-tab-id={name}]")
        self.until(f"document.querySelector('[role=tab][aria-selected=true]').dataset.tabId === {name!r}")


@contextmanager
def firefox() -> Iterator[Any]:
    from marionette_driver.marionette import Marionette

    driver = Marionette(app="fxdesktop", bin=FIREFOX, headless=True, prefs=FIREFOX_SETTINGS, gecko_log=os.devnull)
    try:
        driver.start_session()
        driver.set_window_rect(width=1280, height=1000)
        yield driver
    finally:
        driver.quit()
        driver.cleanup()


@contextmanager
def display() -> Iterator[str]:
    """A screen for a browser that cannot do without one."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1400x1100x24"]
    with subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL) as screen:
        os.close(write)
        try:
            with os.fdopen(read) as number:
                yield f":{number.readline().strip()}"
        finally:
            screen.terminate()


@contextmanager
def webkit() -> Iterator[Any]:
    from selenium.webdriver import WebKitGTK, WebKitGTKOptions
    from selenium.webdriver.webkitgtk.service import Service

    options = WebKitGTKOptions()
    options.binary_location = str(WEBKIT)
    for flag in WEBKIT_FLAGS:
        options.add_argument(flag)
    with display() as screen:
        service = Service(shutil.which("WebKitWebDriver"), env=os.environ | {"DISPLAY": screen})
        driver = WebKitGTK(options=options, service=service)
        try:
            yield driver
        finally:
            driver.quit()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    with serve(tmp_path_factory.mktemp("app")) as running:
        yield running


@pytest.fixture(scope="module", params=["firefox", "webkit"])
def driver(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A browser, or a line that says how to install it."""
    with ExitStack() as stack:
        try:
            if request.param == "firefox":
                import marionette_driver  # noqa: F401

                missing = None if FIREFOX else "the page in Firefox: apt-get install firefox-esr"
                yield missing or stack.enter_context(firefox())
            else:
                import selenium  # noqa: F401

                there = WEBKIT and shutil.which("WebKitWebDriver") and shutil.which("Xvfb")
                missing = "the page in WebKitGTK: apt-get install webkit2gtk-driver gstreamer1.0-plugins-good xvfb"
                yield stack.enter_context(webkit()) if there else missing
        except ImportError as error:
            yield f"the page in {request.param}: {error.name} is missing (tests/requirements.txt names it)"


@pytest.fixture
def page(driver: Any, server: AppServer, leave_out: Callable[[str], NoReturn]) -> Iterator[Visitor]:
    """The page, freshly opened; no script of it may fail. WebKitGTK is not required anywhere: it is large."""
    if isinstance(driver, str):
        pytest.skip(driver) if "WebKit" in driver else leave_out(driver)
    visitor = Visitor(driver, server.url)
    yield visitor
    assert visitor.read("document.documentElement.dataset.errors") == ""


def test_an_example_photo_gets_its_card(page: Visitor) -> None:
    page.click("button[aria-label='Example: astronaut']")
    page.until("document.querySelector('.picker').dataset.state === 'done'")
    assert page.read("document.querySelectorAll('.fer-card').length") == 1
    assert "happy" in page.text(".fer-card")
    page.until("document.querySelector('.photo-stage img').naturalWidth === 512")
    assert page.read("document.querySelector('.photo-label').getBoundingClientRect().width") > 20


def test_a_photo_is_uploaded_and_a_wrong_file_is_named(page: Visitor) -> None:
    page.choose("#picture input[type=file]", ROOT / "ui" / "examples" / "happy.jpg")
    page.until("document.querySelector('.picker').dataset.state === 'done'")
    assert page.read("document.querySelectorAll('.fer-card').length") == 1
    page.choose("#picture input[type=file]", ROOT / "README.md")
    page.until("!document.querySelector('.picker-notice').hidden")
    assert "DeepFER can't open README.md as a photo" in page.text(".picker-notice")


def test_the_webcam_starts_and_stops(page: Visitor) -> None:
    page.open_tab("webcam")
    page.click(".cam-toggle")
    page.until("document.querySelector('#webcam').dataset.state === 'live'")
    page.until("Number(document.querySelector('#webcam').dataset.frame) > 3")
    page.until("document.querySelector('.cam-note').innerText.startsWith('No face found')")
    assert page.read("document.querySelector('.cam-video').videoWidth") > 0
    page.click(".cam-toggle")
    page.until("document.querySelector('#webcam').dataset.state === 'idle'")
    assert page.read("document.querySelector('.cam-video').srcObject === null")


def test_the_other_tabs_are_complete(page: Visitor) -> None:
    page.open_tab("video")
    page.until("document.querySelector('#clip input[type=file]')")
    page.until("document.querySelector('#clip-overview').innerText.includes('Add a video')")
    assert page.read("document.querySelector('#clip-alert [role=alert]')?.innerText || ''") == ""
    page.open_tab("model")
    page.until("document.querySelector('[role=tabpanel]:not([style*=none]) table tbody tr')")
    assert page.read("document.documentElement.scrollWidth <= innerWidth")
