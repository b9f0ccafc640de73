"""LiteRT interpreters, without the line that LiteRT writes to the process's stderr when it loads the first model."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ai_edge_litert.interpreter import Interpreter

_lock = threading.Lock()
_loaded = False


def load_interpreter(model: bytes, threads: int) -> Interpreter:
    """An interpreter for a LiteRT file, with its tensors not allocated yet.

    Raises:
        ValueError: LiteRT cannot load it.
    """
    global _loaded
    if _loaded:
        return Interpreter(model_content=model, num_threads=threads)
    with stderr_silenced():
        interpreter = Interpreter(model_content=model, num_threads=threads)
        _loaded = True
    return interpreter


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
