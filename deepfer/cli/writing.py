"""Errors while writing, which name the file."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepfer.errors import DeepFERError


class WriteError(Exception):
    """A file cannot be written, because the disk is full for example. This ends the run."""


class NameTooLongError(DeepFERError):
    """A file that --save would write has too long a name. Only its input fails."""


@contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Convert an `OSError` while writing `path` to one of the errors above, except for a broken pipe."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        kind = NameTooLongError if error.errno == errno.ENAMETOOLONG else WriteError
        raise kind(f"{path} cannot be written: {error.strerror or error}") from error
