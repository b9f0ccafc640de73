"""Small images that take a lot of work to decode."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def jpeg_with_scans(side: int, more: int) -> bytes:
    """A gray progressive JPEG whose last scan is repeated; each scan processes the whole image again."""
    data = encode(Image.new("RGB", (side, side), "gray"), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * more + data[-2:]


def jpeg_with_segments(marker: int, segments: list[bytes]) -> bytes:
    """A tiny JPEG with additional segments at the start."""
    data = encode(Image.new("RGB", (8, 8), "gray"), "JPEG")
    more = (bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content for content in segments)
    return data[:2] + b"".join(more) + data[2:]


def greedy_exif(tags: int, size: int) -> bytes:
    """An EXIF block of about `size` bytes whose tags all point to the same half of it."""
    entries = b"".join(struct.pack(">HHII", 1_000 + i, 1, size // 2, 8) for i in range(tags))
    block = b"MM\0*" + struct.pack(">IH", 8, tags) + entries + bytes(4)
    return block + bytes(size - len(block))


def greedy_tiff(tags: int, size: int) -> bytes:
    """A TIFF of 16x16 pixels with tags that all point to the same `size` bytes."""
    entries = [(256, 4, 1, 16), (257, 4, 1, 16), (258, 4, 1, 8), (259, 4, 1, 1), (262, 4, 1, 1), (273, 4, 1, 8)]
    entries += [(277, 4, 1, 1), (278, 4, 1, 16), (279, 4, 1, 256)] + [(1_000 + i, 1, size, 8) for i in range(tags)]
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(4 + size)


def tiff_of_progressive_strips(side: int, strips: int, more: int) -> bytes:
    """A gray TIFF whose strips are all the same progressive JPEG."""
    high = side // strips
    strip = encode(Image.new("L", (side, high), "gray"), "JPEG", progressive=True)
    last = strip[strip.rindex(b"\xff\xda") : -2]
    strip = strip[:-2] + last * more + strip[-2:]
    at = 8 + 2 + 9 * 12 + 4
    values = [(256, 4, 1, side), (257, 4, 1, side), (258, 4, 1, 8), (259, 4, 1, 7), (262, 4, 1, 1)]
    values += [(273, 4, strips, at), (277, 4, 1, 1), (278, 4, 1, high), (279, 4, strips, at + 4 * strips)]
    head = b"II*\0" + struct.pack("<IH", 8, 9) + b"".join(struct.pack("<HHII", *value) for value in values) + bytes(4)
    start = at + 8 * strips
    return head + struct.pack("<I", start) * strips + struct.pack("<I", len(strip)) * strips + strip


def png(width: int, height: int, depth: int, kind: int, chunks: bytes) -> bytes:
    return (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)) + chunks
    )


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bmp_of_runs(side: int, run: int) -> bytes:
    """A run-length encoded BMP with runs of `run` pixels, which Pillow decodes in Python."""
    body = bytes([run, 5]) * (side * side // run) + b"\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 14 + 40 + 1024 + len(body), 0, 0, 14 + 40 + 1024) + head + bytes(1024) + body


def avif_of_hidden_frames(hidden: int) -> bytes:
    """An AVIF image of 4096x2304 with key frames that are decoded and not shown, before the one that is.

    Encoders do not write such images, so the headers are put together from bits here (AV1 specification, 5.5 and 5.9).
    """
    width, height = 4096, 2304
    data = encode(Image.new("RGB", (width, height)), "AVIF")
    sequence = "0" * 24 + "00111" + "1111" * 2 + f"{width - 1:016b}{height - 1:016b}" + "0" * 17 + "1000" + "0" + "1"
    quantizer = f"{100:08b}"
    rest = "0" + "0" + "100" + quantizer + "0" * 6 + "0" * 15 + "0" + "00"
    hidden_header, shown_header = "0000" + "0" + "1" + "1" + "0" + "00000001" + rest[1:], "0001" + "1" + rest
    tile = b"\xff" * 20_000  # decodes to gray

    def unit(kind: int, content: bytes) -> bytes:
        size = len(content)
        return bytes([kind << 3 | 2, size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + content

    def packed(bits: str) -> bytes:
        bits += "0" * (-len(bits) % 8)
        return int(bits, 2).to_bytes(len(bits) // 8, "big")

    content = unit(2, b"") + unit(1, packed(sequence))
    content += unit(6, packed(hidden_header) + tile) * hidden + unit(6, packed(shown_header) + tile)
    mdat = data.index(b"mdat") - 4
    place = data.index(struct.pack(">I", mdat + 8), data.index(b"iloc"))
    located = data[: place + 4] + struct.pack(">I", len(content)) + data[place + 8 : mdat]
    return located + struct.pack(">I", len(content) + 8) + b"mdat" + content


def jpeg2000_of_precincts(side: int) -> bytes:
    """A black JPEG 2000 that declares precincts of 2x2 pixels."""
    data = encode(Image.new("RGB", (side, side)), "JPEG2000", no_jp2=True)
    at = data.index(b"\xff\x52")
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    style = bytearray(data[at + 4 : at + 2 + length])
    style[0] |= 1
    style += b"\x11" * (style[5] + 1)
    return data[: at + 2] + (len(style) + 2).to_bytes(2, "big") + style + data[at + 2 + length :]


def slow() -> dict[str, bytes]:
    """Images that take from 3 s to a minute to decode."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (1_500, 1_500, 3), np.uint8))
    small = Image.new("RGB", (64, 64))
    jp2 = encode(small, "JPEG2000").replace(struct.pack(">II", 64, 64), struct.pack(">II", 5_000, 5_000))
    return {
        "JPEG, 64 megapixels, 60 scans": jpeg_with_scans(8_000, 50),
        "JPEG, 1,800 scans": jpeg_with_scans(1_280, 1_800),
        "TIFF of progressive JPEGs": tiff_of_progressive_strips(8_000, 100, 85),
        "PNG, 16 bits": png(8_000, 8_000, 16, 6, png_chunk(b"IDAT", zlib.compress(bytes(1_000)))),
        "PPM with another white": b"P6 1500 1500 254 " + bytes(3 * 1_500 * 1_500),
        "PPM as text": b"P3 1500 1500 255 " + b"1 " * (3 * 1_500 * 1_500),
        "BMP in runs of one": bmp_of_runs(2_000, 1),
        "Lab TIFF": encode(Image.new("LAB", (6_000, 6_000)), "TIFF", compression="tiff_adobe_deflate"),
        "AVIF, 500 hidden frames": avif_of_hidden_frames(500),
        "JPEG 2000, 25 megapixels": jp2,
        "JPEG 2000, tiny precincts": jpeg2000_of_precincts(1_000),
        "JPEG 2000, noise": encode(noise, "JPEG2000", irreversible=False),
    }


def multiplying() -> dict[str, bytes]:
    """Images of a few pixels whose headers take seconds or gigabytes to read."""
    return {
        "JPEG, 100,000 segments": jpeg_with_segments(0xE5, [b""] * 100_000),
        "JPEG, a megabyte of padding": jpeg_with_segments(0xE5, []).replace(
            b"\xff\xdb", b"\xff" * 1_000_000 + b"\xdb", 1
        ),
        "TIFF, tags that share their bytes": greedy_tiff(1_000, 1_000_000),
        "PNG, 100,000 chunks": png(8, 8, 8, 0, png_chunk(b"teSt", b"") * 100_000),
        "GIF, 200,000 pieces of a comment": encode(Image.new("L", (8, 8)), "GIF").replace(
            b"\x2c", b"!\xfe" + b"\1a" * 200_000 + b"\0\x2c", 1
        ),
    }
