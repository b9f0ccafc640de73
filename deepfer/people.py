"""PeopleCounter: who is in a video, for how long, and with which emotions, accumulated frame by frame."""

from __future__ import annotations

import cv2
import numpy as np

from deepfer.face import LABELS, Box, Face, area
from deepfer.limits import MAX_VIDEO_PEOPLE
from deepfer.result import Person
from deepfer.text import Message

MIN_SEEN_S = 0.5  # people visible for less are left out of the summary
MAX_AGE_S = 1.0  # people out of sight for longer get a new number
BIN_S = 0.2  # resolution of the timelines
PORTRAIT_SIDE = 112  # pixels


class PeopleCounter:
    """Accumulates the people of a video in bounded memory.

    People who have left are dropped if they were visible for less than `MIN_SEEN_S`. Of the others, the `limit` people
    visible for longest are kept.
    """

    def __init__(self, limit: int = MAX_VIDEO_PEOPLE) -> None:
        self._limit = limit
        self._present: dict[int, _Track] = {}
        self._left: list[Person] = []
        self._dropped = False

    def __len__(self) -> int:
        """The number of people in memory."""
        return len(self._present) + len(self._left)

    def add(self, time_s: float, faces: list[Face], until_s: float, rgb: np.ndarray | None = None) -> None:
        """Add the faces of a frame shown from `time_s` to `until_s`, in seconds; `rgb` is the frame, for portraits."""
        for number in [number for number, seen in self._present.items() if time_s - seen.last_s > MAX_AGE_S]:
            seen = self._present.pop(number)
            if sum(seen.seconds) >= MIN_SEEN_S:
                self._left.append(seen.person(number))
        if len(self._left) > 2 * self._limit:
            self._drop()
        for face in faces:
            assert face.track_id is not None
            self._present.setdefault(face.track_id, _Track(time_s)).add(face, time_s, until_s, rgb)

    def summary(self, duration_s: float) -> tuple[list[Person], Message | None]:
        """Finish.

        Args:
            duration_s: The video's length in seconds.

        Returns:
            The people in order of appearance, and a warning if the limit dropped some, or None.
        """
        least_s = min(MIN_SEEN_S, duration_s / 2)
        self._left += [seen.person(number) for number, seen in self._present.items() if sum(seen.seconds) >= least_s]
        self._present.clear()
        if len(self._left) > self._limit:
            self._drop()
        warning = None
        if self._dropped:
            count = format(self._limit, ",")
            warning = Message("only the %(count)s faces that are on screen longest are listed", count=count)
        return sorted(self._left, key=lambda person: (person.first_s, person.track_id)), warning

    def _drop(self) -> None:
        self._left.sort(key=lambda person: -person.seen_s)
        del self._left[self._limit :]
        self._dropped = True


class _Track:
    """The accumulated values of one person."""

    def __init__(self, time_s: float) -> None:
        self.first_s = self.last_s = time_s
        self.seconds = [0.0] * len(LABELS)
        self.sums = np.zeros(len(LABELS))
        self.portrait: np.ndarray | None = None
        self.clearest = 0.0
        self.bins: dict[int, np.ndarray] = {}  # bin to the weighted sum of its probabilities, and the sum of weights

    def add(self, face: Face, time_s: float, until_s: float, rgb: np.ndarray | None) -> None:
        values = np.array([face.probabilities[label] for label in LABELS])
        clear = float(values.max()) * area(face.box) ** 0.5  # a large face whose emotion is plain
        if rgb is not None and clear > self.clearest:
            self.clearest, self.portrait = clear, _portrait(rgb, face.box)
        lasts_s = until_s - time_s
        self.last_s = until_s
        self.seconds[int(values.argmax())] += lasts_s
        self.sums += lasts_s * values
        for step in range(int(time_s / BIN_S), int(until_s / BIN_S) + 1):
            share = min(until_s, (step + 1) * BIN_S) - max(time_s, step * BIN_S)
            if share > 0:
                self.bins.setdefault(step, np.zeros(len(LABELS) + 1, np.float32))
                self.bins[step] += share * np.append(values, 1)

    def person(self, number: int) -> Person:
        first, last = min(self.bins), max(self.bins)
        timeline = np.full((last - first + 1, len(LABELS)), np.nan, np.float32)
        for step, values in self.bins.items():
            timeline[step - first] = values[:-1] / values[-1]
        means = self.sums / sum(self.seconds)
        return Person(
            number,
            self.first_s,
            self.last_s,
            dict(zip(LABELS, self.seconds, strict=True)),
            dict(zip(LABELS, map(float, means), strict=True)),
            timeline,
            first * BIN_S,
            BIN_S,
            self.portrait,
        )


def _portrait(rgb: np.ndarray, box: Box) -> np.ndarray:
    """A square with the face and its surroundings, RGB uint8 `(PORTRAIT_SIDE, PORTRAIT_SIDE, 3)`."""
    height, width = rgb.shape[:2]
    x1, y1, x2, y2 = box
    side = min(round(1.4 * max(x2 - x1, y2 - y1)), height, width)
    left = min(max((x1 + x2 - side) // 2, 0), width - side)
    top = min(max((y1 + y2 - side) // 2, 0), height - side)
    square = rgb[top : top + side, left : left + side]
    return cv2.resize(square, (PORTRAIT_SIDE, PORTRAIT_SIDE), interpolation=cv2.INTER_AREA)
