"""Reads image files of any common format as upright RGB `uint8 (H, W, 3)`, and writes them."""

from __future__ import annotations

import os
import stat
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from deepfer.atomic import atomic_write
from deepfer.decode_budget import BudgetedFile, decoding_s
from deepfer.errors import ImageError
from deepfer.exif import is_honest
from deepfer.heic import HEIC_SUFFIXES, is_heic, open_heic
from deepfer.jpeg import read_scans, with_honest_exif
from deepfer.limits import MAX_DECODE_S, MAX_FILE_BYTES, MAX_HEIC_DECODE_S, MAX_PIXELS
from deepfer.text import first_line, printable

ImageSource = np.ndarray | Image.Image | str | Path  # what `as_rgb` accepts

# Pillow would also try unsafe formats: EPS starts Ghostscript. TGA is missing because it has no signature, so any noise
# passes for a TGA file; ICO is missing because its header hides the true size.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000")
FORMAT_NAMES = ", ".join((*FORMATS, "HEIC"))  # HEIC has its own reader
# A folder is searched for these. A file given by name may have any suffix: its content decides.
SUFFIXES = (
    ".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2",
    *HEIC_SUFFIXES,
)  # fmt: skip

BAND_PIXELS = 2_000_000  # pixels converted at a time; each conversion has a fixed cost, up to 10 ms for Lab

# What Pillow 12 raises on damaged files of FORMATS, found by truncating and altering about 500,000 of them.
_DAMAGE = (
    OSError,  # truncated or undecodable data: nearly every reader
    SyntaxError,  # PNG chunks, AVIF boxes, the header of an EXIF block
    ValueError,  # numbers in PPM, TIFF and BMP headers, a PNG's IHDR, an AVIF's EXIF
    RuntimeError,  # libavif, libheif
    EOFError,  # libheif
    TypeError,  # TIFF tags that hold bytes instead of numbers
    OverflowError,  # huge BigTIFF offsets
    struct.error,  # a truncated EXIF directory
)

_UPRIGHT = {  # for each EXIF orientation, the operation that makes the image upright; 1 needs none
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

WRITERS: dict[str, tuple[str, dict[str, Any]]] = {  # for each suffix, Pillow's format and options
    ".jpg": ("JPEG", {"quality": 92, "subsampling": 0}),  # full colour resolution keeps thin lines sharp
    ".jpeg": ("JPEG", {"quality": 92, "subsampling": 0}),
    ".png": ("PNG", {"compress_level": 4}),  # the default, 6, takes twice as long and saves 3%
}


def read_image(
    source: str | Path | bytes | BinaryIO, *, max_side: int | None = None, max_decode_s: float | None = None
) -> np.ndarray:
    """Read an image of any common format.

    The image is turned upright, transparent pixels are blended with white, and 16-bit, 32-bit and float gray is scaled
    to 8 bits. Only the first frame of an animation is read.

    Args:
        source: A path, a file's bytes, or an open binary file, which is read to its end.
        max_side: The maximum width and height in pixels, if stricter than `MAX_PIXELS`.
        max_decode_s: The maximum decoding time in seconds, as estimated from the header. The default is
            `MAX_HEIC_DECODE_S` for HEIC and `MAX_DECODE_S` for other formats.

    Returns:
        RGB, `uint8 (H, W, 3)`.

    Raises:
        ImageError: The file is missing, not an image, damaged, or exceeds a limit. The message names the file and the
            reason.
    """
    name, data = _read_bytes(source)
    return _to_array(_decode(name, data, max_side, max_decode_s))


def as_rgb(image: ImageSource) -> np.ndarray:
    """Return an RGB array unchanged; convert a PIL image or a file as `read_image` does.

    A PIL image is decoded by Pillow without the limit on time, so pass untrusted files as paths.

    Returns:
        RGB, `uint8 (H, W, 3)`.

    Raises:
        ImageError: A file is not a readable image, or an image exceeds a limit.
        ValueError: `image` is something else, or an array of another dtype or shape.
    """
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, Image.Image):
        if image.width * image.height > MAX_PIXELS:
            raise _too_large("image", image.size)
        try:
            image.load()  # Pillow may only have opened the file
        except _DAMAGE as error:
            raise _damaged("image", error) from error
        return _to_array(_upright(image))
    check_image(image)
    return image


def _to_array(image: Image.Image) -> np.ndarray:
    rgb = np.empty((image.height, image.width, 3), np.uint8)
    deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
    scale = _scale(image) if deep else (0.0, 255.0)
    for top, bottom in _bands(image):  # converting the whole image at once takes several times the memory
        band = image.crop((0, top, image.width, bottom))
        rgb[top:bottom] = _to_8_bits(band, *scale)[:, :, None] if deep else np.asarray(_to_rgb(band))
    return rgb


def write_image(path: str | Path, rgb: np.ndarray) -> None:
    """Write an image atomically.

    Args:
        path: Its suffix, one of `WRITERS`, determines the format.
        rgb: RGB, `uint8 (H, W, 3)`.

    Raises:
        ValueError: The suffix is not one of `WRITERS`, or `rgb` is not an image.
        OSError: The file cannot be written.
    """
    path = Path(path)
    check_image(rgb)
    if path.suffix.lower() not in WRITERS:
        raise ValueError(f"{path}: the name must end in {', '.join(WRITERS)}")
    image_format, options = WRITERS[path.suffix.lower()]
    with atomic_write(path) as temporary:
        Image.fromarray(rgb).save(temporary, image_format, **options)


def check_image(image: object) -> None:
    """Raise a `ValueError` unless `image` is RGB `uint8 (H, W, 3)` with H, W >= 1."""
    expected = "expected an RGB image, a numpy array of dtype uint8 and shape (H, W, 3)"
    if not isinstance(image, np.ndarray):
        raise ValueError(f"{expected}; got {type(image).__name__} (read_image(path) returns such an array)")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        nan = " with NaN" if image.dtype.kind == "f" and np.isnan(image).any() else ""
        raise ValueError(f"{expected}, H and W at least 1; got {image.dtype}{nan}, shape {image.shape}")


def _read_bytes(source: str | Path | bytes | BinaryIO) -> tuple[str, bytes]:
    """(the source's name for messages, its bytes)."""
    if isinstance(source, bytes):
        name, data = "image", source
    elif isinstance(source, (str, Path)):
        name = printable(source)
        try:
            # Checked before opening: opening a FIFO waits for a writer forever, and some devices never end.
            mode = os.stat(source).st_mode
            if stat.S_ISDIR(mode):
                raise ImageError("%(name)s: a folder, not an image", name=name)
            if not stat.S_ISREG(mode):
                raise ImageError("%(name)s: not a regular file", name=name)
            with open(source, "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as error:  # ValueError: the name contains a NUL
            reason = getattr(error, "strerror", None) or error
            raise ImageError("%(name)s: %(reason)s", name=name, reason=reason) from error
    elif not hasattr(source, "read"):
        raise TypeError(f"expected a path, a file's bytes or an open binary file; got {type(source).__name__}")
    else:
        label = getattr(source, "name", None)  # an int if the file was opened by descriptor
        name = printable(label) if isinstance(label, str) else "image"
        data = source.read(MAX_FILE_BYTES + 1)
    if not data:
        raise ImageError("%(name)s: the file is empty", name=name)
    if len(data) > MAX_FILE_BYTES:
        raise ImageError("%(name)s: larger than %(limit)g MB", name=name, limit=MAX_FILE_BYTES / 1e6)
    return name, data


def _decode(name: str, data: bytes, max_side: int | None, max_decode_s: float | None) -> Image.Image:
    """The image's first frame, upright, in the mode in which it is stored. Limits are checked before decoding."""
    try:
        with warnings.catch_warnings():
            # Pillow warns about what is refused here or is harmless. Other warnings stay: threads share the filters.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            scans = None
            if data.startswith(b"\xff\xd8"):
                scans = read_scans(data)
                data = with_honest_exif(data, scans)
            heic = is_heic(data)
            image = open_heic(data) if heic else Image.open(BudgetedFile(data), formats=FORMATS)
            width, height = image.size
            if max_side and max(width, height) > max_side:
                raise ImageError(
                    "%(name)s: wider or higher than %(limit)d pixels (%(width)dx%(height)d)",
                    name=name,
                    limit=max_side,
                    width=width,
                    height=height,
                )
            if width * height > MAX_PIXELS:
                raise _too_large(name, image.size)
            if _tile_pixels(image) > MAX_PIXELS:
                raise ImageError(
                    "%(name)s: more than %(limit)g megapixels in a tile", name=name, limit=MAX_PIXELS / 1e6
                )
            seconds = decoding_s(image, data, scans)
            if max_decode_s is None:
                max_decode_s = MAX_HEIC_DECODE_S if heic else MAX_DECODE_S
            if seconds > max_decode_s:
                raise ImageError(
                    "%(name)s: would take about %(seconds).2g s to decode (%(width)dx%(height)d %(format)s); "
                    "make it smaller, or save it as a plain JPEG",
                    name=name,
                    seconds=seconds,
                    width=width,
                    height=height,
                    format=image.format,
                )
            image.load()
            return image if heic else _upright(image)
    except UnidentifiedImageError as error:
        raise ImageError(
            "%(name)s: not an image of a supported format (%(formats)s), or truncated", name=name, formats=FORMAT_NAMES
        ) from error
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except _DAMAGE as error:
        raise _damaged(name, error) from error


def _too_large(name: str, size: tuple[int, int] | None = None) -> ImageError:
    limit = MAX_PIXELS / 1e6
    if size is None:
        return ImageError("%(name)s: more than %(limit)g megapixels", name=name, limit=limit)
    return ImageError(
        "%(name)s: more than %(limit)g megapixels (%(width)dx%(height)d)",
        name=name,
        limit=limit,
        width=size[0],
        height=size[1],
    )


def _damaged(name: str, error: Exception) -> ImageError:
    return ImageError("%(name)s: damaged or truncated (%(reason)s)", name=name, reason=first_line(error))


def _upright(image: Image.Image) -> Image.Image:
    operation = _UPRIGHT.get(_orientation(image))
    return image if operation is None else image.transpose(operation)


def _tile_pixels(image: Image.Image) -> int:
    """Pixels in a tile of a TIFF, which is decoded whole even if the image is smaller; 0 if there are no tiles."""
    tags = getattr(image, "tag_v2", {})
    width, height = tags.get(322), tags.get(323)  # TileWidth, TileLength
    return width * height if isinstance(width, int) and isinstance(height, int) else 0


def _orientation(image: Image.Image) -> Any:
    """The EXIF orientation, 1 to 8 if it is valid; None if there is none or EXIF is damaged."""
    try:
        hexadecimal = image.info.get("Raw profile type exif", "")  # where ImageMagick puts EXIF in a PNG
        if not is_honest(image.info.get("exif") or bytes.fromhex("".join(hexadecimal.split("\n")[3:]))):
            return None
        return image.getexif().get(ExifTags.Base.Orientation)
    except _DAMAGE:
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    """An image of at most 8 bits per channel in RGB, blended with white where it is transparent."""
    if image.has_transparency_data:
        image = image.convert("RGBA")  # this resolves palettes and single transparent colours too
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        return white
    return image.convert("RGB")


def _bands(image: Image.Image) -> Iterator[tuple[int, int]]:
    """The bands in which an image is converted: (first row, row after the last)."""
    rows = max(1, BAND_PIXELS // image.width)
    return ((top, min(top + rows, image.height)) for top in range(0, image.height, rows))


def _scale(image: Image.Image) -> tuple[float, float]:
    """(black, white) of gray of more than 8 bits.

    White is 65,535 in 16-bit gray. In 32-bit and float gray it is the smallest of 1 (float only), 255 and 65,535 that
    is not below any value. If a value is above all of these or below 0, black and white are the extreme values.
    """
    if image.mode not in ("I", "F"):
        return 0.0, 65_535.0
    bands = (_values(image.crop((0, top, image.width, bottom))) for top, bottom in _bands(image))
    ends = [(float(band.min()), float(band.max())) for band in bands]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if low < 0 or high > 65_535:
        return low, high
    whites = (1.0, 255.0, 65_535.0) if image.mode == "F" else (255.0, 65_535.0)
    return 0.0, next(white for white in whites if high <= white)


def _values(gray: Image.Image) -> np.ndarray:
    """The stored values of gray of more than 8 bits, made finite: float32 `(H, W)`."""
    return np.clip(np.nan_to_num(np.asarray(gray, dtype=np.float32)), -1e30, 1e30)  # later sums must not overflow


def _to_8_bits(gray: Image.Image, black: float, white: float) -> np.ndarray:
    """Gray of more than 8 bits to `uint8 (H, W)`."""
    return np.rint((_values(gray) - black) * (255 / max(white - black, 1e-30))).astype(np.uint8)
