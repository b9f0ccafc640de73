"""A check of a JPEG 2000's headers, from which decoders allocate tables before they read data (ITU-T T.800, A)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO

from deepfer.mp4 import find

MAX_SEGMENTS = 20_000  # in all headers; each tile has two or three
_SIZ, _COD, _COC, _SOT, _SOD = 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93
MAX_SET_UP_S = 0.25  # OpenJPEG fills about a gigabyte in this time; 16 megapixels in the usual 64x64 blocks take 0.02 s
_PIECE_S, _PACKET_S, _TILE_S = 4e-6, 2e-7, 6e-5  # measured with OpenJPEG 2.5


def set_up_s(data: bytes) -> float:
    """Estimate the seconds that a decoder needs to set up tiles, code-blocks, precincts and layers, even empty ones.

    Raises:
        ValueError: The estimate exceeds `MAX_SET_UP_S`, or there are more segments than in any normal file.
    """
    streams = (at for _, at, _ in find(BytesIO(data), b"jp2c", 0, len(data)))
    start = 0 if data.startswith(b"\xff\x4f") else next(streams, 0)
    tile, tiles, components, longest = (0, 0), 0, 0, 0.0
    for marker, content in _segments(data, start):
        try:
            if marker == _SIZ:
                right, bottom, _, _, width, height, left, top = struct.unpack_from(">8I", content, 2)
                components = int.from_bytes(content[34:36], "big")
                tile = min(width, right), min(height, bottom)
                tiles = -(-(right - left) // width) * -(-(bottom - top) // height)
            elif marker == _COD:
                layers = int.from_bytes(content[2:4], "big")
                longest = max(longest, _tile_component_s(content[5:], bool(content[0] & 1), layers, *tile))
            elif marker == _COC:
                at = 1 if components < 257 else 2
                longest = max(longest, _tile_component_s(content[at + 1 :], bool(content[at] & 1), 1, *tile))
        except (struct.error, IndexError, ZeroDivisionError) as error:
            raise ValueError("a header is truncated") from error
    seconds = tiles * (_TILE_S + components * longest)
    if seconds > MAX_SET_UP_S:
        raise ValueError("it has too many tiles, blocks or layers")
    return seconds


def _segments(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """(marker, content) of each segment of the main header and the headers of all tile-parts."""
    at += 2  # the start marker
    part_end = 0
    for _ in range(MAX_SEGMENTS):
        if at + 4 > len(data):
            return
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == _SOD:
            at = part_end
            continue
        if marker == _SOT and at + 10 <= len(data):
            part = int.from_bytes(data[at + 6 : at + 10], "big")
            part_end = at + part if part >= 14 else len(data)  # 0: to the end
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + max(length, 2)
    raise ValueError(f"more than {MAX_SEGMENTS:,} segments")


def _tile_component_s(style: bytes, has_precincts: bool, layers: int, width: int, height: int) -> float:
    """The time for one component of a tile. `style`: the number of levels, then log2 of block and precinct sizes."""
    levels, block_x, block_y = style[0], style[1] + 2, style[2] + 2
    if levels > 32:
        raise ValueError(f"{levels} levels")
    seconds = 0.0
    for level in range(levels + 1):
        shrunk_x, shrunk_y = (side / 2 ** (levels - level) for side in (width, height))
        precinct = style[5 + level] if has_precincts else 0xFF
        precincts = (shrunk_x / 2 ** (precinct & 15) + 1) * (shrunk_y / 2 ** (precinct >> 4) + 1)
        inner_x, inner_y = (max(power - (level > 0), 0) for power in (precinct & 15, precinct >> 4))
        band_x, band_y, bands = (shrunk_x / 2, shrunk_y / 2, 3) if level else (shrunk_x, shrunk_y, 1)
        blocks = bands * (band_x / 2 ** min(block_x, inner_x) + 1) * (band_y / 2 ** min(block_y, inner_y) + 1)
        seconds += _PIECE_S * (precincts + blocks / 4) + _PACKET_S * layers * precincts
    return seconds
