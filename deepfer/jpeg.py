"""A check of the segments of a JPEG before it is decoded."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deepfer.exif import is_honest

MAX_SCANS = 100  # encoders write 1 to 12; libtiff also stops at 100
MAX_SEGMENTS = 5_000  # a 100 MB file of the longest segments has 1,600

_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the markers that start a frame (ITU-T T.81, table B.1)
_PROGRESSIVE, _ARITHMETIC = {0xC2, 0xC6, 0xCA, 0xCE}, {0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_EOI, _SOS, _APP1, _APP15 = 0xD9, 0xDA, 0xE1, 0xEF
_BARE = {0x01, 0xC8, 0xD8, _EOI, *range(0xF0, 0xFE)}  # markers whose length Pillow does not read
# Excludes FF 00, a byte of data, and FF D0 to FF D7, which separate parts of a scan.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


@dataclass(frozen=True)
class Scans:
    """What a JPEG's decoder has to do.

    Attributes:
        passes: Components decoded in all scans together: 1 to 4 in a plain photo, about 14 in a progressive one.
        progressive: Whether all coefficients are kept until the last scan.
        arithmetic: Whether it uses arithmetic instead of Huffman coding.
        hidden_exif: Offsets of the markers of EXIF segments that Pillow must not read: those that are not honest (see
            `is_honest`), and all after the first, because Pillow joins them.
    """

    passes: int
    progressive: bool
    arithmetic: bool
    hidden_exif: tuple[int, ...]


def read_scans(data: bytes) -> Scans:
    """Read a JPEG's segments as decoders do, up to the end marker after a scan or the end of the data.

    For each scan, a decoder goes through the whole image, even if the scan has no data.

    Raises:
        ValueError: The JPEG has more scans or segments than any normal file.
    """
    scans = passes = segments = frame = 0
    seen_exif, hidden_exif = False, list[int]()
    at = 2  # after the start marker
    while found := _MARKER.search(data, at):
        marker, at = data[found.end() - 1], found.end()
        if marker == _EOI and scans:
            break
        segments += 1
        if segments > MAX_SEGMENTS:
            raise ValueError(f"more than {MAX_SEGMENTS} segments")
        if marker in _BARE:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if marker == _SOS:
            scans += 1
            passes += data[at + 2] if at + 2 < len(data) else 0
        elif marker in _SOF:
            frame = marker
        elif marker == _APP1 and data[at + 2 : at + 8] == b"Exif\0\0":
            if seen_exif or not is_honest(data[at + 2 : at + length]):
                hidden_exif.append(at - 1)
            seen_exif = True
        if scans > MAX_SCANS:
            raise ValueError(f"more than {MAX_SCANS} scans")
        at += max(length, 2)
    return Scans(passes, frame in _PROGRESSIVE, frame in _ARITHMETIC, tuple(hidden_exif))


def with_honest_exif(data: bytes, scans: Scans) -> bytes:
    """The same JPEG with the segments of `scans.hidden_exif` relabelled as APP15, which is ignored."""
    if not scans.hidden_exif:
        return data
    changed = bytearray(data)
    for at in scans.hidden_exif:
        changed[at] = _APP15
    return bytes(changed)
