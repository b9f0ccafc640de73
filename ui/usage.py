"""Usage: a running total of the disk space and the number of files that visitors' files take."""

import threading

from deepfer import DeepFERError
from ui.limits import MAX_KEPT_BYTES, MAX_KEPT_FILES

BLOCK_BYTES = 4096  # what most file systems take for a folder, and round a file's size up to


class StorageFull(DeepFERError):
    """The page stores as much as its limits allow."""


class Usage:
    """The last measurement plus everything added since, so that adding never has to read the disk.

    It is thread-safe.

    Attributes:
        measured: Bytes and number of files and folders at the last measurement.
        added: Bytes and number added since that measurement began.
    """

    def __init__(self, max_bytes: int = MAX_KEPT_BYTES, max_files: int = MAX_KEPT_FILES) -> None:
        self.max_bytes, self.max_files = max_bytes, max_files
        self.measured = self.added = (0, 0)
        self._lock = threading.Lock()

    def add(self, size: int = 0, files: int = 0) -> None:
        """Count something before it is written; without arguments, only check that the limits are not exceeded.

        Args:
            size: Bytes of content.
            files: How many files are created, each in a folder of its own.

        Raises:
            StorageFull: It would exceed a limit. It is not counted.
        """
        size, files = size + 2 * files * BLOCK_BYTES, 2 * files
        with self._lock:
            added = self.added[0] + size, self.added[1] + files
            if self.measured[0] + added[0] > self.max_bytes or self.measured[1] + added[1] > self.max_files:
                raise StorageFull("The server's storage is full. Old files are deleted over time. Try again later.")
            self.added = added

    def measure(self, size: int, files: int, before: tuple[int, int]) -> None:
        """Replace the total by a measurement.

        Args:
            size: Bytes on the disk.
            files: Number of files and folders.
            before: `added` when the measurement began, which the measurement includes.
        """
        with self._lock:
            self.measured = size, files
            self.added = self.added[0] - before[0], self.added[1] - before[1]


USAGE = Usage()  # of the running page's folder
