import json
import re
import shutil
from pathlib import Path

import pytest

from benchmarks import report
from deepfer.checkpoint import EMBEDDED, embedded_models
from training.report import model_card

CNN = EMBEDDED / "cnn"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy of an embedded checkpoint, whose figures a test may change."""
    return Path(shutil.copytree(CNN, tmp_path / "mine"))


def change(folder: Path, name: str, **fields: object) -> None:
    content = json.loads((folder / name).read_text())
    content.update(fields)
    (folder / name).write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_every_embedded_model_is_in_the_table() -> None:
    text = report.models()
    for folder in embedded_models():
        measured = json.loads((folder / "metrics.json").read_text())["splits"]
        assert text.count(f"[`{folder.name}`](../deepfer/checkpoints/{folder.name}/README.md)") == len(measured)
        head = measured["validation"]["fer2013"]["head"]
        low, high = (f"{100 * bound:.1f}" for bound in head["accuracy_interval"])
        assert f"| {100 * head['accuracy']:.1f} ({low}–{high}) |" in text


def test_every_image_of_a_card_exists() -> None:
    for folder in embedded_models():
        shown = re.findall(r"!\[([^]]+)\]\(([^)]+)\)", model_card.render(folder))
        assert shown
        assert all((folder / path).is_file() for _, path in shown)


def test_a_card_says_what_was_not_measured(checkpoint: Path) -> None:
    change(checkpoint, "metrics.json", robustness=None, pipeline=None, explanation=None)
    text = model_card.render(checkpoint)
    assert text.count("Not measured.") == 3
    assert "$" not in text


def test_a_card_says_how_often_a_face_is_unclear(checkpoint: Path) -> None:
    path = checkpoint / "metrics.json"
    metrics = json.loads(path.read_text())
    for against in metrics["splits"].values():
        against["ferplus"]["served"].pop("unclear", None)
        against["fer2013"]["served"].pop("unclear", None)
    measured = {"share": 0.0827, "first_right": 0.467, "first_or_second_right": 0.85, "rest_right": None}
    metrics["splits"]["validation"]["ferplus"]["served"]["unclear"] = measured
    path.write_text(json.dumps(metrics))
    assert "\n| served, FER+ majority | validation | 8.3 | 46.7 | 85.0 | – |\n" in model_card.render(checkpoint)
    del metrics["splits"]["validation"]["ferplus"]["served"]["unclear"]
    path.write_text(json.dumps(metrics))
    assert "### Unclear faces\n\nNot measured.\n" in model_card.render(checkpoint)


def test_a_card_gives_the_cross_validated_accuracy(checkpoint: Path) -> None:
    change(
        checkpoint,
        "config.json",
        calibration={"fer2013": {"held_out_accuracy": 0.6612}, "ferplus": {"held_out_accuracy": 0.851}},
    )
    assert "validation: 66.1% (FER2013 head) and 85.1% (FER+ head).\nThe served logits" in model_card.render(checkpoint)
    change(checkpoint, "config.json", calibration=None)
    assert "### Calibration\n\nThe served logits" in model_card.render(checkpoint)


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        (
            {"phases": [{"epochs": 5}, {"epochs": 20}], "seconds": 7200, "device": "gpu:0", "init": None},
            "5 + 20 epochs took 120 minutes on gpu:0.",
        ),
        (
            {"phases": [{"epochs": 5, "weights": None}], "seconds": 7200, "device": "gpu:0", "init": None},
            "5 epochs took 120 minutes on gpu:0. It started from scratch.",
        ),
        (
            {"phases": [{"epochs": 5, "weights": "imagenet"}], "seconds": 7200, "device": "gpu:0"},
            "5 epochs took 120 minutes on gpu:0. It started from ImageNet weights.",
        ),
        (
            {
                "phases": [{"epochs": 8}], "seconds": 60, "device": "cpu:0",
                "init": {"source": "cnn", "sha256": "ab12"},
                "teachers": {"file": "teachers.npz", "sha256": "cd34"},
                "resumed": [{"from_epoch": 3, "phases": [{"epochs": 8}]}],
            },
            "8 epochs took 1 minutes on cpu:0. It started from cnn (sha256 ab12). It was distilled from the "
            "soft targets in teachers.npz (sha256 cd34). Training was interrupted and resumed after epoch 3.",
        ),
        (
            {"epochs": 22, "seconds": 60, "device": "cpu:0", "resumed": [{"from_epoch": 16, "before": {"epochs": 26}}]},
            "22 epochs took 1 minutes on cpu:0. Training was interrupted and resumed after epoch 16; before that, its "
            "schedule was 26 epochs.",
        ),
        (
            {
                "phases": [{"epochs": 5}, {"epochs": 9}], "seconds": 60, "device": "cpu:0",
                "teachers": {"file": "t.npz", "sha256": "cd34"},
                "resumed": [
                    {"from_epoch": 5, "phases": [{"epochs": 5}], "teachers": {"file": "t.npz", "sha256": "ef56"}}
                ],
            },
            "5 + 9 epochs took 1 minutes on cpu:0. It was distilled from the soft targets in t.npz (sha256 cd34). "
            "Training was interrupted and resumed after epoch 5; before that, its schedule was 5 epochs and its soft "
            "targets were t.npz (sha256 ef56).",
        ),
    ],
)  # fmt: skip
def test_how_a_model_was_trained(recorded: dict, said: str) -> None:
    assert model_card.training(recorded) == said


def test_a_card_names_its_own_models_command(checkpoint: Path) -> None:
    change(checkpoint, "config.json", model="resnet50v2")
    text = model_card.render(checkpoint)
    assert "# DeepFER resnet50v2" in text
    assert "make train-resnet50v2 DATASET=" in text


def test_tables_match_the_measured_files() -> None:
    assert report.stale(report.pages()) == []
