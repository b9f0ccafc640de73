"""Line: visitors wait here for something that only one of them can use at a time, and see how many are ahead."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from deepfer import DeepFERError

POLL_S = 0.5  # time between a visitor's checks of the line; a visitor who leaves is noticed within this time
SILENCE_S = 60.0  # a place is lost after this time without a check; visitors who are there check far more often


class LineFull(DeepFERError):
    """Too many are waiting."""


class Line:
    """Places in order of arrival. The first place has its turn until it is left.

    Gradio's own queue neither tells visitors their place nor lets them cancel while they wait, so the handlers of a
    video run at once and wait here. It is thread-safe.
    """

    def __init__(self, limit: int, silence_s: float = SILENCE_S) -> None:
        self._limit = limit
        self._silence_s = silence_s
        self._seen: dict[Place, float] = {}  # each place with the time of its last check, in order of arrival
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """The number of places that are taken, including the one whose turn it is."""
        return len(self._seen)

    @contextmanager
    def place(self) -> Iterator["Place"]:
        """Take the last place, and leave it when the block ends.

        Raises:
            LineFull: No place is left.
        """
        place = Place(self)
        with self._changed:
            self._drop_silent()
            if len(self._seen) >= self._limit:
                raise LineFull(
                    "%(count)d videos are waiting already. Please try again in a few minutes.", count=len(self._seen)
                )
            self._seen[place] = time.monotonic()
        try:
            yield place
        finally:
            with self._changed:
                self._seen.pop(place, None)
                self._changed.notify_all()

    def ahead(self, place: "Place", wait_s: float) -> int:
        """How many are ahead of a place, after waiting up to `wait_s` seconds for that to change; 0: its turn."""
        with self._changed:
            before = self._count(place)
            if before and wait_s:
                self._changed.wait_for(lambda: self._count(place) != before, wait_s)
            return self._count(place)

    def _count(self, place: "Place") -> int:
        if place not in self._seen:
            return 0  # it was silent for so long that others went ahead; it no longer holds anybody up
        self._seen[place] = time.monotonic()
        self._drop_silent()
        return list(self._seen).index(place)

    def _drop_silent(self) -> None:
        now = time.monotonic()
        for place in [place for place, seen in self._seen.items() if now - seen > self._silence_s]:
            del self._seen[place]


class Place:
    """A place in a line."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def ahead(self, wait_s: float = 0.0) -> int:
        """How many are ahead, after waiting up to `wait_s` seconds for that to change; 0 if it is this one's turn."""
        return self._line.ahead(self, wait_s)
