"""Waits until a condition holds, instead of sleeping for as long as that may take."""

import time
from collections.abc import Callable


def within(seconds: float, holds: Callable[[], bool], every_s: float = 0.1) -> bool:
    """Whether the condition holds in time. Once it does, it is not checked again, because checking may change it."""
    end = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(every_s)
    return held
