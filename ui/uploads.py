"""Uploads: the folder that takes what visitors send and get, for how long, and how much of it.

Gradio's own `delete_cache` knows whole uploads alone: one that is cut off stays, and all stay when a server is killed.
"""

import atexit
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from deepfer import PictureError
from deepfer.limits import UPLOAD_AGE_S

PREFIX = "deepfer-page-"
LOOK_S = 5.0  # between two looks for what is old


def open_folder() -> Path:
    """Have this server keep all that is temporary in a folder that only its user can read, in `GRADIO_TEMP_DIR`.

    It goes when the server ends; where it is killed, the next one deletes it once it is old.

    Raises:
        OSError: It cannot be made.
    """
    where = os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()
    os.makedirs(where, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=where))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "files").mkdir()
    os.environ["GRADIO_TEMP_DIR"], tempfile.tempdir = str(folder / "files"), str(folder)
    return folder


def keep_tidy(folder: Path) -> None:
    """From now on, delete what is older than `UPLOAD_AGE_S`, but what the page has put there itself until now.

    Args:
        folder: Of `open_folder`. It is marked as in use by its time; those beside it that are not, for so long, go.
    """
    own = {folder / "files", *_files(folder)}

    def look() -> None:
        while True:
            with suppress(OSError):
                os.utime(folder)
            delete_old(folder, own)
            for other in folder.parent.glob(f"{PREFIX}*"):
                with suppress(OSError):  # it went by itself
                    if other.stat().st_mtime < time.time() - UPLOAD_AGE_S - 2 * LOOK_S:
                        shutil.rmtree(other, ignore_errors=True)
            time.sleep(LOOK_S)

    threading.Thread(target=look, name="deepfer-uploads", daemon=True).start()


def delete_old(folder: Path, spared: set[Path]) -> None:
    """Delete the files in a folder that are older than `UPLOAD_AGE_S`, and folders that have been empty for so long."""
    oldest = time.time() - UPLOAD_AGE_S
    for path in (*_files(folder), *sorted(folder.rglob("*/"), reverse=True)):
        with suppress(OSError):  # somebody else was quicker, or it is not empty
            if path in spared or path.lstat().st_ctime > oldest:
                continue
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()


def kept_bytes() -> int:
    """How much is kept of all visitors at this moment."""
    total = 0
    for path in _files(Path(get_upload_folder()).parent):
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def kept(content: bytes, name: str) -> str:
    """Where a file of this name lies from now on that a visitor may fetch.

    Each has a folder of its own. Gradio would name one by what is in it and write it anew each time, so that of two
    visitors with the same picture one would be sent a file that is just being written for the other.
    """
    path = Path(tempfile.mkdtemp(dir=get_upload_folder()), name)
    path.write_bytes(content)
    return str(path)


def uploaded(record: dict[str, Any]) -> Path:
    """Where an uploaded file lies, by Gradio's record of it.

    Raises:
        PictureError: The record names a file that nobody uploaded. Gradio 6.31 lets one without "meta" through with any
            path on this machine; uploads lie in its own folder. Or it was deleted by now.
    """
    path = Path(os.path.abspath(record.get("path") or ""))
    if not path.is_relative_to(os.path.abspath(get_upload_folder())):
        raise PictureError("Send it as a file.")
    if not path.exists():
        raise PictureError("It is no longer here: what waits for too long is deleted. Send it again.")
    return path


def _files(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):
        yield from (Path(where, name) for name in names)
