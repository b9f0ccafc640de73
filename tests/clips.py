"""Videos for the tests: the astronaut moves across the frame, and a mirrored twin crosses her path."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from skimage.data import astronaut


def crossing(width: int, height: int, frames: int, people: int = 2) -> Iterator[tuple[np.ndarray, list[float]]]:
    """(BGR frame, each person's x of the middle of the cut-out): one walks to the right, her twin to the left."""
    ground = cv2.resize(np.random.default_rng(0).integers(70, 150, (9, 16, 3), dtype=np.uint8), (width, height))
    side = round(height * 0.42)
    one = cv2.resize(astronaut()[:280, 90:370, ::-1], (side, side), interpolation=cv2.INTER_AREA)
    for i in range(frames):
        canvas = ground.copy()
        share = i / max(frames - 1, 1)
        left = [round(share * (width - side)), round((1 - share) * (width - side))][:people]
        for k in reversed(range(people)):  # the first one is in front
            top = round(height * (0.25 + 0.02 * k))
            canvas[top : top + side, left[k] : left[k] + side] = one[:, ::-1] if k else one
        yield canvas, [x + side / 2 for x in left]


def write(path: Path, frames: Sequence[np.ndarray], fps: float, kind: str = "mp4v") -> Path:
    """Write BGR frames with OpenCV."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*kind), fps, frames[0].shape[1::-1])
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def read(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """A video's BGR frames and their times."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames, times = [], []
    while True:
        there, frame = capture.read()
        if not there:
            return frames, times
        frames.append(frame)
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
