from collections.abc import Callable

import cv2
import numpy as np
import pytest
from drawn_faces import textured

from training.data.duplicates import between, find
from training.data.split import Split
from training.data.synthetic import synthetic_split


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return textured(synthetic_split(60, 0), 1).images


def moved(face: np.ndarray, scale: float, degrees: float, shift: tuple[float, float]) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D((23.5, 23.5), degrees, scale)
    matrix[:, 2] += shift
    return cv2.warpAffine(face, matrix, (48, 48), borderMode=cv2.BORDER_REFLECT)


def test_all_kinds_of_copies_are_found(faces: np.ndarray) -> None:
    watermarked = faces[5].copy()
    cv2.putText(watermarked, "photos", (2, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
    copies = {
        "the same": (0, faces[0]),
        "mirrored": (1, faces[1][:, ::-1]),
        "darker and flatter": (2, (faces[2] * 0.5 + 20).astype(np.uint8)),
        "cut closer": (3, moved(faces[3], 1.1, 0, (1, 1))),
        "turned": (4, moved(faces[4], 1, 4, (-1, 0))),
        "watermarked": (5, watermarked),
        "compressed": (6, cv2.imdecode(cv2.imencode(".jpg", faces[6], [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 0)),
    }
    found = find(np.stack([copy for _, copy in copies.values()]), faces)
    assert dict(zip(copies, found.tolist(), strict=True)) == {name: row for name, (row, _) in copies.items()}


def cropped(face: np.ndarray, share: float, x: float, y: float) -> np.ndarray:
    """A part with a side of `share`, at `x` and `y` of the way across, enlarged to the whole picture."""
    offset = (1 - share) * 48 * np.array([x, y])
    matrix = np.array([[1 / share, 0, 0], [0, 1 / share, 0]])
    matrix[:, 2] = (0.5 - offset) / share - 0.5
    return cv2.warpAffine(face, matrix, (48, 48))


@pytest.mark.parametrize(
    "change",
    [
        lambda face: moved(face, 1, 0, (4, 3)),
        lambda face: moved(face, 1, 0, (-6, 5)),
        lambda face: moved(face, 1, 0, (9, -8)),
        lambda face: cropped(face, 0.9, 1, 0),
        lambda face: cropped(face, 0.8, 0.5, 0.5),
        lambda face: cropped(face, 0.8, 0.2, 0.9)[:, ::-1],
        lambda face: cropped(face, 0.7, 0.4, 0.1),
    ],
    ids=["shift 4 3", "shift -6 5", "shift 9 -8", "crop 90", "crop 80", "mirrored crop 80", "crop 70"],
)
def test_shifts_and_crops_are_found_both_ways(faces: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> None:
    changed = np.stack([change(face) for face in faces])
    for found in (find(changed, faces), find(faces, changed)):
        assert np.mean(found == np.arange(len(faces))) > 0.9
        assert np.all((found == np.arange(len(faces))) | (found < 0))


def test_other_faces_do_not_match(faces: np.ndarray) -> None:
    assert find(faces[:30], faces[30:]).tolist() == [-1] * 30


def test_other_sizes_flat_images_and_no_images(faces: np.ndarray) -> None:
    large = np.stack([cv2.resize(face, (64, 64), interpolation=cv2.INTER_CUBIC) for face in faces[:4]])
    assert find(large, faces).tolist() == [0, 1, 2, 3]
    assert find(np.full((2, 48, 48), 90, np.uint8), faces).tolist() == [-1, -1]
    assert find(faces[:2], faces[:0]).tolist() == [-1, -1]
    assert find(faces[:0], faces).tolist() == []
    assert find(faces[:1], faces[:1]).tolist() == [0]  # fewer than there are candidates


def test_all_pairs_of_splits_are_compared(faces: np.ndarray) -> None:
    def split(*rows: int) -> Split:
        count = len(rows)
        return Split(faces[list(rows)], np.zeros(count, int), np.zeros((count, 7), np.float32), np.full(count, -1))

    found = between({"train": split(0, 1, 2, 3), "validation": split(10, 3), "test": split(3, 20, 10)})
    assert {pair: rows.tolist() for pair, rows in found.items()} == {
        ("test", "train"): [3, -1, -1],
        ("test", "validation"): [1, -1, 0],
        ("validation", "train"): [-1, 3],
    }
