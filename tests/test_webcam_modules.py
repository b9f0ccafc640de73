"""The webcam tab's JavaScript modules without a browser, and the script that they become."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from ui.webcam_tab import PAGE, script

TESTS = sorted(Path(__file__).with_name("js").glob("*.test.js"))
DECLARATION = re.compile(r"^(?:async )?(?:function|class|const|let) (\w+)", re.MULTILINE)


@pytest.fixture
def node(leave_out: Callable[[str], NoReturn]) -> str:
    return shutil.which("node") or leave_out("the webcam's modules: Node.js is missing (`apt-get install nodejs`)")


def test_modules(node: str) -> None:
    assert TESTS
    done = subprocess.run([node, "--test", *TESTS], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_script_is_one_function_body(node: str) -> None:
    """Gradio compiles it with these parameters."""
    compile_it = (
        "new Function('element', 'props', 'trigger', 'server', 'upload', 'watch', require('fs').readFileSync(0))"
    )
    done = subprocess.run([node, "-e", compile_it], input=script(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_two_modules_declare_the_same_name() -> None:
    names = Counter(DECLARATION.findall(script()))
    assert names["Sender"] == 1
    assert [name for name, count in names.items() if count > 1] == []


def test_nothing_in_the_script_imports_or_exports() -> None:
    assert not re.search(r"^\s*(import|export)\b", script(), re.MULTILINE)
    assert len(list(PAGE.glob("*.js"))) > 10
