"""Finds the people in a video and their emotions over time; writes the annotated video and a table of its faces.

for progress in recognize_video(recognizer, "video.mp4", video="annotated" + video_suffix(), table="timeline.csv"):
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

from deepfer.atomic import atomic_write
from deepfer.drawing import draw_faces
from deepfer.errors import VideoError
from deepfer.face import LABELS, Face
from deepfer.people import MAX_AGE_S, PeopleCounter
from deepfer.recognizer import EmotionRecognizer
from deepfer.result import VideoResult
from deepfer.tracking import FaceTracker
from deepfer.video_reader import VideoReader
from deepfer.video_writer import VideoWriter

SAMPLE_S = 0.1  # faces are detected ten times per second and interpolated in between
DETECTION_SIDE = 640  # pixels to which a frame's longer side is scaled for detection: larger than for a live camera
MAX_PENDING = 8  # frames between two detections: bounds memory at high frame rates
REPORT_S = 0.25  # time between progress reports
TABLE_COLUMNS = ("time_s", "track_id", "x1", "y1", "x2", "y2", "emotion", "confidence", *LABELS)


@dataclass(frozen=True)
class Progress:
    """The progress of recognizing a video.

    Attributes:
        done_s: Seconds of the video that are done.
        total_s: The video's length according to the file, or None.
        left_s: Estimated seconds until it is done, or None if that is not known yet.
        result: The result in the last report; None before.
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
    """Track every face through a video. Exhaust or close the generator; closing it early leaves no files behind.

    Memory does not grow with the video. The file's timestamps, rotation and pixel aspect ratio are respected. A damaged
    or truncated video is processed as far as it can be read. Frames larger than 1080p are scaled down to it first; the
    result's size and the table's boxes are still in pixels of the original, upright frames. The annotated video has the
    scaled size, or at most 480p as VP8.

    Args:
        recognizer: The recognizer; its detector uses its setting for frames.
        source: The video file.
        video: Path of the annotated video; it must end in `video_suffix()`.
        table: Path of the table: CSV with `TABLE_COLUMNS`, one row per frame and face.

    Yields:
        Progress, a few times per second; the last one has the result, once the files are complete.

    Raises:
        VideoError: The file is missing, not a readable video or exceeds a limit, or the annotated video cannot be
            encoded.
        ValueError: `video` has another suffix.
        OSError: A file cannot be written.
    """
    with VideoReader(source) as reader, contextlib.ExitStack() as stack:
        size = reader.width, reader.height
        writer = stack.enter_context(VideoWriter(Path(video), size, reader.rate)) if video else None
        rows = stack.enter_context(_Table(stack.enter_context(atomic_write(Path(table))))) if table else None
        enlargement = reader.original[0] / reader.width, reader.original[1] / reader.height
        people = PeopleCounter()
        start = reported = time.monotonic()
        previous: tuple[float, list[Face], np.ndarray] | None = None
        for time_s, rgb, faces in _track(recognizer.for_frames(DETECTION_SIDE), reader.frames()):
            if previous:
                people.add(previous[0], previous[1], time_s, previous[2])
            previous = time_s, faces, rgb
            if rows:
                rows.write(time_s, [face.scaled(*enlargement) for face in faces])
            if writer:
                writer.write(time_s, draw_faces(rgb, faces) if faces else rgb)
            now = time.monotonic()
            if now - reported >= REPORT_S:
                reported = now
                yield Progress(time_s, reader.claimed_s, _left_s(now - start, time_s, reader.claimed_s))
        if previous is None:
            raise VideoError("%(name)s: no frame can be read", name=reader.name)
        duration_s = previous[0] + 1 / reader.rate
        people.add(previous[0], previous[1], duration_s, previous[2])
        listed, warning = people.summary(duration_s)
        warnings = [reader.warning(duration_s), warning]
        if writer:
            warnings.append(writer.finish(duration_s, source))
    result = VideoResult(
        str(source),
        *recognizer.provenance,
        *reader.original,
        duration_s,
        reader.rate,
        reader.read,
        listed,
        tuple(filter(None, warnings)),
    )
    yield Progress(duration_s, duration_s, 0.0, result)


def _track(
    recognizer: EmotionRecognizer, frames: Iterator[tuple[float, np.ndarray]]
) -> Iterator[tuple[float, np.ndarray, list[Face]]]:
    """Each frame with its tracked faces, detected in some frames and interpolated in those between."""
    tracker = FaceTracker(max_age_s=MAX_AGE_S)
    pending: list[tuple[float, np.ndarray]] = []
    detected_s, before = -1.0, list[Face]()
    for time_s, rgb in frames:
        if detected_s >= 0 and time_s - detected_s < SAMPLE_S - 1e-3 and len(pending) < MAX_PENDING:
            pending.append((time_s, rgb))
            continue
        faces = tracker.update(recognizer.recognize(rgb), time_s)
        assert faces is not None  # times rise
        for pending_s, frame in pending:
            yield pending_s, frame, _interpolate(before, faces, (pending_s - detected_s) / (time_s - detected_s))
        pending.clear()
        yield time_s, rgb, faces
        detected_s, before = time_s, faces
    for pending_s, frame in pending:
        yield pending_s, frame, before


def _interpolate(before: list[Face], after: list[Face], share: float) -> list[Face]:
    """The faces at `share` of the time between two frames; those that are only in the first one stay unchanged."""
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
    """A CSV file with a row per frame and face."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "w", newline="", encoding="utf-8")  # noqa: SIM115 (closed by __exit__)
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(TABLE_COLUMNS)

    def __enter__(self) -> _Table:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, time_s: float, faces: list[Face]) -> None:
        for face in sorted(faces, key=lambda face: face.track_id or 0):
            shown = [f"{face.confidence or 0:.4f}", *(f"{face.probabilities[label]:.4f}" for label in LABELS)]
            self._rows.writerow([f"{time_s:.3f}", face.track_id, *face.box, face.emotion, *shown])
