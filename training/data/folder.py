"""Folder: turns one subfolder of images per emotion into face crops for training, validation and test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from deepfer.alignment import resize_crop
from deepfer.errors import ImageError
from deepfer.face import LABELS, Face
from deepfer.image_io import read_image
from training.data.labels import LABEL_OF_NAME, label_index
from training.data.split import Split, Splits, stratified
from training.exceptions import DataError

MIN_IMAGES = 10  # per emotion: fewer would leave too few for validation and test
HELD_OUT = 0.2  # share of each emotion for validation, and the same for test
SPLIT_SEED = 0
CROP_SIDE = 96  # pixels; smaller images are assumed to be face crops already

Crop = Callable[[np.ndarray, Face, int], np.ndarray]


def list_images(folder: Path) -> list[tuple[Path, int]]:
    """List the image files in a folder of class folders, with their indices into `LABELS`.

    Raises:
        DataError: An emotion has no folder, too few images, or a folder's name is not an emotion.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder")
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise DataError(f"{folder} has no subfolders: it needs one per emotion, {', '.join(LABELS)}")
    labels = label_index([path.name for path in classes])
    found = [
        (path, int(label))
        for of_class, label in zip(classes, labels, strict=True)
        for path in sorted(of_class.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    ]
    _require_enough(folder, np.array([label for _, label in found], np.int64), "images")
    return found


def load_faces(
    folder: Path, detect: Callable[[np.ndarray], list[Face]], crop: Crop, size: int
) -> tuple[Split, list[str]]:
    """Read all images of a folder of class folders, cropped to the face as in serving.

    The largest face of each photo is used. Images smaller than `CROP_SIDE` are used whole.

    Returns:
        The crops, and a line for each image that was left out: no face, or not readable.

    Raises:
        DataError: As for `list_images`, or too few images of an emotion show a face.
    """
    crops, labels, left_out = [], [], []
    for path, label in list_images(folder):
        try:
            image = read_image(path)
        except ImageError as error:
            left_out.append(str(error))
            continue
        if min(image.shape[:2]) < CROP_SIDE:
            crops.append(resize_crop(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size))
        elif faces := detect(image):
            crops.append(crop(image, faces[0], size))
        else:
            left_out.append(f"{path}: no face found")
            continue
        labels.append(label)
    _require_enough(folder, np.array(labels, np.int64), "usable images")
    count = len(labels)
    votes, ferplus_labels = np.zeros((count, len(LABELS)), np.float32), np.full(count, -1, np.int64)
    return Split(np.stack(crops), np.array(labels, np.int64), votes, ferplus_labels), left_out


def divide(split: Split) -> Splits:
    """Divide a split into train, validation and test, stratified by label."""
    rest, test = stratified(split, HELD_OUT, SPLIT_SEED)
    train, validation = stratified(rest, HELD_OUT / (1 - HELD_OUT), SPLIT_SEED)
    return Splits(train=train, validation=validation, test=test)


def _require_enough(folder: Path, labels: np.ndarray, what: str) -> None:
    counts = np.bincount(labels, minlength=len(LABELS))
    few = [f"{label} {count}" for label, count in zip(LABELS, counts, strict=True) if count < MIN_IMAGES]
    if few:
        names = {label: [name for name, of in LABEL_OF_NAME.items() if of == label] for label in LABELS}
        absent = [f"{label} (or {', '.join(names[label][1:])})" for i, label in enumerate(LABELS) if not counts[i]]
        hint = f". Add a folder named {'; '.join(absent)}" if absent else ""
        raise DataError(f"{folder} needs at least {MIN_IMAGES} {what} of each emotion; it has {', '.join(few)}{hint}")
