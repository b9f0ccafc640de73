"""The result of one input as a readable line, a JSON object or table rows, for the command line and the page.

`Result` is for an image, or an input that could not be read; `VideoResult` is for a video.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from deepfer.face import LABELS, Face, is_unclear, ranking
from deepfer.text import format_percent, printable

INPUT_COLUMNS = ("path", "width", "height", "model", "revision", "detector", "faces")  # "faces" is their number
FACE_COLUMNS = ("face", "x1", "y1", "x2", "y2", "detection_score", "emotion", "confidence", *LABELS)
COLUMNS = (*INPUT_COLUMNS, *FACE_COLUMNS, "error")


class Provenance(NamedTuple):
    """What made a result.

    Attributes:
        model: The model that was requested: "cnn", a path, or "user/name".
        revision: The model's commit on the Hub, or None.
        detector: "deepfer", "yunet" or "haar".
    """

    model: str
    revision: str | None
    detector: str


@dataclass(frozen=True)
class Result:
    """The faces in one input, or the reason why it could not be read.

    Attributes:
        path: The input as it was given; empty for an image in memory.
        model: As in `Provenance`.
        revision: As in `Provenance`.
        detector: As in `Provenance`.
        width: Width of the image in pixels; None if it could not be read.
        height: Height of the image in pixels; None if it could not be read.
        faces: Largest first.
        error: Why the input could not be read, in one line, or None.
    """

    path: str
    model: str
    revision: str | None
    detector: str
    width: int | None = None
    height: int | None = None
    faces: list[Face] = field(default_factory=list)
    error: str | None = None

    @property
    def count(self) -> int:
        """The number of faces."""
        return len(self.faces)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for `json.dumps`."""
        return {
            "path": self.path,
            "width": self.width,
            "height": self.height,
            "model": self.model,
            "revision": self.revision,
            "detector": self.detector,
            "faces": [face.to_dict() for face in self.faces],
            "error": self.error,
        }

    def rows(self) -> list[dict[str, Any]]:
        """Rows with `COLUMNS` as keys: one per face, or a single one without `FACE_COLUMNS` if there is no face."""
        shared = self.to_dict() | {"faces": self.count}
        return [shared | face_row(face, number) for number, face in enumerate(self.faces, 1)] or [shared]

    def line(self) -> str:
        """One readable line."""
        shown = "; ".join(f"{face.label} {format_percent(face.confidence)} at {face.box}" for face in self.faces)
        count = {0: "no face found", 1: "1 face: "}.get(self.count, f"{self.count} faces: ")
        return f"{printable(self.path)}  {self.width}x{self.height}  {count}{shown}"


def face_row(face: Face, number: int) -> dict[str, Any]:
    """A row with `FACE_COLUMNS` as keys.

    Args:
        face: The face.
        number: Its number in the image, from 1.
    """
    box = dict(zip(("x1", "y1", "x2", "y2"), face.box, strict=True))
    scores = {"detection_score": face.detection_score, "emotion": face.emotion, "confidence": face.confidence}
    return {"face": number} | box | scores | dict(face.probabilities)


@dataclass(frozen=True, eq=False)
class Person:
    """One person in a video.

    Attributes:
        track_id: The person's number in the video.
        first_s: When they first appear, in seconds.
        last_s: When they last appear.
        seconds: How long each label was the emotion shown, in seconds, in the order of `LABELS`.
        probabilities: The mean probability of each label while the person is visible.
        timeline: The mean probabilities of each bin of `bin_s` seconds, float32 (N, 7); NaN while not visible.
        timeline_s: Where the timeline begins.
        bin_s: The length of a bin.
        portrait: The face at its clearest moment, RGB uint8 (112, 112, 3), or None; for the page only.
    """

    track_id: int
    first_s: float
    last_s: float
    seconds: dict[str, float]
    probabilities: dict[str, float]
    timeline: np.ndarray
    timeline_s: float
    bin_s: float
    portrait: np.ndarray | None = None

    @property
    def seen_s(self) -> float:
        """How long the person is visible."""
        return sum(self.seconds.values())

    @property
    def emotion(self) -> str:
        """The emotion shown for the longest time."""
        return max(self.seconds, key=lambda label: self.seconds[label])

    @property
    def unclear(self) -> bool:
        """Whether no emotion stands out: the rule for a face, applied to the mean probabilities.

        The share of time would not do: someone may look neutral at 40% all the time.
        """
        return is_unclear(self.probabilities.values()) or ranking(self.probabilities)[0] != self.emotion

    @property
    def label(self) -> str:
        """What to call the person's emotion: "mostly happy", or "unclear: neutral or angry?"."""
        first, second = ranking(self.probabilities)[:2]
        return f"unclear: {first} or {second}?" if self.unclear else f"mostly {self.emotion}"

    def line(self) -> str:
        """A readable phrase. Its percentage is the share of time, or the two mean probabilities if `unclear`."""
        if self.unclear:
            first, second = (self.probabilities[label] for label in ranking(self.probabilities)[:2])
            shown = f"{format_percent(first)} and {format_percent(second)} on average"
        else:
            shown = format_percent(self.seconds[self.emotion] / self.seen_s)
        return f"#{self.track_id} seen {self.seen_s:.1f} s, {self.label} ({shown})"

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for `json.dumps`; without the timeline and the portrait."""
        return {
            "track_id": self.track_id,
            "first_s": round(self.first_s, 3),
            "last_s": round(self.last_s, 3),
            "seen_s": round(self.seen_s, 3),
            "emotion": self.emotion,
            "unclear": self.unclear,
            "seconds": {label: round(value, 3) for label, value in self.seconds.items()},
            "probabilities": self.probabilities,
        }


@dataclass(frozen=True, eq=False)
class VideoResult:
    """The people in a video.

    Attributes:
        path: The input as it was given.
        model: As in `Provenance`.
        revision: As in `Provenance`.
        detector: As in `Provenance`.
        width: Width of the upright frames in the file, in pixels.
        height: Their height.
        duration_s: The length of what could be read, in seconds.
        fps: Frames per second; the usual rate if it varies.
        frames: The number of frames that were read.
        people: Those visible for half a second or more, in order of appearance; shorter tracks are seldom faces.
        warnings: Why the result is incomplete: the video is damaged or too long, or its sound was lost.
    """

    path: str
    model: str
    revision: str | None
    detector: str
    width: int
    height: int
    duration_s: float
    fps: float
    frames: int
    people: list[Person]
    warnings: tuple[str, ...] = ()
    error: None = None

    @property
    def warning(self) -> str | None:
        """The warnings in one line, or None."""
        return "; ".join(self.warnings) or None

    @property
    def count(self) -> int:
        """The number of people."""
        return len(self.people)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for `json.dumps`."""
        return {
            "path": self.path,
            "width": self.width,
            "height": self.height,
            "model": self.model,
            "revision": self.revision,
            "detector": self.detector,
            "duration_s": round(self.duration_s, 3),
            "fps": round(self.fps, 3),
            "frames": self.frames,
            "people": [person.to_dict() for person in self.people],
            "warning": self.warning,
            "error": self.error,
        }

    def rows(self) -> list[dict[str, Any]]:
        """Rows as for an image: one per person, with their usual emotion and mean probabilities."""
        values = self.to_dict() | {"faces": self.count}
        shared = {key: values[key] for key in COLUMNS if key in values}
        return [
            shared
            | {"face": number, "emotion": person.emotion, "confidence": person.probabilities[person.emotion]}
            | person.probabilities
            for number, person in enumerate(self.people, 1)
        ] or [shared]

    def line(self) -> str:
        """One readable line."""
        people = "; ".join(person.line() for person in self.people)
        count = {0: "no face found", 1: "1 face tracked: "}.get(self.count, f"{self.count} faces tracked: ")
        return f"{printable(self.path)}  {self.width}x{self.height}  {self.duration_s:.1f} s  {count}{people}"
