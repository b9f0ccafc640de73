"""Pipeline: measures accuracy after detection and alignment, on pasted crops or on a dataset's own photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from deepfer.face import LABELS
from deepfer.recognizer import EmotionRecognizer
from training.data.dataset import LabelledImages
from training.data.split import Split
from training.report.evaluation import best_truth, probabilities

MAX_IMAGES = 800
ANGLES = (0, 15, 30, 45)  # degrees, either way
SAMPLED = 20  # images checked to decide whether a dataset holds photos or crops


def paste_into_scene(image: np.ndarray, angle: float, rng: np.random.Generator) -> np.ndarray:
    """Paste a grayscale `(S, S)` face into a 640x480 RGB image, 80 to 240 pixels wide, rotated by `angle` degrees."""
    width, height = 640, 480
    coarse = rng.integers(40, 216, (6, 8)).astype(np.uint8)
    scene = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) + rng.normal(0, 4, (height, width))
    side = float(np.exp(rng.uniform(np.log(80), np.log(240))))
    radius = side * 0.75
    center = rng.uniform([radius, radius], [width - radius, height - radius])
    middle = (np.array(image.shape[::-1]) - 1) / 2
    matrix = cv2.getRotationMatrix2D(tuple(middle), angle, side / image.shape[0])
    matrix[:, 2] = matrix[:, 2] + center - middle
    pasted = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(np.ones_like(image, np.float32), matrix, (width, height), flags=cv2.INTER_LINEAR)
    scene = scene + mask * (pasted - scene)
    return np.repeat(np.clip(scene, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def evaluate_crops(recognizer: EmotionRecognizer, split: Split, seed: int = 0) -> dict[str, Any]:
    """Measure what detection and alignment lose: accuracy on the original crops, and on crops pasted into scenes.

    A missed face counts as an error. Accuracies and losses are shares, by angle in degrees.
    """
    truth, _ = best_truth(split)
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(truth >= 0))[:MAX_IMAGES]
    on_crop = probabilities(recognizer.classifier, split.images[rows]).argmax(axis=1) == truth[rows]
    found: dict[str, Any] = {"images": len(rows), "accuracy_on_crop": float(on_crop.mean()), "angles": {}}
    for angle in ANGLES:
        rng = np.random.default_rng((seed, angle))
        right, detected = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
        for i, row in enumerate(rows):
            rotation = angle * (1 if rng.random() < 0.5 else -1)
            faces = recognizer.recognize(paste_into_scene(split.images[row], rotation, rng))
            detected[i] = bool(faces)
            right[i] = bool(faces) and faces[0].emotion == recognizer.classifier.labels[truth[row]]
        found["angles"][str(angle)] = {
            "detected": float(detected.mean()),
            "accuracy": float(right.mean()),
            "loss": float(on_crop.mean() - right.mean()),
            "loss_where_detected": float(on_crop[detected].mean() - right[detected].mean()) if detected.any() else None,
        }
    return found


def evaluate_photos(
    recognizer: EmotionRecognizer, splits: Sequence[LabelledImages], seed: int = 0
) -> dict[str, Any] | None:
    """Measure the served output on a dataset's own photos: whole, and after detection and alignment.

    Only the largest face counts; a missed face counts as an error. Returns None if the images are too small to search
    for faces, because they are crops.
    """
    every = [(images, row) for images in splits for row in range(len(images))]
    chosen = [every[i] for i in np.random.default_rng(seed).permutation(len(every))[:MAX_IMAGES]]
    classifier = recognizer.classifier
    if np.median([min(images.read(row).shape[:2]) for images, row in chosen[:SAMPLED]]) < 2 * classifier.input_size:
        return None
    truth = np.array([images.labels[row] for images, row in chosen])
    on_whole, detected, right = (np.zeros(len(chosen), bool) for _ in range(3))
    for i, (images, row) in enumerate(chosen):  # one at a time: photos are large
        photo = images.read(row)
        on_whole[i] = classifier.predict(photo[None])[0].argmax() == truth[i]
        faces = recognizer.recognize(photo)
        detected[i] = bool(faces)
        right[i] = bool(faces) and faces[0].emotion == LABELS[truth[i]]
    return {
        "images": len(chosen),
        "accuracy_as_they_are": float(on_whole.mean()),
        "detected": float(detected.mean()),
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean([right[truth == label].mean() for label in np.unique(truth)])),
        "accuracy_where_detected": float(right[detected].mean()) if detected.any() else None,
    }
