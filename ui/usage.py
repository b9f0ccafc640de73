"""Usage: a running total of the disk space and the number of files that all visitors' files take."""

import threading

from deepfer import DeepFERError
from ui.limits import MAX_KEPT_BYTES, MAX_KEPT_FILES

BLOCK_BYTES = 4096  # what most file systems take for a folder, and what they round a file's size up to


class StorageFull(DeepFERError):
    """As much is kept as the limits allow."""


class Usage:
    """What was measured last plus what was added since, so that adding never has to look at the disk.

    Safe to use from any thread.

    Attributes:
        measured: Bytes and count of files and folders, at the last measurement.
        added: Bytes and count that came after that measurement began.
    """

    def __init__(self, max_bytes: int = MAX_KEPT_BYTES, max_files: int = MAX_KEPT_FILES) -> None:
        self.max_bytes, self.max_files = max_bytes, max_files
        self.measured = self.added = (0, 0)
        self._lock = threading.Lock()

    def add(self, size: int = 0, files: int = 0) -> None:
        """Count something before it is written; without arguments, check that there is room at all.

        Args:
            size: Bytes of content.
            files: How many files it opens; each has a folder of its own.

        Raises:
            StorageFull: It would pass a limit. It is not counted.
        """
        size, files = size + 2 * files * BLOCK_BYTES, 2 * files
        with self._lock:
            added = self.added[0] + size, self.added[1] + files
            if self.measured[0] + added[0] > self.max_bytes or self.measured[1] + added[1] > self.max_files:
                raise StorageFull("The page's storage is full. Old files are deleted as time passes: try again later.")
            self.added = added

    def measure(self, size: int, files: int, before: tuple[int, int]) -> None:
        """Replace the total by a measurement.

        Args:
            size: Bytes on the disk.
            files: The number of files and folders.
            before: `added` when the measurement began: the measurement includes it.
        """
        with self._lock:
            self.measured = size, files
            self.added = self.added[0] - before[0], self.added[1] - before[1]


USAGE = Usage()  # of the running page's folder
