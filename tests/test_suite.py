"""How `conftest.py` runs tests, tried on a few small ones."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deepfer.detection import YUNET_FILE, YUNET_REPO

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent
WATCHED = """
import time
import pytest

@pytest.mark.parametrize("number", range(6))
def test_beside(number, tmp_path_factory):
    watch(f"beside {number}")

@pytest.mark.alone
@pytest.mark.parametrize("number", range(2))
def test_alone(number):
    watch(f"alone {number}")

def watch(name):
    start = time.monotonic()
    time.sleep(0.2)
    with open("watched", "a") as file:
        print(name, start, time.monotonic(), file=file)
"""
NEEDS = """
import pytest

@pytest.mark.slow
def test_slow():
    pass

def test_yunet(yunet_file):
    assert yunet_file.is_file()

@pytest.mark.parametrize("number", range(2))
def test_fer2013(fer2013, number):
    pass
"""


def run(folder: Path, tests: str, *options: str, **settings: str) -> str:
    (folder / "test_made.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    alone\n    slow\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DEEPFER_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment | {"PYTHONPATH": os.pathsep.join(map(str, (TESTS, TESTS.parent)))} | settings,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_alone_means_beside_no_other(tmp_path: Path) -> None:
    run(tmp_path, WATCHED, "-n", "2", "--dist", "load", "--maxschedchunk", "1")
    lines = (tmp_path / "watched").read_text().splitlines()
    spans = [(name, float(start), float(end)) for name, start, end in (line.rsplit(" ", 2) for line in lines)]
    assert len(spans) == 8
    for name, start, end in spans:
        others = [other for other, begun, ended in spans if other != name and begun < end and ended > start]
        assert not (others and name.startswith("alone")), others


def test_one_line_says_what_was_skipped_and_how_to_run_it(tmp_path: Path) -> None:
    for options in ((), ("-n", "2")):
        lines = run(tmp_path, NEEDS, *options, HF_HOME=str(tmp_path)).splitlines()
        (line,) = [line for line in lines if " tests skipped: " in line]
        assert line.startswith("4 tests skipped: 2 need FER2013: set DEEPFER_FER2013")
        assert "1 slow: make test PYTEST=--slow" in line
        assert "1 need YuNet: hf download" in line
    assert "1 slow" not in run(tmp_path, NEEDS, "--slow", HF_HOME=str(tmp_path))


def test_yunet_is_taken_from_the_users_cache(yunet_file: Path, tmp_path: Path) -> None:
    kept = tmp_path / "hub" / f"models--{YUNET_REPO.replace('/', '--')}" / "snapshots" / ("0" * 40) / YUNET_FILE
    kept.parent.mkdir(parents=True)
    shutil.copy(yunet_file, kept)
    assert "need YuNet" not in run(tmp_path, NEEDS, "-n", "1", HF_HOME=str(tmp_path))
    kept.write_bytes(b"another file")
    assert "1 need YuNet" in run(tmp_path, NEEDS, HF_HOME=str(tmp_path))
