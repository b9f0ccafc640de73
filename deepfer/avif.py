"""A check of the images in an AVIF file before it is decoded (AV1 bitstream)."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

from deepfer.exif import is_honest
from deepfer.heif_items import items, number
from deepfer.mp4 import boxes, find

MAX_OBUS = 1_000  # units of a coded image; encoders write three or four
_FRAME_HEADER, _FRAME = 3, 6  # OBU types


def frames_in_an_image(data: bytes) -> int:
    """The largest number of AV1 frames in any of the file's images, at least 1.

    A decoder decodes hidden frames before the one that is shown. A normal image has one frame, or up to four layers.

    Raises:
        ValueError: The file has more pieces than any normal one, or EXIF data that would take gigabytes of memory.
    """
    most, left = 1, 2 * len(data)
    for kind, pieces in _images(data):
        left -= sum(size for _, size in pieces)
        if left < 0:
            raise ValueError("its items share their bytes")
        content = b"".join(data[at : at + size] for at, size in pieces)
        if kind == b"Exif" and not is_honest(content[4:]):
            raise ValueError("its EXIF tags share their bytes")
        if kind == b"av01":
            most = max(most, _count_frames(content))
    return most


def _images(data: bytes) -> Iterator[tuple[bytes, list[tuple[int, int]]]]:
    """Every item, and the first image of every track: (type, its pieces as (offset, size))."""
    file = BytesIO(data)
    for kind, start, end in boxes(file, 0, len(data)):
        if kind == b"meta":
            yield from ((item.kind, item.pieces) for item in items(data, start + 4, end))
        elif kind == b"moov":
            for track in find(file, b"trak", start, end):
                yield b"av01", _first_sample(data, *track[1:])


def _first_sample(data: bytes, start: int, end: int) -> list[tuple[int, int]]:
    """The pieces of the first image of a track."""
    file, inner = BytesIO(data), [(start, end)]
    for kind in (b"mdia", b"minf", b"stbl"):
        inner = [box[1:] for at, until in inner for box in find(file, kind, at, until)]
    for table, table_end in inner:
        content = {kind: at for kind, at, _ in boxes(file, table, table_end)}
        if b"stsz" in content:
            same = number(data, content[b"stsz"] + 4, 4)
            size = same or number(data, content[b"stsz"] + 12, 4)
            for kind, wide in ((b"stco", 4), (b"co64", 8)):
                if kind in content:
                    return [(number(data, content[kind] + 8, wide), min(size, len(data)))]
    return []


def _count_frames(units: bytes) -> int:
    at = frames = 0
    for _ in range(MAX_OBUS):
        if at >= len(units):
            return frames
        head = units[at]
        at += 1 + (head >> 2 & 1)  # an extension byte
        size = len(units)
        if head & 2:
            size = 0
            for shift in range(0, 56, 7):  # LEB128
                byte = number(units, at, 1)
                size, at = size | (byte & 127) << shift, at + 1
                if byte < 128:
                    break
        frames += head >> 3 & 15 in (_FRAME_HEADER, _FRAME)
        at += size
    raise ValueError(f"more than {MAX_OBUS:,} units in an image")
