"""Drawn faces: a dataset that anyone can make and show, to try the training without one of people.

python -m training.drawn --out runs/drawn     # a folder of class folders, as training.train takes it

A network that does well on them has learned nothing about people.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from deepfer.face import LABELS
from training.data import Split

SIZE = 48
COUNTS = {"train": 700, "validation": 210, "test": 70}
STROKE = 30  # gray of the lines
# For each label: how far the mouth bends down, how far the brows slant inwards, how wide the mouth opens, in pixels.
SHAPES = {
    "angry": (-4, 4, 1),
    "disgust": (-2, 2, 3),
    "fear": (-4, -4, 4),
    "happy": (6, 0, 3),
    "neutral": (0, 0, 1),
    "sad": (-6, -3, 1),
    "surprise": (0, -2, 7),
}


def drawn_face(label: str, rng: np.random.Generator) -> np.ndarray:
    """Two eyes, and a mouth and brows that tell the label, on noise; gray uint8 `(48, 48)`."""
    image = np.full((SIZE, SIZE), rng.integers(120, 200), np.uint8)
    bend, slant, opening = SHAPES[label]
    for x, lean in ((15, slant), (33, -slant)):
        cv2.circle(image, (x, 19), 2, STROKE - 10, -1)
        cv2.line(image, (x - 5, 13 - lean // 2), (x + 5, 13 + lean // 2), STROKE, 2)
    cv2.polylines(image, [np.array([[14, 35], [24, 35 + bend], [34, 35]], np.int32)], False, STROKE, 2)
    cv2.ellipse(image, (24, 35 + bend // 2), (5, opening), 0, 0, 360, STROKE, -1)
    return cv2.add(image, rng.normal(0, 6, image.shape).astype(np.int16), dtype=cv2.CV_8U)


def drawn(count: int, seed: int) -> Split:
    """Faces of every label in turn, the votes all for it."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(LABELS)
    images = np.stack([drawn_face(LABELS[label], rng) for label in labels])
    return Split(images, labels, np.eye(len(LABELS), dtype=np.float32)[labels], labels.copy())


def write(folder: Path, counts: dict[str, int] = COUNTS) -> None:
    """Write a folder of class folders: `train/happy/0003.png`.

    Raises:
        OSError: It cannot be written.
    """
    for seed, (name, count) in enumerate(counts.items()):
        split = drawn(count, seed)
        for index, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
            path = folder / name / LABELS[label] / f"{index:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode(".png", image)[1].tobytes())


def main(argv: Sequence[str] | None = None) -> int:
    """Write a dataset of drawn faces from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.drawn", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    args = parser.parse_args(argv)
    try:
        write(args.out)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: {', '.join(f'{name} {count}' for name, count in COUNTS.items())} faces")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
