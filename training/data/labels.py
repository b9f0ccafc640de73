"""Maps label names and FER+ votes to DeepFER's seven labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepfer.face import LABELS
from training.exceptions import DataError

SYNONYMS = {
    "angry": ("anger",),
    "disgust": ("disgusted", "disgusting"),
    "fear": ("fearful", "afraid", "scared"),
    "happy": ("happiness", "joy"),
    "neutral": ("neutrality", "calm"),
    "sad": ("sadness",),
    "surprise": ("surprised", "surprising"),
}
LABEL_OF_NAME = {name: label for label, others in SYNONYMS.items() for name in (label, *others)}

# The ten columns of FER+ (Barsoum et al. 2016). The last three are not among the seven labels.
FERPLUS_COLUMNS = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip


def label_index(names: Sequence[str]) -> np.ndarray:
    """Map a dataset's class names to indices into `LABELS`, int64 `(len(names),)`.

    Raises:
        DataError: Some names are not among the seven emotions; the message lists them all.
    """
    found = [LABEL_OF_NAME.get(str(name).strip().lower()) for name in names]
    unknown = [str(name) for name, label in zip(names, found, strict=True) if label is None]
    if unknown:
        raise DataError(
            f"unknown labels: {', '.join(unknown)}. Rename them to one of {', '.join(LABELS)}, or remove their images."
        )
    return np.array([LABELS.index(label) for label in found if label], np.int64)


def ferplus_targets(votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert FER+ vote counts, uint8 `(N, 10)`, to `Split.votes` `(N, 7)` and `Split.ferplus_labels` `(N,)`.

    Single votes are treated as noise and set to zero, as in Barsoum et al. (2016).
    """
    counts = np.where(votes > 1, votes, 0).astype(np.float32)
    names = [LABEL_OF_NAME.get(column) for column in FERPLUS_COLUMNS]
    ours = counts[:, [names.index(label) for label in LABELS]]
    total = ours.sum(axis=1, keepdims=True)
    shares = np.divide(ours, total, out=np.zeros_like(ours), where=total > 0)
    top = counts.max(axis=1)
    unique = (counts == top[:, None]).sum(axis=1) == 1
    label_of_column = np.array([LABELS.index(name) if name else -1 for name in names])
    return shares, np.where(unique & (top > 0), label_of_column[counts.argmax(axis=1)], -1).astype(np.int64)
