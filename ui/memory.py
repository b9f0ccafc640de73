"""Memory: returns what was freed to the system, after large images for example."""

import ctypes
import threading
import time
from contextlib import suppress

TRIM_EVERY_S = 5.0


def trim_heap() -> bool:
    """Return the free memory of all heaps to the system; False if the C library (other than glibc) cannot."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
        return True
    return False


def start_heap_trimmer() -> None:
    """Start a thread that trims the heap every few seconds."""

    def trim() -> None:
        while trim_heap():
            time.sleep(TRIM_EVERY_S)

    threading.Thread(target=trim, name="deepfer-memory", daemon=True).start()
