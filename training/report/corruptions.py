"""Corruptions: degrade crops as cameras and detectors do, at set strengths, and measure the accuracy on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from deepfer.classifier import EmotionClassifier
from training.data.split import Split
from training.report.evaluation import best_truth, probabilities
from training.report.metrics import measure

MAX_IMAGES = 1500


@dataclass(frozen=True)
class Corruption:
    """One way to degrade a crop.

    Attributes:
        unit: The meaning of a strength.
        strengths: From mild to strong.
        apply: Maps uint8 `(S, S)`, a strength and a random generator to uint8 `(S, S)`.
    """

    unit: str
    strengths: tuple[float, ...]
    apply: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def _blur(image: np.ndarray, sigma: float, _rng: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma * len(image))


def _noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.rint(image + rng.normal(0, sigma, image.shape)), 0, 255).astype(np.uint8)


def _light(image: np.ndarray, factor: float, _rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.rint(image * factor), 0, 255).astype(np.uint8)


def _coarsen(image: np.ndarray, side: float, _rng: np.random.Generator) -> np.ndarray:
    small = cv2.resize(image, (int(side), int(side)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape, interpolation=cv2.INTER_CUBIC)


def _cover(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    side = round(len(image) * share**0.5)
    top, left = rng.integers(0, len(image) - side + 1, 2)
    covered = image.copy()
    covered[top : top + side, left : left + side] = 128
    return covered


def _warp(image: np.ndarray, scale: float, degrees: float, shift: np.ndarray) -> np.ndarray:
    middle = (len(image) - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), degrees, scale)
    matrix[:, 2] += shift
    return cv2.warpAffine(image, matrix, image.shape, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _rotate(image: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    return _warp(image, 1, degrees * rng.choice((-1, 1)), np.zeros(2))


def _shift(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    return _warp(image, 1, 0, share * len(image) * np.array([np.cos(angle), np.sin(angle)]))


def zoom(image: np.ndarray, scale: float, _rng: np.random.Generator | None = None) -> np.ndarray:
    """Enlarge a uint8 `(S, S)` crop around its middle by `scale`, repeating its border if that is below 1."""
    return _warp(image, scale, 0, np.zeros(2))


CORRUPTIONS = {
    "blur": Corruption("sigma, share of the side", (0.02, 0.04), _blur),
    "noise": Corruption("standard deviation, gray levels", (10, 25), _noise),
    "dark": Corruption("brightness, factor", (0.5, 0.25), _light),
    "bright": Corruption("brightness, factor", (1.5, 2.0), _light),
    "low resolution": Corruption("side, pixels", (24, 16), _coarsen),
    "occlusion": Corruption("share of the crop", (0.1, 0.25), _cover),
    "rotation": Corruption("degrees, either way", (10, 20, 30), _rotate),
    "shifted crop": Corruption("share of the side, any way", (0.05, 0.1), _shift),
    "loose crop": Corruption("scale", (0.9, 0.8), zoom),
    "tight crop": Corruption("scale", (1.1, 1.2), zoom),
}


def corrupt(images: np.ndarray, seed: int = 0) -> Iterator[tuple[str, float, np.ndarray]]:
    """Yield each corruption's name and strength with the corrupted images, uint8 `(N, S, S)`, determined by `seed`."""
    for name, corruption in CORRUPTIONS.items():
        for strength in corruption.strengths:
            rng = np.random.default_rng(seed)
            yield name, strength, np.stack([corruption.apply(image, strength, rng) for image in images])


def evaluate_corruptions(classifier: EmotionClassifier, split: Split, seed: int = 0) -> dict[str, Any]:
    """Measure the served output on the same images, uncorrupted and with each corruption."""
    truth, truth_name = best_truth(split)
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(truth >= 0))[:MAX_IMAGES]
    images, truth = split.images[rows], truth[rows]

    def measured(images: np.ndarray) -> dict[str, float]:
        m = measure(probabilities(classifier, images), truth)
        return {key: m[key] for key in ("accuracy", "balanced_accuracy", "ece")}

    found: dict[str, Any] = {
        "images": len(rows),
        "labels": truth_name,
        **measured(images),
        "changes": {name: {"unit": c.unit, "strengths": []} for name, c in CORRUPTIONS.items()},
    }
    for name, strength, corrupted in corrupt(images, seed):
        found["changes"][name]["strengths"].append({"strength": strength, **measured(corrupted)})
    return found
