"""Result: what is said about one input, as a line, a JSON object or table rows; for the command line and the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from deepfer.face import LABELS, Face
from deepfer.picture import printable

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
        detector: "yunet" or "haar".
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
        shown = "; ".join(f"{face.emotion} {100 * (face.confidence or 0):.0f} % at {face.box}" for face in self.faces)
        count = {0: "no face found", 1: "1 face: "}.get(len(self.faces), f"{len(self.faces)} faces: ")
        return f"{printable(self.path)}  {self.width}x{self.height}  {count}{shown}"
