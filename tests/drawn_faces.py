"""Small datasets of drawn faces."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from training.data.split import Split
from training.data.synthetic import synthetic_face


def textured(split: Split, seed: int) -> Split:
    """The same, with a different texture on each face, so that no two are near-duplicates."""
    rng = np.random.default_rng(seed)
    images = split.images.astype(np.float64)
    for side, strength in ((3, 40), (6, 25), (12, 20), (24, 10)):  # coarse and fine, as in photos
        for image in images:
            image += cv2.resize(rng.normal(0, strength, (side, side)), (48, 48), interpolation=cv2.INTER_CUBIC)
    images = np.clip(images, 0, 255).astype(np.uint8)
    return Split(images, split.labels, split.votes, split.ferplus_labels)


def class_folders(root: Path, names: dict[str, str], per_class: int = 4, size: tuple[int, int] = (48, 48)) -> Path:
    """Write a folder of RGB images of `size` (width, height) for each class; `names` maps folders to labels."""
    rng = np.random.default_rng(0)
    for folder, label in names.items():
        (root / folder).mkdir(parents=True)
        for number in range(per_class):
            face = Image.fromarray(synthetic_face(label, rng)).convert("RGB").resize(size)
            face.save(root / folder / f"{number}.png")
    return root
