"""The command line, called here or started as a program of its own."""

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
    """The command line as a program of its own, gone afterwards."""
    command = [sys.executable, "-m", "deepfer", *map(str, arguments)]
    # A program started in the background of a script ignores Ctrl-C, and so would what it starts.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler), **options,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
