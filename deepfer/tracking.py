"""FaceTracker: numbers the faces of successive frames by person and smooths them over time.

tracker = FaceTracker()
for rgb, time_s in frames:
    faces = tracker.update(recognizer.recognize(rgb), time_s)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deepfer.assignment import assign
from deepfer.face import LABELS, Box, Face, area, clip_box
from deepfer.limits import MAX_FACES

# Distances are in side lengths of the face: motion depends on how near a head is, not on the frame's size.
GATE, GATE_PER_S = 0.7, 1.5  # maximum distance from the predicted position, and its growth per second without a match
STOPPED = 0.5  # a face may also have stopped: matching its last position costs as much as this distance
VELOCITY_S = 0.15  # time constant of the velocity, to even out jittering boxes
DECAY_S = 0.5  # time constant at which the velocity of an unmatched face decays
OCCLUSION = 0.6  # an unmatched face nearer than this to a box may be occluded by that box's face, or be that face
JITTER = 0.08  # boxes that move by more than this are followed at once
TIE = 1e-4  # lead in probability of the label that is still shown, too small to be visible
MAX_TRACKS = 2 * MAX_FACES  # matched and unmatched ones; those unmatched for longest are dropped first


@dataclass(eq=False)
class _Track:
    """One person. Coordinates are in pixels, or in frame widths if frame sizes are given."""

    number: int
    seen_s: float
    center: np.ndarray  # of the last matched box, float64 (2,)
    side: float  # of a square with the area of that box
    velocity: np.ndarray  # of the center, per second, float64 (2,)
    shown: np.ndarray  # the smoothed box, float64 (4,)
    probabilities: np.ndarray | None  # smoothed, float64 (7,)
    label: int | None  # index in LABELS of the emotion shown
    led_s: float  # when that emotion was last the most probable


class FaceTracker:
    """Numbers and smooths the faces of one video or camera. It uses elapsed time, so the frame rate does not matter.

    A face keeps its number (`Face.track_id`: 1, 2, …) while it moves, passes others, or is not detected for up to
    `max_age_s`. Numbers are never reused. All faces of a frame are matched jointly to the positions predicted for the
    tracks. Only boxes and times are used, so two people can swap numbers if they occlude each other and turn back, or
    change places out of sight.

    Probabilities are averaged exponentially. The emotion changes when another one leads by `margin`, or has led by less
    than that for `settle_s`. Until then, `Face.probabilities` are the values nearest to the average for which the old
    emotion still comes first, so `Face.emotion` is always the most probable one. A switch between two emotions that
    each lead by 0.4 or more shows within 0.4 s at 10 to 30 frames per second.

    Boxes are smoothed while they jitter and followed at once when they move. Landmarks and detection scores are
    unchanged.

    Not thread-safe.
    """

    def __init__(
        self,
        *,
        smooth_s: float = 0.2,
        steady_s: float = 0.1,
        max_age_s: float = 1.0,
        margin: float = 0.2,
        settle_s: float = 1.0,
    ) -> None:
        """Start without faces.

        Args:
            smooth_s: Time constant of the probabilities in seconds; 0 disables smoothing.
            steady_s: Time constant of boxes that hardly move, in seconds; 0 disables smoothing.
            max_age_s: How long an undetected face keeps its number, in seconds.
            margin: The lead in probability at which another emotion is shown at once.
            settle_s: The time after which an emotion with a smaller lead is shown, in seconds.

        Raises:
            ValueError: A setting is negative or not finite.
        """
        self.smooth_s = smooth_s
        self.steady_s = steady_s
        self.max_age_s = max_age_s
        self.margin = margin
        self.settle_s = settle_s
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a finite number of at least 0, got {value}")
        self.reset()

    def reset(self) -> None:
        """Forget all faces and times and number from 1 again, for another video."""
        self._tracks: list[_Track] = []
        self._time_s = -math.inf
        self._next = 1

    def update(self, faces: Sequence[Face], time_s: float, *, size: tuple[int, int] | None = None) -> list[Face] | None:
        """Track the faces of the next frame.

        Args:
            faces: As `EmotionRecognizer.recognize` returns them. A face without probabilities gets those of its track.
            time_s: When the frame was taken, in seconds from any origin.
            size: The frame's `(width, height)` in pixels. Pass it with every frame if frame sizes differ.

        Returns:
            The same faces with `track_id`, smoothed box and probabilities, largest first. None, with nothing changed,
            if the frame is not newer than the last one.

        Raises:
            ValueError: A time, box, probability or size is invalid, or there are more than `MAX_FACES` faces. Nothing
                is changed.
        """
        if not math.isfinite(time_s):
            raise ValueError(f"time_s must be a finite number, got {time_s}")
        if len(faces) > MAX_FACES:
            raise ValueError(f"at most {MAX_FACES} faces in a frame, got {len(faces)}")
        if size is not None and not (size[0] > 0 and size[1] > 0):
            raise ValueError(f"size must be (width, height) in pixels, got {size}")
        unit = 1 / size[0] if size else 1.0
        boxes = np.array([_checked_box(face) for face in faces], np.float64).reshape(-1, 4) * unit
        measurements = [_checked_probabilities(face.probabilities) for face in faces]
        if time_s <= self._time_s:
            return None
        self._time_s = time_s
        # The tolerance is for times that are sums of fractions.
        self._tracks = [track for track in self._tracks if time_s - track.seen_s <= self.max_age_s + 1e-9]

        predicted = self._predicted(time_s)
        pairs = self._match(boxes, predicted, time_s)
        occluding = self._occluding(boxes, predicted, pairs)
        tracked = []
        for i, face in enumerate(faces):
            if i not in pairs:
                track = self._start(boxes[i], measurements[i], time_s)
            else:
                track = self._tracks[pairs[i]]
                self._move(track, boxes[i], time_s, predicted[pairs[i]] if occluding[i] else None)
                self._smooth(track, boxes[i], measurements[i], time_s)
                track.seen_s = time_s
            tracked.append(replace(face, box=_pixels(track.shown / unit, size), track_id=track.number))
            if track.probabilities is not None and track.label is not None:
                held = _held(track.probabilities.tolist(), track.label)
                tracked[-1] = replace(tracked[-1], probabilities=dict(zip(LABELS, held, strict=True)))
        self._tracks.sort(key=lambda track: -track.seen_s)
        del self._tracks[MAX_TRACKS:]
        return sorted(tracked, key=lambda face: -area(face.box))

    def _predicted(self, time_s: float) -> np.ndarray:
        """The predicted center of each track: float64 (T, 2)."""
        unseen = np.array([time_s - track.seen_s for track in self._tracks])
        seen = np.array([track.center for track in self._tracks]).reshape(-1, 2)
        velocity = np.array([track.velocity for track in self._tracks]).reshape(-1, 2)
        return seen + velocity * (DECAY_S * -np.expm1(-unseen / DECAY_S))[:, None]

    def _match(self, boxes: np.ndarray, predicted: np.ndarray, time_s: float) -> dict[int, int]:
        """The best joint matching, from box to track; boxes of new faces are missing."""
        if not self._tracks or not len(boxes):
            return {}
        seen, sides = np.array([t.center for t in self._tracks]), np.array([t.side for t in self._tracks])
        scale = (sides[:, None] + _sides(boxes)) / 2
        moving = np.linalg.norm(predicted[:, None] - _centers(boxes), axis=2) / scale
        still = np.linalg.norm(seen[:, None] - _centers(boxes), axis=2) / scale + STOPPED
        distance = np.hypot(np.minimum(moving, still), np.log(sides[:, None] / _sides(boxes)))
        unseen = np.array([time_s - track.seen_s for track in self._tracks])[:, None]
        gate = GATE + GATE_PER_S * unseen
        # From 0 to 2: nearer and more recently seen tracks fit better.
        fit = (1 - (distance / gate) ** 2) + (1 - unseen / max(self.max_age_s, 1e-9))
        return {box: track for track, box in assign(np.where(distance < gate, np.maximum(fit, 1e-6), 0))}

    def _occluding(self, boxes: np.ndarray, predicted: np.ndarray, pairs: Mapping[int, int]) -> list[bool]:
        """Which boxes may occlude a second face. A detector may alternate between the two faces there."""
        lost = [i for i in range(len(self._tracks)) if i not in set(pairs.values())]
        if not lost or not len(boxes):
            return [False] * len(boxes)
        sides = np.array([self._tracks[i].side for i in lost])
        distance = np.linalg.norm(predicted[lost][:, None] - _centers(boxes), axis=2)
        return (distance < OCCLUSION * sides[:, None]).any(axis=0).tolist()

    def _start(self, box: np.ndarray, measured: np.ndarray | None, time_s: float) -> _Track:
        label = None if measured is None else int(measured.argmax())
        track = _Track(self._next, time_s, _centers(box), float(_sides(box)), np.zeros(2), box, measured, label, time_s)
        self._next += 1
        self._tracks.append(track)
        return track

    def _move(self, track: _Track, box: np.ndarray, time_s: float, predicted: np.ndarray | None) -> None:
        """Update the position and velocity from a box; stay near `predicted` if the box may be another face's."""
        center = _centers(box)
        track.side = float(_sides(box))
        if predicted is not None:
            off = predicted - center
            track.center = center + off * min(1.0, OCCLUSION * track.side / max(float(np.linalg.norm(off)), 1e-9))
            return
        elapsed = time_s - track.seen_s
        share = _share(elapsed, VELOCITY_S)
        # Divided before multiplying, because `elapsed` may be tiny.
        track.velocity = (1 - share) * track.velocity + share / elapsed * (center - track.center)
        track.center = center

    def _smooth(self, track: _Track, box: np.ndarray, measured: np.ndarray | None, time_s: float) -> None:
        """Update the smoothed box, probabilities and label."""
        elapsed = time_s - track.seen_s
        moved = float(np.abs(box - track.shown).max() / track.side)
        track.shown = track.shown + min(1.0, max(_share(elapsed, self.steady_s), moved / JITTER)) * (box - track.shown)
        if measured is None:
            return
        if track.probabilities is None or track.label is None:
            track.probabilities, track.label, track.led_s = measured, int(measured.argmax()), time_s
            return
        mean = track.probabilities + _share(elapsed, self.smooth_s) * (measured - track.probabilities)
        track.probabilities = mean
        lead = mean.max() - mean[track.label]
        if lead > self.margin or (lead > 0 and time_s - track.led_s > self.settle_s):
            track.label = int(mean.argmax())
        if lead <= 0 or track.label == mean.argmax():
            track.led_s = time_s


def _share(elapsed_s: float, constant_s: float) -> float:
    """The weight of the newest value in an exponential average with that time constant."""
    return -math.expm1(-elapsed_s / constant_s) if constant_s else 1.0


def _held(probabilities: list[float], label: int) -> list[float]:
    """The nearest probabilities in which `label` comes first: those of it and the labels above it become their mean."""
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


def _centers(boxes: np.ndarray) -> np.ndarray:
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
    """The probabilities in the order of LABELS, float64 (7,); None if there are none."""
    if not probabilities:
        return None
    if set(probabilities) != set(LABELS):
        raise ValueError(f"a face's probabilities must be for {', '.join(LABELS)}, got {', '.join(probabilities)}")
    values = np.array([probabilities[label] for label in LABELS], np.float64)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError(f"a face's probabilities must be finite and not negative, got {dict(probabilities)}")
    return values
