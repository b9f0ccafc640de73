import io
import os
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import heic_files
import numpy as np
import pytest
from PIL import Image

from deepfer import ImageError, read_image
from deepfer.heic import HEIC_SUFFIXES
from deepfer.image_io import FORMATS, SUFFIXES, check_image, write_image
from deepfer.limits import MAX_FILE_BYTES

HEIGHT, WIDTH = 16, 24
RAMP = np.add.outer(np.arange(HEIGHT) * 6, np.arange(WIDTH) * 5).astype(np.uint8)  # 0 to 205; no symmetry
COLOURS = np.stack([RAMP, 255 - RAMP, np.full_like(RAMP, 90)], axis=2)


def file_bytes(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: int) -> None:
    assert found.dtype == np.uint8
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= tolerance


def gray(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[:, :, None], 3, axis=2)


PNG = file_bytes(COLOURS, "PNG")
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)  # a file long enough to damage


# Formats


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("DIB", {}, 0),
        ("PPM", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG2000", {"irreversible": False}, 0),
        ("WEBP", {"quality": 95}, 12),
        ("AVIF", {"quality": 95, "subsampling": "4:4:4"}, 12),
        ("JPEG", {"quality": 95, "subsampling": 0}, 12),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 12),
        ("MPO", {"quality": 95, "subsampling": 0}, 12),
    ],
)
def test_colours(kind: str, options: dict, tolerance: int) -> None:
    assert_close(read_image(file_bytes(COLOURS, kind, **options)), COLOURS, tolerance)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind: str, orientation: int) -> None:
    stored = {  # the stored pixels, by EXIF's definition: the position of the first row and column
        1: COLOURS,  # top, left
        2: COLOURS[:, ::-1],  # top, right
        3: COLOURS[::-1, ::-1],  # bottom, right
        4: COLOURS[::-1],  # bottom, left
        5: COLOURS.swapaxes(0, 1),  # left, top
        6: np.rot90(COLOURS, 1),  # right, top
        7: COLOURS[::-1, ::-1].swapaxes(0, 1),  # right, bottom
        8: np.rot90(COLOURS, -1),  # left, bottom
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}.get(kind, {"quality": 95})
    data = file_bytes(np.ascontiguousarray(stored), kind, exif=exif, **options)
    assert_close(read_image(data), COLOURS, 16 if kind in ("JPEG", "AVIF") else 0)


def test_an_invalid_orientation_is_ignored() -> None:
    for exif in (b"Exif\0\0MM\0*\0\0", b"Exif\0\0" + os.urandom(40), b"Exif\0\0II*\0\x08\0\0\0\xff\xff"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own, while writing
            data = file_bytes(COLOURS, "PNG", exif=exif)
        assert_close(read_image(data), COLOURS, 0)
    nine = Image.Exif()
    nine[0x0112] = 9
    assert_close(read_image(file_bytes(COLOURS, "PNG", exif=nine)), COLOURS, 0)


def test_gray_and_one_bit() -> None:
    assert_close(read_image(file_bytes(RAMP, "PNG")), gray(RAMP), 0)
    bits = RAMP > 100
    assert_close(read_image(file_bytes(Image.fromarray(bits), "PNG")), gray(bits * np.uint8(255)), 0)
    assert_close(read_image(file_bytes(Image.fromarray(bits), "TIFF", compression="group4")), gray(bits * 255), 0)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_gray_keeps_its_full_scale(kind: str) -> None:
    values = RAMP.astype(np.uint16) * 257  # 65,535 is white
    data = file_bytes(values, kind)
    assert Image.open(io.BytesIO(data)).mode in ("I;16", "I")
    assert_close(read_image(data), gray(RAMP), 0)
    if kind != "PPM":  # dark stays dark; but Pillow reads a 16-bit PPM as 32-bit, whose white is unknown
        assert_close(read_image(file_bytes(values // 257, kind)), gray(np.rint(RAMP / 257).astype(np.uint8)), 0)


def test_big_endian_16_bit_tiff() -> None:
    image = Image.fromarray((RAMP.astype(np.uint16) * 257).astype(">u2"))
    assert image.mode == "I;16B"
    assert_close(read_image(file_bytes(image, "TIFF")), gray(RAMP), 0)


def test_32_bit_gray() -> None:
    for scale in (1, 257):
        image = Image.fromarray(RAMP.astype(np.int32) * scale)
        assert image.mode == "I"
        assert_close(read_image(file_bytes(image, "TIFF")), gray(RAMP), 0)
    stretched = gray(np.rint(RAMP * (255 / RAMP.max())).astype(np.uint8))
    assert_close(read_image(file_bytes(Image.fromarray(RAMP.astype(np.int32) * 100_000), "TIFF")), stretched, 1)


@pytest.mark.parametrize("scale", [1 / 255, 1, 257])
def test_float_tiff(scale: float) -> None:
    values = RAMP.astype(np.float32) * np.float32(scale)
    assert_close(read_image(file_bytes(values, "TIFF")), gray(RAMP), 1)


def test_float_tiff_outside_the_usual_ranges() -> None:
    stretched = gray(np.rint(RAMP * (255 / RAMP.max())).astype(np.uint8))
    assert_close(read_image(file_bytes(RAMP.astype(np.float32) - 100, "TIFF")), stretched, 1)
    assert_close(read_image(file_bytes(RAMP.astype(np.float32) * 1e6, "TIFF")), stretched, 1)
    odd = RAMP.astype(np.float32) / 255
    odd[0, 0], odd[0, 1] = np.nan, 0.5
    found = read_image(file_bytes(odd, "TIFF"))
    assert found[0, 0].tolist() == [0, 0, 0]
    assert found[0, 1].tolist() == [128, 128, 128]
    wild = np.array([[-np.inf, -3e38, 0, 3e38, np.inf, np.nan]], np.float32)
    assert read_image(file_bytes(wild, "TIFF")).shape == (1, 6, 3)
    flat = np.full((2, 2), -5, np.float32)
    assert read_image(file_bytes(flat, "TIFF")).shape == (2, 2, 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_transparency_is_blended_with_white(kind: str) -> None:
    rgba = np.dstack([COLOURS, np.full_like(RAMP, 255)])
    rgba[:4, :, 3] = 0
    rgba[4:8, :, 3] = 128
    expected = COLOURS.copy()
    expected[:4] = 255
    expected[4:8] = np.rint(COLOURS[4:8] * (128 / 255) + 127)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    assert_close(read_image(file_bytes(rgba, kind, **options)), expected, 1)


def test_gray_with_alpha() -> None:
    alpha = np.where(RAMP > 100, 255, 0).astype(np.uint8)
    image = Image.merge("LA", [Image.fromarray(RAMP), Image.fromarray(alpha)])
    assert_close(read_image(file_bytes(image, "PNG")), gray(np.where(RAMP > 100, RAMP, 255).astype(np.uint8)), 0)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palette_with_a_transparent_colour(kind: str) -> None:
    image = Image.fromarray((RAMP > 100).astype(np.uint8))
    image.putpalette([10, 20, 30, 200, 100, 50])
    expected = np.where((RAMP > 100)[:, :, None], (200, 100, 50), (255, 255, 255)).astype(np.uint8)
    assert image.mode == "P"
    assert_close(read_image(file_bytes(image, kind, transparency=0)), expected, 0)
    expected[RAMP <= 100] = (10, 20, 30)
    assert_close(read_image(file_bytes(image, kind)), expected, 0)


def test_a_palette_with_an_alpha_for_each_colour() -> None:
    image = Image.fromarray((RAMP > 100).astype(np.uint8))
    image.putpalette([10, 20, 30, 200, 100, 50])
    expected = np.where((RAMP > 100)[:, :, None], (200, 100, 50), (255, 255, 255)).astype(np.uint8)
    assert_close(read_image(file_bytes(image, "PNG", transparency=b"\0\xff")), expected, 0)


def test_a_transparent_colour_in_rgb() -> None:
    expected = COLOURS.copy()
    expected[0, 0] = 255
    assert_close(read_image(file_bytes(COLOURS, "PNG", transparency=tuple(COLOURS[0, 0].tolist()))), expected, 0)


@pytest.mark.parametrize(("kind", "tolerance"), [("JPEG", 16), ("TIFF", 1)])
def test_cmyk(kind: str, tolerance: int) -> None:
    data = file_bytes(Image.fromarray(COLOURS).convert("CMYK"), kind, **({"quality": 95} if kind == "JPEG" else {}))
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    if kind == "JPEG":
        assert b"Adobe" in data  # as Photoshop writes it: with the inks inverted
    assert_close(read_image(data), COLOURS, tolerance)


def test_lab_tiff() -> None:
    data = file_bytes(
        Image.new("LAB", (3, 2), (138, 209, 195)), "TIFF"
    )  # sRGB red: L 54 %, a 81, b 67, a and b from 128
    assert Image.open(io.BytesIO(data)).mode == "LAB"
    assert_close(read_image(data), np.full((2, 3, 3), (255, 0, 0), np.uint8), 12)


def test_ycbcr_tiff() -> None:
    data = file_bytes(COLOURS, "TIFF", compression="jpeg", quality=95)
    assert_close(read_image(data), COLOURS, 24)


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})])
def test_the_first_frame_of_an_animation(kind: str, options: dict) -> None:
    red, blue = (Image.new("RGB", (12, 8), colour) for colour in ("#ff0000", "#0000ff"))
    data = file_bytes(red, kind, save_all=True, append_images=[blue, red], duration=50, **options)
    assert Image.open(io.BytesIO(data)).n_frames > 1
    assert_close(read_image(data), np.full((8, 12, 3), (255, 0, 0), np.uint8), 0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (300, 700)])
def test_tiny_narrow_and_multi_band_images(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert_close(read_image(file_bytes(picture, "PNG")), picture, 0)


def test_50_megapixels() -> None:
    picture = np.zeros((6_250, 8_000), np.uint8)
    picture[6_000:, 7_000:] = 200
    found = read_image(file_bytes(picture, "PNG", compress_level=1))
    assert found.shape == (6_250, 8_000, 3)
    assert found[5_999, 6_999].tolist() == [0, 0, 0]
    assert found[6_000, 7_000].tolist() == found[-1, -1].tolist() == [200, 200, 200]


@pytest.mark.parametrize("suffix", ["tif", "heic"])
def test_the_largest_images_leave_memory_for_others(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"large.{suffix}"
    if suffix == "tif":
        Image.new("F", (6_400, 6_400), 3.5).save(path, compression="tiff_adobe_deflate")
    else:
        tile = heic_files.encode(Image.new("RGB", (512, 512)), quality=50)
        path.write_bytes(heic_files.tiled(tile, 512, 15, 15, 7_680, 7_680))
    code = (
        "import re, sys, deepfer; print(*deepfer.read_image(sys.argv[1]).shape)\n"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shape, peak = done.stdout.splitlines()
    assert shape == ("6400 6400 3" if suffix == "tif" else "7680 7680 3")
    assert int(peak) < 800_000


def test_many_rows_of_a_lab_image() -> None:
    data = file_bytes(Image.new("LAB", (4, 500_000)), "TIFF")
    start = time.process_time()
    assert read_image(data).shape == (500_000, 4, 3)
    assert time.process_time() - start < 5  # it takes a tenth of a second; with a table for 256 rows each, twenty


def test_every_type_of_source(tmp_path: Path) -> None:
    path = tmp_path / "größe 1.jpg"  # what is in it decides, not its name
    path.write_bytes(PNG)
    for source in (path, str(path), PNG, io.BytesIO(PNG)):
        assert_close(read_image(source), COLOURS, 0)
    with path.open("rb") as file:
        assert_close(read_image(file), COLOURS, 0)
    link = tmp_path / "link.png"
    link.symlink_to(path)
    assert_close(read_image(link), COLOURS, 0)
    assert read_image(PNG).flags.writeable
    for other in (None, 3, COLOURS):
        with pytest.raises(TypeError, match="expected a path, a file's bytes or an open binary file; got"):
            read_image(other)


def test_threads_read_the_same_as_one() -> None:
    files = [file_bytes(np.roll(COLOURS, shift, axis=1), "PNG") for shift in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(read_image, files * 4))
    for shift, picture in enumerate(found):
        assert_close(picture, np.roll(COLOURS, shift % 8, axis=1), 0)


# What is no image


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + PNG[33:]


def tiff_with_tiles(side: int) -> bytes:
    """A 16x16 TIFF whose only tile is `side` x `side` according to its header."""
    data = zlib.compress(bytes(1000))
    tags = [(256, 16), (257, 16), (258, 8), (259, 8), (262, 1), (277, 1), (322, side), (323, side)]
    tags += [(324, 8 + 2 + 12 * 10 + 4), (325, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


NO_PICTURES = {
    "empty": (b"", "empty"),
    "text": (b"Dear diary, this is no picture.\n" * 9, "not an image"),
    "EPS, which would start Ghostscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    "PNG cut in its header": (PNG[:40], "or truncated"),
    **{
        f"{kind} cut": (file_bytes(NOISE, kind)[:-600], "damaged or truncated")
        for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
    },
    "an AVIF cut": (file_bytes(NOISE, "AVIF")[:-600], "or truncated"),
    "past the limit": (png_header(8_001, 8_000), "64 megapixels"),
    "where Pillow would warn": (png_header(10_000, 10_000), "64 megapixels"),
    "where Pillow would refuse": (png_header(60_000, 60_000), "64 megapixels"),
    "a small TIFF with a huge tile": (tiff_with_tiles(40_000), "64 megapixels"),
}


@pytest.mark.parametrize(("data", "reason"), NO_PICTURES.values(), ids=NO_PICTURES)
def test_no_picture(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    with pytest.raises(ImageError, match=reason):
        read_image(io.BytesIO(data))


def test_the_tile_limit_accepts_normal_tiles() -> None:
    with pytest.raises(ImageError, match="damaged"):  # a tile of 16x16 passes the limit and fails on its data
        read_image(tiff_with_tiles(16)[:-5])


def test_a_bomb_is_refused_without_decoding() -> None:
    import tracemalloc

    tracemalloc.start()
    try:
        with pytest.raises(ImageError):
            read_image(png_header(8_001, 8_000))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_file_too_large(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(PNG)
    os.truncate(path, MAX_FILE_BYTES)
    assert_close(read_image(path), COLOURS, 0)  # what follows the image's end is no concern
    os.truncate(path, MAX_FILE_BYTES + 1)
    with pytest.raises(ImageError, match=r"large\.png: larger than 100 MB"):
        read_image(path)


def test_max_side_is_checked_in_the_header() -> None:
    assert_close(read_image(PNG, max_side=max(COLOURS.shape[:2])), COLOURS, 0)
    with pytest.raises(ImageError, match=r"wider or higher than 1280 pixels \(1281x8\)"):
        read_image(png_header(1_281, 8), max_side=1280)
    with pytest.raises(ImageError, match="wider or higher"):
        read_image(png_header(8, 1_281), max_side=1280)


def test_no_file(tmp_path: Path) -> None:
    fifo, loop = tmp_path / "fifo.jpg", tmp_path / "loop.jpg"
    os.mkfifo(fifo)
    loop.symlink_to(loop)
    for path, reason in (
        (tmp_path, "a folder"),
        (tmp_path / "missing.jpg", "No such file"),
        (tmp_path / ("x" * 300), "name too long"),
        (fifo, "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (loop, "symbolic links"),
        ("nul\0.jpg", "null byte"),
    ):
        with pytest.raises(ImageError, match=reason) as caught:
            read_image(path)
        assert Path(path).name.split("\0")[0] in str(caught.value)
        assert "\n" not in str(caught.value)


def test_no_permission() -> None:
    with tempfile.TemporaryDirectory() as folder:  # which everybody can reach, as pytest's cannot be
        Path(folder).chmod(0o755)
        readable, secret = Path(folder, "photo.png"), Path(folder, "secret.png")
        for path in (readable, secret):
            path.write_bytes(PNG)
        secret.chmod(0)
        own = os.geteuid(), os.getegid()
        if own[0] == 0:  # root may read everything: be nobody for a moment
            os.setegid(65_534)
            os.seteuid(65_534)
        try:
            assert_close(read_image(readable), COLOURS, 0)
            with pytest.raises(ImageError, match=r"secret\.png: Permission denied"):
                read_image(secret)
        finally:
            os.seteuid(own[0])
            os.setegid(own[1])


def test_a_name_with_a_newline_stays_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "two\nlines.jpg")
    assert "two\\nlines.jpg" in str(caught.value)


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "DIB"])
def test_damage_is_always_a_picture_error(kind: str) -> None:
    rng = np.random.default_rng(0)
    whole = file_bytes(COLOURS, kind)
    refused = 0
    for _ in range(150):
        data = bytearray(whole[: rng.integers(1, len(whole))] if rng.random() < 0.3 else whole)
        for place in rng.integers(min(len(data), 400), size=rng.integers(1, 6)):
            data[place] = rng.integers(256)
        try:
            assert read_image(bytes(data)).shape[2] == 3
        except ImageError:
            refused += 1
    assert refused > 20


def test_every_suffix_has_a_supported_format() -> None:
    known = Image.registered_extensions()
    assert {known[suffix] for suffix in SUFFIXES if suffix not in HEIC_SUFFIXES} <= {*FORMATS}


# Arrays


def test_an_image_is_rgb_uint8() -> None:
    check_image(COLOURS)
    check_image(COLOURS[:, ::-1])
    check_image(np.zeros((1, 1, 3), np.uint8))


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (COLOURS.astype(np.float32) / 255, r"float32, shape \(16, 24, 3\)"),
        (np.full((4, 4, 3), np.nan), "float64 with NaN"),
        (COLOURS.astype(np.int64), "int64"),
        (COLOURS > 100, "bool"),
        (RAMP, r"uint8, shape \(16, 24\)"),
        (np.dstack([COLOURS, RAMP]), r"\(16, 24, 4\)"),
        (COLOURS[None], r"\(1, 16, 24, 3\)"),
        (COLOURS[:0], r"\(0, 24, 3\)"),
        (COLOURS[:, :0], r"\(16, 0, 3\)"),
        (COLOURS.tolist(), "list"),
        (Image.fromarray(COLOURS), "Image"),
        (None, "NoneType"),
    ],
)
def test_other_values_are_not_images(image: object, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        check_image(image)
    assert "uint8 and shape (H, W, 3)" in str(caught.value)


# Writing


@pytest.mark.parametrize(("name", "tolerance"), [("a.png", 0), ("a.jpg", 12), ("a.JPEG", 12)])
def test_written_images_are_read_back(tmp_path: Path, name: str, tolerance: int) -> None:
    path = tmp_path / name
    path.write_bytes(b"older")
    write_image(path, COLOURS)
    assert_close(read_image(path), COLOURS, tolerance)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.mkdir()  # cannot be replaced by a file
    with pytest.raises(OSError, match="directory"):
        write_image(path, COLOURS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]
    with pytest.raises(ValueError, match=r"\.png"):
        write_image(tmp_path / "a.gif", COLOURS)
    with pytest.raises(ValueError, match="uint8"):
        write_image(tmp_path / "b.png", RAMP)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]
