import cv2
import numpy as np
import pytest

from deepfer.alignment import CropGeometry
from deepfer.face import Face

GEOMETRY = CropGeometry(
    template=((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.75), (0.65, 0.75)), margin=1.25, center=(0.5, 0.45)
)
SIZE = 48


def face_at(center: complex, side: float, angle: float, image_size: int = 400) -> Face:
    """A face whose crop is the square of `side` around `center`, rotated by `angle` degrees."""
    turn = np.exp(1j * np.radians(angle))
    points = [center + turn * side * (complex(*point) - complex(0.5, 0.5)) for point in GEOMETRY.template]
    return Face((0, 0, image_size, image_size), landmarks=tuple((p.real, p.imag) for p in points))


def marked(center: complex, side: float, angle: float) -> np.ndarray:
    """An image with a bright disc at (0.3, 0.4) of the face, its right eye."""
    image = np.zeros((400, 400, 3), np.uint8)
    eye = center + np.exp(1j * np.radians(angle)) * side * complex(-0.2, -0.1)
    fine = 16  # OpenCV draws to a sixteenth of a pixel, counted from the middle of the first one
    x, y = round((eye.real - 0.5) * fine), round((eye.imag - 0.5) * fine)
    cv2.circle(image, (x, y), round(max(2, side / 20) * fine), (255, 255, 255), -1, cv2.LINE_AA, 4)
    return image


@pytest.mark.parametrize("angle", [0, 30, -45, 90])
@pytest.mark.parametrize("side", [24, 60, 200])
def test_landmarks_land_on_the_template(angle: float, side: float) -> None:
    center = complex(200, 190)
    crop = GEOMETRY.crop(marked(center, side, angle), face_at(center, side, angle), SIZE)
    assert crop.shape == (SIZE, SIZE)
    assert crop.dtype == np.uint8
    y, x = (np.average(axis, weights=crop.astype(float)) for axis in np.indices(crop.shape))
    assert (x + 0.5) / SIZE == pytest.approx(0.3, abs=0.025)
    assert (y + 0.5) / SIZE == pytest.approx(0.4, abs=0.025)


def test_a_box_without_landmarks_is_cropped_with_its_margin() -> None:
    image = np.zeros((400, 400, 3), np.uint8)
    image[100:180, 150:230] = 255  # the box
    crop = GEOMETRY.crop(image, Face((150, 100, 230, 180)), 100)
    rows, columns = np.flatnonzero(crop.max(axis=1) > 127), np.flatnonzero(crop.max(axis=0) > 127)
    assert (columns[0], columns[-1] + 1) == pytest.approx((10, 90), abs=1)
    assert (rows[0], rows[-1] + 1) == pytest.approx((5, 85), abs=1)


def test_a_crop_of_the_whole_image_is_the_identity() -> None:
    rng = np.random.default_rng(0)
    image = np.repeat(rng.integers(0, 256, (SIZE, SIZE, 1), dtype=np.uint8), 3, axis=2)
    crop = GEOMETRY.crop(image, face_at(complex(SIZE / 2, SIZE / 2), SIZE, 0, SIZE), SIZE)
    assert np.abs(crop.astype(int) - image[:, :, 0]).max() <= 1


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    checkers = (np.indices((400, 400)).sum(axis=0) % 2 * 255).astype(np.uint8)
    crop = GEOMETRY.crop(np.repeat(checkers[:, :, None], 3, axis=2), face_at(200 + 200j, 380, 0), SIZE)
    assert np.abs(crop.astype(int) - 127).max() < 20


@pytest.mark.parametrize("box", [(0, 0, 40, 40), (380, 390, 400, 400), (0, 0, 400, 400), (399, 399, 400, 400)])
def test_the_border_is_repeated_beyond_the_image(box: tuple[int, int, int, int]) -> None:
    image = np.full((400, 400, 3), 90, np.uint8)
    assert np.all(GEOMETRY.crop(image, Face(box), SIZE) == 90)


def test_coinciding_landmarks_fall_back_to_the_box() -> None:
    image = np.full((400, 400, 3), 90, np.uint8)
    image[100:180, 150:230] = 200
    collapsed = Face((150, 100, 230, 180), landmarks=((190.0, 140.0),) * 5)
    assert np.array_equal(GEOMETRY.crop(image, collapsed, SIZE), GEOMETRY.crop(image, Face(collapsed.box), SIZE))
