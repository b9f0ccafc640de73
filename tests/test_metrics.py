import numpy as np
import pytest

from deepfer.classifier import softmax
from deepfer.face import LABELS
from training.convert.calibration import MIN_SCALE, blend_score, fit_calibration, fit_temperature, held_out_accuracy
from training.data.split import Split
from training.report.metrics import ece, interval, log_loss, measure, unclear


def test_metrics_by_hand() -> None:
    truth = np.array([0, 0, 3, 3])
    probabilities = np.full((4, 7), 0.05, np.float32)
    for row, (label, p) in enumerate([(0, 0.7), (3, 0.7), (3, 0.7), (3, 0.7)]):
        probabilities[row, label] = p
    m = measure(probabilities, truth)
    assert m["n"] == 4
    assert m["accuracy"] == 0.75
    assert m["accuracy_interval"] == [0.25, 1.0]
    assert m["balanced_accuracy"] == 0.75
    assert m["per_class"]["angry"] == {
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "roc_auc": 0.75,
        "support": 2,
    }
    assert m["per_class"]["disgust"]["recall"] is None
    assert m["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 2)
    assert m["confusion_matrix"][0] == [1, 0, 0, 1, 0, 0, 0]
    assert m["ece"] == pytest.approx(0.05)
    assert m["log_loss"] == pytest.approx(-(3 * np.log(0.7) + np.log(0.05)) / 4)


def test_the_interval_matches_a_bootstrap() -> None:
    right = np.arange(400) % 4 > 0
    rng = np.random.default_rng(1)
    resampled = [right[rng.integers(0, 400, 400)].mean() for _ in range(4000)]
    assert interval(right) == pytest.approx(np.quantile(resampled, (0.025, 0.975)), abs=0.006)
    assert interval(np.ones(20, bool)) == [1, 1]
    assert interval(np.zeros(20, bool)) == [0, 0]


def test_calibration_error_by_hand() -> None:
    confident = np.zeros((10, 7))
    confident[:, 0], confident[:, 1] = 0.9, 0.1
    assert ece(confident, np.array([0] * 9 + [1])) == pytest.approx(0, abs=1e-9)
    assert ece(confident, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.4)


def test_unclear_faces_by_hand() -> None:
    close, low, clear = [0.5, 0.4, 0.1, 0, 0, 0, 0], [0.45, 0.2, 0.2, 0.15, 0, 0, 0], [0.6, 0.4, 0, 0, 0, 0, 0]
    rows, truth = [close, close, low, low, clear, clear, clear, clear], [0, 1, 2, 3, 0, 0, 0, 1]
    assert unclear(np.array(rows), np.array(truth)) == {
        "share": 0.5,
        "first_right": 0.25,
        "first_or_second_right": 0.5,
        "rest_right": 0.75,
    }
    assert unclear(np.array([clear]), np.array([0])) == {
        "share": 0,
        "first_right": None,
        "first_or_second_right": None,
        "rest_right": 1,
    }


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 2.5])
def test_the_true_temperature_is_recovered(true_temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 7))
    p = softmax(logits / true_temperature).astype(float)
    truth = (p.cumsum(axis=1) < rng.random((len(p), 1))).sum(axis=1).clip(0, 6)
    found = fit_temperature(logits, truth)
    assert found == pytest.approx(true_temperature, rel=0.05)
    assert log_loss(softmax(logits / found), truth) <= log_loss(softmax(logits), truth) + 1e-9


def biased(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits that are too confident and predict the first label too rarely, the true labels, and the missing biases."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (count, 7))
    missing = np.array([1.5, -0.5, 0, 0, 0, 0, -1.0])
    p = softmax(0.6 * logits + missing).astype(float)
    return logits, (p.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1).clip(0, 6), missing


def test_the_true_scale_and_biases_are_recovered() -> None:
    logits, truth, missing = biased(20_000)
    scale, biases = fit_calibration(logits, truth)
    assert scale == pytest.approx(0.6, abs=0.02)
    assert biases - biases[2:6].mean() == pytest.approx(missing, abs=0.1)
    mended = softmax(scale * logits + biases)
    assert mended.mean(axis=0) == pytest.approx(np.bincount(truth, minlength=7) / len(truth), abs=0.002)
    assert log_loss(mended, truth) < log_loss(softmax(logits / fit_temperature(logits, truth)), truth) - 0.05


def test_absent_labels_have_no_bias() -> None:
    logits, truth, _ = biased(500)
    _, biases = fit_calibration(logits[truth != 0], truth[truth != 0])
    assert biases[0] == 0
    assert np.abs(biases).max() < 3
    few = fit_calibration(np.zeros((3, 7)), np.array([1, 1, 1]))
    assert few[1].max() < 3  # three pictures do not rule out the rest


def test_the_scale_stays_positive() -> None:
    truth = np.arange(700) % 7
    logits = -5 * np.eye(7)[truth] + np.random.default_rng(0).normal(0, 1, (700, 7))  # the truth is its last choice
    scale, biases = fit_calibration(logits, truth)
    assert scale == pytest.approx(MIN_SCALE)
    assert np.isfinite(biases).all()


def test_cross_validation_does_not_overfit() -> None:
    logits, truth, _ = biased(4000)
    plain = np.mean(logits.argmax(axis=1) == truth)
    scale, biases = fit_calibration(logits, truth)
    fitted = np.mean((scale * logits + biases).argmax(axis=1) == truth)
    assert plain + 0.03 < held_out_accuracy(logits, truth) < fitted + 0.005
    blind, few = np.zeros((70, 7)), np.arange(70) % 7  # a fit predicts the most frequent labels: not those held out
    assert held_out_accuracy(blind, few) < 1 / 7


def test_blends_are_scored_on_both_label_sets() -> None:
    truth = np.arange(14) % 7
    perfect, blind = 9 * np.eye(7)[truth], np.zeros((14, 7))
    split = Split(
        np.zeros((14, 48, 48), np.uint8), truth, np.zeros((14, 7), np.float32), np.where(truth == 0, -1, truth)
    )
    assert blend_score({"fer2013": perfect, "ferplus": blind}, 1.0, split) == 1.0
    assert blend_score({"fer2013": perfect, "ferplus": blind}, 0.0, split) < 0.3
    assert len(LABELS) == 7
