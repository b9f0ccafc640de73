"""People: who is in a clip, for how long, and what they show, counted frame by frame."""

from __future__ import annotations

import numpy as np

from deepfer.face import LABELS, Face
from deepfer.limits import MAX_VIDEO_PEOPLE
from deepfer.result import Person

SEEN_S = 0.5  # who is seen for less is left out of the summary
FORGET_S = 1.0  # who is out of sight for longer has another number afterwards
BIN_S = 0.2  # the timelines' steps


class People:
    """Everybody in a clip. Memory is bounded, however many faces come and go.

    Somebody who has gone for good is dropped if they were seen for less than `SEEN_S`. Of the others, `limit` are kept:
    those seen for longest.
    """

    def __init__(self, limit: int = MAX_VIDEO_PEOPLE) -> None:
        self._limit = limit
        self._here: dict[int, _Seen] = {}
        self._gone: list[Person] = []
        self._dropped = False

    def __len__(self) -> int:
        """How many people are kept in memory."""
        return len(self._here) + len(self._gone)

    def count(self, time_s: float, faces: list[Face], until_s: float) -> None:
        """Add the faces of a frame that is shown from `time_s` to `until_s`, in seconds."""
        for number in [number for number, seen in self._here.items() if time_s - seen.last_s > FORGET_S]:
            seen = self._here.pop(number)
            if sum(seen.seconds) >= SEEN_S:
                self._gone.append(seen.person(number))
        if len(self._gone) > 2 * self._limit:
            self._drop()
        for face in faces:
            assert face.track_id is not None
            self._here.setdefault(face.track_id, _Seen(time_s)).add(face, time_s, until_s)

    def shown(self, duration_s: float) -> tuple[list[Person], str | None]:
        """The summary of a clip.

        Args:
            duration_s: The clip's length in seconds.

        Returns:
            The people in order of appearance, and a warning if some were dropped because of the limit.
        """
        least_s = min(SEEN_S, duration_s / 2)
        self._gone += [seen.person(number) for number, seen in self._here.items() if sum(seen.seconds) >= least_s]
        self._here.clear()
        if len(self._gone) > self._limit:
            self._drop()
        warning = f"only the {self._limit:,} people who are seen for longest are listed" if self._dropped else None
        return sorted(self._gone, key=lambda person: (person.first_s, person.track_id)), warning

    def _drop(self) -> None:
        self._gone.sort(key=lambda person: -person.seen_s)
        del self._gone[self._limit :]
        self._dropped = True


class _Seen:
    """What is counted of one person."""

    def __init__(self, time_s: float) -> None:
        self.first_s = self.last_s = time_s
        self.seconds = [0.0] * len(LABELS)
        self.sums = np.zeros(len(LABELS))
        self.bins: dict[int, np.ndarray] = {}  # bin -> the weighted sum of its probabilities, and of the weights

    def add(self, face: Face, time_s: float, until_s: float) -> None:
        values = np.array([face.probabilities[label] for label in LABELS])
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
        )
