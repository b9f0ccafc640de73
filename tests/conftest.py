"""What the tests share: a Hub on the loopback interface, the YuNet file where there is one, and a photo.

Nothing here or in any test reaches the network or the user's own Hub cache. What cannot be tested on a machine is left
out with its reason, which `make test` shows in its summary; with DEEPFER_REQUIRE_ALL=1, as in CI, it fails instead.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from hub_server import HubServer
from PIL import Image

# huggingface_hub reads its settings when it is imported, so they are made before any test module can import it; tests
# that start programs of their own hand them on by the environment.
_HF_HOME = tempfile.mkdtemp(prefix="deepfer-hf-home-")
atexit.register(shutil.rmtree, _HF_HOME, ignore_errors=True)
_SERVER = HubServer()
for _name in [name for name in os.environ if name.startswith(("HF_", "HUGGING", "DEEPFER_MODEL", "DEEPFER_REVISION"))]:
    del os.environ[_name]
os.environ |= {
    "HF_HOME": _HF_HOME,
    "HF_ENDPOINT": _SERVER.url,
    "HF_HUB_DISABLE_XET": "1",  # Xet transfers go to another service than the one that is played here
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a test is marked to have tried goes into its report, as what `record_property` records."""
    for item in items:
        for mark in item.iter_markers("tried"):
            item.user_properties.append(("tried", mark.args[0]))


@pytest.fixture
def leave_out() -> Callable[[str], NoReturn]:
    """What a test calls, with the reason, where this machine lacks something it needs."""

    def leave(reason: str) -> NoReturn:
        if os.environ.get("DEEPFER_REQUIRE_ALL") == "1":
            pytest.fail(f"left out, but DEEPFER_REQUIRE_ALL=1: {reason}")
        pytest.skip(reason)

    return leave


@pytest.fixture
def hub() -> Iterator[HubServer]:
    """An empty Hub that HF_ENDPOINT names, here and in every program started from here, and an empty cache."""
    _empty_hub()
    yield _SERVER
    _empty_hub()


def _empty_hub() -> None:
    """Forget all that the Hub and the cache hold, once downloads that were given up have noticed it."""
    _SERVER.reset()
    for thread in threading.enumerate():
        if thread.name == "deepfer-hub":  # or it would take another test's faults, or fill its cache
            thread.join(timeout=5)
    _SERVER.reset()
    shutil.rmtree(Path(_HF_HOME, "hub"), ignore_errors=True)


@pytest.fixture
def yunet_file(leave_out: Callable[[str], NoReturn]) -> Path:
    """The YuNet file that the environment names; it is not part of this project."""
    from deepfer.detection import YUNET_FILE, YUNET_REPO, YUNET_SHA256

    name = os.environ.get("DEEPFER_YUNET")
    if not name:
        leave_out(f"YuNet: set DEEPFER_YUNET to {YUNET_FILE} of the Hub's {YUNET_REPO} to test it")
    path = Path(name)
    if not path.is_file():
        pytest.fail(f"DEEPFER_YUNET names no file: {name}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != YUNET_SHA256:
        pytest.fail(f"DEEPFER_YUNET names another file than the YuNet that this project pins: {name}")
    return path


@pytest.fixture
def fer2013(leave_out: Callable[[str], NoReturn]) -> Path:
    """The FER2013 folder that the environment names; it is not part of this project."""
    name = os.environ.get("DEEPFER_FER2013")
    if not name:
        leave_out("recorded labels: set DEEPFER_FER2013 to a FER2013 folder to compare the embedded model's answers")
    return Path(name)


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """Eileen Collins, smiling, RGB uint8 (512, 512, 3); NASA, public domain. Not to be written to."""
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
    """A folder for PATH with an ffmpeg: the machine's, or the one that comes with a Python package."""
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
    """An ffmpeg that everything started from here finds."""
    if ffmpeg_folder is None:
        leave_out(
            "clips with sound: there is no ffmpeg, and imageio-ffmpeg is missing (tests/requirements.txt names it)"
        )
    monkeypatch.setenv("PATH", f"{ffmpeg_folder}{os.pathsep}{os.environ['PATH']}")
    return str(ffmpeg_folder / "ffmpeg")


@pytest.fixture
def no_ffmpeg(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without ffmpeg."""
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
