"""The passes of a detector network over an image: one over a frame; an overview, then tiles, over a photo."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from deepfer.face import Face, area, clip, intersection, iou
from deepfer.grid_network import GridNetwork
from deepfer.limits import MAX_FACES
from deepfer.warp import similarity, warp

MIN_SIDE = 8  # pixels: a view with a shorter side shows no face
CLOSE_SIDE, CLOSE_HEIGHT = 128, 80  # pixels of a second look, and of the face in it
EYES_TO_MOUTH = 2.6  # a face's height over the distance from its eyes to its mouth
MAX_LOOKS = 48  # second looks at an image: a bound on time in images full of texture
SAME_IOU, INSIDE = 0.3, 0.6  # boxes that overlap more, or of which one lies this far inside the other, are one face


@dataclass(frozen=True)
class SearchConfig:
    """How an image is searched.

    Attributes:
        threshold: The score from where a candidate is a face, 0 to 1.
        sure: The score below which a candidate gets a second look; its score is then the geometric mean of both. With 0
            none does.
        overview: Pixels of the image's longer side in the first view; larger images are shrunk to it.
        glance: The same for a second, smaller view, in which faces that fill the image are found; 0 for none.
        max_pixels: The size up to which an image is searched at full resolution, tile by tile; larger ones are shrunk
            to it first. With 0 the overview is all.
        tile: Pixels of a tile's longer side.
        overlap: Pixels that neighbouring tiles share. The overview shows faces that are larger.
    """

    threshold: float
    overview: int
    glance: int = 0
    max_pixels: float = 0
    sure: float = 0
    tile: int = 768
    overlap: int = 96


@dataclass(frozen=True)
class View:
    """A part of an image at some scale: pixel `z` of the image is at `scale * z - corner`, complex numbers.

    Faces whose longer side is below `smallest` pixels in this view are left to the others.
    """

    scale: float
    corner: complex
    size: tuple[int, int]
    smallest: float = 0


def search(network: GridNetwork, rgb: np.ndarray, config: SearchConfig) -> list[Face]:
    """Every face in an RGB uint8 `(H, W, 3)` image, largest first, at most `MAX_FACES`."""
    found: list[Face] = []
    least = (
        config.threshold**2 if config.sure else config.threshold
    )  # the mean with a second score of 1 is the threshold
    for view in views(rgb.shape[1], rgb.shape[0], config):
        found += look(network, rgb, view, least)
    looks = MAX_LOOKS
    faces = []
    for face in each_once(found):
        score = face.detection_score or 0.0
        if score < config.sure and looks:
            looks -= 1
            score = math.sqrt(score * look_closer(network, rgb, face, min(least / score, 0.99)))
        if score >= config.threshold:
            faces.append(replace(face, detection_score=score))
    return largest_first(faces)


def views(width: int, height: int, config: SearchConfig) -> Iterator[View]:
    """What is looked at in an image of this size: the whole, and if it had to be shrunk, tiles of it."""
    overview = min(1.0, config.overview / max(width, height))
    glance = config.glance / max(width, height)
    for scale, smallest in ((overview, 0), (glance, config.glance / 3)):
        size = math.ceil(width * scale), math.ceil(height * scale)
        if min(size) >= MIN_SIDE and scale <= overview:
            yield View(scale, 0j, size, smallest)
    finest = min(1.0, math.sqrt(config.max_pixels / (width * height)))
    if finest <= overview or min(width, height) * finest < MIN_SIDE:
        return
    for top, bottom in _tiles(height * finest, config):
        for left, right in _tiles(width * finest, config):
            yield View(finest, complex(left, top), (right - left, bottom - top))


def look(network: GridNetwork, rgb: np.ndarray, view: View, threshold: float) -> list[Face]:
    """The faces that the network sees in one view, in the image's pixels."""
    height, width = rgb.shape[:2]
    faces = []
    seen = warp(rgb, similarity(complex(view.scale), -view.corner), view.size)
    for x, y, w, h, *points, score in network.detect(seen, threshold).tolist():
        if max(w, h) < view.smallest:
            continue
        places = [complex(x, y), complex(x + w, y + h), *map(complex, points[::2], points[1::2])]
        (left, top), (right, bottom), *landmarks = (
            (z.real, z.imag) for z in ((place + view.corner) / view.scale for place in places)
        )
        faces.append(Face(clip((left, top, right, bottom), width, height), min(score, 1.0), tuple(landmarks)))
    return faces


def look_closer(network: GridNetwork, rgb: np.ndarray, face: Face, least: float) -> float:
    """The score of a face seen alone, upright and at the size that the network knows best; 0 if it is below `least`."""
    right_eye, left_eye, _nose, right_corner, left_corner = (complex(*point) for point in face.landmarks)
    down = (right_corner + left_corner - right_eye - left_eye) / 2
    x1, y1, x2, y2 = face.box
    a = CLOSE_HEIGHT / max(EYES_TO_MOUTH * abs(down), 1.0) * 1j * abs(down) / down if down else 1 + 0j
    middle = complex(CLOSE_SIDE, CLOSE_SIDE) / 2
    b = middle - a * complex(x1 + x2, y1 + y2) / 2
    seen = network.detect(warp(rgb, similarity(a, b), (CLOSE_SIDE, CLOSE_SIDE)), least)
    low, high = (CLOSE_SIDE - CLOSE_HEIGHT) // 2, (CLOSE_SIDE + CLOSE_HEIGHT) // 2
    expected = Face((low, low, high, high))
    scores = [
        score
        for x, y, w, h, *_, score in seen.tolist()
        if same_face(expected, Face((round(x), round(y), round(x + w), round(y + h))))
    ]
    return max(scores, default=0.0)


def each_once(faces: Iterable[Face]) -> list[Face]:
    """The surest box of every face."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -(face.detection_score or 0)):
        if area(face.box) and not any(same_face(face, other) for other in kept):
            kept.append(face)
    return kept


def same_face(a: Face, b: Face) -> bool:
    """Whether two boxes are one face: they overlap, or one lies mostly inside the other."""
    smaller = min(area(a.box), area(b.box))
    return smaller > 0 and (iou(a.box, b.box) > SAME_IOU or intersection(a.box, b.box) > INSIDE * smaller)


def largest_first(faces: Iterable[Face]) -> list[Face]:
    """The faces by falling area, at most `MAX_FACES`."""
    return sorted((face for face in faces if area(face.box)), key=lambda face: -area(face.box))[:MAX_FACES]


def _tiles(length: float, config: SearchConfig) -> list[tuple[int, int]]:
    """Starts and ends of the fewest overlapping tiles of one size that cover `length`."""
    end = math.ceil(length)
    overlap = min(config.overlap, config.tile // 2)
    count = max(1, math.ceil((end - overlap) / (config.tile - overlap)))
    size = math.ceil((end + (count - 1) * overlap) / count)
    return [(start, start + size) for start in (round(i * (end - size) / max(1, count - 1)) for i in range(count))]
