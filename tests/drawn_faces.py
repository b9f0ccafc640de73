"""Drawn faces whose features tell the label: small datasets that hold nobody, made where they are needed."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from deepfer.face import LABELS
from training.data import Split


def drawn_face(label: int, rng: np.random.Generator) -> np.ndarray:
    """Two eyes and a mouth whose curve, and brows whose slant, tell the label; gray uint8 `(48, 48)`."""
    image = np.full((48, 48), rng.integers(120, 200), np.uint8)
    bend, slant, opening = ((-4, 4, 1), (-2, 2, 3), (-4, -4, 4), (6, 0, 3), (0, 0, 1), (-6, -3, 1), (0, -2, 7))[label]
    for x in (15, 33):
        cv2.circle(image, (x, 19), 2, 20, -1)
        lean = slant if x == 15 else -slant
        cv2.line(image, (x - 5, 13 - lean // 2), (x + 5, 13 + lean // 2), 30, 2)
    mouth = np.array([[14, 35], [24, 35 + bend], [34, 35]], np.int32)
    cv2.polylines(image, [mouth], False, 30, 2)
    cv2.ellipse(image, (24, 35 + bend // 2), (5, opening), 0, 0, 360, 30, -1)
    return cv2.add(image, rng.normal(0, 6, image.shape).astype(np.int16), dtype=cv2.CV_8U)


def drawn(count: int, seed: int) -> Split:
    """`count` faces, the labels in turn, with FER+ votes that agree."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(LABELS)
    images = np.stack([drawn_face(label, rng) for label in labels])
    votes = np.eye(len(LABELS), dtype=np.float32)[labels]
    return Split(images, labels.astype(np.int64), votes, labels.astype(np.int64))


def textured(split: Split, seed: int) -> Split:
    """The same with a texture of its own on each face, so that no two look like one photograph."""
    rng = np.random.default_rng(seed)
    images = split.images.astype(np.float64)
    for side, strength in ((3, 40), (6, 25), (12, 20), (24, 10)):  # coarse and fine, as pictures are
        for image in images:
            image += cv2.resize(rng.normal(0, strength, (side, side)), (48, 48), interpolation=cv2.INTER_CUBIC)
    images = np.clip(images, 0, 255).astype(np.uint8)
    return Split(images, split.labels, split.votes, split.majority)


def class_folders(root: Path, names: dict[str, str], per_class: int = 4, size: tuple[int, int] = (48, 48)) -> Path:
    """A folder for each class, `names` from folder to label, of RGB pictures of `size` (width, height)."""
    rng = np.random.default_rng(0)
    for folder, label in names.items():
        (root / folder).mkdir(parents=True)
        for number in range(per_class):
            face = Image.fromarray(drawn_face(LABELS.index(label), rng)).convert("RGB").resize(size)
            face.save(root / folder / f"{number}.png")
    return root
