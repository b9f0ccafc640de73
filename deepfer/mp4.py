"""Reads the boxes of MP4, MOV and AVIF files (ISO/IEC 14496-12), and from them a video's index and length."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

MAX_BOXES = 10_000  # in one box; a fragmented film has two for every few seconds


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes between two offsets of a file: (type, start of the content, end of the content)."""
    for _ in range(MAX_BOXES):
        if start + 8 > end:
            return
        file.seek(start)
        head = file.read(16)
        length, header = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, header = int.from_bytes(head[8:16], "big"), 16
        elif length == 0:  # to the end of the file
            length = end - start
        if length < header:
            return
        yield head[4:8], start + header, min(start + length, end)
        start += length


def find(file: BinaryIO, kind: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes of one type."""
    return (box for box in boxes(file, start, end) if box[0] == kind)


def has_index(file: BinaryIO) -> bool:
    """Whether the file has its index, without which nothing in it can be located."""
    return any(kind in (b"moov", b"moof") for kind, _, _ in boxes(file, 0, os.fstat(file.fileno()).st_size))


def video_s(file: BinaryIO) -> float | None:
    """The duration of the video track in seconds, or None if the file does not state it.

    The edit list is applied: a video that was trimmed without re-encoding still contains frames from before its start,
    which players decode but do not show.
    """
    for _, start, end in find(file, b"moov", 0, os.fstat(file.fileno()).st_size):
        scale = next((_number(file, at, (12, 20), (4, 4)) for _, at, _ in find(file, b"mvhd", start, end)), 0)
        for _, track, track_end in find(file, b"trak", start, end):
            if not scale or not _is_video(file, track, track_end):
                continue
            for _, at, _ in find(file, b"tkhd", track, track_end):
                duration = _number(file, at, (20, 28), (4, 8))
                unknown = duration in (0, 2**32 - 1, 2**64 - 1)
                return None if unknown else duration / scale
    return None


def _is_video(file: BinaryIO, start: int, end: int) -> bool:
    for _, media, media_end in find(file, b"mdia", start, end):
        for _, at, _ in find(file, b"hdlr", media, media_end):
            file.seek(at + 8)
            return file.read(4) == b"vide"
    return False


def _number(file: BinaryIO, at: int, places: tuple[int, int], sizes: tuple[int, int]) -> int:
    """A number in a box whose version, 0 or 1, determines the number's offset and size."""
    file.seek(at)
    version = min(int.from_bytes(file.read(1), "big"), 1)
    file.seek(at + places[version])
    return int.from_bytes(file.read(sizes[version]), "big")
