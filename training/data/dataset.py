"""Dataset: opens a folder or a Hub id, with labels read at once and images decoded on demand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfer.alignment import resize_crop
from deepfer.errors import ImageError
from deepfer.image_io import read_image
from training.data.labels import label_index
from training.exceptions import DataError

SPLIT_NAMES = {  # other datasets' names for the three; FER2013's own CSV uses PublicTest and PrivateTest
    "train": ("training",),
    "validation": ("valid", "val", "dev", "publictest"),
    "test": ("testing", "privatetest"),
}
SPLIT_OF_NAME = {name: split for split, others in SPLIT_NAMES.items() for name in (split, *others)}
MAX_LISTED = 5  # rows that an error message lists
IMAGE_COLUMNS = ("image", "img", "picture", "photo", "face", "pixels")
LABEL_COLUMNS = ("label", "labels", "emotion", "emotions", "expression", "class", "category")


class LabelledImages:
    """One split of a dataset as it is stored: labels in memory, images decoded on demand."""

    def __init__(self, rows: Any, where: str) -> None:
        """Read the labels.

        Args:
            rows: A `datasets.Dataset`.
            where: The split's name in error messages.

        Raises:
            DataError: There is no image or label column, more than one image column, or an unknown label.
        """
        from datasets import ClassLabel, Image

        features = rows.features
        image = _image_column([name for name, feature in features.items() if isinstance(feature, Image)], where)
        named = [name for name, feature in features.items() if isinstance(feature, ClassLabel)]
        label = next((name for name in (*LABEL_COLUMNS, *named) if name in features), None)
        if image is None or label is None:
            raise DataError(
                f"{where} needs an image column and a label column; it has {', '.join(features)} (a folder of images "
                "needs one subfolder per emotion, and at least two of them)"
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
            raise DataError(f"{self.where}: no label in {_listed(f'row {row}' for row in missing)}")
        if names is None:
            numbers = [value for value in values if not isinstance(value, str)]
            if numbers:
                raise DataError(
                    f"{self.where}: column {column!r} holds numbers such as {numbers[0]!r} without class names. Name "
                    f"them in the dataset's order with dataset.cast_column({column!r}, ClassLabel(names=[…])) and save "
                    "that with save_to_disk or push_to_hub, or put the images into one folder per class."
                )
            names = sorted(set(values))
            place = {name: index for index, name in enumerate(names)}
            values = [place[value] for value in values]
        used, own = np.unique(np.asarray(values, np.int64), return_inverse=True)  # unused class names may be anything
        return label_index([names[index] for index in used])[own] if len(used) else np.empty(0, np.int64)

    def read(self, row: int) -> np.ndarray:
        """Decode one image, RGB uint8 `(H, W, 3)`.

        Raises:
            ImageError: It cannot be decoded.
        """
        return self._decode(self._cells[row])

    def gray(self, size: int) -> np.ndarray:
        """Decode all images to grayscale, uint8 `(N, size, size)`.

        Raises:
            DataError: Some cannot be decoded; the message lists the first of them.
        """
        images = np.empty((len(self), size, size), np.uint8)
        broken = []
        for row, cell in enumerate(self._cells):
            try:
                images[row] = resize_crop(cv2.cvtColor(self._decode(cell), cv2.COLOR_RGB2GRAY), size)
            except ImageError as error:
                broken.append(f"row {row}, {error}")
        if broken:
            raise DataError(f"{self.where}: {len(broken)} images cannot be decoded: {_listed(broken)}")
        return images

    @staticmethod
    def _decode(cell: dict[str, Any] | None) -> np.ndarray:
        if cell is None:
            raise ImageError("no image")
        return read_image(cell["path"] if cell["bytes"] is None else cell["bytes"])


def open_dataset(dataset: str | Path) -> dict[str, LabelledImages]:
    """Open every split of a dataset. Common split names are mapped to train, validation and test.

    Args:
        dataset: A folder (Parquet files, class folders, or the output of `save_to_disk`), or a Hub id with an optional
            `@revision`.

    Raises:
        DataError: There is no such dataset, it has no image or label column, or a label is unknown.
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
    # The Hub's refusals and connection failures are OSErrors.
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        cause = error.__cause__ if isinstance(error, DatasetsError) and error.__cause__ else error
        reason = " ".join(str(cause).split()) or type(cause).__name__
        raise DataError(f"cannot load the dataset {str(dataset)!r}: {reason}") from error
    found: dict[str, LabelledImages] = {}
    for own, rows in (table if isinstance(table, DatasetDict) else {"train": table}).items():
        name = SPLIT_OF_NAME.get(own.lower(), own)
        if name in found:
            raise DataError(f"{str(dataset)!r} has two splits that map to {name}: {', '.join(table)}")
        found[name] = LabelledImages(rows, f"{dataset}, {own}")
    return found


def _image_column(names: Sequence[str], where: str) -> str | None:
    """Return the only image column, or the only one with a usual name; the others may be masks or heat maps.

    Raises:
        DataError: There are several, and their names do not show which of them holds the faces.
    """
    usual = [name for name in names if name.lower() in IMAGE_COLUMNS]
    candidates = usual if len(names) > 1 else names
    if len(names) > 1 and len(candidates) != 1:
        raise DataError(
            f"{where} has several image columns: {', '.join(names)}. Name the one that holds the faces 'image', and "
            "remove the others with dataset.remove_columns([…])"
        )
    return candidates[0] if candidates else None


def _listed(items: Iterable[str]) -> str:
    every = list(items)
    more = f" and {len(every) - MAX_LISTED} more" if len(every) > MAX_LISTED else ""
    return "; ".join(every[:MAX_LISTED]) + more
