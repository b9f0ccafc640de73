"""A film for Chromium's fake camera: moving faces at known positions, and a barcode with each frame's number.

The faces are the astronaut's (NASA, public domain, from `skimage.data`). The tests and benchmarks of the webcam tab use
it, and so does its screenshot in the README.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from benchmarks.composed_images import astronaut_head

FPS = 30  # Chromium plays a .mjpeg file at this rate, in a loop
WIDTH, HEIGHT = 640, 480
BITS = 12  # of the barcode: white or black blocks along the top edge
BLOCK_HEIGHT = 24

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Place:
    """A face's position: the centre and height of its box in pixels. `mirrored` makes a second, different face."""

    x: float
    y: float
    height: float = 130
    mirrored: bool = False


@dataclass(frozen=True)
class Scene:
    """A film of `seconds`: the faces' places by name, and the brightness, at each time in seconds."""

    seconds: float
    faces: Callable[[float], dict[str, Place]]
    light: Callable[[float], float] = lambda _time: 1.0

    def truth(self, frame: int) -> dict[str, Box]:
        """The faces' boxes in a frame, by name, without those that the image's edge cuts off."""
        boxes = {name: _box(place) for name, place in self.faces(frame / FPS).items()}
        return {
            name: box
            for name, box in boxes.items()
            if box[0] >= 0 and box[1] >= BLOCK_HEIGHT and box[2] <= WIDTH and box[3] <= HEIGHT
        }

    def draw(self, frame: int) -> np.ndarray:
        """A frame: RGB uint8 (HEIGHT, WIDTH, 3)."""
        time = frame / FPS
        image = _wall().copy()
        for place in self.faces(time).values():
            _paste(image, place)
        return with_barcode(cv2.convertScaleAbs(image, alpha=self.light(time)), frame)


def ease(time: float, start: float, end: float, before: float, after: float) -> float:
    """Interpolate from `before` to `after`, slowly at both ends."""
    share = min(max((time - start) / (end - start), 0), 1)
    return before + (after - before) * share * share * (3 - 2 * share)


def _lively(time: float) -> dict[str, Place]:
    if time < 4:
        x = 320 + 90 * np.sin(2 * np.pi * time / 4)
    elif time < 11:
        x = ease(time, 8, 9.5, 320, 680) if time < 9.5 else ease(time, 9.5, 11, 680, 320)
    elif time < 18:
        x = ease(time, 11, 12, 320, 480) if time < 13 else ease(time, 13, 15, 480, 160)
    else:
        x = ease(time, 18, 19, 160, 320)
    height = 130 + 70 * np.sin(np.pi * (time - 4) / 2) if 4 <= time < 8 else 130
    found = {"first": Place(x, 250, height)}
    if 11.5 <= time < 18.5:
        x = ease(time, 11.5, 12.5, -100, 160) if time < 13 else ease(time, 13, 15, 160, 480)
        found["second"] = Place(x if time < 17 else ease(time, 17, 18.5, 480, 760), 270, 150, mirrored=True)
    return found


# A face pans, zooms (60 to 200 pixels), leaves and returns; a second face crosses it; the light dims.
LIVELY = Scene(20, _lively, lambda time: ease(time, 15, 16, 1, 0.35) if time < 17 else ease(time, 17, 18, 0.35, 1))
CALM = Scene(2, lambda time: {"first": Place(240 + 40 * float(np.sin(np.pi * time)), 240)})


def write(path: Path, frames: Iterable[np.ndarray]) -> None:
    """Write frames (RGB uint8) as a .mjpeg file, for Chromium's --use-file-for-fake-video-capture."""
    with path.open("wb") as file:
        for frame in frames:
            bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
            file.write(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())


def film(scene: Scene) -> Iterator[np.ndarray]:
    """All frames of a scene."""
    return (scene.draw(frame) for frame in range(round(scene.seconds * FPS)))


def with_barcode(image: np.ndarray, frame: int) -> np.ndarray:
    """Draw the frame's number along the image's top edge, lowest bit first."""
    block = WIDTH / BITS
    for bit in range(BITS):
        image[:BLOCK_HEIGHT, round(bit * block) : round((bit + 1) * block)] = 255 if frame >> bit & 1 else 0
    return image


@cache
def _head() -> tuple[np.ndarray, Box]:
    """The head as RGB and opacity, float32 (H, W, 4), and its face's box."""
    head, box = astronaut_head()
    return head.astype(np.float32), box


@cache
def _wall() -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.dstack([150 + 30 * rows / HEIGHT, 160 - 20 * columns / WIDTH, np.full(rows.shape, 170)]).astype(np.uint8)


def _box(place: Place) -> Box:
    _, (x1, y1, x2, y2) = _head()
    half = place.height / (y2 - y1) * (x2 - x1) / 2
    return place.x - half, place.y - place.height / 2, place.x + half, place.y + place.height / 2


def _paste(image: np.ndarray, place: Place) -> None:
    head, (x1, y1, x2, y2) = _head()
    scale = place.height / (y2 - y1)
    if place.mirrored:
        head, x1, x2 = head[:, ::-1], head.shape[1] - x2, head.shape[1] - x1
    # The part of the image that the head covers, and the visible part of the head.
    left, top = round(place.x - scale * (x1 + x2) / 2), round(place.y - scale * (y1 + y2) / 2)
    size = max(1, round(scale * head.shape[1])), max(1, round(scale * head.shape[0]))
    drawn = cv2.resize(head, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    columns = slice(max(left, 0), min(left + size[0], WIDTH))
    rows = slice(max(top, 0), min(top + size[1], HEIGHT))
    if columns.start >= columns.stop or rows.start >= rows.stop:
        return
    drawn = drawn[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    opacity = np.clip(drawn[..., 3:], 0, 1)
    background = image[rows, columns]
    background[:] = np.clip(background + opacity * (drawn[..., :3] - background), 0, 255)
