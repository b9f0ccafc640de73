"""Distillation: soft targets, the predictions of trained networks for a training split (Hinton et al. 2015)."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.data.split import Split
from training.exceptions import DataError
from training.model.models import HEADS

SOFT_TARGETS = Path(__file__).parents[1] / "checkpoints" / "teachers.npz"  # ours, for FER2013


def images_sha256(split: Split) -> str:
    """Return a SHA-256 over the images, which ties soft targets to the rows they were made for."""
    return hashlib.sha256(np.ascontiguousarray(split.images).tobytes()).hexdigest()


def save_soft_targets(path: Path, train: Split, probabilities: dict[str, np.ndarray]) -> None:
    """Write each head's probabilities `(N, 7)` for `train`, as float16, and any others by their names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {name: values.astype(np.float16) for name, values in probabilities.items()}
    np.savez_compressed(path, **arrays, images_sha256=images_sha256(train))


def load_soft_targets(path: Path, train: Split, names: Sequence[str] = HEADS) -> dict[str, np.ndarray]:
    """Read each head's probabilities, float32 `(N, 7)`, one row per image of `train`.

    Args:
        path: A file of `save_soft_targets`.
        train: The split for which it was made.
        names: What to read; the heads and any others.

    Raises:
        DataError: The file is not a file of soft targets, lacks one of the names, or was made for other images.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            made_for = str(arrays["images_sha256"])
            found = {name: arrays[name].astype(np.float32) for name in names}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a file of soft targets: {error}") from error
    if made_for != images_sha256(train) or any(found[head].shape != (len(train), 7) for head in HEADS):
        raise DataError(f"{path} was made for other images: make one for this training split with training.teachers")
    return {name: p / p.sum(axis=1, keepdims=True) for name, p in found.items()}


def find_soft_targets(given: Path | None, train: Split) -> tuple[Path | None, dict[str, np.ndarray] | None]:
    """Load the given file, or ours if it was made for these images.

    Returns:
        The file and its probabilities by head; None and None if no file was given and ours does not match.

    Raises:
        DataError: The given file does not match.
    """
    try:
        path = given or SOFT_TARGETS
        return path, load_soft_targets(path, train)
    except DataError:
        if given:
            raise
        return None, None
