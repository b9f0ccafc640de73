"""A picture file of any common kind -> RGB `uint8 (H, W, 3)`, upright; and back to a file."""

from __future__ import annotations

import os
import secrets
import stat
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from deepfer.decode_budget import BudgetedFile, decoding_s
from deepfer.errors import ImageError
from deepfer.exif import is_honest
from deepfer.jpeg import read_scans, with_honest_exif
from deepfer.limits import MAX_DECODE_S, MAX_FILE_BYTES, MAX_PIXELS

# Named, because Pillow would also try readers that have no business here: EPS, for one, starts Ghostscript.
# Left out too: TGA, which has no signature, so that noise passes for it; ICO, whose header hides the true size.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000")
# What a folder is searched for. A file given by name may be called anything: its content decides.
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2")

BAND_PIXELS = 2_000_000  # that pass through a conversion at once; each has its cost, a hundredth of a second for Lab

# What Pillow 12 raises on damaged files of FORMATS, found by cutting and altering some 500,000 of them.
_DAMAGE = (
    OSError,  # data that ends early or does not decode: nearly every reader
    SyntaxError,  # a PNG's chunks, an AVIF's boxes, the header of an EXIF block
    ValueError,  # numbers in a PPM's, TIFF's or BMP's header, a PNG's IHDR, an AVIF's EXIF
    RuntimeError,  # AVIF: libavif's own complaints
    TypeError,  # a TIFF whose tags hold bytes where numbers belong
    OverflowError,  # a BigTIFF whose offsets are larger than any memory
    struct.error,  # an EXIF directory that ends early
)

_UPRIGHT = {  # EXIF orientation -> what turns the stored pixels the right way up; 1 needs nothing
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

WRITERS: dict[str, tuple[str, dict[str, Any]]] = {  # suffix -> Pillow's format and its options
    ".jpg": ("JPEG", {"quality": 92, "subsampling": 0}),  # full colour resolution: thin coloured lines stay sharp
    ".jpeg": ("JPEG", {"quality": 92, "subsampling": 0}),
    ".png": ("PNG", {"compress_level": 4}),  # 6, the default, takes twice as long for 3 % less
}


def read_image(
    source: str | Path | bytes | BinaryIO, *, max_side: int | None = None, max_decode_s: float = MAX_DECODE_S
) -> np.ndarray:
    """Read a picture of any common kind.

    It comes out upright (EXIF orientation applied), what is transparent in front of white, the first frame of what is
    animated, and 16-bit, 32-bit or float gray scaled to 8 bits.

    Args:
        source: A path, a file's bytes, or an open binary file, which is read to its end.
        max_side: The most pixels that it may be wide or high, where that is less than the limit for all pictures.
        max_decode_s: The most seconds that decoding it may take, as estimated from its header.

    Returns:
        RGB, `uint8 (H, W, 3)`.

    Raises:
        ImageError: There is no such file, it is no picture, it is damaged, or it is past a limit; one line that names
            the file and the reason.
    """
    name, data = _read_bytes(source)
    image = _decode(name, data, max_side, max_decode_s)
    rgb = np.empty((image.height, image.width, 3), np.uint8)
    deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
    scale = _scale(image) if deep else (0.0, 255.0)
    for top, bottom in _bands(image):  # passing through whole copies takes several times the memory
        band = image.crop((0, top, image.width, bottom))
        rgb[top:bottom] = _to_8_bits(band, *scale)[:, :, None] if deep else np.asarray(_to_rgb(band))
    return rgb


def write_image(path: str | Path, rgb: np.ndarray) -> None:
    """Write a picture aside and rename it, so that no half-written file ever stands under `path`.

    Args:
        path: Where to; its suffix, one of `WRITERS`, decides the format.
        rgb: RGB, `uint8 (H, W, 3)`.

    Raises:
        ValueError: The suffix is none of `WRITERS`, or `rgb` is no image.
        OSError: It cannot be written there.
    """
    path = Path(path)
    check_image(rgb)
    if path.suffix.lower() not in WRITERS:
        raise ValueError(f"{path}: a picture is written as {', '.join(WRITERS)}")
    picture_format, options = WRITERS[path.suffix.lower()]
    part = aside(path)
    try:
        Image.fromarray(rgb).save(part, picture_format, **options)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def aside(path: Path) -> Path:
    """A new hidden name beside `path`, and of the same kind, for what is not whole yet."""
    return path.with_name(f".{secrets.token_hex(8)}.part{path.suffix}")


def check_image(image: object) -> None:
    """Raise a `ValueError` that says what was expected, unless `image` is RGB `uint8 (H, W, 3)` with H, W >= 1."""
    expected = "expected an RGB image, a numpy array of dtype uint8 and shape (H, W, 3)"
    if not isinstance(image, np.ndarray):
        raise ValueError(f"{expected}; got {type(image).__name__} (read_image(path) gives such an array)")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        nan = " with NaN" if image.dtype.kind == "f" and np.isnan(image).any() else ""
        raise ValueError(f"{expected}, H and W at least 1; got {image.dtype}{nan}, shape {image.shape}")


def printable(name: str | Path) -> str:
    """A file's name as it fits into one line: as it is, or quoted and escaped if it holds control characters."""
    return str(name) if str(name).isprintable() else ascii(str(name))


def _read_bytes(source: str | Path | bytes | BinaryIO) -> tuple[str, bytes]:
    """(what to call it in an error, its bytes), within MAX_FILE_BYTES."""
    if isinstance(source, bytes):
        name, data = "picture", source
    elif isinstance(source, (str, Path)):
        name = printable(source)
        try:
            # Asked before opening: to open a FIFO would wait for a writer for ever, and some devices never end.
            mode = os.stat(source).st_mode
            if stat.S_ISDIR(mode):
                raise ImageError(f"{name}: a folder, not a picture")
            if not stat.S_ISREG(mode):
                raise ImageError(f"{name}: not a regular file")
            with open(source, "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise ImageError(f"{name}: {getattr(error, 'strerror', None) or error}") from error
    elif not hasattr(source, "read"):
        raise TypeError(f"expected a path, a file's bytes or an open binary file; got {type(source).__name__}")
    else:
        label = getattr(source, "name", None)  # an int where the file was opened by number
        name = printable(label) if isinstance(label, str) else "picture"
        data = source.read(MAX_FILE_BYTES + 1)
    if not data:
        raise ImageError(f"{name}: the file is empty")
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"{name}: larger than {MAX_FILE_BYTES / 1e6:g} MB")
    return name, data


def _decode(name: str, data: bytes, max_side: int | None, max_decode_s: float) -> Image.Image:
    """The picture's first frame, upright, in whatever mode it is stored.

    If it is too large or would take too long to decode, its header is all that is read.
    """
    too_large = f"{name}: more than {MAX_PIXELS / 1e6:g} megapixels"
    try:
        with warnings.catch_warnings():
            # Of Pillow alone, as threads share the filters: what Pillow warns of is either refused here or harmless.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            scans = None
            if data.startswith(b"\xff\xd8"):
                scans = read_scans(data)
                data = with_honest_exif(data, scans)
            image = Image.open(BudgetedFile(data), formats=FORMATS)
            width, height = image.size
            if max_side and max(width, height) > max_side:
                raise ImageError(f"{name}: wider or higher than {max_side} pixels ({width}x{height})")
            if width * height > MAX_PIXELS:
                raise ImageError(f"{too_large} ({width}x{height})")
            if _tile_pixels(image) > MAX_PIXELS:
                raise ImageError(f"{too_large} in a tile")
            if (takes_s := decoding_s(image, data, scans)) > max_decode_s:
                raise ImageError(
                    f"{name}: would take about {takes_s:.2g} s to decode ({width}x{height} {image.format}); "
                    "make it smaller, or save it as a plain JPEG"
                )
            image.load()
            turn = _UPRIGHT.get(_orientation(image))
            return image.transpose(turn) if turn is not None else image
    except UnidentifiedImageError as error:
        kinds = ", ".join(FORMATS)
        raise ImageError(f"{name}: not a picture of a kind that is read ({kinds}), or cut off") from error
    except Image.DecompressionBombError as error:
        raise ImageError(too_large) from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{name}: damaged or cut short ({reason})") from error


def _tile_pixels(image: Image.Image) -> int:
    """The size of a TIFF's tiles, which are decoded whole even where the picture is smaller; 0 where there are none."""
    tags = getattr(image, "tag_v2", {})
    width, height = tags.get(322), tags.get(323)  # TileWidth, TileLength
    return width * height if isinstance(width, int) and isinstance(height, int) else 0


def _orientation(image: Image.Image) -> Any:
    """What EXIF says, 1 to 8 if it is sane; None where it says nothing or is damaged, as the pixels may be fine."""
    try:
        hexadecimal = image.info.get("Raw profile type exif", "")  # ImageMagick's way to put EXIF into a PNG
        if not is_honest(image.info.get("exif") or bytes.fromhex("".join(hexadecimal.split("\n")[3:]))):
            return None
        return image.getexif().get(ExifTags.Base.Orientation)
    except _DAMAGE:
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    """A picture of at most 8 bits per channel in RGB, what is transparent in front of white."""
    if image.has_transparency_data:
        image = image.convert("RGBA")  # which resolves palettes and single transparent colours too
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        return white
    return image.convert("RGB")


def _bands(image: Image.Image) -> Iterator[tuple[int, int]]:
    """The first row, and the one after the last, of each of the bands in which a picture is converted."""
    rows = max(1, BAND_PIXELS // image.width)
    return ((top, min(top + rows, image.height)) for top in range(0, image.height, rows))


def _scale(image: Image.Image) -> tuple[float, float]:
    """What becomes black and what white in gray of more than 8 bits.

    16-bit gray has a known white. In 32-bit and float gray, white is taken to be the least of 1 (float only), 255 and
    65,535 that holds every value; where one is past all of these or below 0, the darkest becomes black, the brightest
    white.
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
    """Gray of more than 8 bits as it is stored, but finite: float32 `(H, W)`."""
    return np.clip(np.nan_to_num(np.asarray(gray, dtype=np.float32)), -1e30, 1e30)  # no overflow further down


def _to_8_bits(gray: Image.Image, black: float, white: float) -> np.ndarray:
    """Gray of more than 8 bits -> `uint8 (H, W)`."""
    return np.rint((_values(gray) - black) * (255 / max(white - black, 1e-30))).astype(np.uint8)
