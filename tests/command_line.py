"""Runs the command line in this process or in a separate one."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepfer.cli import main

ROOT = Path(__file__).parents[1]


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@contextmanager
def started(*arguments: object, **options: object) -> Iterator[subprocess.Popen]:
    """Start the command line in a separate process, which is killed at the end."""
    command = [sys.executable, "-m", "deepfer", *map(str, arguments)]
    # A background process of a script ignores Ctrl-C, and so would its children.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler), **options,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
