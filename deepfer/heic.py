"""HEIC images, as phones make them: a check before they are decoded, and the decoder (ISO/IEC 23008-12; HEVC, H.265).

pi-heif decodes them with libheif and libde265. It is not registered with Pillow, so `Image.open` does not change.
libheif itself limits the container; the limits here bound the time and memory of decoding.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import NamedTuple

from pi_heif import HeifImageFile, options

from deepfer.exif import is_honest
from deepfer.heif_items import Item, items, number
from deepfer.limits import MAX_PIXELS
from deepfer.mp4 import boxes

HEIC_SUFFIXES = (".heic", ".heif", ".hif")
_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF_BRANDS = {b"avif", b"avis"}
_GRID, _CODED = b"grid", b"hvc1"
_KINDS = {_CODED, _GRID, b"iden"}  # types of images; iden is another image, turned
_TURNS = {b"irot", b"imir", b"clap"}
MAX_TURNS = 4  # per image; each is a pass over its pixels
MAX_CHILDREN = 1_000  # boxes in a box; a photo of 48 megapixels has about 200 items
MAX_DEPTH = 8  # levels of images made of other images; phones use two
MAX_METADATA = 256_000_000  # bytes copied: each image gets a copy of the file's metadata
MAX_LINKS = 20_000  # properties of items; that photo of 48 megapixels has about 1,000
MAX_UNITS = 5_000  # in all bitstreams together; encoders write one to three per tile

UNIT_BYTES = 200  # the first bytes of a unit, which hold the picture's size

# We need none of these images, and pi-heif would list them one by one.
options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False


def is_heic(data: bytes) -> bool:
    """Whether a file says that it is a HEIC image. AVIF images have the same container."""
    if data[4:8] != b"ftyp" or data[8:12] in _AVIF_BRANDS:
        return False
    brands = data[8:12] + data[16 : min(number(data, 0, 4), 200)]
    return any(brands[at : at + 4] in _BRANDS for at in range(0, len(brands), 4))


def open_heic(data: bytes) -> HeifImageFile:
    """Read the header. The decoded image is upright already: do not apply its EXIF orientation.

    Raises:
        ValueError, SyntaxError: The file is damaged, or `pixels_decoded` refuses it.
    """
    pixels_decoded(data)  # check first: libheif copies the metadata for each image while it reads the header
    return HeifImageFile(BytesIO(data))


def pixels_decoded(data: bytes) -> int:
    """How many pixels are decoded for the main image, including its tiles, its transparency and hidden frames.

    The bitstream decides, not the sizes that the container claims.

    Raises:
        ValueError: The file is damaged, or unlike any camera's: a tile has more than `MAX_PIXELS`, for example.
    """
    try:
        return _HeicFile(data).pixels()
    except IndexError as error:
        raise ValueError("its header is truncated") from error


class _Property(NamedTuple):
    kind: bytes
    start: int  # of its content
    end: int


class _HeicFile:
    """The items of a file, their properties, and which image is made of which."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        (meta,) = _one(self._children(0, len(data)), b"meta")
        children = self._children(meta.start + 4, meta.end)
        self._items = {item.number: item for item in items(data, meta.start + 4, meta.end)}
        (main,) = _one(children, b"pitm")
        self._main = number(data, main.start + 4, 4 if data[main.start] else 2)
        self._properties = self._read_properties(children)
        self._parts = self._read_references(children)
        self._check_metadata()
        self._known: dict[int, int] = {}
        self._units_left = MAX_UNITS
        self._set_pixels: dict[int, int] = {}  # of the parameter sets in each hvcC box, by its offset

    def pixels(self) -> int:
        return self._pixels(self._main, 0)

    def _children(self, start: int, end: int) -> list[_Property]:
        found = [_Property(*box) for box in boxes(BytesIO(self._data), start, end)]
        if len(found) > MAX_CHILDREN:
            raise ValueError(f"more than {MAX_CHILDREN:,} parts in its header")
        return found

    def _read_properties(self, children: list[_Property]) -> dict[int, list[_Property]]:
        """The properties of each item (iprp), which refers to those in the ipco box by an index from 1."""
        of: dict[int, list[_Property]] = defaultdict(list)
        (table,) = _one(children, b"iprp")
        parts = self._children(table.start, table.end)
        (container,) = _one(parts, b"ipco")
        properties = self._children(container.start, container.end)
        data, left = self._data, MAX_LINKS
        for _, at, end in (part for part in parts if part.kind == b"ipma"):
            item_bytes, index_bytes = 4 if data[at] else 2, 1 + (data[at + 3] & 1)
            at += 8
            while at < end:
                item, count = number(data, at, item_bytes), data[at + item_bytes]
                at += item_bytes + 1
                left -= 1 + count
                if left < 0:
                    raise ValueError(f"more than {MAX_LINKS:,} properties of its items")
                for _ in range(count):
                    # The top bit says whether a reader must understand the property.
                    index = number(data, at, index_bytes) & (0x7FFF if index_bytes == 2 else 0x7F)
                    at += index_bytes
                    if index:
                        of[item].append(properties[index - 1])
        return of

    def _read_references(self, children: list[_Property]) -> dict[int, list[int]]:
        """The images that each image is made of: its tiles (dimg), and its transparency (auxl)."""
        parts: dict[int, list[int]] = defaultdict(list)
        data = self._data
        for table in (child for child in children if child.kind == b"iref"):
            wide = 4 if data[table.start] else 2
            for kind, at, _ in self._children(table.start + 4, table.end):
                item, count = number(data, at, wide), number(data, at + wide, 2)
                if count > MAX_CHILDREN:
                    raise ValueError(f"an image of more than {MAX_CHILDREN:,} parts")
                others = [number(data, at + wide + 2 + wide * i, wide) for i in range(count)]
                if kind == b"dimg":
                    parts[item] += others
                elif kind == b"auxl":
                    for other in others:
                        parts[other].append(item)
        return parts

    def _check_metadata(self) -> None:
        left, metadata, data = 2 * len(self._data), 0, self._data
        for item in self._items.values():
            left -= sum(size for _, size in item.pieces)
            if left < 0:
                raise ValueError("its items share their bytes")
            if item.kind == b"Exif" and not is_honest(item.content(data)[4:]):
                raise ValueError("its EXIF tags share their bytes")
            if item.kind not in _KINDS:
                metadata += sum(size for _, size in item.pieces)
        profiles = {found for listed in self._properties.values() for found in listed if found.kind == b"colr"}
        metadata += sum(found.end - found.start for found in profiles)
        if metadata * sum(item.kind in _KINDS for item in self._items.values()) > MAX_METADATA:
            raise ValueError("too much metadata for its images")

    def _pixels(self, number_: int, depth: int) -> int:
        """Pixels decoded for an image and all its parts."""
        if number_ in self._known:
            return self._known[number_]
        item = self._items.get(number_)
        if item is None or item.kind not in _KINDS:
            raise ValueError("its main image is not HEVC")
        if depth > MAX_DEPTH:
            raise ValueError("its images are nested too deeply")
        own = self._coded(item) if item.kind == _CODED else self._canvas(item)
        if sum(found.kind in _TURNS for found in self._properties[number_]) > MAX_TURNS:
            raise ValueError("an image is turned too often")
        total = own + sum(self._pixels(part, depth + 1) for part in self._parts.get(number_, []))
        self._known[number_] = total
        return total

    def _canvas(self, item: Item) -> int:
        """The pixels of an image that others are pasted into."""
        if item.kind != _GRID:
            return 0
        content = item.content(self._data)
        wide = 4 if content[1] & 1 else 2
        return _checked(number(content, 4, wide) * number(content, 4 + wide, wide))

    def _coded(self, item: Item) -> int:
        """The pixels of all pictures in an item's bitstream, if each had the size of the largest."""
        size, length_bytes = 0, 4
        for kind, start, end in self._properties[item.number]:
            if kind == b"hvcC":
                length_bytes = 1 + (self._data[start + 21] & 3)
                if start not in self._set_pixels:
                    self._set_pixels[start] = _largest(self._counted(_parameter_sets(self._data[start:end])))
                size = max(size, self._set_pixels[start])
        units = self._counted(_units(item.content(self._data), length_bytes))
        size = max(size, _largest(units))
        # A picture starts with a slice whose first bit after the header is set.
        pictures = sum(unit[0] >> 1 < 32 and len(unit) > 2 and unit[2] >> 7 for unit in units)
        return _checked(size) * max(1, pictures)

    def _counted(self, units: Iterator[bytes]) -> list[bytes]:
        """The units that are not empty. Empty ones count towards the limit, too, because skipping them takes time."""
        found = list(islice(units, self._units_left + 1))
        self._units_left -= len(found)
        if self._units_left < 0:
            raise ValueError(f"more than {MAX_UNITS:,} units in its images")
        return [unit for unit in found if unit]


def _one(children: list[_Property], kind: bytes) -> list[_Property]:
    found = [child for child in children if child.kind == kind]
    if len(found) != 1:
        raise ValueError(f"{len(found) or 'no'} {kind.decode()} boxes in its header")
    return found


def _checked(pixels: int) -> int:
    if pixels > MAX_PIXELS:
        raise ValueError(f"a part of more than {MAX_PIXELS / 1e6:g} megapixels")
    return pixels


def _parameter_sets(record: bytes) -> Iterator[bytes]:
    """The first bytes of each unit in an hvcC box."""
    at = 23
    for _ in range(record[22]):
        count, at = number(record, at + 1, 2), at + 3
        for _ in range(count):
            size = number(record, at, 2)
            yield record[at + 2 : at + 2 + min(size, UNIT_BYTES)]
            at += 2 + size


def _units(stream: bytes, length_bytes: int) -> Iterator[bytes]:
    """The first bytes of each unit of a bitstream."""
    at = 0
    while at < len(stream):
        size = number(stream, at, length_bytes)
        at += length_bytes
        yield stream[at : at + min(size, UNIT_BYTES)]
        at += size


def _largest(units: list[bytes]) -> int:
    """The pixels of the largest picture that any sequence parameter set (SPS) among the units describes, or 0."""
    return max((_sps_pixels(unit) for unit in units if unit[0] >> 1 & 63 == 33), default=0)


def _sps_pixels(unit: bytes) -> int:
    """The width times the height in an SPS (H.265, 7.3.2.2.1)."""
    content = unit[2:].replace(b"\0\0\3", b"\0\0")  # without emulation prevention
    bits = "".join(f"{byte:08b}" for byte in content[:150]) + "1"  # the final 1 ends every search
    layers = int(bits[4:7], 2)
    at = 8 + 96
    if layers:
        flags = bits[at : at + 2 * layers]
        at += 16 + 88 * flags[::2].count("1") + 8 * flags[1::2].count("1")
    _, at = _exp_golomb(bits, at)
    chroma, at = _exp_golomb(bits, at)
    width, at = _exp_golomb(bits, at + (chroma == 3))
    height, _ = _exp_golomb(bits, at)
    return width * height


def _exp_golomb(bits: str, at: int) -> tuple[int, int]:
    """An unsigned number in Exp-Golomb code, and where the next one begins."""
    one = bits.find("1", at)
    if one < 0:
        raise ValueError("an image's header is truncated")
    end = 2 * one - at + 1
    return int(bits[one:end], 2) - 1, end
