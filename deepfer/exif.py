"""A check of an EXIF block's directory before Pillow reads it."""

from __future__ import annotations

import struct

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}  # TIFF 6.0


def is_honest(block: bytes) -> bool:
    """Whether the values of an EXIF block's tags take about as much space as the block has.

    Pillow copies the bytes that each tag points to. A block of 64 kB whose tags all point to the same bytes takes
    350 MB, and one of a megabyte takes all memory.
    """
    while block.startswith(b"Exif\0\0"):
        block = block[6:]
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if not order or len(block) < 8:
        return True  # Pillow ignores it
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    (count,) = struct.unpack(f"{order}H", block[start : start + 2].rjust(2, b"\0"))
    entries = block[start + 2 : start + 2 + 12 * count]
    total = 0
    for _, kind, values, at in struct.iter_unpack(f"{order}HHII", entries[: len(entries) // 12 * 12]):
        size = values * _TYPE_BYTES.get(kind, 0)
        if size > 4 and at + size <= len(block):
            total += size
    return total <= 2 * len(block)
