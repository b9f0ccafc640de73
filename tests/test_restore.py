"""A served ResNet50V2 made trainable again: its outputs match the file, and training continues from there."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from deepfer import EmotionClassifier
from deepfer.checkpoint import EMBEDDED, encode_config, read, sha256
from deepfer.classifier import softmax
from training import restore, train
from training.data.loading import load, pack
from training.data.synthetic import synthetic_split

pytestmark = pytest.mark.slow

SERVED = EMBEDDED / "resnet50v2"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "drawn.npz"
    pack({"train": synthetic_split(70, 0), "validation": synthetic_split(70, 1)}, path)
    return path


@pytest.fixture(scope="module")
def restored(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("restored") / "new" / "served.keras"
    assert restore.main(["--checkpoint", str(SERVED), "--dataset", str(dataset), "--out", str(file)]) == 0
    return file


def test_the_outputs_match_the_file(restored: Path) -> None:
    model = keras.models.load_model(restored, compile=False)
    faces = synthetic_split(70, 2).images
    logits = model(faces[..., None].astype(np.float32), training=False)
    share = json.loads((SERVED / "config.json").read_text())["fer2013_share"]
    blended = share * logits["fer2013"] + (1 - share) * logits["ferplus"]
    for head, output, ours in (("fer2013", "fer2013_logits", logits["fer2013"]), ("served", "logits", blended)):
        ours = softmax(keras.ops.convert_to_numpy(ours) / read(SERVED).temperature[output])
        served = EmotionClassifier(read(SERVED)).predict(faces, head=head)
        assert np.mean(ours.argmax(axis=1) == served.argmax(axis=1)) > 0.95
        assert np.abs(ours - served).mean() < 0.01


def test_training_mode_is_as_accurate(fer2013: Path) -> None:
    """Otherwise training would start from a worse network than the served one."""
    splits = load(fer2013)
    model = restore.restore(SERVED, splits["train"])
    held = splits["validation"].take(np.arange(384))
    right = {}
    for training in (False, True):
        batches = np.split(held.images[..., None].astype(np.float32), 3)
        answers = np.concatenate([np.argmax(model(batch, training=training)["fer2013"], axis=1) for batch in batches])
        right[training] = np.mean(answers == held.labels)
    assert right[True] > right[False] - 0.05 > 0.55, right


def test_training_continues(restored: Path, dataset: Path, tmp_path: Path) -> None:
    arguments = ["--model", "resnet50v2", "--recipe", "finetune", "--init", restored, "--dataset", dataset]
    arguments += ["--epochs", 1, "--batch-size", 35, "--learning-rate", 1e-6, "--out", tmp_path / "run"]
    assert train.main([str(argument) for argument in arguments]) == 0
    start, end = (keras.models.load_model(f, compile=False) for f in (restored, tmp_path / "run" / "best.keras"))
    faces = synthetic_split(70, 2).images[..., None].astype(np.float32)
    before, after = (np.argmax(model.predict(faces, verbose=0)["ferplus"], axis=1) for model in (start, end))
    assert np.mean(before == after) > 0.8


def test_other_checkpoints_are_refused(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one_head = tmp_path / "one-head"
    shutil.copytree(SERVED, one_head)
    config = json.loads((SERVED / "config.json").read_text())
    (one_head / "config.json").write_bytes(encode_config({**config, "fer2013_share": 1.0}))
    renamed = tmp_path / "renamed"
    shutil.copytree(EMBEDDED / "cnn", renamed)
    other = json.loads((renamed / "config.json").read_text())
    (renamed / "config.json").write_bytes(encode_config({**other, "model": "resnet50v2"}))
    damaged = tmp_path / "damaged"
    shutil.copytree(SERVED, damaged)
    (damaged / "model.tflite").write_bytes((SERVED / "model.tflite").read_bytes()[:5000])
    hashes = {"model.tflite": sha256(damaged / "model.tflite")}
    (damaged / "config.json").write_text(json.dumps({**config, "sha256": hashes}))
    untrained = tmp_path / "untrained.npz"
    pack({"validation": synthetic_split(14, 1)}, untrained)
    for checkpoint, data, says in (
        (EMBEDDED / "cnn", dataset, "is not a ResNet50V2"),
        (one_head, dataset, "is not a ResNet50V2"),
        (renamed, dataset, "is not a ResNet50V2"),
        (damaged, dataset, "model.tflite"),
        (tmp_path, dataset, "is not a checkpoint folder"),
        (SERVED, untrained, "has no training images"),
    ):
        out = tmp_path / "out.keras"
        assert restore.main(["--checkpoint", str(checkpoint), "--dataset", str(data), "--out", str(out)]) == 1
        error = capsys.readouterr().err
        assert says in error
        assert "Traceback" not in error
        assert not out.exists()
    with pytest.raises(SystemExit, match="2"):
        restore.main(["--checkpoint", str(SERVED), "--dataset", str(dataset), "--out", "served.h5"])
