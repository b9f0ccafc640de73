"""A source in a folder written by `datasets.save_to_disk`."""

from __future__ import annotations

import bisect
import itertools
from functools import cached_property
from pathlib import Path
from typing import Any

from deepfer.annotate.columns import media_column
from deepfer.annotate.errors import AnnotationError, require
from deepfer.annotate.fingerprint import fingerprint
from deepfer.annotate.item import Item
from deepfer.text import first_line, printable


class ArrowSource:
    """The rows of all splits, memory-mapped; see `Source`. An id is `split#row`, or `train#row` without splits."""

    kind = "arrow"
    filesystem = None  # the items hold their bytes

    def __init__(self, folder: Path) -> None:
        """Read the folder's metadata.

        Raises:
            AnnotationError: The folder cannot be read, has no rows, or has no column of images.
        """
        require("annotate", "datasets")
        self._folder = folder.absolute()
        self._splits = list(self._tables)
        self._starts = [0, *itertools.accumulate(len(self._tables[split]) for split in self._splits)]
        self._columns = {
            split: media_column(table.features.arrow_schema, split) for split, table in self._tables.items()
        }
        files = sorted(path for path in self._folder.rglob("*.arrow"))
        parts = [[path.relative_to(self._folder).as_posix(), path.stat().st_size] for path in files]
        prints = [[split, len(table), table._fingerprint] for split, table in self._tables.items()]
        self.fingerprint = fingerprint(self.kind, [*parts, *prints])
        if not len(self):
            raise AnnotationError(f"{printable(folder)} has no rows")

    @cached_property
    def _tables(self) -> dict[str, Any]:
        import datasets

        try:
            loaded = datasets.load_from_disk(self._folder)
        except (OSError, ValueError, KeyError) as error:
            raise AnnotationError(f"{printable(self._folder)} cannot be read: {first_line(error)}") from error
        splits = loaded if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
        # In the Arrow format, `datasets` does not decode the images.
        return {split: table.with_format("arrow") for split, table in splits.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_tables"}

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, number: int) -> Item:
        split, row = self._place(number)
        column = self._columns[split]
        return column.item(f"{split}#{row}", self._tables[split].select_columns(column.name)[row][0][0].as_py())

    def item_id(self, number: int) -> str:
        """As in `Source`."""
        return "{}#{}".format(*self._place(number))

    def _place(self, number: int) -> tuple[str, int]:
        at = bisect.bisect_right(self._starts, number) - 1
        return self._splits[at], number - self._starts[at]
