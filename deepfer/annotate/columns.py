"""The column of a table that holds its images or videos."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from deepfer import video_reader
from deepfer.annotate.errors import AnnotationError
from deepfer.annotate.item import Item


@dataclass(frozen=True)
class MediaColumn:
    """A column of images or videos.

    Attributes:
        name: Its name.
        is_video: Whether `datasets` marks it as a column of videos.
    """

    name: str
    is_video: bool = False

    def item(self, item_id: str, value: Any) -> Item:
        """The item in a cell, which is a file's bytes, or a dict with `bytes` and the file's `path`."""
        name, data = (value.get("path"), value.get("bytes")) if isinstance(value, dict) else (None, value)
        is_video = self.is_video or (name or "").lower().endswith(video_reader.SUFFIXES)
        # A path without bytes is not opened: a downloaded table could name any file of this machine.
        return Item(item_id, is_video, data=data, error=None if data else f"column {self.name!r} holds no bytes here")


def media_column(schema: Any, name: str) -> MediaColumn:
    """The first column that `datasets` marks as images or videos; else the first of bytes with paths; else of bytes.

    Among several columns of a kind, one called "image" comes first.

    Args:
        schema: The table's `pyarrow.Schema`.
        name: The table's name, for the error message.

    Raises:
        AnnotationError: There is no such column.
    """
    features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    kinds = {key: value.get("_type") for key, value in features.items() if isinstance(value, dict)}
    for wanted in (
        lambda field: kinds.get(field.name) in ("Image", "Video"),
        lambda field: _is_struct_of_bytes(field.type),
        lambda field: _is_bytes(field.type),
    ):
        if found := sorted((field.name for field in schema if wanted(field)), key=lambda name: name != "image"):
            return MediaColumn(found[0], kinds.get(found[0]) == "Video")
    raise AnnotationError(f"{name} has no column of images: its columns are {', '.join(schema.names)}")


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_struct_of_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)
