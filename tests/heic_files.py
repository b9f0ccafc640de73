"""HEIC files: encoded by libheif with x265 (pillow-heif, for tests alone), or assembled box by box."""

import io
import struct
from collections.abc import Sequence

import pillow_heif
from PIL import Image


def encode(image: Image.Image, *, orientation: int | None = None, **options: object) -> bytes:
    """A HEIC file of an image. With an EXIF orientation, libheif also writes how to turn it (irot, imir)."""
    heif = pillow_heif.from_pillow(image)
    if orientation:
        exif = image.getexif()
        exif[274] = orientation
        heif.info["exif"] = exif.tobytes()
    file = io.BytesIO()
    heif.save(file, **options)
    return file.getvalue()


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full_box(kind: bytes, content: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags) + content)


def picture(data: bytes) -> tuple[bytes, bytes]:
    """(hvcC box, bitstream) of a HEIC file with one image."""
    at = data.index(b"hvcC") - 4
    record = data[at : at + int.from_bytes(data[at : at + 4], "big")]
    stream = data[data.index(b"mdat") + 4 :]
    return record, stream


def size_box(width: int, height: int) -> bytes:
    return full_box(b"ispe", struct.pack(">II", width, height))


def grid(rows: int, columns: int, width: int, height: int) -> bytes:
    """The content of a grid item."""
    return struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, width, height)


def assemble(
    items: Sequence[tuple[int, bytes, bytes, Sequence[int]]],
    properties: Sequence[bytes],
    references: Sequence[tuple[bytes, int, Sequence[int]]] = (),
    *,
    main: int = 1,
    brand: bytes = b"heic",
) -> bytes:
    """A file of items (id, type, content, the numbers of its properties from 1) and references (type, from, to)."""
    content, places, names, owners = b"", b"", b"", b""
    for number, kind, part, owned in items:
        places += struct.pack(">HHHHII", number, 1, 0, 1, len(content), len(part))  # 1: in idat
        names += full_box(b"infe", struct.pack(">HH4sB", number, 0, kind, 0), 2)
        owners += struct.pack(">HB", number, len(owned)) + bytes(owned)
        content += part
    links = b"".join(box(kind, struct.pack(f">HH{len(to)}H", start, len(to), *to)) for kind, start, to in references)
    meta = full_box(
        b"meta",
        full_box(b"hdlr", struct.pack(">I4s12sB", 0, b"pict", b"", 0))
        + full_box(b"pitm", struct.pack(">H", main))
        + full_box(b"iinf", struct.pack(">H", len(items)) + names)
        + full_box(b"iloc", struct.pack(">BBH", 0x44, 0, len(items)) + places, 1)
        + (full_box(b"iref", links) if links else b"")
        + box(b"iprp", box(b"ipco", b"".join(properties)) + full_box(b"ipma", struct.pack(">I", len(items)) + owners))
        + box(b"idat", content),
    )
    return box(b"ftyp", brand + b"\0\0\0\0mif1" + brand) + meta


def tiled(tile: bytes, side: int, rows: int, columns: int, width: int, height: int) -> bytes:
    """A grid whose tiles are all the square image of the file `tile`, `side` pixels wide."""
    record, stream = picture(tile)
    tiles = range(2, 2 + rows * columns)
    items = [(1, b"grid", grid(rows, columns, width, height), (3,)), *((i, b"hvc1", stream, (1, 2)) for i in tiles)]
    return assemble(items, [record, size_box(side, side), size_box(width, height)], [(b"dimg", 1, list(tiles))])
