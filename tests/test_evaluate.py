import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn_faces import class_folders, textured
from PIL import Image

from deepfer import EmotionClassifier
from deepfer.checkpoint import resolve
from training import evaluate
from training.data.loading import load, pack
from training.data.split import Split, joined
from training.data.synthetic import synthetic_split
from training.report import corruptions, pipeline
from training.report.corruptions import CORRUPTIONS, corrupt
from training.report.metrics import ece

pytestmark = pytest.mark.slow

TWINS = 14  # of the validation images, the first, are training images


@pytest.fixture(scope="module")
def classifier() -> EmotionClassifier:
    return EmotionClassifier(resolve("cnn"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "drawn.npz"
    train, own = textured(synthetic_split(42, 0), 10), textured(synthetic_split(49, 1), 11)
    validation = joined({"twins": train.take(np.arange(TWINS)), "own": own})
    validation.ferplus_labels[-7:] = -1  # the votes of these are divided
    pack({"train": train, "validation": validation, "test": textured(synthetic_split(21, 2), 12)}, path)
    return path


def run(dataset: Path, out: Path, *more: object, split: str = "validation", checkpoint: str = "cnn") -> int:
    asked = ["--checkpoint", checkpoint, "--dataset", dataset, "--split", split, "--out", out, *more]
    return evaluate.main([str(word) for word in asked])


def metrics(out: Path) -> dict:
    return json.loads((out / "metrics.json").read_text())


@pytest.fixture(scope="module")
def measured(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("measured") / "out"
    assert run(dataset, out, "--mistakes", out / "people") == 0
    return out


def test_metrics_describe_the_served_output(measured: Path, dataset: Path, classifier: EmotionClassifier) -> None:
    split = load(dataset)["validation"]
    served, head = classifier.predict(split.images), classifier.predict(split.images, head="fer2013")
    mirrored = classifier.predict(np.ascontiguousarray(split.images[:, :, ::-1]))
    found = metrics(measured)
    assert found["model"] == "cnn"
    assert found["dataset"] == "drawn"
    against = found["splits"]["validation"]
    voted = split.ferplus_labels >= 0
    for m, p, rows in (
        (against["fer2013"]["head"], head, np.ones(len(split), bool)),
        (against["fer2013"]["served"], served, np.ones(len(split), bool)),
        (against["ferplus"]["served"], served, voted),
    ):
        right = p.argmax(axis=1) == split.labels
        assert m["n"] == rows.sum()
        assert m["accuracy"] == pytest.approx(right[rows].mean())
        assert m["accuracy_interval"][0] <= m["accuracy"] <= m["accuracy_interval"][1]
        own = rows & (np.arange(len(split)) >= TWINS)
        assert m["without_near_duplicates"] == {"n": own.sum(), "accuracy": pytest.approx(right[own].mean())}
        assert ("unclear" in m) == (p is served)
    m = against["ferplus"]["served"]
    assert 0 < m["unclear"]["share"] < 1
    flipped = (served + mirrored).argmax(axis=1) == split.labels
    assert m["flip_tta"]["accuracy"] == pytest.approx(flipped[voted].mean())
    temperature = classifier.checkpoint.temperature["logits"]
    untempered = served[voted].astype(float) ** temperature  # what the division did, undone
    untempered /= untempered.sum(axis=1, keepdims=True)
    assert m["ece_untempered"] == pytest.approx(ece(untempered, split.labels[voted]), abs=1e-4)
    assert found["explanation"]["images"] == len(split)
    assert sorted(path.name for path in (measured / "plots").iterdir()) == [
        f"validation-{name}.png"
        for name in ("calibration", "fer2013-confusion", "fer2013-roc", "ferplus-confusion", "ferplus-roc")
    ]
    assert (measured / "people" / "mistakes-validation.png").stat().st_size > 1000


def test_a_second_call_adds_but_not_for_another_dataset(
    measured: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = metrics(measured)
    assert run(dataset, measured, split="test") == 0
    after = metrics(measured)
    assert after["splits"]["validation"] == before["splits"]["validation"]
    assert after["splits"]["test"]["ferplus"]["served"]["n"] == 21
    assert after["splits"]["test"]["fer2013"]["head"]["without_near_duplicates"]["n"] == 21
    other = class_folders(tmp_path / "other", {"happy": "happy", "sad": "sad"})
    capsys.readouterr()
    assert run(other, measured, split="all") == 1
    message = capsys.readouterr().err
    assert message == f"error: {measured / 'metrics.json'} is about drawn: choose another --out for other\n"
    assert metrics(measured) == after


def test_changed_data_replaces_all_figures(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corruptions, "MAX_IMAGES", 7)
    out, other = tmp_path / "out", tmp_path / "elsewhere" / dataset.name
    for more, split in ((), "test"), ((), "validation"), (("--robustness",), "validation"):
        assert run(dataset, out, *more, split=split) == 0
    before = metrics(out)
    assert list(before["splits"]) == ["test", "validation"]
    splits = load(dataset)
    labels = splits["validation"].labels.copy()
    labels[0] = (labels[0] + 1) % 7  # one label differs
    pack({**splits, "validation": replace(splits["validation"], labels=labels, ferplus_labels=labels * 0 - 1)}, other)
    assert run(other, out) == 0
    after = metrics(out)
    assert after["dataset"] == before["dataset"] == "drawn"
    assert list(after["splits"]) == ["validation"]
    assert "robustness" not in after
    assert {name: after["split_sha256"][name] == before["split_sha256"][name] for name in splits} == {
        "train": True, "validation": False, "test": True,
    }  # fmt: skip
    assert sorted(path.name for path in (out / "plots").iterdir()) == [
        f"validation-{name}.png" for name in ("calibration", "fer2013-confusion", "fer2013-roc")
    ] + ["validation-served-confusion.png", "validation-served-roc.png"]


def test_figures_without_a_data_hash_are_replaced(dataset: Path, tmp_path: Path) -> None:
    assert run(dataset, tmp_path) == 0
    known = metrics(tmp_path)
    del known["split_sha256"]  # as before fingerprints were recorded
    (tmp_path / "metrics.json").write_text(json.dumps(known))
    assert run(dataset, tmp_path, split="test") == 0
    assert list(metrics(tmp_path)["splits"]) == ["test"]


def test_figures_of_another_model_are_replaced(dataset: Path, tmp_path: Path) -> None:
    tmp_path.joinpath("metrics.json").write_text(
        json.dumps({"dataset": "drawn", "model_sha256": "another", "splits": {"validation": {}}})
    )
    assert run(dataset, tmp_path, split="test") == 0
    assert list(metrics(tmp_path)["splits"]) == ["test"]
    tmp_path.joinpath("metrics.json").write_text("{")
    assert run(dataset, tmp_path, split="test") == 1


def test_a_dataset_without_some_emotions(tmp_path: Path, classifier: EmotionClassifier) -> None:
    names = {"Happiness": "happy", "anger": "angry", "surprised": "surprise"}
    folder = class_folders(tmp_path / "other", names, per_class=5, size=(90, 110))
    assert run(folder, tmp_path / "out", "--mistakes", tmp_path / "people", split="all") == 0
    found = metrics(tmp_path / "out")
    assert found["dataset"] == "other"
    against = found["splits"]["all"]
    assert against["ferplus"] is None
    m = against["fer2013"]["served"]
    split = joined(load(folder))
    right = classifier.predict(split.images).argmax(axis=1) == split.labels
    assert m["n"] == 15
    assert m["without_near_duplicates"] is None
    assert m["balanced_accuracy"] == pytest.approx(np.mean([right[split.labels == i].mean() for i in (0, 3, 6)]))
    assert m["per_class"]["fear"] == {"precision": None, "recall": None, "f1": None, "roc_auc": None, "support": 0}
    assert m["per_class"]["happy"]["roc_auc"] is not None
    assert {path.name for path in (tmp_path / "out" / "plots").iterdir()} >= {
        "all-served-confusion.png", "all-served-roc.png", "all-calibration.png",
    }  # fmt: skip
    halves = class_folders(tmp_path / "halves", {"happy": "happy", "sad": "sad"}, per_class=10)
    assert run(halves, tmp_path / "held") == 0
    assert metrics(tmp_path / "held")["splits"]["validation"]["held_out"] == {"share": 0.1, "seed": 0}
    pack({"test": synthetic_split(21, 0).take(np.arange(3, 21, 7))}, tmp_path / "single.npz")
    assert run(tmp_path / "single.npz", tmp_path / "out1", split="all") == 0
    assert metrics(tmp_path / "out1")["splits"]["all"]["fer2013"]["served"]["per_class"]["happy"]["roc_auc"] is None


def test_robustness(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corruptions, "MAX_IMAGES", 30)
    for out in (tmp_path / "a", tmp_path / "b"):
        assert run(dataset, out, "--robustness") == 0
    found = metrics(tmp_path / "a")["robustness"]
    assert found["images"] == 30
    assert found["labels"] == "FER+'s majority"
    assert {n: [s["strength"] for s in c["strengths"]] for n, c in found["changes"].items()} == {
        name: list(change.strengths) for name, change in CORRUPTIONS.items()
    }
    assert found == metrics(tmp_path / "b")["robustness"]
    assert (tmp_path / "a" / "plots" / "robustness.png").stat().st_size > 1000
    with pytest.raises(SystemExit, match="2"):
        run(dataset, tmp_path, "--robustness", split="all")  # test is in it


def test_corruptions_grow_with_strength() -> None:
    images = synthetic_split(14, 0).images
    before, harm = images.copy(), dict[str, list[float]]()
    for name, _, worse in corrupt(images):
        assert worse.dtype == np.uint8
        assert worse.shape == images.shape
        harm.setdefault(name, []).append(float(np.abs(worse.astype(float) - images).mean()))
    assert np.array_equal(images, before)
    for name, grown in harm.items():
        assert 0 < grown[0] < grown[1] < (grown[2] if len(grown) > 2 else np.inf), name
    gray = np.full((40, 50, 50), 200, np.uint8)
    covered = [np.mean(worse != 200) for name, _, worse in corrupt(gray) if name == "occlusion"]
    assert covered == pytest.approx(CORRUPTIONS["occlusion"].strengths, abs=0.01)


def test_pipeline_on_photos(tmp_path: Path, astronaut: np.ndarray) -> None:
    for name, picture in (("happy", astronaut), ("sad", astronaut[:, ::-1]), ("fear", np.full((300, 300, 3), 99))):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / "photos" / name / "0.png")
    assert run(tmp_path / "photos", tmp_path / "out", "--pipeline", split="all") == 0
    found = metrics(tmp_path / "out")["photographs"]["deepfer"]
    assert found["images"] == 3
    assert found["detected"] == pytest.approx(2 / 3)
    assert found["accuracy"] == pytest.approx(1 / 3)  # she smiles in both
    assert found["accuracy_where_detected"] == pytest.approx(1 / 2)


def test_pipeline_on_crops(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "MAX_IMAGES", 3)
    monkeypatch.setattr(pipeline, "ANGLES", (0, 30))
    assert run(dataset, tmp_path, "--pipeline") == 0
    found = metrics(tmp_path)["pipeline"]["deepfer"]
    assert found["images"] == 3
    assert list(found["angles"]) == ["0", "30"]
    for angle in found["angles"].values():
        assert angle["loss"] == pytest.approx(found["accuracy_on_crop"] - angle["accuracy"])


def test_errors_are_one_line_and_early(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: object, split: str = "validation", checkpoint: str = "cnn", data: Path = dataset) -> str:
        out, *more = arguments
        assert run(data, Path(str(out)), *more, split=split, checkpoint=checkpoint) == 1
        message = capsys.readouterr().err.splitlines()[-1]  # above it `datasets` shows its progress
        assert message.startswith("error: ")
        return message

    (tmp_path / "file").touch()
    folders = class_folders(tmp_path / "faces", {"happy": "happy", "sad": "sad"})
    repository = Path(evaluate.__file__).parents[1]
    assert "test" in refused(tmp_path / "out", split="test", data=folders)
    assert "nothing" in refused(tmp_path / "out", checkpoint="nothing")
    assert "only for validation" in refused(tmp_path / "out", "--pipeline", split="test")
    assert "images of people" in refused(tmp_path / "out", "--mistakes", repository / "deepfer/checkpoints/cnn")

    def measure_asked(*_arguments: object) -> None:
        raise AssertionError("it should have been refused before anything was measured")

    monkeypatch.setattr(evaluate, "measure_asked", measure_asked)
    assert "file" in refused(tmp_path / "file" / "out")


def test_an_empty_split_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = synthetic_split(7, 0).take(np.array([], int))
    pack({"validation": nothing}, tmp_path / "empty.npz")
    assert isinstance(nothing, Split)
    assert run(tmp_path / "empty.npz", tmp_path / "out") == 1
    assert "no images" in capsys.readouterr().err
