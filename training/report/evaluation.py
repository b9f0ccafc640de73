"""Evaluation: the outputs of a served classifier against the labels of one split."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepfer.classifier import HEADS, EmotionClassifier, softmax
from deepfer.face import LABELS
from training.data.split import Split
from training.report import plots
from training.report.image_grid import image_grid
from training.report.metrics import ece, measure, unclear

GRID = (6, 10)  # rows and columns of the grid of mistakes


def logits(classifier: EmotionClassifier, images: np.ndarray) -> dict[str, np.ndarray]:
    """Compute every head's logits `(N, 7)` on all cores; LiteRT releases Python's lock."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(classifier.logits, np.array_split(images, 4 * (os.cpu_count() or 1))))
    return {head: np.concatenate([part[head] for part in parts]) for head in parts[0]}


def probabilities(classifier: EmotionClassifier, images: np.ndarray) -> np.ndarray:
    """Compute the served probabilities `(N, 7)` on all cores."""
    return softmax(logits(classifier, images)["served"] / classifier.checkpoint.temperature["logits"])


def best_truth(split: Split) -> tuple[np.ndarray, str]:
    """Return the labels `(N,)`, -1 for none, to judge the served output by, and their name: FER+'s if there are any."""
    if np.any(split.ferplus_labels >= 0):
        return split.ferplus_labels, "FER+'s majority"
    return split.labels, "the dataset's labels"


class SplitEvaluation:
    """The outputs of a classifier on one split, and their metrics and plots."""

    def __init__(self, classifier: EmotionClassifier, split: Split, dedup_mask: np.ndarray | None = None) -> None:
        """Run the classifier on the images and on their mirror images.

        Args:
            classifier: The classifier to evaluate.
            split: The images and labels.
            dedup_mask: bool `(N,)`, True for images without a near-duplicate in the training split; None if there is
                no training split.
        """
        self.split, self.dedup_mask = split, dedup_mask
        self.logits = logits(classifier, split.images)
        self.mirrored = logits(classifier, np.ascontiguousarray(split.images[:, :, ::-1]))
        self.temperature = {head: classifier.checkpoint.temperature[HEADS[head]] for head in self.logits}

    def metrics(self) -> dict[str, Any]:
        """Measure both outputs against the dataset's labels, and the served output against FER+'s if there are any."""
        heads = sorted(self.logits)
        found: dict[str, Any] = {
            "fer2013": {
                "head" if head == "fer2013" else head: self._measure(head, self.split.labels) for head in heads
            },
            "ferplus": None,
        }
        if np.any(self.split.ferplus_labels >= 0):
            found["ferplus"] = {"served": self._measure("served", self.split.ferplus_labels)}
        return found

    def plot(self, metrics: dict[str, Any], folder: Path, name: str) -> None:
        """Draw the confusion matrices, ROC curves and calibration of split `name`, replacing older plots of it."""
        for old in folder.glob(f"{name}-*.png"):
            old.unlink()
        if "head" in metrics["fer2013"]:
            self._plot_head(
                "FER2013 head, the labels", folder / f"{name}-fer2013", "fer2013", metrics["fer2013"]["head"]
            )
        truth, truth_name = best_truth(self.split)
        m = (metrics["ferplus"] or metrics["fer2013"])["served"]
        self._plot_head(
            f"Served, {truth_name}", folder / f"{name}-{'ferplus' if metrics['ferplus'] else 'served'}", "served", m
        )
        rows, temperature = truth >= 0, self.temperature["served"]
        plots.calibration(
            {
                f"before: ECE {m['ece_untempered']:.3f}": (softmax(self.logits["served"][rows]), truth[rows]),
                f"as served, divided by {temperature:g}: ECE {m['ece']:.3f}": (self._served()[rows], truth[rows]),
            },
            f"Calibration of the served output against {truth_name} ({name})",
            folder / f"{name}-calibration.png",
        )

    def draw_mistakes(self, path: Path) -> None:
        """Draw the most confident mistakes of the served output, if there are any."""
        truth, truth_name = best_truth(self.split)
        served = self._served()
        predicted, confidence = served.argmax(axis=1), served.max(axis=1)
        wrong = np.flatnonzero((truth >= 0) & (predicted != truth))
        wrong = wrong[np.argsort(-confidence[wrong])][: GRID[0] * GRID[1]]
        if not len(wrong):
            return
        rows = np.array_split(wrong, range(GRID[1], len(wrong), GRID[1]))
        image_grid(
            [self.split.images[row] for row in rows],
            path,
            f"The most confident mistakes: prediction and confidence; below, {truth_name}",
            captions=[[f"{LABELS[predicted[i]]} {confidence[i]:.0%}\n{LABELS[truth[i]]}" for i in row] for row in rows],
        )

    def _served(self) -> np.ndarray:
        return softmax(self.logits["served"] / self.temperature["served"])

    def _measure(self, head: str, truth: np.ndarray) -> dict[str, Any]:
        rows = truth >= 0
        truth = truth[rows]
        plain, mirrored = (softmax(of[head][rows] / self.temperature[head]) for of in (self.logits, self.mirrored))
        m = {
            **measure(plain, truth),
            "ece_untempered": ece(softmax(self.logits[head][rows]), truth),
            "flip_tta": {"accuracy": float(np.mean((plain + mirrored).argmax(axis=1) == truth))},
            "without_near_duplicates": None,
        }
        if head == "served":
            m["unclear"] = unclear(plain, truth)
        if self.dedup_mask is not None:
            right = (plain.argmax(axis=1) == truth)[self.dedup_mask[rows]]
            accuracy = float(right.mean()) if len(right) else None
            m["without_near_duplicates"] = {"n": len(right), "accuracy": accuracy}
        return m

    def _plot_head(self, title: str, stem: Path, head: str, m: dict[str, Any]) -> None:
        truth = self.split.labels if head == "fer2013" else best_truth(self.split)[0]
        rows = truth >= 0
        plots.confusion(m["confusion_matrix"], f"{title}: {m['accuracy']:.1%}", Path(f"{stem}-confusion.png"))
        found = softmax(self.logits[head][rows] / self.temperature[head])
        plots.roc(found, truth[rows], m["per_class"], title, Path(f"{stem}-roc.png"))


def masking_effect(classifier: EmotionClassifier, images: np.ndarray) -> dict[str, float]:
    """Measure how far the label's probability falls when parts of the activation map are masked, on average.

    The hottest and the coldest quarter of each uint8 `(N, S, S)` image are replaced by the image's mean, one at a time.
    """
    probabilities, maps = classifier.explain(images)
    label = probabilities.argmax(axis=1)
    size = images.shape[1]
    masked = {"hottest_quarter": images.copy(), "coldest_quarter": images.copy()}
    for i, image in enumerate(images):
        heat = cv2.resize(maps[i, :, :, label[i]], (size, size), interpolation=cv2.INTER_CUBIC)
        order = heat.ravel().argsort()
        quarter = len(order) // 4
        masked["coldest_quarter"][i].ravel()[order[:quarter]] = image.mean()
        masked["hottest_quarter"][i].ravel()[order[-quarter:]] = image.mean()
    rows = np.arange(len(images))
    before = probabilities[rows, label]
    return {
        "images": len(images),
        **{part: float(np.mean(before - classifier.predict(m)[rows, label])) for part, m in masked.items()},
    }
