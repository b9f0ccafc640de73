"""Shards: Parquet files with a row per face. A shard is complete, or it does not exist."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepfer.annotate.errors import AnnotationError
from deepfer.annotate.summary import Summary
from deepfer.atomic import atomic_write
from deepfer.result import COLUMNS
from deepfer.text import first_line

FOLDER = "data"
STRINGS = ("path", "model", "revision", "detector", "emotion", "error")
INTEGERS = ("width", "height", "faces", "face", "x1", "y1", "x2", "y2")  # the others are scores and probabilities
SUMMARY = b"deepfer"  # the key of a shard's summary in its footer


def shard_path(out: Path, number: int) -> Path:
    """Where a shard is: `data/train-00017.parquet`."""
    return out / FOLDER / f"train-{number:05}.parquet"


def write_shard(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a shard.

    Args:
        path: The file.
        rows: Dicts with `COLUMNS` as keys; missing values become null.

    Raises:
        OSError: It cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {name: pa.string() for name in STRINGS} | {name: pa.int32() for name in INTEGERS}
    summary = json.dumps(Summary.of(rows).to_dict())
    schema = pa.schema([(name, types.get(name, pa.float32())) for name in COLUMNS], {SUMMARY: summary.encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema), temporary, compression="zstd")


def read_summary(paths: Iterable[Path]) -> Summary:
    """The sum of the summaries in the shards' footers.

    Raises:
        AnnotationError: One of them is not a shard.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    total = Summary()
    for path in paths:
        try:
            total += Summary(**json.loads(pq.read_schema(path).metadata[SUMMARY]))
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise AnnotationError(f"{path} is not a shard, or is damaged ({first_line(error)}): delete it") from error
    return total
