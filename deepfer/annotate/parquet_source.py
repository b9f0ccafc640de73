"""A source of Parquet files with a column of images or videos."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from deepfer.annotate.columns import MediaColumn, media_column
from deepfer.annotate.errors import AnnotationError, require
from deepfer.annotate.fingerprint import fingerprint
from deepfer.annotate.item import Item
from deepfer.text import first_line, printable

FOOTERS = 16  # how many are read at once: each takes a few round trips
BATCH_ROWS = 16  # rows decoded at a time; with 12-megapixel photos, they take about 100 MB
BUFFER_BYTES = 1 << 20  # bytes read at a time, instead of a row group's whole column


class ParquetSource:
    """The rows of Parquet files, read in order or from any row on; see `Source`. An id is `file.parquet#row`.

    It keeps one file open, and a few rows in memory.
    """

    kind = "parquet"
    filesystem = None  # the items hold their bytes

    def __init__(self, filesystem: Any, root: str, sizes: Mapping[str, int], version: str) -> None:
        """Read the files' footers.

        Args:
            filesystem: An fsspec file system.
            root: The folder in it to which the ids are relative.
            sizes: The size of each file in bytes, by path.
            version: The commit, or "" if there is none.

        Raises:
            AnnotationError: A file cannot be read, or has no column of images.
        """
        require("annotate", "pyarrow.parquet")
        self._filesystem = filesystem
        self._paths = sorted(sizes, key=lambda path: path.split("/"))
        prefix = root.rstrip("/") + "/"
        self._names = [path.removeprefix(prefix).lstrip("/") for path in self._paths]
        with ThreadPoolExecutor(FOOTERS) as threads:
            footers = list(threads.map(self._read_footer, self._paths, self._names))
        self._columns = [column for column, _ in footers]
        self._groups = [groups for _, groups in footers]  # the rows of each row group, by file
        rows = [sum(groups) for groups in self._groups]
        self._starts = [0, *itertools.accumulate(rows)]
        parts = ([name, sizes[path], count] for name, path, count in zip(self._names, self._paths, rows, strict=True))
        self.fingerprint = fingerprint(self.kind, [version, *parts])
        self._rows: Iterator[tuple[int, Any]] = iter(())
        self._next = -1  # the number of the row that `_rows` yields next
        if not len(self):
            raise AnnotationError("the Parquet files have no rows")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_rows": iter(()), "_next": -1}

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, number: int) -> Item:
        file = bisect.bisect_right(self._starts, number) - 1
        if number != self._next:
            self._rows = self._read(file, number - self._starts[file])
        try:
            value = next(self._rows)
        except Exception as error:  # pyarrow and each file system have errors of their own
            raise AnnotationError(f"{printable(self._names[file])} cannot be read: {first_line(error)}") from error
        # The next row may be in another file.
        self._next = number + 1 if number + 1 < self._starts[file + 1] else -1
        return self._columns[file].item(self.item_id(number), value)

    def item_id(self, number: int) -> str:
        """As in `Source`."""
        file = bisect.bisect_right(self._starts, number) - 1
        return f"{self._names[file]}#{number - self._starts[file]}"

    def _read_footer(self, path: str, name: str) -> tuple[MediaColumn, list[int]]:
        import pyarrow.parquet as pq

        try:
            with self._filesystem.open(path, "rb") as file:
                table = pq.ParquetFile(file)
                groups = [table.metadata.row_group(i).num_rows for i in range(table.num_row_groups)]
                return media_column(table.schema_arrow, name), groups
        except AnnotationError:
            raise
        except Exception as error:
            raise AnnotationError(f"{printable(name)} cannot be read: {first_line(error)}") from error

    def _read(self, file: int, row: int) -> Iterator[Any]:
        """The values of a file's column from a row on."""
        import pyarrow.parquet as pq

        groups = list(self._groups[file])
        first = 0
        while row >= groups[first]:
            row -= groups[first]
            first += 1
        with self._filesystem.open(self._paths[file], "rb") as opened:
            table = pq.ParquetFile(opened, buffer_size=BUFFER_BYTES, pre_buffer=False)
            batches = table.iter_batches(
                BATCH_ROWS, range(first, len(groups)), [self._columns[file].name], use_threads=False
            )
            for batch in batches:
                if row < len(batch):
                    yield from (value.as_py() for value in batch.column(0)[row:])
                row = max(0, row - len(batch))
