import io
import struct
import time
from pathlib import Path

import heic_files
import numpy as np
import pillow_heif
import pytest
from heic_files import assemble, box, encode, grid, size_box, tiled
from PIL import Image

from deepfer import ImageError, read_image
from deepfer.cli import main
from deepfer.heic import is_heic, pixels_decoded

SIDE = 64
COLOURS = np.zeros((SIDE, SIDE, 3), np.uint8)  # red, green; blue, white
COLOURS[:32, :32], COLOURS[:32, 32:], COLOURS[32:, :32], COLOURS[32:, 32:] = (
    (200, 30, 30), (30, 160, 30), (30, 30, 200), (255, 255, 255),
)  # fmt: skip
LOSSLESS = {"quality": 100, "chroma": 444}
DATA = encode(Image.fromarray(COLOURS), **LOSSLESS)
RECORD, STREAM = heic_files.picture(DATA)
TILE = (b"hvc1", STREAM, (1, 2))
PROPERTIES = (RECORD, size_box(SIDE, SIDE))


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float = 12) -> None:
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= tolerance


def with_turns(count: int) -> bytes:
    turn = box(b"irot", b"\1")
    return assemble([(1, b"hvc1", STREAM, (1, 2, *[3] * count))], [*PROPERTIES, turn])


def sps(width: int, height: int) -> bytes:
    """A sequence parameter set as far as the size (H.265, 7.3.2.2.1)."""

    def exp_golomb(value: int) -> str:
        code = f"{value + 1:b}"
        return "0" * (len(code) - 1) + code

    bits = "0" * 4 + "000" + "1" + "0" * 96 + exp_golomb(0) + exp_golomb(1) + exp_golomb(width) + exp_golomb(height)
    bits += "1" + "0" * 40
    content = int(bits[: len(bits) // 8 * 8], 2).to_bytes(len(bits) // 8, "big")
    return b"\x42\1" + content.replace(b"\0\0", b"\0\0\3")


def stream(*units: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(unit)) + unit for unit in units)


# What is read


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_photo_is_turned_upright_once(orientation: int) -> None:
    stored = {
        1: COLOURS, 2: COLOURS[:, ::-1], 3: COLOURS[::-1, ::-1], 4: COLOURS[::-1], 5: COLOURS.swapaxes(0, 1),
        6: np.rot90(COLOURS, 1), 7: COLOURS[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(COLOURS, -1),
    }[orientation]  # fmt: skip
    data = encode(Image.fromarray(np.ascontiguousarray(stored)), orientation=orientation, **LOSSLESS)
    assert_close(read_image(data), COLOURS)


def test_transparent_pixels_are_white() -> None:
    alpha = np.full((SIDE, SIDE, 1), 255, np.uint8)
    alpha[:, :32] = 0
    data = encode(Image.fromarray(np.concatenate([COLOURS, alpha], axis=2)), **LOSSLESS)
    expected = COLOURS.copy()
    expected[:, :32] = 255
    assert_close(read_image(data), expected)
    assert pixels_decoded(data) == 2 * SIDE * SIDE


def test_10_bits() -> None:
    file = io.BytesIO()
    deep = COLOURS.astype(np.uint16) * 257
    pillow_heif.from_bytes("RGB;16", (SIDE, SIDE), deep.tobytes()).save(file, **LOSSLESS)
    assert pillow_heif.open_heif(file, convert_hdr_to_8bit=False).info["bit_depth"] == 10
    assert_close(read_image(file.getvalue()), COLOURS)


def test_gray_and_odd_sizes() -> None:
    ramp = np.tile(np.arange(0, 250, 2, dtype=np.uint8), (37, 1))
    found = read_image(encode(Image.fromarray(ramp), quality=100))
    assert_close(found, np.repeat(ramp[:, :, None], 3, axis=2))


def test_the_main_image_of_several_is_read() -> None:
    heif = pillow_heif.from_pillow(Image.new("RGB", (80, 40), "red"))
    heif.add_from_pillow(Image.fromarray(COLOURS))
    for primary, size in ((0, (40, 80, 3)), (1, (SIDE, SIDE, 3))):
        file = io.BytesIO()
        heif.save(file, primary_index=primary, quality=90)
        assert read_image(file.getvalue()).shape == size


def test_a_grid_of_tiles_is_put_together() -> None:
    data = tiled(DATA, SIDE, 2, 3, 180, 128)
    assert_close(read_image(data), np.tile(COLOURS, (2, 3, 1))[:, :180])
    assert pixels_decoded(data) == 180 * 128 + 6 * SIDE * SIDE


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_brands(brand: bytes) -> None:
    data = box(b"ftyp", brand + b"\0\0\0\0mif1heic") + assemble([(1, *TILE)], PROPERTIES)[28 - 4 :]
    assert is_heic(data)


def test_an_avif_is_not_a_heic() -> None:
    file = io.BytesIO()
    Image.fromarray(COLOURS).save(file, "AVIF")
    assert not is_heic(file.getvalue())
    assert read_image(file.getvalue()).shape == COLOURS.shape


@pytest.mark.parametrize("name", ["photo.HEIC", "photo.heif", "photo", "photo.jpg"])
def test_the_command_line_reads_it_by_content(
    tmp_path: Path, astronaut: np.ndarray, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).write_bytes(encode(Image.fromarray(astronaut), quality=80))
    assert main([str(tmp_path / name)]) == 0
    assert f"{name}  512x512  1 face: happy" in capsys.readouterr().out


def test_a_folder_is_searched_for_them(
    tmp_path: Path, astronaut: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.heic").write_bytes(encode(Image.fromarray(astronaut), quality=80))
    assert main([str(tmp_path), "--save", str(tmp_path / "out")]) == 0
    assert "1 face: happy" in capsys.readouterr().out
    assert len(list((tmp_path / "out").iterdir())) == 1


# What is refused

LARGE = encode(Image.new("RGB", (2_000, 2_000)), quality=10)
HOSTILE = {
    "a canvas past the limit": (tiled(DATA, SIDE, 1, 1, 8_001, 8_000), "64 megapixels"),
    "300 tiles larger than the canvas": (tiled(LARGE, 2_000, 15, 20, 512, 512), r"take about .* to decode \(512x512"),
    "one tile 60,000 times": (
        assemble(
            [(1, b"grid", grid(240, 250, 8_000, 8_000), (2,)), (2, *TILE)], PROPERTIES, [(b"dimg", 1, [2] * 60_000)]
        ),
        "damaged",
    ),
    "a bitstream larger than it says": (
        assemble([(1, b"hvc1", stream(sps(30_000, 30_000)), (1, 2))], PROPERTIES),
        "part of more than 64 megapixels",
    ),
    "2,000 hidden pictures of 2 megapixels": (
        assemble([(1, b"hvc1", stream(sps(1_600, 1_200), *[b"\x26\1\xff"] * 2_000), (1, 2))], PROPERTIES),
        "to decode",
    ),
    "5 million units": (assemble([(1, b"hvc1", b"\0\0\0\1\x26" * 5_000_000, (1, 2))], PROPERTIES), "5,000 units"),
    "10 million empty units": (assemble([(1, b"hvc1", bytes(40_000_000), (1, 2))], PROPERTIES), "5,000 units"),
    "25,000 properties": (
        assemble([(i, b"hvc1", STREAM, [1] * 250) for i in range(1, 101)], PROPERTIES),
        "20,000 properties",
    ),
    "a million parameter sets": (
        assemble([(1, *TILE)], [box(b"hvcC", RECORD[8:30] + b"\xff" + b"\x21\xff\xff" * 255), PROPERTIES[1]]),
        "5,000 units",
    ),
    "a grid of itself": (
        assemble([(1, b"grid", grid(1, 1, 64, 64), (2,))], PROPERTIES, [(b"dimg", 1, [1])]),
        "nested too deeply",
    ),
    "200 turns": (with_turns(200), "turned too often"),
    "no images": (assemble([], PROPERTIES), "not HEVC"),
    "metadata for each of 400 images": (
        assemble(
            [(i, *TILE) for i in range(1, 401)] + [(401, b"mime", bytes(2_000_000), ())],
            PROPERTIES,
        ),
        "metadata",
    ),
    "2,000 parts in the header": (assemble([(1, *TILE)], [*PROPERTIES, *[box(b"free", b"")] * 2_000]), "1,000 parts"),
    "no header": (DATA[:28], "damaged"),
    "a film": (box(b"ftyp", b"heic\0\0\0\0") + box(b"moov", b""), "damaged"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused_before_decoding(data: bytes, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pi_heif import HeifImageFile

    def decode(_: HeifImageFile) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(HeifImageFile, "load", decode)
    start = time.process_time()
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(data)
    assert "\n" not in str(caught.value)
    assert time.process_time() - start < 1


def test_an_item_in_two_places_is_refused() -> None:
    data = assemble([(1, *TILE), (1, *TILE)], PROPERTIES)
    with pytest.raises(ImageError, match="described twice"):
        read_image(data)


def test_four_turns_are_fine() -> None:
    assert_close(read_image(with_turns(4)), COLOURS)


def test_a_header_that_is_cut_is_one_line() -> None:
    for end in range(12, len(DATA), 7):
        with pytest.raises(ImageError) as caught:
            read_image(DATA[:end])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [DATA, tiled(DATA, SIDE, 2, 3, 180, 128)], ids=["one image", "a grid"])
def test_damage_is_always_an_image_error(data: bytes) -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        for place in rng.integers(min(len(data), 600), size=rng.integers(1, 6)):
            damaged[place] = rng.integers(256)
        try:
            assert read_image(bytes(damaged)).shape[2] == 3
        except ImageError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("scale", [1, 2])
def test_a_photo_of_a_phone_is_within_the_budget(scale: int, astronaut: np.ndarray) -> None:
    """12 or 48 megapixels in tiles of 512 pixels, as iPhones write them."""
    data = encode(Image.fromarray(astronaut), quality=60)
    photo = tiled(data, 512, 6 * scale, 8 * scale, 4_032 * scale, 3_024 * scale)
    assert read_image(photo).shape == (3_024 * scale, 4_032 * scale, 3)
