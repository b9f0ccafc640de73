"""Synthetic faces: a drawn dataset that anyone can generate and share, to try training without photos of people.

A network that does well on it has learned nothing about people.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from deepfer.face import LABELS
from training.data.split import Split

SIZE = 48
COUNTS = {"train": 700, "validation": 210, "test": 70}
STROKE = 30  # gray level of the lines
# Per label, in pixels: how far the mouth bends down, how far the brows slant inwards, how wide the mouth opens.
SHAPES = {
    "angry": (-4, 4, 1),
    "disgust": (-2, 2, 3),
    "fear": (-4, -4, 4),
    "happy": (6, 0, 3),
    "neutral": (0, 0, 1),
    "sad": (-6, -3, 1),
    "surprise": (0, -2, 7),
}


def synthetic_face(label: str, rng: np.random.Generator) -> np.ndarray:
    """Draw eyes, and a mouth and brows that show the label, on noise; grayscale uint8 `(48, 48)`."""
    image = np.full((SIZE, SIZE), rng.integers(120, 200), np.uint8)
    bend, slant, opening = SHAPES[label]
    for x, tilt in ((15, slant), (33, -slant)):
        cv2.circle(image, (x, 19), 2, STROKE - 10, -1)
        cv2.line(image, (x - 5, 13 - tilt // 2), (x + 5, 13 + tilt // 2), STROKE, 2)
    cv2.polylines(image, [np.array([[14, 35], [24, 35 + bend], [34, 35]], np.int32)], False, STROKE, 2)
    cv2.ellipse(image, (24, 35 + bend // 2), (5, opening), 0, 0, 360, STROKE, -1)
    return cv2.add(image, rng.normal(0, 6, image.shape).astype(np.int16), dtype=cv2.CV_8U)


def synthetic_split(count: int, seed: int) -> Split:
    """Draw `count` faces, cycling through the labels; all votes agree with the label."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(LABELS)
    images = np.stack([synthetic_face(LABELS[label], rng) for label in labels])
    return Split(images, labels, np.eye(len(LABELS), dtype=np.float32)[labels], labels.copy())


def write(folder: Path, counts: dict[str, int] = COUNTS) -> None:
    """Write one folder per class, as in `train/happy/0003.png`.

    Raises:
        OSError: It cannot be written.
    """
    for seed, (name, count) in enumerate(counts.items()):
        split = synthetic_split(count, seed)
        for index, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
            path = folder / name / LABELS[label] / f"{index:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
