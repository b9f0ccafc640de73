"""The items in a HEIF file, such as AVIF and HEIC, and where their bytes are (ISO/IEC 14496-12, 23008-12)."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any, NamedTuple

from deepfer.mp4 import boxes, find

MAX_EXTENTS = 10_000  # pieces of all items; a grid of 64 megapixels has about 250


class Item(NamedTuple):
    """An item: an image, a tile of one, or metadata.

    Attributes:
        number: Its id in the file.
        kind: Its type, such as `b"hvc1"`, or `b""` if the file does not say.
        pieces: Its content as (offset, size).
    """

    number: int
    kind: bytes
    pieces: list[tuple[int, int]]

    def content(self, data: bytes) -> bytes:
        """Its bytes in the file `data`."""
        return b"".join(data[at : at + size] for at, size in self.pieces)


def items(data: bytes, start: int, end: int) -> Iterator[Item]:
    """The items of a meta box whose children are between two offsets.

    Raises:
        ValueError: The items have more pieces than those of any normal file, or an item is described twice.
    """
    kinds, places, idat = dict[int, bytes](), dict[int, list[tuple[int, int, int]]](), 0
    file = BytesIO(data)
    for kind, at, until in boxes(file, start, end):
        if kind == b"iinf":
            for _, entry, _ in find(file, b"infe", at + (6 if data[at] == 0 else 8), until):
                wide = 4 if data[entry] >= 3 else 2
                _add(kinds, number(data, entry + 4, wide), data[entry + 6 + wide : entry + 10 + wide])
        elif kind == b"iloc":
            for item, pieces in _places(data, at):
                _add(places, item, pieces)
        elif kind == b"idat":
            idat = at
    for item in kinds | places:
        found = [(at + idat * (method == 1), size) for method, at, size in places.get(item, [])]
        yield Item(item, kinds.get(item, b""), found)


def _add(table: dict[int, Any], item: int, value: Any) -> None:
    if item in table:  # a decoder may use the other one
        raise ValueError("an item is described twice")
    table[item] = value


def _places(data: bytes, at: int) -> Iterator[tuple[int, list[tuple[int, int, int]]]]:
    """An item location box: (item, its pieces as (method, offset, size)); method 1 is relative to idat."""
    version, sizes, more = data[at], data[at + 4], data[at + 5]
    place_bytes, size_bytes, base_bytes, index_bytes = sizes >> 4, sizes & 15, more >> 4, more & 15 if version else 0
    wide = 4 if version == 2 else 2
    count, at = number(data, at + 6, wide), at + 6 + wide
    left = MAX_EXTENTS
    for _ in range(count):
        item, at = number(data, at, wide), at + wide
        method, at = (number(data, at, 2) & 15, at + 2) if version else (0, at)
        base, at = number(data, at + 2, base_bytes), at + 2 + base_bytes
        extents, at = number(data, at, 2), at + 2
        left -= extents + 1
        if left < 0:
            raise ValueError(f"more than {MAX_EXTENTS:,} pieces")
        pieces = []
        for _ in range(extents):
            at += index_bytes
            place = base + number(data, at, place_bytes)
            size = number(data, at + place_bytes, size_bytes) or len(data)  # 0: to the end
            pieces.append((method, place, min(size, max(len(data) - place, 0))))
            at += place_bytes + size_bytes
        yield item, pieces


def number(data: bytes, at: int, size: int) -> int:
    """The big-endian number in `size` bytes at an offset; bytes beyond the end are ignored."""
    return int.from_bytes(data[at : at + size], "big")
