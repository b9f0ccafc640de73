"""Labelled faces: any image-classification dataset -> uint8 arrays and targets, labels mapped by name.

python -m training.data --dataset PATH_OR_HUB_ID --out faces.npz     # pack once, for a machine without `datasets`
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfer.face import LABELS

SPLITS = ("train", "validation", "test")
SPLIT_SEED = 0  # of the stratified split, where a dataset has no validation of its own
VALIDATION_SHARE = 0.1

SYNONYMS = {
    "angry": ("anger",),
    "disgust": ("disgusted", "disgusting"),
    "fear": ("fearful", "afraid", "scared"),
    "happy": ("happiness", "joy"),
    "neutral": ("neutrality", "calm"),
    "sad": ("sadness",),
    "surprise": ("surprised",),
}
LABEL_OF_NAME = {name: label for label, others in SYNONYMS.items() for name in (label, *others)}

# The ten columns of FER+ (Barsoum et al. 2016), of which the last three are no emotion of ours.
FERPLUS_COLUMNS = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip


class DataError(ValueError):
    """The dataset cannot be used as it is; the message says what to change."""


@dataclass(frozen=True)
class Split:
    """One split, decoded.

    Attributes:
        images: uint8 `(N, S, S)`, gray.
        labels: int64 `(N,)`, indices into `LABELS`.
        votes: float32 `(N, 7)`, the share of FER+ votes per label; a row of zeros where there are none.
        majority: int64 `(N,)`, the index of the unique FER+ majority among all ten columns; -1 where it is
            shared, missing, or none of the seven labels.
    """

    images: np.ndarray
    labels: np.ndarray
    votes: np.ndarray
    majority: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> Split:
        """The given rows alone."""
        return Split(self.images[rows], self.labels[rows], self.votes[rows], self.majority[rows])


def label_index(names: Sequence[str]) -> np.ndarray:
    """Indices into `LABELS`, int64 `(len(names),)`, of a dataset's own class names.

    Raises:
        DataError: Some names are none of the seven emotions; all of them are listed.
    """
    found = [LABEL_OF_NAME.get(str(name).strip().lower()) for name in names]
    unknown = [str(name) for name, label in zip(names, found, strict=True) if label is None]
    if unknown:
        raise DataError(
            f"labels that are none of {', '.join(LABELS)}: {', '.join(unknown)}. "
            "Rename them, or leave their images out."
        )
    return np.array([LABELS.index(label) for label in found if label], np.int64)


def ferplus_targets(votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FER+ counts, uint8 `(N, 10)`, to shares `(N, 7)` and majorities `(N,)` as `Split` holds them.

    Single votes are taken for noise and zeroed, as Barsoum et al. (2016) do.
    """
    counts = np.where(votes > 1, votes, 0).astype(np.float32)
    order = [FERPLUS_COLUMNS.index(SYNONYMS[label][0] if label in _RENAMED else label) for label in LABELS]
    ours = counts[:, order]
    total = ours.sum(axis=1, keepdims=True)
    shares = np.divide(ours, total, out=np.zeros_like(ours), where=total > 0)
    top = counts.max(axis=1)
    unique = (counts == top[:, None]).sum(axis=1) == 1
    winner = np.array([order.index(c) if c in order else -1 for c in range(counts.shape[1])])[counts.argmax(axis=1)]
    return shares, np.where(unique & (top > 0), winner, -1).astype(np.int64)


_RENAMED = ("angry", "happy", "sad")  # FER+ says anger, happiness, sadness


def load(dataset: str | Path, size: int = 48) -> dict[str, Split]:
    """Every split that a dataset has, decoded to gray squares of `size` pixels.

    Args:
        dataset: A folder or Hub id that `datasets.load_dataset` reads (Parquet, or a folder of class folders), the
            Hub id with `@revision` where one is wanted; or an `.npz` that `pack` wrote.
        size: Side of the square images; others are resized to it.

    Raises:
        DataError: Nothing there, no image or label column, a label that is no emotion, a picture that cannot be read.
    """
    path = Path(dataset)
    if path.suffix == ".npz":
        return _unpack(path, size)
    from datasets import Image, load_dataset

    name, _, revision = (str(dataset), "", "") if path.exists() else str(dataset).partition("@")
    try:
        table = load_dataset(name, revision=revision or None)
    except (FileNotFoundError, ConnectionError, ValueError) as error:
        raise DataError(f"cannot load the dataset {str(dataset)!r}: {str(error).splitlines()[0]}") from error
    first = next(iter(table.values()))
    image_column = next((n for n, f in first.features.items() if isinstance(f, Image)), None)
    label_column = next((n for n in ("label", "labels", "emotion", "expression") if n in first.features), None)
    if image_column is None or label_column is None:
        raise DataError(f"need an image column and a label column; {str(dataset)!r} has {', '.join(first.features)}")
    splits = {}
    for split_name, rows in table.items():
        canonical = "validation" if split_name in ("valid", "val", "dev") else split_name
        splits[canonical] = _decode(
            rows.cast_column(image_column, Image(decode=False)), image_column, label_column, size
        )
    if "train" in splits and "validation" not in splits:
        splits["train"], splits["validation"] = stratified(splits["train"], VALIDATION_SHARE, SPLIT_SEED)
    return splits


def _decode(rows: Any, image_column: str, label_column: str, size: int) -> Split:
    values = rows[label_column]
    names = getattr(rows.features[label_column], "names", None)
    if names is None:
        names = sorted({str(value) for value in values})
        values = [names.index(str(value)) for value in values]
    labels = label_index(names)[np.asarray(values, np.int64)]
    images = np.empty((len(labels), size, size), np.uint8)
    for index, cell in enumerate(rows[image_column]):
        raw = cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()
        gray = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_GRAYSCALE) if raw else None
        if gray is None:
            raise DataError(f"row {index} ({cell['path'] or 'no file name'}) is not a picture that can be read")
        images[index] = resize(gray, size)
    if "ferplus_votes" in rows.features:
        shares, majority = ferplus_targets(np.asarray(rows["ferplus_votes"], np.uint8))
    else:
        shares, majority = np.zeros((len(labels), len(LABELS)), np.float32), np.full(len(labels), -1, np.int64)
    return Split(images, labels, shares, majority)


def resize(gray: np.ndarray, size: int) -> np.ndarray:
    """A gray picture of any shape as a `size` x `size` square; area averaging where it shrinks."""
    if gray.shape == (size, size):
        return gray
    shrinks = min(gray.shape) > size
    return cv2.resize(gray, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def stratified(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Cut a split in two, `share` of every label in the second."""
    rng = np.random.default_rng(seed)
    held = np.zeros(len(split), bool)
    for label in np.unique(split.labels):
        rows = rng.permutation(np.flatnonzero(split.labels == label))
        held[rows[: round(share * len(rows))]] = True
    return split.take(np.flatnonzero(~held)), split.take(np.flatnonzero(held))


def pack(splits: dict[str, Split], path: Path) -> None:
    """Write splits to one compressed `.npz`, which `load` reads back."""
    arrays = {f"{name}/{key}": value for name, split in splits.items() for key, value in vars(split).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    path.write_bytes(buffer.getvalue())


def _unpack(path: Path, size: int) -> dict[str, Split]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = {key.split("/")[0] for key in arrays}
            splits = {n: Split(*(arrays[f"{n}/{k}"] for k in ("images", "labels", "votes", "majority"))) for n in names}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no packed dataset: {error}") from error
    for name, split in splits.items():
        if split.images.shape[1:] != (size, size):
            raise DataError(f"{path}: {name} holds {split.images.shape[1:]} images, not {size} x {size}")
    return splits


def main(argv: Sequence[str] | None = None) -> int:
    """Pack a dataset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="folder, Hub id or Hub id@revision")
    parser.add_argument("--size", type=int, default=48, help="side of the square images, pixels")
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    args = parser.parse_args(argv)
    splits = load(args.dataset, args.size)
    pack(splits, args.out)
    for name, split in splits.items():
        voted = split.majority >= 0
        agreed = (
            f", its label the same in {np.mean(split.labels[voted] == split.majority[voted]):.1%}"
            if voted.any()
            else ""
        )
        print(f"{name}: {len(split)} images, {np.count_nonzero(voted)} with a FER+ majority{agreed}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
