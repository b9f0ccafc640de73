"""Labelled faces: any image-classification dataset -> uint8 arrays and targets, labels mapped by name.

python -m training.data --dataset PATH_OR_HUB_ID                     # what is in it, near-duplicates included
python -m training.data --dataset PATH_OR_HUB_ID --out faces.npz     # pack once, for a machine without `datasets`
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfer.arguments import bounded_int
from deepfer.errors import ImageError
from deepfer.face import LABELS
from deepfer.image_io import read_image

SPLIT_NAMES = {  # what other datasets call the three; FER2013's own CSV says PublicTest and PrivateTest
    "train": ("training",),
    "validation": ("valid", "val", "dev", "publictest"),
    "test": ("testing", "privatetest"),
}
SPLIT_OF_NAME = {name: split for split, others in SPLIT_NAMES.items() for name in (split, *others)}
SPLIT_SEED = 0  # of the stratified split, where a dataset has no validation of its own
VALIDATION_SHARE = 0.1
LISTED = 5  # of the rows that a complaint is about

IMAGE_COLUMNS = ("image", "img", "picture", "photo", "face", "pixels")
LABEL_COLUMNS = ("label", "labels", "emotion", "emotions", "expression", "class", "category")
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

    def sha256(self) -> str:
        """A fingerprint of all pictures and labels in their order, in hexadecimal."""
        digest = hashlib.sha256(str(self.images.shape).encode())
        for values in vars(self).values():
            digest.update(values.tobytes())
        return digest.hexdigest()

    def take(self, rows: np.ndarray) -> Split:
        """The given rows alone."""
        return Split(self.images[rows], self.labels[rows], self.votes[rows], self.majority[rows])


class Splits(dict[str, Split]):
    """A dataset's splits by name.

    Attributes:
        held_out: How the validation split was cut from the training split, `{"share", "seed"}`; None where the dataset
            has its own.
    """

    held_out: dict[str, Any] | None = None


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


class Pictures:
    """One split of a dataset as it is stored: labels now, pictures one by one when they are asked for."""

    def __init__(self, rows: Any, where: str) -> None:
        """Read the labels.

        Args:
            rows: A `datasets.Dataset`.
            where: What to call it in a complaint.

        Raises:
            DataError: No image or label column, several image columns, or a label that is no emotion.
        """
        from datasets import ClassLabel, Image

        features = rows.features
        image = _image_column([name for name, feature in features.items() if isinstance(feature, Image)], where)
        named = [name for name, feature in features.items() if isinstance(feature, ClassLabel)]
        label = next((name for name in (*LABEL_COLUMNS, *named) if name in features), None)
        if image is None or label is None:
            raise DataError(
                f"{where} needs an image column and a label column; it has {', '.join(features)} (folders are "
                "labels where there are two or more, side by side)"
            )
        self.where = where
        self.labels = self._labels(rows[label][:], getattr(features[label], "names", None), label)
        self.votes = np.asarray(rows["ferplus_votes"][:], np.uint8) if "ferplus_votes" in features else None
        self._cells = rows.cast_column(image, Image(decode=False))[image]

    def __len__(self) -> int:
        return len(self.labels)

    def _labels(self, values: list[Any], names: list[str] | None, column: str) -> np.ndarray:
        missing = [row for row, value in enumerate(values) if value is None or (names is not None and value == -1)]
        if missing:
            raise DataError(f"{self.where}: {_listed(f'row {row}' for row in missing)} without a label")
        if names is None:
            numbers = [value for value in values if not isinstance(value, str)]
            if numbers:
                raise DataError(
                    f"{self.where}: column {column!r} holds numbers such as {numbers[0]!r} without names. Name them "
                    f"in the dataset's own order with dataset.cast_column({column!r}, ClassLabel(names=[…])) and keep "
                    "that with save_to_disk or push_to_hub; or put the pictures into a folder for each class."
                )
            names = sorted(set(values))
            place = {name: index for index, name in enumerate(names)}
            values = [place[value] for value in values]
        used, own = np.unique(np.asarray(values, np.int64), return_inverse=True)  # names nobody has do no harm
        return label_index([names[index] for index in used])[own] if len(used) else np.empty(0, np.int64)

    def read(self, row: int) -> np.ndarray:
        """A picture, RGB uint8 `(H, W, 3)`.

        Raises:
            ImageError: It cannot be read.
        """
        return self._decode(self._cells[row])

    def gray(self, size: int) -> np.ndarray:
        """Every picture in gray, uint8 `(N, size, size)`.

        Raises:
            DataError: Some cannot be read; the first of them are listed.
        """
        images = np.empty((len(self), size, size), np.uint8)
        broken = []
        for row, cell in enumerate(self._cells):
            try:
                images[row] = resize(cv2.cvtColor(self._decode(cell), cv2.COLOR_RGB2GRAY), size)
            except ImageError as error:
                broken.append(f"row {row}, {error}")
        if broken:
            raise DataError(f"{self.where}: pictures that cannot be read ({len(broken)}): {_listed(broken)}")
        return images

    @staticmethod
    def _decode(cell: dict[str, Any] | None) -> np.ndarray:
        if cell is None:
            raise ImageError("no picture")
        return read_image(cell["path"] if cell["bytes"] is None else cell["bytes"])


def _image_column(names: Sequence[str], where: str) -> str | None:
    """The only one of several image columns, or the only one with a usual name; others may be masks or heat maps.

    Raises:
        DataError: There are several, and their names do not tell which of them holds the faces.
    """
    usual = [name for name in names if name.lower() in IMAGE_COLUMNS]
    candidates = usual if len(names) > 1 else names
    if len(names) > 1 and len(candidates) != 1:
        raise DataError(
            f"{where} has several image columns: {', '.join(names)}. Name the one that holds the faces 'image', and "
            "remove the others with dataset.remove_columns([…])"
        )
    return candidates[0] if candidates else None


def _listed(items: Iterator[str] | list[str]) -> str:
    every = list(items)
    more = f" and {len(every) - LISTED} more" if len(every) > LISTED else ""
    return "; ".join(every[:LISTED]) + more


def open_dataset(dataset: str | Path) -> dict[str, Pictures]:
    """Each split that a dataset has, under our names where it uses other common ones.

    Args:
        dataset: A folder (Parquet, class folders, or what `save_to_disk` wrote) or a Hub id, the latter with
            `@revision` where one is wanted.

    Raises:
        DataError: Nothing there, no image or label column, a label that is no emotion.
    """
    from datasets import DatasetDict, load_dataset, load_from_disk
    from datasets.exceptions import DatasetsError

    path = Path(dataset)
    try:
        if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
            table = load_from_disk(str(path))
        else:
            name, _, revision = (str(path), "", "") if path.exists() else str(dataset).partition("@")
            table = load_dataset(name, revision=revision or None)
    # The Hub's refusals and the lack of a connection are OSErrors.
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        told = error.__cause__ if isinstance(error, DatasetsError) and error.__cause__ else error
        reason = " ".join(str(told).split()) or type(told).__name__
        raise DataError(f"cannot load the dataset {str(dataset)!r}: {reason}") from error
    found: dict[str, Pictures] = {}
    for own, rows in (table if isinstance(table, DatasetDict) else {"train": table}).items():
        name = SPLIT_OF_NAME.get(own.lower(), own)
        if name in found:
            raise DataError(f"{str(dataset)!r} has two splits that would be {name}: {', '.join(table)}")
        found[name] = Pictures(rows, f"{dataset}, {own}")
    return found


def load(dataset: str | Path, size: int = 48) -> Splits:
    """Every split that a dataset has, decoded to gray squares of `size` pixels.

    Where there is a training split and no validation, a stratified share of it is held out; `held_out` says so.

    Args:
        dataset: As for `open_dataset`, or an `.npz` that `pack` wrote.
        size: Side of the square images; others are resized to it.

    Raises:
        DataError: Nothing there, no image or label column, a label that is no emotion, a picture that cannot be read.
    """
    if Path(dataset).suffix == ".npz":
        splits = _unpack(Path(dataset), size)
    else:
        splits = Splits({name: _decoded(pictures, size) for name, pictures in open_dataset(dataset).items()})
    if "train" in splits and "validation" not in splits:
        splits["train"], splits["validation"] = stratified(splits["train"], VALIDATION_SHARE, SPLIT_SEED)
        splits.held_out = {"share": VALIDATION_SHARE, "seed": SPLIT_SEED}
    return splits


def _decoded(pictures: Pictures, size: int) -> Split:
    if pictures.votes is not None:
        shares, majority = ferplus_targets(pictures.votes)
    else:
        shares = np.zeros((len(pictures), len(LABELS)), np.float32)
        majority = np.full(len(pictures), -1, np.int64)
    return Split(pictures.gray(size), pictures.labels, shares, majority)


def joined(splits: Mapping[str, Split]) -> Split:
    """All splits as one."""
    parts = list(splits.values())
    return Split(*(np.concatenate([vars(part)[key] for part in parts]) for key in vars(parts[0])))


def require_trainable(splits: Mapping[str, Split]) -> None:
    """Say, before hours are spent, what would make training pointless.

    Raises:
        DataError: No training or no validation images, or an emotion without any training image.
    """
    for name in ("train", "validation"):
        if not len(splits.get(name, ())):
            there = ", ".join(f"{other} {len(split)}" for other, split in splits.items()) or "none"
            raise DataError(f"no images for {name}: there are {there}")
    empty = [label for i, label in enumerate(LABELS) if not np.any(splits["train"].labels == i)]
    if empty:
        raise DataError(
            f"no training image of {', '.join(empty)}: a model would never answer that. Add some, of this dataset or "
            "of another; all seven emotions are trained."
        )


def name_of(dataset: str | Path) -> str:
    """What a dataset is called in run.json and metrics.json: a folder's or file's own name, a Hub id as it is."""
    path = Path(dataset)
    if path.suffix == ".npz":
        return path.stem
    return path.resolve().name if path.exists() else str(dataset)


def resize(gray: np.ndarray, size: int) -> np.ndarray:
    """A gray picture of any shape as a `size` x `size` square; area averaging where it shrinks."""
    if gray.shape == (size, size):
        return gray
    shrinks = min(gray.shape) > size
    return cv2.resize(gray, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def stratified(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Cut a split in two, `share` of every label in the second, but at least one of several."""
    rng = np.random.default_rng(seed)
    held = np.zeros(len(split), bool)
    for label in np.unique(split.labels):
        rows = rng.permutation(np.flatnonzero(split.labels == label))
        held[rows[: max(round(share * len(rows)), int(len(rows) > 1))]] = True
    return split.take(np.flatnonzero(~held)), split.take(np.flatnonzero(held))


def pack(splits: Mapping[str, Split], path: Path) -> None:
    """Write splits to one compressed `.npz`, which `load` reads back."""
    arrays = {f"{name}/{key}": value for name, split in splits.items() for key, value in vars(split).items()}
    arrays["held_out"] = np.array(json.dumps(getattr(splits, "held_out", None)))
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    path.write_bytes(buffer.getvalue())


def _unpack(path: Path, size: int) -> Splits:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = list(dict.fromkeys(key.split("/")[0] for key in arrays if "/" in key))
            keys = ("images", "labels", "votes", "majority")
            splits = Splits({name: Split(*(arrays[f"{name}/{key}"] for key in keys)) for name in names})
            splits.held_out = json.loads(str(arrays["held_out"])) if "held_out" in arrays else None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no packed dataset: {error}") from error
    for name, split in splits.items():
        if split.images.shape[1:] != (size, size):
            raise DataError(f"{path}: {name} holds {split.images.shape[1:]} images, not {size} x {size}")
    return splits


def main(argv: Sequence[str] | None = None) -> int:
    """Say what is in a dataset; pack it."""
    parser = argparse.ArgumentParser(
        prog="python -m training.data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, help="folder, Hub id or Hub id@revision")
    parser.add_argument("--size", type=bounded_int(1), default=48, help="side of the square images, pixels")
    parser.add_argument("--out", type=Path, help="the .npz to write")
    args = parser.parse_args(argv)
    from training.duplicates import between  # which builds upon this module

    try:
        splits = load(args.dataset, args.size)
        if args.out:
            pack(splits, args.out)
    except (DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, split in splits.items():
        voted = split.majority >= 0
        agreed = np.mean(split.labels[voted] == split.majority[voted]) if voted.any() else 0
        said = f"; {np.count_nonzero(voted)} with a FER+ majority, its label the same in {agreed:.1%}" if agreed else ""
        each = ", ".join(f"{label} {np.count_nonzero(split.labels == i)}" for i, label in enumerate(LABELS))
        print(f"{name}: {len(split)} images ({each}){said}")
    if splits.held_out:
        print(f"validation was held out: {splits.held_out['share']:.0%} of every label, seed {splits.held_out['seed']}")
    for (name, other), twins in between(splits).items():
        print(f"{name}: {np.count_nonzero(twins >= 0)} images have a near-duplicate in {other}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
