"""Atomic writes: a file appears under its name only when it is complete."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def temporary_sibling(path: Path) -> Path:
    """A new hidden name beside `path`, with the same suffix."""
    return path.with_name(f".{secrets.token_hex(8)}.part{path.suffix}")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` at the end, or is deleted if there is an exception.

    Raises:
        OSError: `path` cannot be replaced.
    """
    temporary = temporary_sibling(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
