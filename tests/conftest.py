"""Shared fixtures: a Hub on the loopback interface, the YuNet file if there is one, a photo, and the page in a browser.

No test uses the network or writes to the user's own Hub cache. A test that this machine cannot run is skipped, and one
line at the end says how to run it; with DEEPFER_REQUIRE_ALL=1, as in CI, it fails instead. Tests marked `slow` run with
--slow or in CI. Tests marked `alone` never run while another worker runs a test.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hub_server import HubServer
from photo_page import opened
from PIL import Image

from benchmarks.harness.app_server import AppServer, serve
from benchmarks.harness.chromium import chromium, playing

REQUIRE_ALL = os.environ.get("DEEPFER_REQUIRE_ALL") == "1"
# The files that take longest start first, so that no worker is left alone with one at the end.
LONGEST = ("test_training.py", "test_export.py", "test_webcam.py", "test_privacy.py", "test_cli.py")

# Set once, by the first process: the workers of pytest-xdist inherit the environment.
if "DEEPFER_TEST_TURNS" not in os.environ:
    os.environ["DEEPFER_TEST_TURNS"] = tempfile.mkdtemp(prefix="deepfer-turns-")
    atexit.register(shutil.rmtree, os.environ["DEEPFER_TEST_TURNS"], ignore_errors=True)
    os.environ["DEEPFER_TEST_USER_CACHE"] = os.environ.get("HF_HUB_CACHE") or os.path.join(
        os.environ.get("HF_HOME") or os.path.expanduser("~/.cache/huggingface"), "hub"
    )

# huggingface_hub reads its settings when it is imported, so they are set before any test module can import it. Programs
# that tests start inherit them.
_HF_HOME = tempfile.mkdtemp(prefix="deepfer-hf-home-")
atexit.register(shutil.rmtree, _HF_HOME, ignore_errors=True)
_SERVER = HubServer()
for _name in [name for name in os.environ if name.startswith(("HF_", "HUGGING", "DEEPFER_MODEL", "DEEPFER_REVISION"))]:
    del os.environ[_name]
os.environ |= {
    "HF_HOME": _HF_HOME,
    "HF_ENDPOINT": _SERVER.url,
    "HF_HUB_DISABLE_XET": "1",  # Xet uses another service, which HubServer does not imitate
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
    for item in items:
        if item.get_closest_marker("slow") and not (config.getoption("slow") or REQUIRE_ALL):
            item.add_marker(pytest.mark.skip(reason="slow: make test PYTEST=--slow"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let tests of several workers run side by side, but a test marked `alone` only while no other test runs.

    There are two file locks. Each test holds `running`, shared or exclusively. It takes `turn` first, so that no test
    overtakes one that waits to be alone.
    """
    folder = Path(os.environ["DEEPFER_TEST_TURNS"])
    with open(folder / "turn", "w") as turn, open(folder / "running", "w") as running:
        fcntl.flock(turn, fcntl.LOCK_EX)
        fcntl.flock(running, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(turn, fcntl.LOCK_UN)
        return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line that says which tests were skipped and how to run them."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
        for report in terminalreporter.stats.get("skipped", [])
    )
    if reasons:
        shown = "; ".join(f"{number} {reason}" for reason, number in reasons.most_common())
        count = reasons.total()
        terminalreporter.write_line(f"{count} test{'s' * (count != 1)} skipped: {shown}")


@pytest.fixture
def leave_out() -> Callable[[str], NoReturn]:
    """Skip the test, with a reason, because this machine lacks something; fail it under DEEPFER_REQUIRE_ALL."""

    def leave(reason: str) -> NoReturn:
        if REQUIRE_ALL:
            pytest.fail(f"left out, but DEEPFER_REQUIRE_ALL=1: {reason}")
        pytest.skip(reason)

    return leave


@pytest.fixture
def hub() -> Iterator[HubServer]:
    """An empty Hub, to which HF_ENDPOINT points here and in the programs that tests start, and an empty cache."""
    _empty_hub()
    yield _SERVER
    _empty_hub()


def _empty_hub() -> None:
    """Empty the Hub and the cache, after abandoned downloads have ended."""
    _SERVER.reset()
    for thread in threading.enumerate():
        if thread.name == "deepfer-hub":  # it could use up the next test's faults or fill its cache
            thread.join(timeout=5)
    _SERVER.reset()
    shutil.rmtree(Path(_HF_HOME, "hub"), ignore_errors=True)


@pytest.fixture
def yunet_file(leave_out: Callable[[str], NoReturn]) -> Path:
    """The YuNet file, from DEEPFER_YUNET or the user's Hub cache; it is not part of this project."""
    from deepfer.detection import YUNET_FILE, YUNET_REPO, YUNET_SHA256

    def is_pinned(path: Path) -> bool:
        return hashlib.sha256(path.read_bytes()).hexdigest() == YUNET_SHA256

    if name := os.environ.get("DEEPFER_YUNET"):
        path = Path(name)
        if not path.is_file():
            pytest.fail(f"DEEPFER_YUNET is not a file: {name}")
        if not is_pinned(path):
            pytest.fail(f"DEEPFER_YUNET is not the YuNet file that this project pins: {name}")
        return path
    repo = Path(os.environ["DEEPFER_TEST_USER_CACHE"], f"models--{YUNET_REPO.replace('/', '--')}")
    for path in repo.glob(f"snapshots/*/{YUNET_FILE}"):
        if is_pinned(path):
            return path
    leave_out(f"need YuNet: hf download {YUNET_REPO} {YUNET_FILE}, or set DEEPFER_YUNET to that file")


@pytest.fixture
def fer2013(leave_out: Callable[[str], NoReturn]) -> Path:
    """The FER2013 folder in DEEPFER_FER2013; it is not part of this project."""
    name = os.environ.get("DEEPFER_FER2013")
    if not name:
        leave_out("need FER2013: set DEEPFER_FER2013 to its folder")
    return Path(name)


@pytest.fixture
def faces_data(leave_out: Callable[[str], NoReturn]) -> Path:
    """The folder of photos in DEEPFER_FACES; it is not part of this project."""
    name = os.environ.get("DEEPFER_FACES")
    if not name:
        leave_out(
            "recorded faces: set DEEPFER_FACES to the detector's photos to compare the embedded detector's answers"
        )
    return Path(name)


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """Eileen Collins, smiling, RGB uint8 (512, 512, 3); NASA, public domain. Read-only."""
    from skimage.data import astronaut

    photo = astronaut()
    photo.flags.writeable = False
    return photo


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> Path:
    """One face, 150x130."""
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(astronaut[:260, 80:380]).resize((150, 130)).save(path)
    return path


@pytest.fixture(scope="session")
def ffmpeg_folder(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """A folder for PATH that contains ffmpeg: the machine's own, or that of imageio-ffmpeg."""
    program = shutil.which("ffmpeg")
    if not program:
        try:
            from imageio_ffmpeg import get_ffmpeg_exe
        except ImportError:
            return None
        program = get_ffmpeg_exe()
    folder = tmp_path_factory.mktemp("ffmpeg")
    (folder / "ffmpeg").symlink_to(program)
    return folder


@pytest.fixture
def ffmpeg(ffmpeg_folder: Path | None, monkeypatch: pytest.MonkeyPatch, leave_out: Callable[[str], NoReturn]) -> str:
    """ffmpeg, on the PATH of this process and of the programs that it starts."""
    if ffmpeg_folder is None:
        leave_out("need ffmpeg: install it, or imageio-ffmpeg")
    monkeypatch.setenv("PATH", f"{ffmpeg_folder}{os.pathsep}{os.environ['PATH']}")
    return str(ffmpeg_folder / "ffmpeg")


@pytest.fixture
def no_ffmpeg(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without ffmpeg."""
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, or one line that says how to install it."""
    with playing() as playwright, chromium(playwright) as browser:
        yield browser


@pytest.fixture(scope="module")
def server(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer | None]:
    """The page's server; None without a browser."""
    if isinstance(browser, str):
        yield None
        return
    with serve(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def page(browser: Any, server: AppServer, leave_out: Callable[[str], NoReturn]) -> Iterator[Any]:
    """The page, freshly opened."""
    if isinstance(browser, str):
        leave_out(browser)
    with opened(browser, server.url) as page:
        yield page
