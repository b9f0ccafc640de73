"""What the command line prints: results on stdout, messages and progress bars on stderr; and its exit statuses."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO

from tqdm import tqdm

from deepfer import __version__
from deepfer.cli.writing import writing
from deepfer.text import printable
from deepfer.video import Progress

EXIT_FAILED, EXIT_USAGE, EXIT_BUG, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 1, 2, 70, 130, 141
MANY = 5  # from this many inputs on there is a progress bar
VIDEO_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]"


class Console:
    """Prints results and messages without disturbing the progress bar, which appears if there are many inputs."""

    def __init__(self, total: int) -> None:
        # In a log file, a bar ten times a second would be too much.
        interval_s = 0.1 if sys.stderr.isatty() else 10
        self._bar: Any = tqdm(total=total, unit=" inputs", mininterval=interval_s) if total >= MANY else None

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    @contextmanager
    def video_bar(self, path: Path) -> Iterator[Callable[[Progress], None]]:
        """A second progress bar for a video, on a terminal only. Yields the function that updates it."""
        with tqdm(total=1, desc=printable(path.name), leave=False, disable=None, bar_format=VIDEO_BAR) as bar:

            def show(progress: Progress) -> None:
                bar.total = progress.total_s or progress.done_s
                bar.update(progress.done_s - bar.n)

            yield show

    def print(self, line: str) -> None:
        """Print a result.

        Raises:
            BrokenPipeError: Nobody reads stdout.
            WriteError: stdout cannot be written.
        """
        with self._bar_cleared(sys.stdout), writing("stdout"):
            try:
                print(line, flush=True)
            except OSError:
                # Otherwise Python tries to flush the rest at exit, and complains.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise

    def note(self, line: str) -> None:
        """Print a message."""
        with self._bar_cleared(sys.stderr):
            note(line)

    def step(self) -> None:
        """Count one input as done."""
        if self._bar is not None:
            self._bar.update()

    @contextmanager
    def _bar_cleared(self, stream: TextIO) -> Iterator[None]:
        terminal = sys.stderr.isatty()
        shared = self._bar is not None and (stream is sys.stderr or (terminal and stream.isatty()))
        if shared:
            self._bar.clear()
        yield
        if shared and terminal:
            self._bar.refresh()


def note(line: str) -> None:
    """Print a message on stderr."""
    print(f"deepfer: {line}", file=sys.stderr)


def fail_usage(line: str) -> NoReturn:
    """Print a message and exit with the status of a usage error."""
    note(line)
    raise SystemExit(EXIT_USAGE)


def report_bug(error: Exception, debug: bool) -> None:
    """Print the traceback of an unexpected exception, or write it to a log file and print where."""
    text = "".join(traceback.format_exception(error))
    if debug:
        note(f"internal error: {type(error).__name__}\n{text}")
        return
    with tempfile.NamedTemporaryFile("w", prefix="deepfer-", suffix=".log", delete=False) as log:
        log.write(f"deepfer {__version__}, Python {sys.version}\n{sys.argv}\n{text}")
    note(f"internal error ({type(error).__name__}); the traceback is in {log.name}")
