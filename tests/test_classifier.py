import threading

import cv2
import numpy as np
import pytest

from deepfer import LABELS, EmotionClassifier
from deepfer.checkpoint import resolve
from deepfer.classifier import softmax


@pytest.fixture(scope="module")
def classifier() -> EmotionClassifier:
    return EmotionClassifier(resolve(None))


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (9, 6, 6), dtype=np.uint8)
    return np.stack([cv2.resize(image, (48, 48), interpolation=cv2.INTER_CUBIC) for image in coarse])


@pytest.mark.parametrize("head", ["served", "fer2013"])
def test_probabilities(classifier: EmotionClassifier, crops: np.ndarray, head: str) -> None:
    probabilities = classifier.predict(crops, head=head)
    assert probabilities.shape == (9, 7)
    assert probabilities.dtype == np.float32
    assert np.all(probabilities >= 0)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(9), abs=1e-6)
    assert classifier.labels == LABELS


def test_the_heads_differ(classifier: EmotionClassifier, crops: np.ndarray) -> None:
    assert not np.allclose(classifier.predict(crops), classifier.predict(crops, head="fer2013"), atol=1e-3)
    with pytest.raises(ValueError, match="served, fer2013"):
        classifier.predict(crops, head="other")


def test_both_heads_in_one_pass(classifier: EmotionClassifier, crops: np.ndarray) -> None:
    logits = classifier.logits(crops)
    assert list(logits) == ["served", "fer2013"]
    for head, output in (("served", "logits"), ("fer2013", "fer2013_logits")):
        tempered = logits[head] / classifier.checkpoint.temperature[output]
        assert np.array_equal(softmax(tempered), classifier.predict(crops, head=head))


def test_a_result_does_not_depend_on_the_batch(classifier: EmotionClassifier, crops: np.ndarray) -> None:
    together = classifier.predict(crops)
    alone = np.concatenate([classifier.predict(crop[None]) for crop in crops])
    assert np.array_equal(together, alone)


def test_no_crops(classifier: EmotionClassifier) -> None:
    none = np.empty((0, 48, 48), np.uint8)
    probabilities, maps = classifier.explain(none)
    assert classifier.predict(none).shape == probabilities.shape == (0, 7)
    assert maps.shape[0] == 0
    assert maps.shape[3] == 7


def test_gray_and_colour_of_any_size_agree(classifier: EmotionClassifier, crops: np.ndarray) -> None:
    expected = classifier.predict(crops)
    colour = np.repeat(crops[..., None], 3, axis=3)
    assert classifier.predict(colour) == pytest.approx(expected, abs=1e-5)
    large = np.stack([cv2.resize(crop, (192, 192), interpolation=cv2.INTER_NEAREST) for crop in crops])
    assert np.array_equal(classifier.predict(large), expected)
    assert classifier.predict(np.zeros((2, 5, 31), np.uint8)).shape == (2, 7)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 48, 48), np.float32),
        np.zeros((48, 48), np.uint8),
        np.zeros((1, 48, 48, 4), np.uint8),
        np.zeros((1, 0, 48), np.uint8),
        [[1, 2], [3, 4]],
    ],
)
def test_other_arrays_are_refused(classifier: EmotionClassifier, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"uint8 \(N, H, W\)"):
        classifier.predict(wrong)


def test_the_mean_of_the_map_is_the_logit(classifier: EmotionClassifier, crops: np.ndarray) -> None:
    probabilities, maps = classifier.explain(crops)
    assert maps.dtype == np.float32
    logits = maps.mean(axis=(1, 2)) / classifier.checkpoint.temperature["logits"]
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    # int8 weights are rounded once for the Dense layer and once for the map.
    assert probabilities == pytest.approx(exponents / exponents.sum(axis=1, keepdims=True), abs=0.02)


def test_many_threads_give_the_same_results_as_one(classifier: EmotionClassifier, crops: np.ndarray) -> None:
    expected = classifier.predict(crops)
    answers: list[np.ndarray] = []

    def work() -> None:
        for _ in range(5):
            answers.append(classifier.predict(crops))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 40
    assert all(np.array_equal(answer, expected) for answer in answers)
