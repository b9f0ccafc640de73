"""What is said about one input, as a line, a JSON object or table rows; for the command line and the page.

`Result` is about a picture, or an input that could not be read; `VideoResult` about a clip.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deepfer.face import LABELS, Face, format_percent
from deepfer.image_io import printable

INPUT_COLUMNS = ("path", "width", "height", "model", "revision", "detector", "faces")  # faces: how many
FACE_COLUMNS = ("face", "x1", "y1", "x2", "y2", "detection_score", "emotion", "confidence", *LABELS)
COLUMNS = (*INPUT_COLUMNS, *FACE_COLUMNS, "error")


@dataclass(frozen=True)
class Result:
    """The faces of one input, or why there are none.

    Attributes:
        path: The input, as it was given.
        model: What the model was asked for as.
        revision: The model's commit on the Hub, or None.
        detector: "deepfer", "yunet" or "haar".
        width: Of the picture, pixels; None where it could not be read.
        height: Likewise.
        faces: Largest first.
        error: Why the input could not be read, in one line; None where it could.
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
        """How many faces."""
        return len(self.faces)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, ready for `json.dumps`."""
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
        """By `COLUMNS`: one for each face, numbered from 1, or one without a face's columns where there is none."""
        shared = self.to_dict() | {"faces": len(self.faces)}
        rows = []
        for number, face in enumerate(self.faces, 1):
            box = dict(zip(("x1", "y1", "x2", "y2"), face.box, strict=True))
            scores = {"detection_score": face.detection_score, "emotion": face.emotion, "confidence": face.confidence}
            rows.append(shared | {"face": number} | box | scores | dict(face.probabilities))
        return rows or [shared]

    def line(self) -> str:
        """For a person."""
        shown = "; ".join(f"{face.emotion} {format_percent(face.confidence)} at {face.box}" for face in self.faces)
        count = {0: "no face found", 1: "1 face: "}.get(len(self.faces), f"{len(self.faces)} faces: ")
        return f"{printable(self.path)}  {self.width}x{self.height}  {count}{shown}"


@dataclass(frozen=True, eq=False)
class Person:
    """One person in a clip.

    Attributes:
        track_id: The number that follows them through the clip.
        first_s: When they are first seen, seconds.
        last_s: When they are last seen.
        seconds: Label to the time in which it was the emotion shown, in the order of `LABELS`.
        probabilities: Label to its mean over the time in which they are seen.
        timeline: The means of every `bin_s` seconds from `timeline_s` on, float32 (N, 7); NaN where they are not seen.
        timeline_s: When the timeline begins.
        bin_s: How long each of its rows is.
    """

    track_id: int
    first_s: float
    last_s: float
    seconds: dict[str, float]
    probabilities: dict[str, float]
    timeline: np.ndarray
    timeline_s: float
    bin_s: float

    @property
    def seen_s(self) -> float:
        """For how long they are seen."""
        return sum(self.seconds.values())

    @property
    def emotion(self) -> str:
        """The emotion shown for the longest time."""
        return max(self.seconds, key=lambda label: self.seconds[label])

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, ready for `json.dumps`; without the timeline."""
        return {
            "track_id": self.track_id,
            "first_s": round(self.first_s, 3),
            "last_s": round(self.last_s, 3),
            "seen_s": round(self.seen_s, 3),
            "emotion": self.emotion,
            "seconds": {label: round(value, 3) for label, value in self.seconds.items()},
            "probabilities": self.probabilities,
        }


@dataclass(frozen=True, eq=False)
class VideoResult:
    """The people in a clip.

    Attributes:
        path: The input, as it was given.
        model: What the model was asked for as.
        revision: The model's commit on the Hub, or None.
        detector: "deepfer", "yunet" or "haar".
        width: Of the upright frames, pixels.
        height: Likewise.
        duration_s: What could be read of it, seconds.
        fps: Frames per second; where they vary, what is usual.
        frames: How many were read.
        people: Who is seen for half a second or more (a flash is seldom a face), in order of appearance.
        warning: What is amiss: that it is cut short, too long, or its sound is lost; or None.
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
    warning: str | None = None
    error: None = None

    @property
    def count(self) -> int:
        """How many people."""
        return len(self.people)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, ready for `json.dumps`."""
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
        """By `COLUMNS`, as for a picture: one for each person, with their usual emotion and mean probabilities."""
        told = self.to_dict() | {"faces": self.count}
        shared = {key: told[key] for key in COLUMNS if key in told}
        return [
            shared
            | {"face": number, "emotion": person.emotion, "confidence": person.probabilities[person.emotion]}
            | person.probabilities
            for number, person in enumerate(self.people, 1)
        ] or [shared]

    def line(self) -> str:
        """For a person."""
        people = "; ".join(
            f"{person.track_id} seen {person.seen_s:.1f} s, mostly {person.emotion} "
            f"({format_percent(person.seconds[person.emotion] / person.seen_s)})"
            for person in self.people
        )
        count = {0: "nobody found", 1: "1 person: "}.get(len(self.people), f"{len(self.people)} people: ")
        return f"{printable(self.path)}  {self.width}x{self.height}  {self.duration_s:.1f} s  {count}{people}"
