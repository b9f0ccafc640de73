"""QuietInterpreter: LiteRT without the line that it writes to stderr when a process allocates its first model."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ai_edge_litert.interpreter import Interpreter

_lock = threading.RLock()
_announced = False  # LiteRT announces its delegate once


class QuietInterpreter(Interpreter):
    """A LiteRT interpreter that writes nothing to stderr."""

    def allocate_tensors(self) -> None:
        """As in `Interpreter`."""
        global _announced
        if _announced:
            super().allocate_tensors()
            return
        with stderr_silenced():
            super().allocate_tensors()
        _announced = True


@contextmanager
def stderr_silenced() -> Iterator[None]:
    """Redirect the process's stderr to /dev/null while native code writes to it directly."""
    with _lock:  # two threads that redirect it at once would restore each other's /dev/null
        if sys.stderr is not None:
            sys.stderr.flush()
        try:
            kept = os.dup(2)
        except OSError:  # it is closed
            yield
            return
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 2)
        os.close(devnull)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
