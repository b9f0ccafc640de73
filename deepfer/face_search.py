"""Searches an image for faces with a detector network: a frame in one pass; a photo in an overview and in tiles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from deepfer.face import Face, area, clip_box, intersection, iou
from deepfer.grid_network import GridNetwork
from deepfer.limits import MAX_FACES
from deepfer.warp import similarity, warp

MIN_SIDE = 8  # pixels: views with a shorter side are skipped
CLOSE_SIDE, CLOSE_HEIGHT = 128, 80  # pixels: side of the view in which a face is verified, and height of the face in it
EYES_TO_MOUTH = 2.6  # height of a face, divided by the distance from its eyes to its mouth
MAX_VERIFIED = 48  # candidates per image: a bound on time in images full of texture
SAME_IOU, INSIDE = 0.3, 0.6  # two boxes are one face above this IoU, or if this share of one lies inside the other


@dataclass(frozen=True)
class SearchConfig:
    """How an image is searched.

    Attributes:
        threshold: The score from which a candidate is a face, 0 to 1.
        sure: The score below which a candidate is verified in a view of its own; its score is then the geometric mean
            of both scores. With 0, no candidate is verified.
        doubt: The score below which a candidate is dropped without verification.
        overview: Pixels of the image's longer side in the first view; larger images are shrunk to it.
        glance: The same for a second, smaller view, which finds faces that fill the image; 0 for none.
        max_pixels: The size up to which an image is searched at full resolution, in tiles; larger images are shrunk to
            it first. With 0, there are no tiles.
        tile: Pixels of a tile's longer side.
        overlap: Pixels that neighbouring tiles share; larger faces are found in the overview.
    """

    threshold: float
    overview: int
    glance: int = 0
    max_pixels: float = 0
    sure: float = 0
    doubt: float = 0
    tile: int = 768
    overlap: int = 96


@dataclass(frozen=True)
class View:
    """A part of an image, scaled: the image's point `z`, as a complex number, is at `scale * z - corner` in the view.

    Faces whose longer side is below `smallest` pixels in this view are left to other views.
    """

    scale: float
    corner: complex
    size: tuple[int, int]
    smallest: float = 0


def search(network: GridNetwork, rgb: np.ndarray, config: SearchConfig) -> list[Face]:
    """Every face in an RGB uint8 `(H, W, 3)` image, largest first, at most `MAX_FACES`."""
    found: list[Face] = []
    # Verification takes the geometric mean with a score of at most 1, which can lift the square to the threshold.
    product = config.threshold**2
    least = min(config.threshold, max(product, config.doubt)) if config.sure else config.threshold
    for view in views(rgb.shape[1], rgb.shape[0], config):
        found += look(network, rgb, view, least)
    left = MAX_VERIFIED
    faces = []
    for face in each_once(found):
        score = face.detection_score or 0.0
        if score < config.sure and left:
            left -= 1
            score = math.sqrt(score * verify(network, rgb, face, min(product / score, 0.99)))
        if score >= config.threshold:
            faces.append(replace(face, detection_score=score))
    return largest_first(faces)


def views(width: int, height: int, config: SearchConfig) -> Iterator[View]:
    """The views of an image of this size: the whole image and, if that is shrunk, tiles of it."""
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
    """The faces that the network finds in one view, in pixels of the image."""
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
        faces.append(Face(clip_box((left, top, right, bottom), width, height), min(score, 1.0), tuple(landmarks)))
    return faces


def verify(network: GridNetwork, rgb: np.ndarray, face: Face, least: float) -> float:
    """The score of a face in a view of its own, upright and at the best size for the network; 0 if below `least`."""
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
    """The candidate with the highest score for each face."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -(face.detection_score or 0)):
        if area(face.box) and not any(same_face(face, other) for other in kept):
            kept.append(face)
    return kept


def same_face(a: Face, b: Face) -> bool:
    """Whether two boxes are the same face: they overlap enough, or one lies mostly inside the other."""
    smaller = min(area(a.box), area(b.box))
    return smaller > 0 and (iou(a.box, b.box) > SAME_IOU or intersection(a.box, b.box) > INSIDE * smaller)


def largest_first(faces: Iterable[Face]) -> list[Face]:
    """The faces by descending area, at most `MAX_FACES`."""
    return sorted((face for face in faces if area(face.box)), key=lambda face: -area(face.box))[:MAX_FACES]


def _tiles(length: float, config: SearchConfig) -> list[tuple[int, int]]:
    """Starts and ends of the fewest overlapping tiles of equal size that cover `length`."""
    end = math.ceil(length)
    overlap = min(config.overlap, config.tile // 2)
    count = max(1, math.ceil((end - overlap) / (config.tile - overlap)))
    size = math.ceil((end + (count - 1) * overlap) / count)
    return [(start, start + size) for start in (round(i * (end - size) / max(1, count - 1)) for i in range(count))]
