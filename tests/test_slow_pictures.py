"""Small images that would keep a decoder busy are refused by their headers; honest ones are read."""

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import slow_pictures
from PIL import Image

from deepfer import ImageError, read_image
from deepfer.limits import MAX_DECODE_S
from ui.limits import MAX_FRAME_DECODE_S, MAX_FRAME_SIDE

pytestmark = pytest.mark.slow

SLOW, MULTIPLYING = slow_pictures.slow(), slow_pictures.multiplying()
PHOTO = Path(__file__).parents[1] / "ui" / "examples" / "astronaut.jpg"


@pytest.mark.parametrize("data", SLOW.values(), ids=SLOW)
def test_slow_images_are_refused(data: bytes) -> None:
    start = time.thread_time()
    with pytest.raises(ImageError, match=r"to decode|scans|reading|too many") as caught:
        read_image(data)
    assert time.thread_time() - start < 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", MULTIPLYING.values(), ids=MULTIPLYING)
def test_headers_that_multiply_are_refused(data: bytes) -> None:
    start = time.thread_time()
    with pytest.raises(ImageError, match=r"segments|reading"):
        read_image(data)
    assert time.thread_time() - start < 1


def test_exif_that_would_take_gigabytes_is_ignored(tmp_path: Path) -> None:
    block = slow_pictures.greedy_exif(24_000, 390_000)
    pieces = [b"Exif\0\0" + block[at : at + 65_000] for at in range(0, len(block), 65_000)]
    gray = Image.new("RGB", (8, 8), "gray")
    for name, data in {
        "several.jpg": slow_pictures.jpeg_with_segments(0xE1, pieces),
        "one.jpg": slow_pictures.jpeg_with_segments(0xE1, [b"Exif\0\0" + slow_pictures.greedy_exif(5_000, 65_000)]),
        "chunk.png": slow_pictures.encode(gray, "PNG", exif=block),
        "chunk.webp": slow_pictures.encode(gray, "WEBP", exif=block),
    }.items():
        (tmp_path / name).write_bytes(data)
    code = (
        "import resource, sys, deepfer\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2_000_000_000, 2_000_000_000))\n"
        "print(*(deepfer.read_image(path).shape for path in sys.argv[1:]))"
    )
    limit = resource.getrlimit(resource.RLIMIT_AS)
    assert limit[0] == resource.RLIM_INFINITY or limit[0] > 2_000_000_000
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, sorted(tmp_path.iterdir()))], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.count("(8, 8, 3)") == 4, done.stderr


def test_the_first_of_two_exif_blocks_is_used() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    other = b"Exif\0\0" + slow_pictures.greedy_exif(1, 200)
    data = slow_pictures.encode(Image.new("RGB", (20, 10)), "JPEG", exif=turned)
    end = 4 + int.from_bytes(data[4:6], "big")
    segment = b"\xff\xe1" + (len(other) + 2).to_bytes(2, "big") + other
    assert data[2:4] == b"\xff\xe0"
    second = data.index(b"\xff\xe1")
    end = second + 2 + int.from_bytes(data[second + 2 : second + 4], "big")
    assert read_image(data[:end] + segment + data[end:]).shape == (20, 10, 3)


def test_scans_are_counted_behind_false_ends() -> None:
    data = slow_pictures.jpeg_with_scans(64, 200)
    at = data.rindex(b"\xff\xda")
    for disguise in (b"\xff\xfe\0\4\xff\xd9", b"\xff\xd0", b"\xff\xff", b"\0\xff\1", b"noise"):
        with pytest.raises(ImageError, match="more than 100 scans"):
            read_image(data[:at] + disguise + data[at:])
    hidden = data.index(b"\xff\xdb")
    for disguise in (b"\xff\xd9", b"\xff\xf0\xff\xff", b"\xff\xc8\xff\xff"):
        with pytest.raises(ImageError, match="more than 100 scans"):
            read_image(data[:hidden] + disguise + data[hidden:])


def test_a_motion_photo_is_not_counted_as_scans() -> None:
    """Phones append a film to the photo, in which the bytes of a scan's start come up by chance."""
    film = np.random.default_rng(0).integers(0, 256, 5_000_000, np.uint8).tobytes() + b"\xff\xda" * 1_000
    assert read_image(PHOTO.read_bytes() + film).shape == (512, 512, 3)


@pytest.mark.parametrize(
    ("kind", "size", "options"),
    [
        ("JPEG", (4_080, 3_060), {"quality": 90}),
        ("JPEG", (8_160, 6_120), {"quality": 85, "progressive": True}),  # a phone's 50 megapixels
        ("PNG", (4_080, 3_060), {"compress_level": 1}),
        ("TIFF", (5_500, 5_500), {}),
        ("WEBP", (4_000, 3_000), {"quality": 80, "method": 0}),
        ("AVIF", (4_000, 3_000), {"quality": 80, "speed": 10}),
        ("GIF", (2_000, 1_500), {}),
        ("JPEG2000", (3_000, 2_000), {"irreversible": True, "quality_mode": "rates", "quality_layers": [20]}),
    ],
)
def test_normal_photos_are_within_the_budget(kind: str, size: tuple[int, int], options: dict) -> None:
    tile = Image.open(PHOTO).resize((1_020, 1_020))
    photo = Image.new("RGB", size)
    for left in range(0, size[0], 1_020):
        for top in range(0, size[1], 1_020):
            photo.paste(tile, (left, top))
    data = slow_pictures.encode(photo, kind, **options)
    start = time.process_time()
    assert read_image(data).shape == (size[1], size[0], 3)
    # Other tests on the same cores make a processor slower; alone it takes no more than `MAX_DECODE_S`.
    assert time.process_time() - start < 2 * MAX_DECODE_S


def test_a_webcam_frame_has_a_tenth_of_the_time() -> None:
    options = {"max_side": MAX_FRAME_SIDE, "max_decode_s": MAX_FRAME_DECODE_S}
    data = slow_pictures.jpeg_with_scans(1_280, 85)
    assert read_image(data).shape == (1_280, 1_280, 3)
    assert read_image(slow_pictures.jpeg_with_scans(1_280, 10), **options).shape == (1_280, 1_280, 3)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (700, 700), np.uint8))
    for frame in (slow_pictures.jpeg_with_scans(1_280, 300), slow_pictures.encode(noise, "JPEG2000")):
        with pytest.raises(ImageError):
            read_image(frame, **options)
