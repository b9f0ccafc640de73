"""Summary: what a shard, or a whole annotated data set, contains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from deepfer.face import LABELS


@dataclass(frozen=True)
class Summary:
    """The totals of an annotated data set or of one shard.

    Attributes:
        inputs: The number of images and videos.
        without_face: How many of them have no face, excluding failed ones.
        faces: The number of faces in images and people in videos.
        failed: How many inputs could not be read.
        emotions: The number of faces with each label, in the order of `LABELS`.
    """

    inputs: int = 0
    without_face: int = 0
    faces: int = 0
    failed: int = 0
    emotions: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(LABELS, 0))

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Summary:
        """The summary of rows with `deepfer.result.COLUMNS` as keys."""
        emotions: Counter[str] = Counter()
        with_face = without_face = failed = 0
        for row in rows:
            if face := row.get("face"):
                emotions[row["emotion"]] += 1
                with_face += face == 1
            elif row.get("error"):
                failed += 1
            else:
                without_face += 1
        counted = {label: emotions[label] for label in LABELS}
        return cls(with_face + without_face + failed, without_face, emotions.total(), failed, counted)

    def __add__(self, other: Summary) -> Summary:
        return Summary(
            self.inputs + other.inputs,
            self.without_face + other.without_face,
            self.faces + other.faces,
            self.failed + other.failed,
            {label: self.emotions[label] + other.emotions[label] for label in LABELS},
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for `json.dumps`; `Summary(**…)` reads them."""
        return asdict(self)
