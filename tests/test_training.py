"""From drawn faces to a served checkpoint: train, kill, resume, fine-tune, export, evaluate, recognize."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest

from deepfer import EmotionClassifier, EmotionRecognizer
from deepfer.checkpoint import read
from deepfer.face import LABELS
from training import evaluate, export, teachers, train
from training.convert import checkpoint_folder
from training.data.loading import load, pack
from training.data.split import Split
from training.data.synthetic import synthetic_face, synthetic_split
from training.model import batches, callbacks, device
from training.model.distillation import load_soft_targets
from training.model.models import HEADS, build_cnn, build_resnet50v2, fuse_normalization, start_from
from training.model.recipes import RECIPES
from training.model.run_folder import RunFolder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "drawn.npz"
    sizes = {"train": 700, "validation": 210, "test": 70}
    pack({name: synthetic_split(size, seed) for seed, (name, size) in enumerate(sizes.items())}, path)
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


def test_a_killed_run_is_resumed(trained: Path) -> None:
    epochs = [int(line.split(",")[0]) for line in (trained / "log.csv").read_text().splitlines()[1:]]
    assert epochs == list(range(8))
    recorded = json.loads((trained / "run.json").read_text())
    assert recorded["model"] == "cnn"
    assert [phase["epochs"] for phase in recorded["phases"]] == [8]
    assert [part["from_epoch"] for part in recorded["resumed"]] in ([1], [2])  # a kill may come an epoch late
    assert recorded["seconds"] > 0
    assert (trained / "curve.png").stat().st_size > 1000


def test_resuming_with_other_settings_is_refused(
    trained: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / "run.json").read_bytes()
    again = ("--model", "cnn", "--out", trained, "--resume", "--dataset")
    assert train.main(words(*again, dataset, "--recipe", "smoke", "--epochs", 9)) == 0
    assert "is finished" in capsys.readouterr().err
    pack({"train": synthetic_split(70, 8), "validation": synthetic_split(70, 9)}, tmp_path / "other.npz")
    for other, said in (
        ((dataset, "--recipe", "seed"), "recipe is smoke, not seed"),
        ((dataset, "--recipe", "smoke", "--seed", 7), "seed is 0, not 7"),
        ((dataset, "--recipe", "smoke", "--init", trained), "init is None"),
        ((tmp_path / "other.npz", "--recipe", "smoke"), "data_sha256"),
    ):
        assert train.main(words(*again, *other)) == 1
        assert said in capsys.readouterr().err
    assert (trained / "run.json").read_bytes() == before


def test_the_exported_checkpoint_records_its_labels(checkpoint: Path, dataset: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    assert config["gate"]["label_agreement"] >= 0.995
    validation = load(dataset)["validation"]
    classifier = EmotionClassifier(read(checkpoint))
    labels = classifier.predict(validation.images).argmax(axis=1)
    assert "".join(map(str, labels)) == config["recorded_labels"]
    assert np.mean(labels == validation.labels) > 0.4  # 1/7 by chance


def test_metrics_have_the_agreed_keys(checkpoint: Path, dataset: Path, tmp_path: Path) -> None:
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


def test_the_recognizer_serves_the_checkpoint(checkpoint: Path, astronaut: np.ndarray) -> None:
    recognizer = EmotionRecognizer.from_pretrained(checkpoint)
    (face,) = recognizer.recognize(astronaut)
    assert sum(face.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_wrong_arguments_fail_before_training(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert train.main(words("--model", "cnn", "--dataset", tmp_path / "nothing", "--out", out)) == 1
    assert "cannot load" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        train.main(words("--model", "cnn", "--dataset", dataset, "--out", out, "--resume"))
    assert "nothing to resume" in capsys.readouterr().err
    assert export.main(words("--run", out, "--dataset", dataset, "--out", tmp_path / "checkpoint")) == 1
    assert evaluate.main(words("--checkpoint", "cnn", "--dataset", tmp_path, "--split", "test", "--out", out)) == 1


def test_a_file_that_fails_the_parity_check_is_refused(
    trained: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "checkpoint"
    convert = checkpoint_folder.to_litert

    def spoilt(model: Any, quantize: bool) -> bytes:
        model.get_layer("logits").set_weights([-w for w in model.get_layer("logits").get_weights()])
        return convert(model, quantize)

    monkeypatch.setattr(checkpoint_folder, "to_litert", spoilt)
    assert export.main(words("--run", trained, "--dataset", dataset, "--out", folder)) == 1
    assert "differs too much" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def resnet(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "resnet"
    few = tmp_path_factory.mktemp("data") / "few.npz"
    splits = load(dataset)
    pack({name: split.take(np.arange(70)) for name, split in splits.items()}, few)
    assert train.main(words("--model", "resnet50v2", "--dataset", few, "--out", out, "--recipe", "smoke")) == 0
    return out


def test_resnet50v2_is_trained_exported_and_served(resnet: Path, dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    # Trained for a moment, it is too unsure of anything to survive coarser weights.
    assert export.main(words("--run", resnet, "--dataset", dataset, "--out", folder, "--float32")) == 0
    images = load(dataset)["test"].images[:8]
    classifier = EmotionClassifier(read(folder))
    model = keras.models.load_model(resnet / "best.keras", compile=False)
    logits = model.predict(images[..., None].astype(np.float32), verbose=0)["fer2013"]
    fitted = json.loads((folder / "config.json").read_text())["calibration"]["fer2013"]
    calibrated = fitted["scale"] * logits + [fitted["biases"][label] for label in LABELS]
    assert classifier.logits(images)["fer2013"] == pytest.approx(calibrated, abs=0.01)
    assert classifier.explain(images)[1].shape[0] == 8


def test_preprocessing_matches_keras_applications() -> None:
    model = build_resnet50v2(enlarged=64, weights=None)
    faces = synthetic_split(4, 3).images[..., None].astype(np.float32)
    entering = keras.Model(model.inputs, model.get_layer("rgb").output).predict(faces, verbose=0)
    enlarged = keras.ops.convert_to_numpy(keras.ops.image.resize(faces, (64, 64), interpolation="bilinear"))
    expected = keras.applications.resnet_v2.preprocess_input(np.repeat(enlarged, 3, axis=3))
    assert entering == pytest.approx(expected, abs=1e-5)


def test_a_frozen_base_keeps_weights_and_statistics(dataset: Path, tmp_path: Path) -> None:
    """Transfer from a weights file trains the heads first, then the higher stages, and never batch normalization."""
    donor = build_resnet50v2(enlarged=48, weights=None)
    base = keras.Model(donor.inputs, donor.get_layer("features").output)
    base.save_weights(tmp_path / "base.weights.h5")
    run = RECIPES["resnet50v2"]["transfer"]
    short = [
        replace(phase, epochs=1, batch_size=14, mixed_precision=False, network={"enlarged": 48}) for phase in run
    ]  # fmt: skip
    few = load(dataset)["train"].take(np.arange(28))
    weights: list[dict[str, np.ndarray]] = []
    for phases in (short[:1], short):
        phases = [replace(p, network={**p.network, "weights": str(tmp_path / "base.weights.h5")}) for p in phases]
        out = tmp_path / f"run-{len(phases)}"
        out.mkdir()
        train.fit("resnet50v2", {"train": few, "validation": few}, tuple(phases), RunFolder(out), seed=0)
        model = keras.models.load_model(out / "best.keras", compile=False)
        weights.append({weight.path: weight.numpy() for weight in model.weights})
    start = {weight.path: weight.numpy() for weight in donor.weights}
    frozen, tuned = weights
    for path, before in start.items():
        if "fer" in path:
            assert not np.array_equal(frozen[path], before)
        else:
            assert np.array_equal(frozen[path], before), path
    moved = {path for path in start if not np.array_equal(tuned[path], frozen[path])}
    stages = {path.split("_")[0] for path in moved if "fer" not in path}
    assert stages <= {"conv3", "conv4", "conv5"}
    assert not [path for path in moved if any(part in path for part in ("_bn/", "gamma", "beta", "moving"))]


def test_fine_tuning_on_class_folders(tmp_path: Path) -> None:
    """A user's colour photos in class folders, with other names for the emotions and no votes."""
    rng = np.random.default_rng(5)
    for name, label in {"Happiness": "happy", **{label: label for label in LABELS if label != "happy"}}.items():
        for i in range(24):
            path = tmp_path / "faces" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), cv2.cvtColor(cv2.resize(synthetic_face(label, rng), (80, 96)), cv2.COLOR_GRAY2BGR))
    out = tmp_path / "run"
    arguments = words("--model", "cnn", "--dataset", tmp_path / "faces", "--out", out, "--recipe", "finetune")
    arguments += words("--init", "cnn", "--epochs", 1, "--batch-size", 16, "--learning-rate", 1e-5)
    assert train.main(arguments) == 0
    recorded = json.loads((out / "run.json").read_text())
    assert recorded["init"]["source"] == "cnn"
    assert recorded["phases"][0]["ferplus_share"] == 0  # there are no votes, so this head has nothing to learn
    assert recorded["images"] == {"train": 154, "validation": 14}
    assert recorded["phases"][0]["mixed_precision"] == device.has_bfloat16()
    ours = keras.models.load_model(train.CHECKPOINTS / "cnn.keras", compile=False).get_weights()
    tuned = keras.models.load_model(out / "best.keras", compile=False).get_weights()
    distance = [np.abs(a - b).mean() for a, b in zip(ours, tuned, strict=True) if a.ndim == 4]
    assert 0 < max(distance) < 1e-3  # the weights moved, starting from ours


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        ("fpu avx2 fma", False),
        ("AuthenticAMD avx2 avx512f avx512_bf16", True),
        ("GenuineIntel avx512f avx512_bf16", False),
        ("GenuineIntel avx512f avx512_bf16 amx_bf16", True),
        ("avx512f avx512_bf16", True),
        ("asimd bf16", True),
        ("avx512f avx512_vnni", False),
        (None, False),
    ],
)
def test_bfloat16_support_is_detected(flags: str | None, has: bool, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    if flags:
        cpuinfo.write_text(f"flags\t\t: {flags}\n")
    assert device.has_bfloat16(cpuinfo) == has


def test_without_bfloat16_training_uses_float32(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "has_bfloat16", lambda: False)
    few = tmp_path / "few.npz"
    pack({name: split.take(np.arange(70)) for name, split in load(dataset).items()}, few)
    arguments = words(
        "--model", "cnn", "--recipe", "finetune", "--epochs", 1, "--dataset", few, "--out", tmp_path / "run"
    )
    assert train.main(arguments) == 0
    assert "training in float32" in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["phases"][0]["mixed_precision"] is False
    model = keras.models.load_model(tmp_path / "run" / "best.keras", compile=False)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_a_wider_network_keeps_the_narrower_ones_outputs() -> None:
    narrow, wide = (build_cnn(widths=(8, 16, width), blocks=1, stem=8) for width in (24, 40))
    rng = np.random.default_rng(0)
    narrow.set_weights([rng.uniform(-0.3 if w.ndim > 1 else 0.5, 1, w.shape) for w in narrow.get_weights()])
    images = rng.integers(0, 256, (4, 48, 48, 1)).astype(np.float32)
    start_from(wide, narrow)
    said, known = wide.predict(images, verbose=0), narrow.predict(images, verbose=0)
    for head in HEADS:
        np.testing.assert_allclose(said[head], known[head], rtol=1e-4)
    for other in (wide, build_cnn(widths=(8, 16, 24), blocks=2, stem=8)):
        with pytest.raises(ValueError, match="it is not a cnn"):
            start_from(narrow, other)


def test_fused_batch_normalization_matches_keras(tmp_path: Path) -> None:
    """Its outputs, gradients and statistics match Keras's layers, and a saved model loads without our code."""
    images = np.random.default_rng(0).uniform(0, 255, (32, 48, 48, 1)).astype(np.float32)
    wanted = {head: np.eye(len(LABELS), dtype=np.float32)[np.arange(32) % 7] for head in HEADS}
    plain = build_cnn(widths=(8, 16, 24), blocks=1, stem=8, dropout=0)
    fused = build_cnn(widths=(8, 16, 24), blocks=1, stem=8, dropout=0)
    start_from(fused, plain)
    fuse_normalization(fused)
    for model in (plain, fused):
        loss = {head: keras.losses.CategoricalCrossentropy(from_logits=True) for head in HEADS}
        model.compile(optimizer=keras.optimizers.SGD(0.01), loss=loss)
        model.train_on_batch(images, wanted)
    for weight, same in zip(fused.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(weight, same, rtol=0.01, atol=1e-3)
    fused.save(tmp_path / "fused.keras")
    loaded = keras.models.load_model(tmp_path / "fused.keras", compile=False)
    assert np.array_equal(loaded.predict(images, verbose=0)["ferplus"], fused.predict(images, verbose=0)["ferplus"])


def test_class_weights() -> None:
    labels = np.repeat(np.arange(7), [400, 100, 200, 400, 400, 400, 400])
    assert batches.class_weights(labels, 0) == pytest.approx(1)
    equal = batches.class_weights(labels, 1)
    assert equal * np.bincount(labels) == pytest.approx(len(labels) / 7, rel=1e-5)
    half = batches.class_weights(labels, 0.5)
    assert half[1] / half[0] == pytest.approx(2, rel=1e-5)
    assert half[labels].mean() == pytest.approx(1, rel=1e-5)
    onehot = np.eye(7, dtype=np.float32)
    counted = batches.sample_weights({"fer2013": (onehot[:1] + onehot[1:2]) / 2, "ferplus": onehot[:1]}, half)
    assert counted["fer2013"] == pytest.approx((half[0] + half[1]) / 2)  # of two mixed images
    assert counted["ferplus"] == 1


def test_soft_targets(trained: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "teachers.npz"
    assert teachers.main(words("--teacher", trained / "best.keras", "--dataset", dataset, "--out", file)) == 0
    keras.utils.set_random_seed(0)
    build_cnn(**RECIPES["cnn"]["smoke"][0].network).save(tmp_path / "untaught.keras")
    both = words("--teacher", tmp_path / "untaught.keras", "--teacher", trained / "best.keras", "--dataset", dataset)
    capsys.readouterr()
    assert teachers.main([*both, "--out", str(tmp_path / "both.npz")]) == 0
    assert "ferplus, 1 of 2 teachers" in capsys.readouterr().out
    assert teachers.main([*both[:2], *both[4:], "--out", str(tmp_path / "none.npz")]) == 1
    assert "no teacher beats" in capsys.readouterr().err
    split = load(dataset)["train"]
    taught = load_soft_targets(file, split)
    for head, said in load_soft_targets(tmp_path / "both.npz", split).items():
        assert np.array_equal(said, taught[head])
    assert np.mean(taught["fer2013"].argmax(axis=1) == split.labels) > 0.25  # 1 in 7 by chance
    again = words("--teacher", file, "--teacher", file, "--dataset", dataset, "--out", tmp_path / "again.npz")
    assert teachers.main(again) == 0  # the file stands for the network
    alone, _, mean = (line.partition("validation: ")[2] for line in capsys.readouterr().out.splitlines()[:3])
    assert alone == mean
    assert float(mean.split()[1].rstrip("%,")) > 25
    for head, said in load_soft_targets(tmp_path / "again.npz", split).items():
        assert said == pytest.approx(taught[head], abs=1e-3)
    voteless = Split(split.images, split.labels, np.zeros_like(split.votes), np.full(len(split), -1))
    wanted = batches.make_targets(voteless, 0.0, taught, 0.25)
    onehot = np.eye(7)[split.labels]
    assert wanted["fer2013"] == pytest.approx(0.75 * onehot + 0.25 * taught["fer2013"], abs=1e-6)
    assert wanted["ferplus"] == pytest.approx(taught["ferplus"])
    assert batches.sample_weights(wanted)["ferplus"].all()
    assert not batches.sample_weights(batches.make_targets(voteless))["ferplus"].any()
    other = tmp_path / "other.npz"
    pack({"train": synthetic_split(70, 8), "validation": synthetic_split(70, 9)}, other)
    arguments = words("--model", "resnet50v2", "--dataset", other, "--out", tmp_path / "run", "--teachers", file)
    assert train.main(arguments) == 1
    assert "made for other images" in capsys.readouterr().err
    assert not (tmp_path / "run" / "run.json").exists()


def test_callback_state_survives_resuming(tmp_path: Path) -> None:
    """Patience and plateau continue their counts after a resume."""
    plateau = keras.callbacks.ReduceLROnPlateau(callbacks.MONITOR, mode="max", patience=3)
    stopping = keras.callbacks.EarlyStopping(callbacks.MONITOR, mode="max", patience=10)
    memory = callbacks.CallbackState(tmp_path / "memory.json", [plateau, stopping])
    plateau.best, plateau.wait, stopping.best, stopping.wait = 0.5, 2, 0.625, 7
    memory.on_epoch_end(3)
    after = [
        keras.callbacks.ReduceLROnPlateau(callbacks.MONITOR, mode="max", patience=3),
        keras.callbacks.EarlyStopping(callbacks.MONITOR, mode="max", patience=10),
    ]
    for callback in (*after, callbacks.CallbackState(tmp_path / "memory.json", after)):
        callback.on_train_begin()
    assert (after[0].best, after[0].wait) == (0.5, 2)
    assert (after[1].best, after[1].wait) == (0.625, 7)


def test_patience_ends_a_phase_early(dataset: Path, tmp_path: Path) -> None:
    few = {name: split.take(np.arange(70)) for name, split in load(dataset).items()}
    phase = replace(RECIPES["cnn"]["smoke"][0], epochs=9, patience=1, schedule="plateau", learning_rate=0.0)
    train.fit("cnn", few, (phase,), RunFolder(tmp_path), seed=0)
    assert len((tmp_path / "log.csv").read_text().splitlines()) < 9
    assert (tmp_path / "last" / "phase-1" / "ended").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--recipe", "best"), "has the recipes"),
        (("--weights", "none"), "is only for resnet50v2"),
        (("--recipe", "seed", "--teachers", "teachers.npz"), "does not distil"),
        (("--epochs", "0"), "must be an integer >= 1, got '0'"),
        (("--batch-size", "0"), "must be an integer >= 1, got '0'"),
        (("--learning-rate", "-0.1"), "--learning-rate must be a finite number above 0, not -0.1"),
        (("--seed", "-1"), "must be an integer >= 0, got '-1'"),
    ],
)
def test_wrong_usage(
    arguments: tuple[str, ...], said: str, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        train.main(words("--model", "cnn", "--dataset", dataset, "--out", tmp_path / "run", *arguments))
    assert said in capsys.readouterr().err


def test_unusable_initial_weights_are_reported(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.keras"
    broken.write_bytes(b"PK\3\4 no model")
    for model, more, said in (
        ("cnn", ("--init", "nothing"), "nothing to start from"),
        ("cnn", ("--init", broken), "cannot start cnn"),
        ("resnet50v2", ("--recipe", "smoke", "--weights", tmp_path / "missing.h5"), "cannot start ResNet50V2"),
        ("cnn", ("--recipe", "smoke", "--init", "cnn"), "cannot start cnn"),  # another shape
    ):
        out = tmp_path / "run"
        assert train.main(words("--model", model, "--dataset", dataset, "--out", out, *more)) == 1
        err = capsys.readouterr().err
        assert said in err
        assert "Traceback" not in err


def test_an_unwritable_folder_fails_early(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    arguments = words("--model", "cnn", "--dataset", dataset, "--recipe", "smoke", "--out", tmp_path / "file" / "run")
    assert train.main(arguments) == 1
    assert "error: " in capsys.readouterr().err
