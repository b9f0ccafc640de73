"""Records what an exported detector finds, so that a test can check that it still finds the same.

There are two sets of images: drawn heads, which anyone can make, and validation photos, for those who have them.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from deepfer.detection import Detector
from training.data.synthetic_heads import draw_head
from training.detector.canvas import Canvas
from training.detector.photos import COLUMNS

DRAWN = 12  # images
DRAWN_SEED = 70_000
PHOTOS = 200  # validation photos of each part, whose number of faces is recorded


def drawn_images() -> list[np.ndarray]:
    """Images of one drawn head each, RGB uint8 `(480, 480, 3)`: of all sizes and rolls, on blurred noise."""
    return [_drawn_image(np.random.default_rng([DRAWN_SEED, number])) for number in range(DRAWN)]


def _drawn_image(rng: np.random.Generator) -> np.ndarray:
    side = 480
    noise = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    canvas = Canvas(np.asarray(cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)))
    head, (_, top, _, bottom), _ = draw_head(rng)
    height = math.exp(rng.uniform(math.log(30), math.log(220)))
    a = cmath.rect(height / (bottom - top), rng.uniform(-math.pi, math.pi))
    middle = complex(*rng.uniform(0.35 * side, 0.65 * side, 2))
    mask = (head[..., 3] * 255).astype(np.uint8)
    pixels = np.clip(head[..., :3], 0, 255).astype(np.uint8)
    canvas.paste(pixels, np.empty((0, COLUMNS), np.float32), a, middle - a * complex(128, 140), False, mask)
    return canvas.image


def record(detector: Detector, photos: Mapping[str, Sequence[np.ndarray]]) -> dict[str, Any]:
    """What a detector finds.

    Args:
        detector: The detector, for photos.
        photos: Images by name; only the first `PHOTOS` of each list are used.

    Returns:
        Under `drawn`, the boxes in each drawn image; under each name, the number of faces in each photo.
    """
    found: dict[str, Any] = {"drawn": [[list(face.box) for face in detector.detect(image)] for image in drawn_images()]}
    return found | {name: [len(detector.detect(image)) for image in images[:PHOTOS]] for name, images in photos.items()}
