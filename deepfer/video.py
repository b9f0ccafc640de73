"""A clip -> who is in it and what they show over time, the annotated clip, and a table of faces per frame.

for progress in recognize_video(recognizer, "clip.mp4", video=Path("out" + video_suffix()), table=Path("timeline.csv")):
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

from deepfer.drawing import draw_faces
from deepfer.errors import VideoError
from deepfer.face import LABELS, Face
from deepfer.image_io import aside
from deepfer.people import FORGET_S, People
from deepfer.recognizer import EmotionRecognizer
from deepfer.result import VideoResult
from deepfer.tracking import FaceTracker
from deepfer.video_reader import Clip
from deepfer.video_writer import VideoWriter

SAMPLE_S = 0.1  # faces are looked for ten times a second; between, they are taken to move evenly
CLIP_SIDE = 640  # pixels of a frame's longer side at which faces are looked for: an answer may take its time here
MOST_WAITING = 8  # frames between two looks: a bound on memory where a clip has many frames a second
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
    result: VideoResult | None = None


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
        video: Where the annotated clip goes; its name must end in `video_suffix()`.
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
        writer = stack.enter_context(VideoWriter(Path(video), (clip.width, clip.height), clip.rate)) if video else None
        rows = stack.enter_context(_Table(Path(table))) if table else None
        people = People()
        start = told = time.monotonic()
        before: tuple[float, list[Face]] | None = None
        for time_s, rgb, faces in _follow(recognizer.for_frames(CLIP_SIDE), clip.frames()):
            if before:
                people.count(*before, time_s)
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
        people.count(*before, duration_s)
        shown, warning = people.shown(duration_s)
        warnings = [clip.fault(duration_s), warning]
        if writer:
            warnings.append(writer.finish(duration_s, source))
        if rows:
            rows.finish()
    result = VideoResult(
        str(source),
        recognizer.model_name,
        recognizer.revision,
        recognizer.detector_name,
        clip.width,
        clip.height,
        duration_s,
        clip.rate,
        clip.read,
        shown,
        "; ".join(filter(None, warnings)) or None,
    )
    yield Progress(duration_s, duration_s, 0.0, result)


def _follow(
    recognizer: EmotionRecognizer, frames: Iterator[tuple[float, np.ndarray]]
) -> Iterator[tuple[float, np.ndarray, list[Face]]]:
    """Each frame with its tracked faces: looked for in some frames, and in the ones between put between."""
    tracker = FaceTracker(forget_s=FORGET_S)
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
