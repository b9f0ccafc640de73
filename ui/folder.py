"""The page's folder, which holds everything that visitors send and receive, and its cleaner.

Gradio's own `delete_cache` handles only complete uploads, and leaves everything behind if the server is killed. This
module must not import Gradio, which reads GRADIO_TEMP_DIR when it is imported.
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

SPARED: set[str] = set()  # paths that are never deleted: what exists when the page starts, such as the examples


def open_folder() -> Path:
    """Create this page's folder in GRADIO_TEMP_DIR, and make Gradio and `tempfile` use it.

    Only this user can read it. It is deleted when the server exits. If the server is killed, the next page deletes it:
    a page locks its folder as long as it runs.

    Returns:
        The folder.

    Raises:
        OSError: The folder cannot be created.
    """
    parent = os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()
    os.makedirs(parent, exist_ok=True)
    os.umask(0o077)  # also for what Gradio creates, even the folder itself if it was deleted
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
    """Start a thread that deletes old files, sparing those that exist now, and the folders of killed pages."""
    SPARED.update(entry.path for entry in entries(folder))

    def clean_up() -> None:
        while True:
            clean(folder, SPARED, USAGE)
            delete_abandoned(folder)
            time.sleep(CLEAN_EVERY_S)

    threading.Thread(target=clean_up, name="deepfer-cleaner", daemon=True).start()


def clean(folder: Path, spared: set[str], usage: Usage) -> None:
    """Delete old files and measure what is left.

    A file is old after UPLOAD_AGE_S. While the folder is more than half full, files are old after CROWDED_AGE_S, and
    the oldest go first: otherwise a flood of uploads would keep visitors out for an hour.

    Args:
        folder: The page's folder.
        spared: Paths that are never deleted.
        usage: Receives the measurement.
    """
    before = usage.added
    everything = list(entries(folder))
    size, count = sum(entry.size for entry in everything), len(everything)
    now = time.time()
    for entry in sorted((entry for entry in everything if not entry.is_folder), key=lambda entry: entry.changed):
        crowded = size > usage.max_bytes / 2 or count > usage.max_files / 2
        if now - entry.changed < min(UPLOAD_AGE_S, CROWDED_AGE_S if crowded else UPLOAD_AGE_S):
            break
        if entry.path in spared:
            continue
        with suppress(OSError):  # deleted already
            os.unlink(entry.path)
            size, count = size - entry.size, count - 1
            if (parent := os.path.dirname(entry.path)) not in spared:
                os.rmdir(parent)  # unless it holds something else
                count -= 1
    for entry in everything:
        if entry.is_folder and entry.path not in spared and now - entry.changed > UPLOAD_AGE_S:
            with suppress(OSError):  # deleted already, or not empty
                os.rmdir(entry.path)
    usage.measure(size, count, before)


class Entry(NamedTuple):
    """A file or a folder.

    Attributes:
        path: Its path.
        is_folder: Whether it is a folder.
        changed: Time it was last written or renamed, in seconds since 1970.
        size: Bytes it takes on the disk.
    """

    path: str
    is_folder: bool
    changed: float
    size: int


def entries(folder: Path | str) -> Iterator[Entry]:
    """Everything in a folder, each subfolder after its content; links are not followed."""
    with suppress(OSError), os.scandir(folder) as items:
        for item in items:
            with suppress(OSError):  # deleted just now
                is_folder, stat = item.is_dir(follow_symlinks=False), item.stat(follow_symlinks=False)
                if is_folder:
                    yield from entries(item.path)
                # Some file systems assign blocks late, or report none. A file with two names counts half for each.
                size = max(stat.st_size, 512 * getattr(stat, "st_blocks", 0))
                size //= 1 if is_folder else max(1, stat.st_nlink)
                yield Entry(item.path, is_folder, stat.st_ctime, size)


def delete_abandoned(folder: Path) -> None:
    """Delete the folders of other pages that no longer run."""
    for other in folder.parent.glob(f"{PREFIX}*"):
        if other == folder:
            continue
        descriptor = _lock(other, wait=False)
        if descriptor is not None:
            shutil.rmtree(other, ignore_errors=True)
            os.close(descriptor)


def _lock(folder: Path, wait: bool) -> int | None:
    """Lock a folder until the returned descriptor is closed or this process ends.

    Returns:
        None if another process has locked it (unless `wait`), or if it cannot be locked by this user or on this system.
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
