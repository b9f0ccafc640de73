"""FaceTracker: the faces of frame after frame -> the same faces, numbered by person and smoothed over time.

tracker = FaceTracker()
for rgb, time_s in frames:
    faces = tracker.update(recognizer.recognize(rgb), time_s)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deepfer.face import LABELS, Box, Face, area, clip_box
from deepfer.limits import MAX_FACES

# Distances are in sides of the face: what a head does in a second depends on how near it is, not on the frame's size.
REACH, REACH_PER_S = 0.7, 1.5  # how far from where it was expected a face may turn up, and how that grows while unseen
STOPPED = 0.5  # a face may also have stopped where it was last seen: no likelier than one this far from its course
VELOCITY_S = 0.15  # time constant of the velocity: it evens out the jitter of boxes
COAST_S = 0.5  # an unseen face slows down at this time constant
CLAIM = 0.6  # a face this near to a box, but without one, may hide behind it, or be it
JITTER = 0.08  # boxes that move by more than this are followed at once
TIE = 1e-4  # by how much a label that is held stays ahead: nothing that a person sees
MAX_TRACKS = 2 * MAX_FACES  # faces in sight and lost ones; of these the longest lost go first


@dataclass(eq=False)
class _Track:
    """One person. Coordinates are in pixels, or in widths of the frame where sizes are given."""

    number: int
    seen_s: float
    middle: np.ndarray  # of its box when it was seen, float64 (2,)
    side: float  # of a square as large as that box
    velocity: np.ndarray  # of the middle, per second, float64 (2,)
    shown: np.ndarray  # the smoothed box, float64 (4,)
    probabilities: np.ndarray | None  # smoothed, float64 (7,)
    label: int | None  # the emotion that is shown, by its place in LABELS
    led_s: float  # when it last was the most probable


class FaceTracker:
    """Numbers and smooths the faces of one video or camera, by elapsed time, so at any frame rate alike.

    A number (`Face.track_id`: 1, 2, …) stays with a face while it moves, passes others, and for `forget_s` while it is
    not seen; it is never given twice. All faces of a frame are assigned at once, the nearest to where each was expected
    from its course. Only boxes and times are looked at, so two people who hide each other and turn back, or change
    places out of sight, can change numbers.

    Probabilities are averaged exponentially. The emotion that is shown changes once another one leads by `margin`, or
    has led by less for `settle_s`. Until then `Face.probabilities` are the nearest ones to the average in which it is
    still first, so that what is shown as the emotion is always the most probable. A change from one emotion that leads
    by 0.4 or more to another that does shows within 0.4 s at 10 to 30 frames per second.

    Boxes are smoothed while they jitter and followed at once where they move. Landmarks and detection scores pass as
    they are.

    Not for many threads at once: a caller with several holds a lock.
    """

    def __init__(
        self,
        *,
        smooth_s: float = 0.2,
        steady_s: float = 0.1,
        forget_s: float = 1.0,
        margin: float = 0.2,
        settle_s: float = 1.0,
    ) -> None:
        """Start without any face.

        Args:
            smooth_s: Time constant of the probabilities, seconds; 0 leaves them as they are.
            steady_s: Time constant of boxes that hardly move, seconds; 0 leaves them as they are.
            forget_s: For how long a face may be out of sight and keep its number, seconds.
            margin: By how much of the probability another emotion must lead to be shown at once.
            settle_s: For how long it must have led, by however little, to be shown all the same, seconds.

        Raises:
            ValueError: A setting is negative or no finite number.
        """
        self.smooth_s = smooth_s
        self.steady_s = steady_s
        self.forget_s = forget_s
        self.margin = margin
        self.settle_s = settle_s
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a finite number of at least 0, got {value}")
        self.reset()

    def reset(self) -> None:
        """Forget every face and time, and number from 1 again: for another video."""
        self._tracks: list[_Track] = []
        self._time_s = -math.inf
        self._next = 1

    def update(self, faces: Sequence[Face], time_s: float, *, size: tuple[int, int] | None = None) -> list[Face] | None:
        """Take the faces of the next frame.

        Args:
            faces: As `EmotionRecognizer.recognize` gives them. One without probabilities gets those of its track.
            time_s: When the frame was taken, seconds from any origin.
            size: The frame's `(width, height)` in pixels; needed where the sizes of frames differ, then with each.

        Returns:
            The same faces with `track_id`, smoothed box and probabilities, largest first. None, and nothing changes,
            where the frame is not newer than the newest before it.

        Raises:
            ValueError: A time, box, probability or size that cannot be, or more than `MAX_FACES` faces; then too
                nothing changes.
        """
        if not math.isfinite(time_s):
            raise ValueError(f"time_s must be a finite number, got {time_s}")
        if len(faces) > MAX_FACES:
            raise ValueError(f"at most {MAX_FACES} faces in a frame, got {len(faces)}")
        if size is not None and not (size[0] > 0 and size[1] > 0):
            raise ValueError(f"size must be (width, height) in pixels, got {size}")
        unit = 1 / size[0] if size else 1.0
        boxes = np.array([_checked_box(face) for face in faces], np.float64).reshape(-1, 4) * unit
        readings = [_checked_probabilities(face.probabilities) for face in faces]
        if time_s <= self._time_s:
            return None
        self._time_s = time_s
        # The billionth is for times that are sums of fractions.
        self._tracks = [track for track in self._tracks if time_s - track.seen_s <= self.forget_s + 1e-9]

        expected = self._expected(time_s)
        pairs = self._match(boxes, expected, time_s)
        claimed = self._claimed(boxes, expected, pairs)
        found = []
        for i, face in enumerate(faces):
            if i not in pairs:
                track = self._start(boxes[i], readings[i], time_s)
            else:
                track = self._tracks[pairs[i]]
                self._steer(track, boxes[i], time_s, expected[pairs[i]] if claimed[i] else None)
                self._smooth(track, boxes[i], readings[i], time_s)
                track.seen_s = time_s
            found.append(replace(face, box=_pixels(track.shown / unit, size), track_id=track.number))
            if track.probabilities is not None and track.label is not None:
                held = _held(track.probabilities.tolist(), track.label)
                found[-1] = replace(found[-1], probabilities=dict(zip(LABELS, held, strict=True)))
        self._tracks.sort(key=lambda track: -track.seen_s)
        del self._tracks[MAX_TRACKS:]
        return sorted(found, key=lambda face: -area(face.box))

    def _expected(self, time_s: float) -> np.ndarray:
        """The middle of each track, were it to keep its course: float64 (T, 2)."""
        unseen = np.array([time_s - track.seen_s for track in self._tracks])
        seen = np.array([track.middle for track in self._tracks]).reshape(-1, 2)
        velocity = np.array([track.velocity for track in self._tracks]).reshape(-1, 2)
        return seen + velocity * (COAST_S * -np.expm1(-unseen / COAST_S))[:, None]

    def _match(self, boxes: np.ndarray, expected: np.ndarray, time_s: float) -> dict[int, int]:
        """Box -> its track, the pairs that together fit best; boxes of new faces are left out."""
        if not self._tracks or not len(boxes):
            return {}
        seen, sides = np.array([t.middle for t in self._tracks]), np.array([t.side for t in self._tracks])
        scale = (sides[:, None] + _sides(boxes)) / 2
        ahead = np.linalg.norm(expected[:, None] - _middles(boxes), axis=2) / scale
        still = np.linalg.norm(seen[:, None] - _middles(boxes), axis=2) / scale + STOPPED
        away = np.hypot(np.minimum(ahead, still), np.log(sides[:, None] / _sides(boxes)))
        unseen = np.array([time_s - track.seen_s for track in self._tracks])[:, None]
        reach = REACH + REACH_PER_S * unseen
        # From 0 to 2: near beats far, and who was just seen beats who has been away.
        fit = (1 - (away / reach) ** 2) + (1 - unseen / max(self.forget_s, 1e-9))
        return {box: track for track, box in _assign(np.where(away < reach, np.maximum(fit, 1e-6), 0))}

    def _claimed(self, boxes: np.ndarray, expected: np.ndarray, pairs: Mapping[int, int]) -> list[bool]:
        """Which boxes a second face may hide behind: there a detector shows one of two faces, now this, now that."""
        lost = [i for i in range(len(self._tracks)) if i not in set(pairs.values())]
        if not lost or not len(boxes):
            return [False] * len(boxes)
        sides = np.array([self._tracks[i].side for i in lost])
        away = np.linalg.norm(expected[lost][:, None] - _middles(boxes), axis=2)
        return (away < CLAIM * sides[:, None]).any(axis=0).tolist()

    def _start(self, box: np.ndarray, reading: np.ndarray | None, time_s: float) -> _Track:
        label = None if reading is None else int(reading.argmax())
        track = _Track(self._next, time_s, _middles(box), float(_sides(box)), np.zeros(2), box, reading, label, time_s)
        self._next += 1
        self._tracks.append(track)
        return track

    def _steer(self, track: _Track, box: np.ndarray, time_s: float, expected: np.ndarray | None) -> None:
        """Learn the course from a box; where it may be another face's, `expected` is kept to, but not far from it."""
        middle = _middles(box)
        track.side = float(_sides(box))
        if expected is not None:
            off = expected - middle
            track.middle = middle + off * min(1.0, CLAIM * track.side / max(float(np.linalg.norm(off)), 1e-9))
            return
        elapsed = time_s - track.seen_s
        share = _share(elapsed, VELOCITY_S)
        # In this order, as a forged time may have elapsed by next to nothing.
        track.velocity = (1 - share) * track.velocity + share / elapsed * (middle - track.middle)
        track.middle = middle

    def _smooth(self, track: _Track, box: np.ndarray, reading: np.ndarray | None, time_s: float) -> None:
        """Bring what is shown of a track up to date."""
        elapsed = time_s - track.seen_s
        moved = float(np.abs(box - track.shown).max() / track.side)
        track.shown = track.shown + min(1.0, max(_share(elapsed, self.steady_s), moved / JITTER)) * (box - track.shown)
        if reading is None:
            return
        if track.probabilities is None or track.label is None:
            track.probabilities, track.label, track.led_s = reading, int(reading.argmax()), time_s
            return
        mean = track.probabilities + _share(elapsed, self.smooth_s) * (reading - track.probabilities)
        track.probabilities = mean
        lead = mean.max() - mean[track.label]
        if lead > self.margin or (lead > 0 and time_s - track.led_s > self.settle_s):
            track.label = int(mean.argmax())
        if lead <= 0 or track.label == mean.argmax():
            track.led_s = time_s


def _share(elapsed_s: float, constant_s: float) -> float:
    """What the newest value counts in an exponential average with that time constant."""
    return -math.expm1(-elapsed_s / constant_s) if constant_s else 1.0


def _held(probabilities: list[float], label: int) -> list[float]:
    """The nearest probabilities in which `label` is first: it and what leads it meet at their mean."""
    meeting = [label]
    level = probabilities[label]
    for rival in sorted(range(len(probabilities)), key=lambda i: -probabilities[i]):
        if rival != label and probabilities[rival] >= level:
            meeting.append(rival)
            level = sum(probabilities[i] for i in meeting) / len(meeting)
    if len(meeting) == 1:
        return probabilities
    held = list(probabilities)
    for i in meeting:
        held[i] = level + TIE if i == label else level - TIE / (len(meeting) - 1)
    return held


def _assign(fit: np.ndarray) -> list[tuple[int, int]]:
    """(row, column) pairs, each row and column once at most, with the largest sum of `fit`; pairs of 0 are left out.

    Args:
        fit: float64 (R, C), none below 0.

    The Hungarian method by shortest augmenting paths (Jonker and Volgenant 1987).
    """
    if fit.shape[0] > fit.shape[1]:
        return [(row, column) for column, row in _assign(fit.T)]
    rows, columns = fit.shape
    by_row, by_column = np.zeros(rows), np.zeros(columns + 1)  # the dual variables
    taken_by = np.full(columns + 1, -1)  # column -> row; the last column stands for the row that is being placed
    for row in range(rows):
        taken_by[columns] = row
        column = columns
        shortest = np.full(columns, np.inf)
        before = np.full(columns, columns)
        visited = np.zeros(columns + 1, bool)
        while taken_by[column] >= 0:
            visited[column] = True
            reached = taken_by[column]
            length = -fit[reached] - by_row[reached] - by_column[:columns]
            shorter = ~visited[:columns] & (length < shortest)
            shortest[shorter], before[shorter] = length[shorter], column
            # Of columns that are as near a free one goes first, or ties would lead through all that are taken.
            nearest = int(np.where(visited[:columns], np.inf, shortest + 1e-12 * (taken_by[:columns] >= 0)).argmin())
            step = shortest[nearest]
            by_row[taken_by[visited]] += step
            by_column[visited] -= step
            shortest[~visited[:columns]] -= step
            column = nearest
        while column != columns:
            taken_by[column] = taken_by[before[column]]
            column = int(before[column])
    return [(int(row), column) for column, row in enumerate(taken_by[:columns]) if row >= 0 and fit[row, column] > 0]


def _middles(boxes: np.ndarray) -> np.ndarray:
    """(…, 4) -> (…, 2)."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _sides(boxes: np.ndarray) -> np.ndarray:
    """The sides of squares as large as the boxes: (…, 4) -> (…)."""
    width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    return np.sqrt(width * height)


def _pixels(box: np.ndarray, size: tuple[int, int] | None) -> Box:
    x1, y1, x2, y2 = (float(value) for value in box)
    if size:
        return clip_box((x1, y1, x2, y2), *size)
    return round(x1), round(y1), round(x2), round(y2)


def _checked_box(face: Face) -> Box:
    x1, y1, x2, y2 = face.box
    if not (-1e9 < x1 < x2 < 1e9 and -1e9 < y1 < y2 < 1e9):
        raise ValueError(f"a face's box must be (x1, y1, x2, y2) with x1 < x2 and y1 < y2, got {face.box}")
    return face.box


def _checked_probabilities(probabilities: Mapping[str, float]) -> np.ndarray | None:
    """In the order of LABELS, float64 (7,); None where there are none."""
    if not probabilities:
        return None
    if set(probabilities) != set(LABELS):
        raise ValueError(f"a face's probabilities must be of {', '.join(LABELS)}, got {', '.join(probabilities)}")
    values = np.array([probabilities[label] for label in LABELS], np.float64)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError(f"a face's probabilities must be finite and not negative, got {dict(probabilities)}")
    return values
