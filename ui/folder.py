"""The page's folder: it holds everything that visitors send and get, and deletes it in time.

Gradio's own `delete_cache` knows only complete uploads, and it leaves everything behind when the server is killed. This
module does not import Gradio, which reads GRADIO_TEMP_DIR while it is imported.
"""

import atexit
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ui.limits import CROWDED_AGE_S, UPLOAD_AGE_S
from ui.usage import USAGE, Usage

if sys.platform != "win32":  # on Windows, pages do not delete each other's folders
    import fcntl

PREFIX = "deepfer-page-"
CLEAN_EVERY_S = 5.0


def open_folder() -> Path:
    """Make the folder of this page in GRADIO_TEMP_DIR, and have Gradio and `tempfile` use it from now on.

    Only this user can read it. It is deleted when the server ends. If the server is killed, the next page deletes it:
    a page locks its folder for as long as it lives.

    Returns:
        The folder.

    Raises:
        OSError: The folder cannot be made.
    """
    parent = os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()
    os.makedirs(parent, exist_ok=True)
    os.umask(0o077)  # for whatever Gradio makes in it, and for the folder itself if Gradio has to make it again
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        descriptor = _lock(folder, wait=True)
        if descriptor is None or _is_at(descriptor, folder):
            break
        os.close(descriptor)  # another page locked and deleted it first
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "files").mkdir()
    os.environ["GRADIO_TEMP_DIR"], tempfile.tempdir = str(folder / "files"), str(folder)
    return folder


def start_cleaner(folder: Path) -> None:
    """Start a thread that deletes old files, except those that exist now, and the folders of pages that were killed.

    Args:
        folder: The page's folder.
    """
    spared = {entry.path for entry in entries(folder)}

    def clean_up() -> None:
        while True:
            clean(folder, spared, USAGE)
            delete_abandoned(folder)
            time.sleep(CLEAN_EVERY_S)

    threading.Thread(target=clean_up, name="deepfer-cleaner", daemon=True).start()


def clean(folder: Path, spared: set[str], usage: Usage) -> None:
    """Delete old files and measure what is left.

    A file is old after UPLOAD_AGE_S. While the folder is more than half full, the oldest files go first, and already
    after CROWDED_AGE_S: a flood of uploads would otherwise keep visitors out for an hour.

    Args:
        folder: The page's folder.
        spared: Paths that stay.
        usage: Takes the measurement.
    """
    before = usage.added
    found = list(entries(folder))
    size, count = sum(entry.size for entry in found), len(found)
    now = time.time()
    for entry in sorted((entry for entry in found if not entry.is_folder), key=lambda entry: entry.changed):
        crowded = size > usage.max_bytes / 2 or count > usage.max_files / 2
        if now - entry.changed < min(UPLOAD_AGE_S, CROWDED_AGE_S if crowded else UPLOAD_AGE_S):
            break
        if entry.path in spared:
            continue
        with suppress(OSError):  # it is gone already
            os.unlink(entry.path)
            size, count = size - entry.size, count - 1
            if (parent := os.path.dirname(entry.path)) not in spared:
                os.rmdir(parent)  # unless it holds something else
                count -= 1
    for entry in found:
        if entry.is_folder and entry.path not in spared and now - entry.changed > UPLOAD_AGE_S:
            with suppress(OSError):  # it is gone already, or in use
                os.rmdir(entry.path)
    usage.measure(size, count, before)


class Entry(NamedTuple):
    """A file or a folder.

    Attributes:
        path: Where it is.
        is_folder: Whether it is a folder.
        changed: When it was last written or renamed, in seconds since 1970.
        size: Bytes it takes on the disk.
    """

    path: str
    is_folder: bool
    changed: float
    size: int


def entries(folder: Path | str) -> Iterator[Entry]:
    """Everything in a folder, each folder after what it holds; links are not followed."""
    with suppress(OSError), os.scandir(folder) as found:
        for item in found:
            with suppress(OSError):  # it was deleted just now
                is_folder, stat = item.is_dir(follow_symlinks=False), item.stat(follow_symlinks=False)
                if is_folder:
                    yield from entries(item.path)
                # Some file systems assign blocks late, or have none to tell of.
                size = max(stat.st_size, 512 * getattr(stat, "st_blocks", 0))
                yield Entry(item.path, is_folder, stat.st_ctime, size)


def delete_abandoned(folder: Path) -> None:
    """Delete the folders beside the page's own whose pages no longer run."""
    for other in folder.parent.glob(f"{PREFIX}*"):
        if other == folder:
            continue
        descriptor = _lock(other, wait=False)
        if descriptor is not None:
            shutil.rmtree(other, ignore_errors=True)
            os.close(descriptor)


def _lock(folder: Path, wait: bool) -> int | None:
    """Lock a folder until the descriptor that is returned is closed, or this process ends.

    None if another process has locked it (unless `wait`), or if this system or this user cannot lock it.
    """
    if sys.platform == "win32":
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _is_at(descriptor: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(folder))
    except OSError:
        return False
