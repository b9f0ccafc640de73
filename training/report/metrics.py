"""Metrics: what is measured of predicted probabilities, and the fits that are chosen by it."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score

from deepfer.classifier import softmax
from deepfer.face import LABELS
from training.data.split import Split

ECE_BINS = 15
RESAMPLES = 10_000  # of the bootstrap
FOLDS = 10  # of cross-validation
MIN_SCALE = 0.05  # of logits: those of a head that knows something need more, and a negative one would reverse them


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


def fit_calibration(logits: np.ndarray, truth: np.ndarray) -> tuple[float, np.ndarray]:
    """Bias-corrected temperature scaling (Alexandari et al. 2020): what makes `scale * logits + biases` most likely.

    A network may say one emotion too seldom for another, which no temperature mends. The biases, `(7,)`, are kept small
    by a normal prior of deviation 1, which matters for rare labels alone; that of a label that does not occur is 0. The
    scale is at least `MIN_SCALE`, so the order of a head's logits is never reversed.

    Args:
        logits: `(N, 7)`.
        truth: int `(N,)`, indices into `LABELS`.
    """
    logits, onehot = np.asarray(logits, float), np.eye(len(LABELS))[truth]
    there = onehot.any(axis=0)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scale, biases = parameters[0], parameters[1:] * there
        log_p = log_softmax(scale * logits + biases, axis=1)
        wrong = np.exp(log_p) - onehot
        slope = np.r_[(wrong * logits).sum(), (wrong.sum(axis=0) + biases) * there]
        return -(log_p * onehot).sum() + biases @ biases / 2, slope

    bounds = [(MIN_SCALE, None)] + [(None, None)] * len(LABELS)
    found = minimize(loss, np.r_[1, np.zeros(len(LABELS))], jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(found[0]), found[1:] * there


def held_out_accuracy(logits: np.ndarray, truth: np.ndarray) -> float:
    """Accuracy where calibration was not fitted: each tenth of the pictures by a fit on the other nine (Stone 1974).

    Args:
        logits: `(N, 7)`.
        truth: int `(N,)`, indices into `LABELS`.
    """
    fold = np.random.default_rng(0).permutation(len(truth)) % FOLDS
    right = np.zeros(len(truth), bool)
    for k in np.unique(fold):
        scale, biases = fit_calibration(logits[fold != k], truth[fold != k])
        right[fold == k] = (scale * logits[fold == k] + biases).argmax(axis=1) == truth[fold == k]
    return float(right.mean())


def blend_score(
    logits: dict[str, np.ndarray], share: float, split: Split, rows: np.ndarray | slice = slice(None)
) -> float:
    """Mean over FER2013's labels and FER+'s majority of (accuracy + balanced accuracy) / 2 of a blend of both heads.

    Args:
        logits: Each head's `(N, 7)` on `split`.
        share: Weight of the FER2013 head, 0 to 1.
        split: `N` pictures.
        rows: Which of them, int `(M,)`, some several times where they were drawn with replacement; all by default.
    """
    predicted = (share * logits["fer2013"][rows] + (1 - share) * logits["ferplus"][rows]).argmax(axis=1)
    scores = []
    for truth in (split.labels[rows], split.ferplus_labels[rows]):
        known = truth >= 0
        right = predicted[known] == truth[known]
        scores += [right.mean(), np.mean([right[truth[known] == label].mean() for label in np.unique(truth[known])])]
    return float(np.mean(scores))
