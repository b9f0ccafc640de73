"""Calibration: fits the temperature, scale and biases of logits, and the blend of the two heads."""

from __future__ import annotations

import keras
import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from deepfer.classifier import softmax
from deepfer.face import LABELS
from training.data.split import Split
from training.report.metrics import log_loss

FOLDS = 10  # in cross-validation
MIN_SCALE = 0.05  # of logits; a trained head needs more, and a negative scale would reverse the order of its logits
BLEND_RESAMPLES = 500  # bootstrap samples of validation, for the standard error of the blend's score


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """Find the temperature with the smallest log loss, by a grid search from 0.25 to 4 (Guo et al. 2017)."""
    candidates = np.exp(np.linspace(np.log(0.25), np.log(4), 401))
    losses = [log_loss(softmax(logits / t), truth) for t in candidates]
    return round(float(candidates[int(np.argmin(losses))]), 4)


def fit_calibration(logits: np.ndarray, truth: np.ndarray) -> tuple[float, np.ndarray]:
    """Fit bias-corrected temperature scaling, `scale * logits + biases`, by maximum likelihood.

    Biases correct a network that predicts some emotions too rarely, which a temperature cannot. A normal prior with
    standard deviation 1 keeps them small, which matters only for rare labels (Alexandari et al. 2020).

    Args:
        logits: `(N, 7)`.
        truth: int `(N,)`, indices into `LABELS`.

    Returns:
        The scale, at least `MIN_SCALE`, and the biases `(7,)`, 0 for labels that do not occur.
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
    """Measure the accuracy after calibration by ten-fold cross-validation (Stone 1974).

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
    """Score a blend of both heads: (accuracy + balanced accuracy) / 2, averaged over FER2013's and FER+'s labels.

    Args:
        logits: Each head's `(N, 7)` on `split`.
        share: Weight of the FER2013 head, 0 to 1.
        split: `N` images.
        rows: The images to use, int `(M,)`, possibly with repeats (a bootstrap sample); all by default.
    """
    predicted = (share * logits["fer2013"][rows] + (1 - share) * logits["ferplus"][rows]).argmax(axis=1)
    scores = []
    for truth in (split.labels[rows], split.ferplus_labels[rows]):
        known = truth >= 0
        right = predicted[known] == truth[known]
        scores += [right.mean(), np.mean([right[truth[known] == label].mean() for label in np.unique(truth[known])])]
    return float(np.mean(scores))


def calibrate(model: keras.Model, logits: dict[str, np.ndarray], validation: Split) -> dict[str, dict]:
    """Calibrate each head on its own labels, in place: scale and biases are folded into its Dense layer.

    Without this, a head that predicts an emotion too often or too rarely would bias the blend.

    Args:
        model: A model of `training.model.models`; modified in place.
        logits: Each head's `(N, 7)` on `validation`; modified in place.
        validation: The images to fit on.

    Returns:
        For each head that validation has labels for: `scale`, `biases` by label, and `held_out_accuracy`, 0 to 1.
    """
    found = {}
    for head, truth in (("fer2013", validation.labels), ("ferplus", validation.ferplus_labels)):
        rows = truth >= 0
        if not rows.any():
            continue
        scale, biases = fit_calibration(logits[head][rows], truth[rows])
        found[head] = {
            "scale": round(scale, 4),
            "biases": dict(zip(LABELS, biases.round(4).tolist(), strict=True)),
            "held_out_accuracy": held_out_accuracy(logits[head][rows], truth[rows]),
        }
        kernel, bias = model.get_layer(head).get_weights()
        model.get_layer(head).set_weights([scale * kernel, scale * bias + biases])
        logits[head] = scale * logits[head] + biases
    return found


def rank_shares(logits: dict[str, np.ndarray], split: Split) -> list[float]:
    """List the best weights of the FER2013 head in the blend, in order of preference.

    The score is flat around its peak, so all weights within one standard error of the best count as equal (Breiman et
    al. 1984). The smallest is preferred, because FER+ labels are more reliable. The standard error is that of the best
    weight's score, bootstrapped over the images.

    Args:
        logits: Each head's `(N, 7)` on `split`.
        split: The validation split.
    """
    if not np.any(split.ferplus_labels >= 0):
        return [1.0]
    scores = {float(share): blend_score(logits, float(share), split) for share in np.round(np.linspace(0, 1, 21), 2)}
    best = max(scores, key=lambda share: scores[share])
    rng = np.random.default_rng(0)
    samples = (rng.integers(0, len(split), len(split)) for _ in range(BLEND_RESAMPLES))
    error = np.std([blend_score(logits, best, split, rows) for rows in samples])
    return [share for share, score in scores.items() if score >= scores[best] - error]
