"""Face: a detected face and its emotion, and the geometry of boxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

LABELS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")

# A face below either threshold is unclear. 8% of FER2013's validation images are. In 47% of those, the first emotion is
# the one that most people chose; in 85%, the first or the second is (`training.evaluate` prints this).
CLEAR_CONFIDENCE = 0.5
CLEAR_LEAD = 0.15  # of the most probable emotion over the next

Box = tuple[int, int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class Face:
    """One face in an image.

    Attributes:
        box: `(x1, y1, x2, y2)` in pixels, half-open, inside the image.
        detection_score: The detector's confidence from 0 to 1, or None if the detector gives none.
        landmarks: Five points `(x, y)` in pixels (right eye, left eye, nose, right and left corner of the mouth; the
            person's own right and left), or `()` if the detector gives none.
        probabilities: Label to calibrated probability, in the order of `LABELS`; empty until classified.
        track_id: The person's number in a video, or None for a single image.
    """

    box: Box
    detection_score: float | None = None
    landmarks: tuple[Point, ...] = ()
    probabilities: Mapping[str, float] = field(default_factory=dict)
    track_id: int | None = None

    @property
    def emotion(self) -> str | None:
        """The most probable label, or None before classification."""
        if not self.probabilities:
            return None
        return max(self.probabilities, key=lambda label: self.probabilities[label])

    @property
    def confidence(self) -> float | None:
        """The probability of `emotion`, or None before classification."""
        return max(self.probabilities.values()) if self.probabilities else None

    @property
    def runner_up(self) -> str | None:
        """The second most probable label, or None before classification."""
        return ranking(self.probabilities)[1] if self.probabilities else None

    @property
    def unclear(self) -> bool:
        """Whether the most probable emotion is improbable, or hardly more probable than the next."""
        return bool(self.probabilities) and is_unclear(self.probabilities.values())

    @property
    def label(self) -> str:
        """What to call the face: "happy", or "unclear: neutral or angry?"; empty before classification."""
        return f"unclear: {self.emotion} or {self.runner_up}?" if self.unclear else self.emotion or ""

    def scaled(self, across: float, down: float) -> Face:
        """The face after the image is scaled by `across` horizontally and by `down` vertically."""
        x1, y1, x2, y2 = self.box
        box = round(x1 * across), round(y1 * down), round(x2 * across), round(y2 * down)
        return replace(self, box=box, landmarks=tuple((x * across, y * down) for x, y in self.landmarks))

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for `json.dumps`: the same in Python, on the command line and from the endpoints."""
        return {
            "box": list(self.box),
            "detection_score": self.detection_score,
            "landmarks": [list(point) for point in self.landmarks],
            "emotion": self.emotion,
            "confidence": self.confidence,
            "unclear": self.unclear,
            "probabilities": dict(self.probabilities),
            "track_id": self.track_id,
        }


def ranking(probabilities: Mapping[str, float]) -> list[str]:
    """Labels, the most probable first; equal ones stay in their order."""
    return sorted(probabilities, key=lambda label: probabilities[label], reverse=True)


def is_unclear(probabilities: Iterable[float]) -> bool:
    """Whether the highest of at least two probabilities is low, or hardly higher than the next."""
    first, second = sorted(probabilities, reverse=True)[:2]
    return first < CLEAR_CONFIDENCE or first - second < CLEAR_LEAD


def area(box: Box) -> int:
    """Pixels inside a box; 0 for an empty one."""
    x1, y1, x2, y2 = box
    return max(0, x2 - x1) * max(0, y2 - y1)


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, from 0 (apart) to 1 (equal)."""
    shared = intersection(a, b)
    union = area(a) + area(b) - shared
    return shared / union if union else 0.0


def intersection(a: Box, b: Box) -> int:
    """Pixels that two boxes share."""
    return area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def clip_box(box: tuple[float, float, float, float], width: int, height: int) -> Box:
    """Round a box to whole pixels and clip it to an image of `width` x `height`; the result may be empty."""
    x1, y1, x2, y2 = (round(value) for value in box)
    return min(max(x1, 0), width), min(max(y1, 0), height), min(max(x2, 0), width), min(max(y2, 0), height)
