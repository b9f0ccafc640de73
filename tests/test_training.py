"""From drawn faces to a served checkpoint: train, kill, resume, export, evaluate, recognize."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deepfer import EmotionClassifier, EmotionRecognizer
from deepfer.checkpoint import read
from deepfer.face import LABELS
from training import evaluate, export, train
from training.data import Split, load, pack

ROOT = Path(__file__).parents[1]


def drawn_face(label: int, rng: np.random.Generator) -> np.ndarray:
    """Two eyes and a mouth whose curve, and brows whose slant, tell the label."""
    image = np.full((48, 48), rng.integers(120, 200), np.uint8)
    bend, slant, opening = ((-4, 4, 1), (-2, 2, 3), (-4, -4, 4), (6, 0, 3), (0, 0, 1), (-6, -3, 1), (0, -2, 7))[label]
    for x in (15, 33):
        cv2.circle(image, (x, 19), 2, 20, -1)
        lean = slant if x == 15 else -slant
        cv2.line(image, (x - 5, 13 - lean // 2), (x + 5, 13 + lean // 2), 30, 2)
    mouth = np.array([[14, 35], [24, 35 + bend], [34, 35]], np.int32)
    cv2.polylines(image, [mouth], False, 30, 2)
    cv2.ellipse(image, (24, 35 + bend // 2), (5, opening), 0, 0, 360, 30, -1)
    return cv2.add(image, rng.normal(0, 6, image.shape).astype(np.int16), dtype=cv2.CV_8U)


def drawn(count: int, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(LABELS)
    images = np.stack([drawn_face(label, rng) for label in labels])
    votes = np.eye(len(LABELS), dtype=np.float32)[labels]
    return Split(images, labels.astype(np.int64), votes, labels.astype(np.int64))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "drawn.npz"
    pack({"train": drawn(700, 0), "validation": drawn(210, 1), "test": drawn(70, 2)}, path)
    return path


def words(*arguments: object) -> list[str]:
    return [str(argument) for argument in arguments]


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed after its first epoch and resumed."""
    out = tmp_path_factory.mktemp("runs") / "smoke"
    arguments = words("--model", "cnn", "--dataset", dataset, "--out", out, "--recipe", "smoke", "--epochs", 8)
    process = subprocess.Popen(
        [sys.executable, "-m", "training.train", *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT,
    )  # fmt: skip
    log, deadline = out / "log.csv", time.monotonic() + 120
    while not (log.exists() and len(log.read_text().splitlines()) >= 2):
        assert process.poll() is None, "training ended before its first epoch"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with pytest.raises(SystemExit, match="2"):  # it would overwrite the run
        train.main(arguments)
    assert train.main([*arguments, "--resume"]) == 0
    return out


@pytest.fixture(scope="module")
def checkpoint(trained: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "smoke"
    assert export.main(words("--run", trained, "--dataset", dataset, "--out", folder, "--float32")) == 0
    return folder


def test_a_killed_run_goes_on_where_it_was(trained: Path) -> None:
    epochs = [int(line.split(",")[0]) for line in (trained / "log.csv").read_text().splitlines()[1:]]
    assert epochs == list(range(8))
    recorded = json.loads((trained / "run.json").read_text())
    assert recorded["model"] == "cnn"
    assert recorded["settings"]["epochs"] == 8
    assert recorded["seconds"] > 0
    assert (trained / "curve.png").stat().st_size > 1000


def test_the_exported_checkpoint_answers_and_is_recorded(checkpoint: Path, dataset: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    assert config["gate"]["label_agreement"] >= 0.995
    validation = load(dataset)["validation"]
    classifier = EmotionClassifier(read(checkpoint))
    labels = classifier.predict(validation.images).argmax(axis=1)
    assert "".join(map(str, labels)) == config["recorded_labels"]
    assert np.mean(labels == validation.labels) > 0.4  # 1/7 by chance


def test_evaluation_writes_what_the_contract_names(checkpoint: Path, dataset: Path, tmp_path: Path) -> None:
    for split in ("validation", "test"):
        asked = words("--checkpoint", checkpoint, "--dataset", dataset, "--split", split, "--out", tmp_path)
        assert evaluate.main(asked) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert set(metrics["splits"]) == {"validation", "test"}
    split = load(dataset)["validation"]
    measured = metrics["splits"]["validation"]
    predicted = EmotionClassifier(read(checkpoint)).predict(split.images).argmax(axis=1)
    served = measured["ferplus"]["served"]
    assert served["n"] == 210
    assert served["accuracy"] == pytest.approx(np.mean(predicted == split.labels))
    assert np.trace(served["confusion_matrix"]) == np.sum(predicted == split.labels)
    assert set(served) >= {"balanced_accuracy", "macro_f1", "ece", "log_loss", "per_class", "flip_tta"}
    assert set(measured["fer2013"]) == {"head", "served"}
    assert metrics["explanation"]["images"] == 210
    assert len(list((tmp_path / "plots").glob("validation-*.png"))) == 5


def test_the_recognizer_serves_it(checkpoint: Path, astronaut: np.ndarray) -> None:
    recognizer = EmotionRecognizer.from_pretrained(checkpoint, detector="haar")
    (face,) = recognizer.recognize(astronaut)
    assert sum(face.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_wrong_requests_end_before_training(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert train.main(words("--model", "cnn", "--dataset", tmp_path / "nothing", "--out", out)) == 1
    assert "cannot load" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        train.main(words("--model", "cnn", "--dataset", dataset, "--out", out, "--resume"))
    assert "nothing to resume" in capsys.readouterr().err
    assert export.main(words("--run", out, "--dataset", dataset, "--out", tmp_path / "checkpoint")) == 1
    assert evaluate.main(words("--checkpoint", "cnn", "--dataset", tmp_path, "--split", "test", "--out", out)) == 1


def test_the_gate_refuses_a_file_that_answers_otherwise(
    trained: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "checkpoint"
    convert = export.to_litert

    def spoilt(model: Any, quantize: bool) -> bytes:
        model.get_layer("logits").set_weights([-w for w in model.get_layer("logits").get_weights()])
        return convert(model, quantize)

    monkeypatch.setattr(export, "to_litert", spoilt)
    assert export.main(words("--run", trained, "--dataset", dataset, "--out", folder)) == 1
    assert "differs too much" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
