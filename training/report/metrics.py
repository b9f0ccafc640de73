"""Metrics of predicted probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score

from deepfer.face import LABELS, is_unclear

ECE_BINS = 15
RESAMPLES = 10_000  # bootstrap samples


def measure(probabilities: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Compute the metrics that `metrics.json` holds for one output and one set of labels.

    Args:
        probabilities: float `(N, 7)`.
        truth: int `(N,)`, indices into `LABELS`. Labels that do not occur have null precision, recall, F1 and AUC, and
            are left out of the balanced accuracy and the macro F1.
    """
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=range(len(LABELS)), zero_division=0
    )
    there = support > 0

    def auc(label: int) -> float | None:
        if not 0 < support[label] < len(truth):
            return None
        return float(roc_auc_score(truth == label, probabilities[:, label]))

    return {
        "n": len(truth),
        "accuracy": float(np.mean(predicted == truth)),
        "accuracy_interval": interval(predicted == truth),
        "balanced_accuracy": float(recall[there].mean()),
        "macro_f1": float(f1[there].mean()),
        "ece": ece(probabilities, truth),
        "log_loss": log_loss(probabilities, truth),
        "per_class": {
            label: {
                "precision": float(precision[i]) if there[i] else None,
                "recall": float(recall[i]) if there[i] else None,
                "f1": float(f1[i]) if there[i] else None,
                "roc_auc": auc(i),
                "support": int(support[i]),
            }
            for i, label in enumerate(LABELS)
        },
        "confusion_matrix": confusion_matrix(truth, predicted, labels=range(len(LABELS))).tolist(),
    }


def unclear(probabilities: np.ndarray, truth: np.ndarray) -> dict[str, float | None]:
    """Measure how often served probabilities are unclear (`Face.unclear`), and how often they are right.

    Args:
        probabilities: float `(N, 7)`.
        truth: int `(N,)`, indices into `LABELS`.

    Returns:
        "share": the share of faces that are unclear. "first_right" and "first_or_second_right": how often, among these,
        the most probable emotion, or either of the two most probable, is the truth. "rest_right": how often, among the
        other faces, the most probable emotion is the truth. None for an empty group.
    """
    flagged = np.array([is_unclear(row) for row in probabilities.tolist()], bool)
    first_right = probabilities.argmax(axis=1) == truth
    order = np.argsort(-probabilities, axis=1, kind="stable")
    second_right = order[:, 1] == truth

    def share(right: np.ndarray) -> float | None:
        return float(right.mean()) if len(right) else None

    return {
        "share": share(flagged),
        "first_right": share(first_right[flagged]),
        "first_or_second_right": share((first_right | second_right)[flagged]),
        "rest_right": share(first_right[~flagged]),
    }


def interval(right: np.ndarray) -> list[float]:
    """Return the 95% bootstrap interval of an accuracy (percentiles; Efron 1979), from bool `(N,)`.

    The number of correct images in a bootstrap sample is binomial, so it is sampled directly.
    """
    accuracies = np.random.default_rng(0).binomial(len(right), right.mean(), RESAMPLES) / len(right)
    return [float(bound) for bound in np.quantile(accuracies, (0.025, 0.975))]


def ece(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return the expected calibration error, mean |confidence - accuracy| over 15 equal bins (Guo et al. 2017)."""
    return float(sum(share * abs(c - a) for c, a, share in reliability(probabilities, truth) if share))


def reliability(probabilities: np.ndarray, truth: np.ndarray) -> list[tuple[float, float, float]]:
    """Return the mean confidence, the accuracy and the share of the images of each confidence bin."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)
    found = []
    for b in range(ECE_BINS):
        inside = bins == b
        if inside.any():
            found.append((float(confidence[inside].mean()), float(right[inside].mean()), float(inside.mean())))
        else:
            found.append((0.0, 0.0, 0.0))
    return found


def log_loss(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean negative log probability of the truth, in nats."""
    return float(-np.log(np.clip(probabilities[np.arange(len(truth)), truth], 1e-12, 1)).mean())
