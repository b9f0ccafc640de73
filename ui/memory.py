"""Memory: what visitors' pictures took goes back to the machine once they are gone."""

import ctypes
import threading
import time
from contextlib import suppress

EVERY_S = 5.0


def give_back() -> bool:
    """Return what is free on the heaps of all threads; False where the C library (other than glibc) has no way to."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
        return True
    return False


def keep_small() -> None:
    """Do so from now on, every few seconds."""

    def look() -> None:
        while give_back():
            time.sleep(EVERY_S)

    threading.Thread(target=look, name="deepfer-memory", daemon=True).start()
