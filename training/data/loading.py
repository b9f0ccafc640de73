"""Loading: reads any image-classification dataset as decoded splits, with labels mapped by name."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from deepfer.face import LABELS
from training.data.dataset import LabelledImages, open_dataset
from training.data.labels import ferplus_targets
from training.data.split import Split, Splits, stratified
from training.exceptions import DataError

SPLIT_SEED = 0  # for holding out validation where a dataset has none
VALIDATION_SHARE = 0.1
PACKED_KEYS = {"images": "images", "labels": "labels", "votes": "votes", "ferplus_labels": "majority"}  # in the .npz


def load(dataset: str | Path, size: int = 48) -> Splits:
    """Load every split of a dataset, decoded to grayscale squares of `size` pixels.

    If there is a training split but no validation split, a stratified share is held out and recorded in `held_out`.

    Args:
        dataset: As for `open_dataset`, or an `.npz` that `pack` wrote.
        size: Side of the square images; other sizes are resized.

    Raises:
        DataError: There is no such dataset, it has no image or label column, a label is unknown, or an image cannot be
            decoded.
    """
    if Path(dataset).suffix == ".npz":
        splits = _unpack(Path(dataset), size)
    else:
        splits = Splits({name: _decoded(images, size) for name, images in open_dataset(dataset).items()})
    if "train" in splits and "validation" not in splits:
        splits["train"], splits["validation"] = stratified(splits["train"], VALIDATION_SHARE, SPLIT_SEED)
        splits.held_out = {"share": VALIDATION_SHARE, "seed": SPLIT_SEED}
    return splits


def name_of(dataset: str | Path) -> str:
    """Return a dataset's name for run.json and metrics.json: a folder's or file's own name, or a Hub id unchanged."""
    path = Path(dataset)
    if path.suffix == ".npz":
        return path.stem
    return path.resolve().name if path.exists() else str(dataset)


def pack(splits: Mapping[str, Split], path: Path) -> None:
    """Write splits to one compressed `.npz`, which `load` reads back."""
    arrays = {f"{name}/{PACKED_KEYS[key]}": a for name, split in splits.items() for key, a in vars(split).items()}
    arrays["held_out"] = np.array(json.dumps(getattr(splits, "held_out", None)))
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    path.write_bytes(buffer.getvalue())


def _unpack(path: Path, size: int) -> Splits:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = list(dict.fromkeys(key.split("/")[0] for key in arrays if "/" in key))
            splits = Splits({name: Split(*(arrays[f"{name}/{k}"] for k in PACKED_KEYS.values())) for name in names})
            splits.held_out = json.loads(str(arrays["held_out"])) if "held_out" in arrays else None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a packed dataset: {error}") from error
    for name, split in splits.items():
        if split.images.shape[1:] != (size, size):
            raise DataError(f"{path}: the images of {name} are {split.images.shape[1:]}, not {size} x {size}")
    return splits


def _decoded(images: LabelledImages, size: int) -> Split:
    if images.votes is not None:
        shares, ferplus_labels = ferplus_targets(images.votes)
    else:
        shares = np.zeros((len(images), len(LABELS)), np.float32)
        ferplus_labels = np.full(len(images), -1, np.int64)
    return Split(images.gray(size), images.labels, shares, ferplus_labels)
