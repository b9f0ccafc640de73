"""The limits and the environment variables that override them."""

import os
import subprocess
import sys
from pathlib import Path

import clips
import numpy as np
import pytest

import ui.limits
from deepfer import limits

ROOT = Path(__file__).parents[1]
VALUES = {name: value for name, value in (vars(limits) | vars(ui.limits)).items() if name.isupper()}


def run(*command: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=ROOT, env=os.environ | environment
    )


def test_the_environment_overrides_each_limit() -> None:
    others = {name: str(value + 1) for name, value in VALUES.items()}
    code = (
        "import ui.limits; from deepfer import limits; limits.check_limits(); "
        f"print(*((vars(limits) | vars(ui.limits))[name] for name in {list(others)}))"
    )
    done = run("-c", code, **{f"DEEPFER_{name}": value for name, value in others.items()})
    assert done.stdout.split() == list(others.values())


def test_a_limit_from_the_environment_applies() -> None:
    done = run("-m", "deepfer", "ui/examples/astronaut.jpg", DEEPFER_MAX_PIXELS="200000")
    assert done.returncode == 1
    assert "more than 0.2 megapixels (512x512)" in done.stderr


def test_a_video_error_states_the_limit_that_is_set(tmp_path: Path) -> None:
    clip = clips.write(tmp_path / "small.mp4", [np.zeros((64, 64, 3), np.uint8)] * 2, 10)
    done = run("-m", "deepfer", str(clip), DEEPFER_MAX_VIDEO_FRAME_PIXELS="4000")
    assert done.returncode == 1
    assert done.stderr.endswith("small.mp4: frames of more than 0.004 megapixels (64x64)\n")


@pytest.mark.parametrize("value", ["many", "0"])
def test_an_invalid_limit_gets_one_message(value: str) -> None:
    done = run("-m", "deepfer", "ui/examples/astronaut.jpg", DEEPFER_MAX_PIXELS=value)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"deepfer: DEEPFER_MAX_PIXELS must be an integer above 0, got {value!r}\n"


def test_the_page_does_not_start_with_an_invalid_limit() -> None:
    done = run("app.py", DEEPFER_VISITOR_WAIT_S="inf")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: DEEPFER_VISITOR_WAIT_S must be a number above 0, got 'inf'"
