"""Split: decoded images with their labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepfer.face import LABELS
from training.exceptions import DataError


@dataclass(frozen=True)
class Split:
    """One decoded split of a dataset.

    Attributes:
        images: Grayscale, uint8 `(N, S, S)`.
        labels: Indices into `LABELS`, int64 `(N,)`.
        votes: Share of FER+ votes per label, float32 `(N, 7)`; a row of zeros where there are no votes.
        ferplus_labels: Index of the label that alone has the most FER+ votes, int64 `(N,)`; -1 on a tie, without votes,
            or where the most votes went to something other than the seven labels.
    """

    images: np.ndarray
    labels: np.ndarray
    votes: np.ndarray
    ferplus_labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def sha256(self) -> str:
        """Return the SHA-256, in hexadecimal, of all images and labels in order."""
        digest = hashlib.sha256(str(self.images.shape).encode())
        for values in vars(self).values():
            digest.update(values.tobytes())
        return digest.hexdigest()

    def take(self, rows: np.ndarray) -> Split:
        """Return only the given rows."""
        return Split(*(values[rows] for values in vars(self).values()))


class Splits(dict[str, Split]):
    """A dataset's splits by name.

    Attributes:
        held_out: How the validation split was cut from the training split, `{"share", "seed"}`; None if the dataset
            has its own.
    """

    held_out: dict[str, Any] | None = None


def joined(splits: Mapping[str, Split]) -> Split:
    """Concatenate all splits."""
    parts = list(splits.values())
    return Split(*(np.concatenate([vars(part)[key] for part in parts]) for key in vars(parts[0])))


def stratified(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Divide a split in two. The second gets `share` of every label, and at least one image of a label that has two."""
    rng = np.random.default_rng(seed)
    held = np.zeros(len(split), bool)
    for label in np.unique(split.labels):
        rows = rng.permutation(np.flatnonzero(split.labels == label))
        held[rows[: max(round(share * len(rows)), int(len(rows) > 1))]] = True
    return split.take(np.flatnonzero(~held)), split.take(np.flatnonzero(held))


def require_trainable(splits: Mapping[str, Split]) -> None:
    """Check that a model can be trained on these splits.

    Raises:
        DataError: There are no training or validation images, or an emotion has no training images.
    """
    for name in ("train", "validation"):
        if not len(splits.get(name, ())):
            there = ", ".join(f"{other} {len(split)}" for other, split in splits.items()) or "none"
            raise DataError(f"no images in the {name} split; images per split: {there}")
    empty = [label for i, label in enumerate(LABELS) if not np.any(splits["train"].labels == i)]
    if empty:
        raise DataError(
            f"no training images of {', '.join(empty)}: the model would never predict it. Add images of every emotion."
        )
