"""Bounds on the cost of decoding an image: how much its reader may read, and an estimate of the time.

In most formats a small file can cause a lot of work. The estimates come from timing the slowest files of each format
that we could construct; they tend to be too high.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from PIL import ImageFile, TiffImagePlugin

from deepfer.avif import frames_in_an_image
from deepfer.heic import pixels_decoded
from deepfer.jpeg import Scans
from deepfer.jpeg2000 import set_up_s

MAX_READS = 200_000  # Pillow reads headers piece by piece, in Python; a 100 MB PNG takes about 40,000 reads

# For each TIFF compression, nanoseconds of one core per byte of uncompressed samples and per byte of the file. Other
# compressions are refused: old-style JPEG, ThunderScan, SGI's, WebP.
_TIFF_NS = {
    1: (2, 1), 2: (170, 0), 3: (170, 0), 4: (220, 0), 5: (4, 12), 7: (5, 35), 8: (5, 2), 32771: (2, 1), 32773: (4, 2),
    32946: (5, 2), 34925: (12, 90), 50000: (4, 2),
}  # fmt: skip
_TIFF_JPEG = 7
# Nanoseconds per pixel to convert a mode to 8-bit RGB on white. I;16 counts as I.
_CONVERSION_NS = {"LAB": 90, "F": 23, "I": 23, "RGBA": 20, "LA": 20, "PA": 20, "P": 12, "CMYK": 12}
_OTHER_CONVERSION_NS = 5
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


class BudgetedFile(BytesIO):
    """A file's bytes with a budget for reading, because all its tags may point to the same megabyte."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads_left, self._bytes_left = MAX_READS, 3 * len(data) + 1_000_000

    def read(self, size: int | None = -1, /) -> bytes:
        """Like `BytesIO.read`, but raises a `ValueError` when the budget is used up."""
        data = super().read(size)
        self._reads_left -= 1
        self._bytes_left -= len(data)
        if self._reads_left < 0 or self._bytes_left < 0:
            raise ValueError("its header requires too much reading")
        return data


def decoding_s(image: ImageFile.ImageFile, data: bytes, scans: Scans | None) -> float:
    """Estimate how long one core takes to decode an image, in seconds.

    Args:
        image: The image whose header Pillow has read.
        data: The whole file.
        scans: The scans of a JPEG, else None.

    Raises:
        ValueError: A TIFF has an unsupported compression.
    """
    pixel_ns, byte_ns, size = _storage_ns(image, data, scans)
    pixel_ns += _CONVERSION_NS.get(image.mode.partition(";")[0], _OTHER_CONVERSION_NS)
    set_up = set_up_s(data) if image.format == "JPEG2000" else 0.0
    return (pixel_ns * image.width * image.height + byte_ns * size) / 1e9 + set_up


def _storage_ns(image: ImageFile.ImageFile, data: bytes, scans: Scans | None) -> tuple[float, float, int]:
    """(nanoseconds per pixel, nanoseconds per compressed byte, number of compressed bytes)."""
    size = len(data)
    match image.format:
        case "JPEG" | "MPO":
            assert scans
            per_pixel = 6 + scans.passes if scans.progressive or scans.passes > 4 else 4
            return per_pixel + 40 * scans.arithmetic, 100 if scans.arithmetic else 35 if scans.progressive else 15, size
        case "PNG":
            depth, kind, interlaced = data[24], data[25], data[28]
            return 10 * depth / 8 * _PNG_CHANNELS.get(kind, 4) * (1.5 if interlaced else 1), 0, size
        case "WEBP":
            lossless, first = _first_webp_frame(data)
            return (25, 10, first) if lossless else (17, 95, first)
        case "AVIF":
            return 25 * (2 if image.mode == "RGBA" else 1) * frames_in_an_image(data), 100, size
        case "HEIF":
            deep = image.info.get("bit_depth", 8) > 8
            return (50 if deep else 25) * pixels_decoded(data) / (image.width * image.height), 105, size
        case "GIF":
            return 15, 2, size
        case "JPEG2000":
            return 115, 320, size
        case "TIFF":
            return (*_tiff_ns(image, data), size)
        case "PPM":  # codecs other than raw are Python loops
            decoder = image.tile[0].codec_name
            samples = len(image.getbands())
            return {"ppm": (1_000 * samples, 0, size), "ppm_plain": (50, 420, size)}.get(decoder, (5, 3, size))
        case _:  # BMP, DIB
            return 5, 3, size


def _tiff_ns(image: ImageFile.ImageFile, data: bytes) -> tuple[float, float]:
    """(nanoseconds per pixel, nanoseconds per byte of the file)."""
    tags = getattr(image, "tag_v2", {})
    compression = tags.get(TiffImagePlugin.COMPRESSION, 1)
    if compression not in _TIFF_NS:
        raise ValueError(f"TIFF compression {compression} is not supported")
    depths = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
    sample_ns, byte_ns = _TIFF_NS[compression]
    passes = len(depths) * (_scans_in_a_strip(tags, data) - 1) if compression == _TIFF_JPEG else 0
    return sample_ns * sum(depths) / 8 + passes, byte_ns


def _scans_in_a_strip(tags: Mapping[int, Any], data: bytes) -> int:
    """The largest number of scans of a JPEG in any strip or tile of a TIFF."""
    strips = tags.get(TiffImagePlugin.STRIPOFFSETS), tags.get(TiffImagePlugin.STRIPBYTECOUNTS)
    tiles = tags.get(TiffImagePlugin.TILEOFFSETS), tags.get(TiffImagePlugin.TILEBYTECOUNTS)
    offsets, sizes = tiles if all(tiles) else strips
    start = b"\xff\xda"
    # libtiff guesses missing sizes, and strips may share bytes. In both cases any strip may have all the scans.
    if not offsets or not sizes or len(offsets) != len(sizes) or len(sizes) == 1 or not 0 < sum(sizes) <= len(data):
        return data.count(start)
    return max(
        data.count(start, at, at + size) if size else data.count(start) for at, size in zip(offsets, sizes, strict=True)
    )


def _first_webp_frame(data: bytes) -> tuple[bool, int]:
    """(whether a WebP's first frame is lossless, its size in bytes)."""
    at = 12
    for _ in range(100):
        if at + 8 > len(data):
            break
        kind, size = struct.unpack_from("<4sI", data, at)
        if kind in (b"VP8 ", b"VP8L", b"ANMF"):
            return kind == b"VP8L", min(size, len(data))
        at += 8 + size + size % 2
    return False, len(data)
