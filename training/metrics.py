"""Metrics: what is measured of predicted probabilities, and the fits that are chosen by it."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score

from deepfer.classifier import softmax
from deepfer.face import LABELS
from training.data import Split

ECE_BINS = 15
RESAMPLES = 10_000  # of the bootstrap


def measure(probabilities: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Everything that `metrics.json` keeps of one output against one label set.

    Args:
        probabilities: float `(N, 7)`.
        truth: int `(N,)`, indices into `LABELS`. Labels that do not occur get null precision, recall, F1 and AUC, and
            do not count in the balanced accuracy and the macro F1.
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


def interval(right: np.ndarray) -> list[float]:
    """The 95 % bootstrap interval of an accuracy (percentiles; Efron 1979), from bool `(N,)`.

    Of N images drawn anew with replacement, the number that is right is binomial: that is drawn at once.
    """
    drawn = np.random.default_rng(0).binomial(len(right), right.mean(), RESAMPLES) / len(right)
    return [float(bound) for bound in np.quantile(drawn, (0.025, 0.975))]


def ece(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Expected calibration error: mean |confidence - accuracy| over 15 equal bins of confidence (Guo et al. 2017)."""
    return float(sum(share * abs(c - a) for c, a, share in reliability(probabilities, truth) if share))


def reliability(probabilities: np.ndarray, truth: np.ndarray) -> list[tuple[float, float, float]]:
    """For each bin of confidence: mean confidence, accuracy, share of the images."""
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
    """Mean negative log probability of the truth, nats."""
    return float(-np.log(np.clip(probabilities[np.arange(len(truth)), truth], 1e-12, 1)).mean())


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The temperature with the smallest log loss, by a fine search from 0.25 to 4 (Guo et al. 2017)."""
    candidates = np.exp(np.linspace(np.log(0.25), np.log(4), 401))
    losses = [log_loss(softmax(logits / t), truth) for t in candidates]
    return round(float(candidates[int(np.argmin(losses))]), 4)


def blend_score(logits: dict[str, np.ndarray], share: float, split: Split) -> float:
    """Mean over FER2013's labels and FER+'s majority of (accuracy + balanced accuracy) / 2 of a blend of both heads."""
    predicted = (share * logits["fer2013"] + (1 - share) * logits["ferplus"]).argmax(axis=1)
    scores = []
    for truth in (split.labels, split.majority):
        rows = truth >= 0
        right = predicted[rows] == truth[rows]
        scores += [right.mean(), np.mean([right[truth[rows] == label].mean() for label in np.unique(truth[rows])])]
    return float(np.mean(scores))
