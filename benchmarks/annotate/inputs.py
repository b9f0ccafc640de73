"""Photos and videos to annotate, all of the astronaut."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
from PIL import Image

from benchmarks.images import portrait
from benchmarks.video import make_video

VARIANTS = 50  # different photos or videos; the others are copies of them
VIDEO_S, VIDEO_SIZE = 2, (640, 360)


def make_photos(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """A new folder of `count` photos of `(width, height)`, with a face each."""
    folder.mkdir()
    face = portrait(size)

    def photo(path: Path, number: int) -> None:
        Image.fromarray(cv2.convertScaleAbs(face, alpha=1 - number / 200)).save(path, quality=90)

    return _fill(folder, count, ".jpg", photo)


def make_videos(folder: Path, count: int) -> Path:
    """A new folder of `count` videos of two seconds, with two people each."""
    folder.mkdir()
    return _fill(folder, count, ".mp4", lambda path, number: make_video(path, VIDEO_S + number / 100, VIDEO_SIZE))


def _fill(folder: Path, count: int, suffix: str, make: Callable[[Path, int], None]) -> Path:
    for number in range(count):
        path, first = (folder / f"{n:07}{suffix}" for n in (number, number % VARIANTS))
        if path == first:
            make(path, number)
        else:
            shutil.copyfile(first, path)
    return folder
