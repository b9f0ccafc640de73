"""Waiting until something holds, instead of sleeping for as long as it may take."""

import time
from collections.abc import Callable


def within(seconds: float, holds: Callable[[], bool], every_s: float = 0.1) -> bool:
    """Whether it comes to hold in time; it is not asked again once it does, since asking may change it."""
    end = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(every_s)
    return held
