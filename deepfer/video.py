"""A clip -> who is in it and what they show over time, the annotated clip, and a table of faces per frame.

for progress in recognize_video(recognizer, "clip.mp4", video=Path("out" + clip_suffix()), table=Path("timeline.csv")):
    print(progress.done_s)
print(progress.result.line())
"""

from __future__ import annotations

import contextlib
import csv
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deepfer.clip import Clip
from deepfer.clip_writer import ClipWriter
from deepfer.drawing import draw_faces
from deepfer.errors import VideoError
from deepfer.face import LABELS, Face
from deepfer.picture import aside
from deepfer.recognizer import EmotionRecognizer
from deepfer.result import ClipResult, Person
from deepfer.tracking import FaceTracker

SAMPLE_S = 0.1  # faces are looked for ten times a second; between, they are taken to move evenly
CLIP_SIDE = 640  # pixels of a frame's longer side at which faces are looked for: an answer may take its time here
MOST_WAITING = 8  # frames between two looks: a bound on memory where a clip has many frames a second
SEEN_S = 0.5  # who is seen for less is left out of the summary
BIN_S = 0.2  # the timelines' steps
REPORT_S = 0.25  # between two reports of progress
TABLE_COLUMNS = ("time_s", "track_id", "x1", "y1", "x2", "y2", "emotion", "confidence", *LABELS)


@dataclass(frozen=True)
class Progress:
    """How far a clip is.

    Attributes:
        done_s: Seconds of the clip that are done.
        total_s: Its length, as the file tells it; None where it does not.
        left_s: Seconds of time until it is done, by the pace so far; None where that cannot be told yet.
        result: What was found, in the last report; None before.
    """

    done_s: float
    total_s: float | None
    left_s: float | None = None
    result: ClipResult | None = None


def recognize_video(
    recognizer: EmotionRecognizer,
    source: str | Path,
    *,
    video: str | Path | None = None,
    table: str | Path | None = None,
) -> Generator[Progress]:
    """Follow every face through a clip; to be gone through to its end, or closed, which leaves nothing behind.

    Frames are read one by one and memory does not grow with the clip. Times are the frames' own, rotation and pixel
    shape those that the file tells. A clip that is damaged or cut short gives what could be read of it.

    Args:
        recognizer: What recognizes faces; its detector is used in its setting for frames.
        source: The clip.
        video: Where the annotated clip goes; its name must end in `clip_suffix()`.
        table: Where the table goes: CSV by `TABLE_COLUMNS`, one row per frame and face.

    Yields:
        Progress, a few times a second, and last the result. Only then are the files under their names.

    Raises:
        VideoError: There is no such file, it is no clip that can be read, or is past a limit, or the annotated clip
            cannot be encoded.
        ValueError: `video` is named for another kind.
        OSError: A file cannot be written.
    """
    with Clip(source) as clip, contextlib.ExitStack() as stack:
        writer = stack.enter_context(ClipWriter(Path(video), (clip.width, clip.height), clip.rate)) if video else None
        rows = stack.enter_context(_Table(Path(table))) if table else None
        people: dict[int, _Seen] = {}
        start = told = time.monotonic()
        before: tuple[float, list[Face]] | None = None
        for time_s, rgb, faces in _follow(recognizer.for_frames(CLIP_SIDE), clip.frames()):
            if before:
                _count(people, *before, time_s)
            before = time_s, faces
            if rows:
                rows.write(time_s, faces)
            if writer:
                writer.write(time_s, draw_faces(rgb, faces) if faces else rgb)
            now = time.monotonic()
            if now - told >= REPORT_S:
                told = now
                yield Progress(time_s, clip.claimed_s, _left_s(now - start, time_s, clip.claimed_s))
        if before is None:
            raise VideoError(f"{clip.name}: not one frame of it can be read")
        duration_s = before[0] + 1 / clip.rate
        _count(people, *before, duration_s)
        warnings = [clip.fault(duration_s)]
        if writer:
            warnings.append(writer.finish(duration_s, source))
        if rows:
            rows.finish()
    shown = [seen.person(number) for number, seen in people.items() if sum(seen.seconds) >= min(SEEN_S, duration_s / 2)]
    result = ClipResult(
        str(source),
        recognizer.model_name,
        recognizer.revision,
        recognizer.detector_name,
        clip.width,
        clip.height,
        duration_s,
        clip.rate,
        clip.read,
        sorted(shown, key=lambda person: (person.first_s, person.track_id)),
        "; ".join(filter(None, warnings)) or None,
    )
    yield Progress(duration_s, duration_s, 0.0, result)


def _follow(
    recognizer: EmotionRecognizer, frames: Iterator[tuple[float, np.ndarray]]
) -> Iterator[tuple[float, np.ndarray, list[Face]]]:
    """Each frame with its tracked faces: looked for in some frames, and in the ones between put between."""
    tracker = FaceTracker()
    waiting: list[tuple[float, np.ndarray]] = []
    looked_s, before = -1.0, list[Face]()
    for time_s, rgb in frames:
        if looked_s >= 0 and time_s - looked_s < SAMPLE_S - 1e-3 and len(waiting) < MOST_WAITING:
            waiting.append((time_s, rgb))
            continue
        faces = tracker.update(recognizer.recognize(rgb), time_s)
        assert faces is not None  # times rise
        for between_s, between in waiting:
            yield between_s, between, _between(before, faces, (between_s - looked_s) / (time_s - looked_s))
        waiting.clear()
        yield time_s, rgb, faces
        looked_s, before = time_s, faces
    for between_s, between in waiting:
        yield between_s, between, before


def _between(before: list[Face], after: list[Face], share: float) -> list[Face]:
    """The faces `share` of the way from one frame to another; who is only in the first one stays."""
    later = {face.track_id: face for face in after}
    found = []
    for face in before:
        to = later.get(face.track_id)
        if to is None:
            found.append(face)
            continue
        x1, y1, x2, y2 = (round(a + share * (b - a)) for a, b in zip(face.box, to.box, strict=True))
        mixed = {label: p + share * (to.probabilities[label] - p) for label, p in face.probabilities.items()}
        found.append(replace(face, box=(x1, y1, x2, y2), landmarks=(), probabilities=mixed))
    return found


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


def _count(people: dict[int, _Seen], time_s: float, faces: list[Face], until_s: float) -> None:
    """The faces of a frame, which stands until `until_s`."""
    for face in faces:
        assert face.track_id is not None
        people.setdefault(face.track_id, _Seen(time_s)).add(face, time_s, until_s)


def _left_s(spent_s: float, done_s: float, total_s: float | None) -> float | None:
    if total_s is None or done_s <= 0 or spent_s < 1:
        return None
    return max(0.0, total_s - done_s) * spent_s / done_s


class _Table:
    """The table, written aside and renamed when it is whole."""

    def __init__(self, path: Path) -> None:
        self._path, self._aside = path, aside(path)
        try:
            self._file = open(self._aside, "w", newline="", encoding="utf-8")  # noqa: SIM115 (closed by __exit__)
            self._rows = csv.writer(self._file, lineterminator="\n")
            self._rows.writerow(TABLE_COLUMNS)
        except BaseException:  # Ctrl-C too
            self._aside.unlink(missing_ok=True)
            raise

    def __enter__(self) -> _Table:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._aside.unlink(missing_ok=True)

    def write(self, time_s: float, faces: list[Face]) -> None:
        for face in sorted(faces, key=lambda face: face.track_id or 0):
            shown = [f"{face.confidence or 0:.4f}", *(f"{face.probabilities[label]:.4f}" for label in LABELS)]
            self._rows.writerow([f"{time_s:.3f}", face.track_id, *face.box, face.emotion, *shown])

    def finish(self) -> None:
        self._file.close()
        self._aside.replace(self._path)
