"""Conditions: what may make a crop hard, measured on the image, its landmarks and its votes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from deepfer.alignment import CropGeometry
from deepfer.detection import Detector
from deepfer.face import Face
from training.data.split import Split

ENLARGED = 4  # times: the detector was trained on whole photos
BORDER = 0.5  # of the enlarged crop's side, repeated around it, so that the whole head has a surrounding
UNITS = {
    "roll": "degrees from upright",
    "turn": "nose beside the middle of the eyes, share of the distance between them",
    "size": "distance between the eyes, share of the template's",
    "mouth": "nose to mouth over nose to eyes, a measure of how far the mouth is open",
    "sharpness": "log10 of the Laplacian's variance over the image's",
    "brightness": "mean gray level",
    "contrast": "standard deviation, gray levels",
    "agreement": "share of the FER+ votes for the majority",
}


def measure_conditions(split: Split, faces: Sequence[Face | None], geometry: CropGeometry) -> dict[str, np.ndarray]:
    """Measure every condition of `UNITS` on each image.

    Args:
        split: The crops.
        faces: What `find_face` found in each of them.
        geometry: How the classifier's crops are made.

    Returns:
        Condition to float64 `(N,)`; NaN where no face was found, or where there are no votes.
    """
    side = ENLARGED * split.images.shape[1]
    rows = [_of_pixels(crop) | _of_face(face, side, geometry) for crop, face in zip(split.images, faces, strict=True)]
    found = {name: np.array([row[name] for row in rows], float) for name in UNITS if name != "agreement"}
    votes = split.votes.max(axis=1).astype(float)
    return {**found, "agreement": np.where(votes > 0, votes, np.nan)}


def enlarge(crop: np.ndarray) -> np.ndarray:
    """Make a photo of a gray uint8 `(S, S)` crop: RGB, `ENLARGED` times as large, with a repeated border."""
    side = ENLARGED * len(crop)
    border = int(BORDER * side)
    large = cv2.resize(crop, (side, side), interpolation=cv2.INTER_CUBIC)
    large = cv2.copyMakeBorder(large, border, border, border, border, cv2.BORDER_REPLICATE)
    return cv2.cvtColor(large, cv2.COLOR_GRAY2RGB)


def find_face(crop: np.ndarray, detector: Detector) -> Face | None:
    """Find the largest face in `enlarge(crop)`; None if there is none with landmarks."""
    return next((face for face in detector.detect(enlarge(crop)) if face.landmarks), None)


def _of_pixels(image: np.ndarray) -> dict[str, float]:
    variance = float(image.var())
    edges = float(cv2.Laplacian(image, cv2.CV_64F).var())
    return {
        "sharpness": float(np.log10(edges / variance)) if edges and variance else np.nan,
        "brightness": float(image.mean()),
        "contrast": variance**0.5,
    }


def _of_face(face: Face | None, side: int, geometry: CropGeometry) -> dict[str, float]:
    left, right, nose, *mouth = [complex(*point) for point in face.landmarks] if face else [0j] * 5
    across = right - left
    if not across:
        return dict.fromkeys(("roll", "turn", "size", "mouth"), np.nan)
    # Upright, with the distance between the eyes as the unit and their middle as the origin.
    nose, first, second = ((point - (left + right) / 2) / across for point in (nose, *mouth))
    expected = math.dist(*geometry.template[:2]) * side
    return {
        "roll": abs(float(np.degrees(np.angle(across)))),
        "turn": abs(nose.real),
        "size": abs(across) / expected,
        "mouth": ((first + second).imag / 2 - nose.imag) / nose.imag if nose.imag > 0 else np.nan,
    }
