"""Photos and the faces in them, as a teacher labels them.

The teacher is YuNet (Wu et al. 2023), run on each photo at several sizes and rolls. A face that it is unsure of is in
doubt: it counts neither as a face nor as background.
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deepfer.grid_network import GridNetwork
from deepfer.warp import similarity, warp
from training.exceptions import DataError

SURE = 0.75  # a face counts from this score of the teacher: below it, half of those in varied photos are false
SURE_OF_PEOPLE = 0.6  # the same for photos of people, where the teacher is rarely wrong
DOUBT = 0.5  # a face is in doubt from this score: what scores lower is nearly always background
TILT_PENALTY = 0.15  # subtracted from scores in rotated views, where the teacher finds more false faces
ANIMAL_SURE = 0.9  # in photos of animals, which the teacher often takes for faces, what scores lower is background
# Views of a photo, (scale, degrees): large faces are found in a small view, small ones in a large one.
VIEWS = ((1.0, 0.0), (0.5, 0.0), (2.0, 0.0), (1.0, 35.0), (1.0, -35.0))
SAME_IOU = 0.35  # two boxes that overlap this much are one face
CROP_SIDE = 192  # pixels: FER2013's 48-pixel faces are enlarged to this, since the teacher needs room
CROP_BORDER = 48  # pixels of border around them
CROP_VIEWS = ((1.0, 0.0), (0.5, 0.0), (1.0, 25.0), (1.0, -25.0))
CROP_SURE = 0.5  # crops with a lower score are left out: their landmarks would be guesses

# Columns of a face's row: the ellipse (centre, width, height, roll in radians), the landmarks, the teacher's score.
CENTER, SIDES, ROLL, LANDMARKS, SCORE = slice(0, 2), slice(2, 4), 4, slice(5, 15), 15
COLUMNS = 16


@dataclass(frozen=True)
class Photos:
    """Decoded photos and their faces.

    Attributes:
        images: RGB uint8 `(H, W, 3)` each.
        faces: For each photo, float32 `(N, 16)`, columns as above, in pixels. A face whose score is below `SURE` is in
            doubt.
    """

    images: list[np.ndarray]
    faces: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.images)


def decode(path: Path) -> tuple[list[str], list[np.ndarray]]:
    """Names and pixels, RGB uint8 `(H, W, 3)`, of the photos in a Parquet file with an `image` column.

    Raises:
        DataError: The file is missing, or does not hold images.
    """
    names, images = zip(*_decoded(path), strict=True)
    return list(names), list(images)


def _decoded(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path, columns=["image"])
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a Parquet file with an image column: {str(error).splitlines()[0]}") from error
    for row in table["image"].to_pylist():
        bgr = cv2.imdecode(np.frombuffer(row["bytes"], np.uint8), cv2.IMREAD_COLOR)
        if bgr is None:
            raise DataError(f"{path}: {row['path']} is not an image")
        yield row["path"], cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def shows_animal(name: str) -> bool:
    """Whether a photo's name begins with the WordNet id of an animal: ImageNet's ids are sorted, animals first."""
    return re.match(r"n0\d{7}_", name) is not None and name < "n02666196"


def label(
    image: np.ndarray, teacher: GridNetwork, views: tuple[tuple[float, float], ...] = VIEWS, animal: bool = False
) -> np.ndarray:
    """The faces in an RGB uint8 `(H, W, 3)` photo, float32 `(N, 16)`, each from the view with the highest score.

    If the photo shows an `animal`, no face is sure: the best are in doubt and the others are background.
    """
    height, width = image.shape[:2]
    rows = []
    for scale, degrees in views:
        a = cmath.rect(scale, math.radians(degrees))
        if degrees:
            side = math.ceil(scale * math.hypot(width, height))
            size = side, side
        else:
            size = math.ceil(width * scale), math.ceil(height * scale)
        b = complex(*size) / 2 - a * complex(width, height) / 2
        for x, y, w, h, *points, score in teacher.detect(warp(image, similarity(a, b), size), DOUBT).tolist():
            places = [complex(x + w / 2, y + h / 2), *map(complex, points[0::2], points[1::2])]
            (center, *landmarks) = [(place - b) / a for place in places]
            flat = [part for z in landmarks for part in (z.real, z.imag)]
            score -= TILT_PENALTY * (degrees != 0)
            rows.append([center.real, center.imag, w / scale, h / scale, -math.radians(degrees), *flat, score])
    found = _each_once(np.array(rows, np.float32).reshape(-1, COLUMNS))
    if animal:
        found = found[found[:, SCORE] >= ANIMAL_SURE]
        found[:, SCORE] = DOUBT
    return found[found[:, SCORE] >= DOUBT]


def label_crops(crops: np.ndarray, teacher: GridNetwork) -> Photos:
    """Gray uint8 `(N, 48, 48)` face crops as photos; those in which the teacher sees no face are left out.

    Every crop is known to show a face, so the face counts even if the teacher is unsure.
    """
    images, faces = [], []
    shrink = crops.shape[1] / CROP_SIDE
    for crop in crops:
        large = cv2.resize(crop, (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_CUBIC)
        framed = np.pad(large, CROP_BORDER, "edge")
        rows = label(cv2.cvtColor(framed, cv2.COLOR_GRAY2RGB), teacher, CROP_VIEWS)
        if len(rows) and rows[0, SCORE] >= CROP_SURE:
            row = rows[:1]
            row[:, SCORE] = 1
            row[:, CENTER] -= CROP_BORDER
            row[:, LANDMARKS] -= CROP_BORDER
            row[:, :ROLL] *= shrink
            row[:, LANDMARKS] *= shrink
            images.append(cv2.cvtColor(crop, cv2.COLOR_GRAY2RGB))
            faces.append(row)
    return Photos(images, faces)


def load(path: Path, labels: Path, teacher: GridNetwork | None, sure: float = SURE) -> Photos:
    """Decode a Parquet file of photos, and label them with the teacher unless the file `labels` (`.npz`) exists.

    Scores are shifted so that the teacher's score `sure` becomes `SURE`.

    Raises:
        DataError: The file is missing or damaged, or there are neither labels nor a teacher.
    """
    names, images = decode(path)
    if not labels.exists():
        if teacher is None:
            raise DataError(f"{labels} is missing: run `python -m training.detector label` first")
        save(
            labels,
            [label(image, teacher, animal=shows_animal(name)) for name, image in zip(names, images, strict=True)],
        )
    with np.load(labels) as kept:
        faces = np.split(kept["faces"], np.cumsum(kept["counts"])[:-1])
    for rows in faces:
        rows[:, SCORE] += SURE - sure
    if len(faces) != len(images):
        raise DataError(f"{labels} labels {len(faces)} photos, but {path} holds {len(images)}: delete it and run again")
    return Photos(images, faces)


def save(path: Path, faces: list[np.ndarray]) -> None:
    """Save the labels of photos, in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, counts=[len(rows) for rows in faces], faces=np.concatenate(faces))


def boxes(rows: np.ndarray) -> np.ndarray:
    """The upright boxes `(N, 4)` (x1, y1, x2, y2) around the ellipses of face rows `(N, 16)`, in pixels."""
    half = rows[:, SIDES] / 2
    cos, sin = np.cos(rows[:, ROLL]), np.sin(rows[:, ROLL])
    reach = np.stack([np.hypot(half[:, 0] * cos, half[:, 1] * sin), np.hypot(half[:, 0] * sin, half[:, 1] * cos)], 1)
    return np.concatenate([rows[:, CENTER] - reach, rows[:, CENTER] + reach], axis=1)


def _each_once(rows: np.ndarray) -> np.ndarray:
    """The row with the highest score of each face, best first."""
    rows = rows[np.argsort(-rows[:, SCORE])]
    kept: list[int] = []
    around = boxes(rows)
    areas = (around[:, 2:] - around[:, :2]).prod(axis=1)
    for index in range(len(rows)):
        low = np.maximum(around[kept, :2], around[index, :2])
        high = np.minimum(around[kept, 2:], around[index, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        if not (shared > SAME_IOU * (areas[kept] + areas[index] - shared)).any():
            kept.append(index)
    return rows[kept]
