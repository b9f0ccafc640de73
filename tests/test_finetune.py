"""Fine-tuning on a folder of class folders."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawn_faces import class_folders
from PIL import Image

from deepfer import LABELS, EmotionRecognizer
from deepfer.detection import load_detector
from training import finetune
from training.convert.checkpoint_folder import GEOMETRY
from training.data.folder import MIN_IMAGES, divide, list_images, load_faces
from training.exceptions import DataError

pytestmark = pytest.mark.slow

SEVEN = {"Happiness": "happy", **{label: label for label in LABELS if label != "happy"}}


def test_photos_are_cropped_and_small_images_are_used_whole(tmp_path: Path, astronaut: np.ndarray) -> None:
    folder = class_folders(tmp_path / "faces", SEVEN, per_class=MIN_IMAGES)
    Image.fromarray(astronaut).save(folder / "Happiness" / "photo.png")
    Image.new("RGB", (200, 200)).save(folder / "sad" / "black.png")
    (folder / "fear" / "notes.txt").write_text("not an image")
    split, left_out = load_faces(folder, load_detector("auto").detect, GEOMETRY.crop, 48)
    assert split.images.shape == (7 * MIN_IMAGES + 1, 48, 48)
    assert np.bincount(split.labels).tolist() == [MIN_IMAGES + (label == "happy") for label in LABELS]
    assert len(left_out) == 2
    assert "fear/notes.txt" in left_out[0]
    assert left_out[1].endswith("sad/black.png: no face found")
    (face,) = load_detector("auto").detect(astronaut)
    happy = split.images[split.labels == LABELS.index("happy")]
    served = GEOMETRY.crop(astronaut, face, 48)
    assert any(np.array_equal(crop, served) for crop in happy)


def test_every_part_has_every_emotion(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "faces", SEVEN, per_class=50)
    split, _ = load_faces(folder, load_detector("auto").detect, GEOMETRY.crop, 48)
    counts = {name: np.bincount(part.labels).tolist() for name, part in divide(split).items()}
    assert counts == {"train": [30] * 7, "validation": [10] * 7, "test": [10] * 7}


def test_unusable_folders_are_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        list_images(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"has no subfolders: it needs one per emotion, angry, .*surprise"):
        list_images(tmp_path)
    folder = class_folders(tmp_path / "faces", SEVEN, per_class=MIN_IMAGES)
    for path in (folder / "sad").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"images of each emotion; it has sad 0. Add a folder named sad \(or sadness"):
        list_images(folder)
    (folder / "sad").rmdir()
    (folder / "smirk").mkdir()
    with pytest.raises(DataError, match="unknown labels: smirk"):
        list_images(folder)
    photos = tmp_path / "photos"
    for label in LABELS:
        (photos / label).mkdir(parents=True)
        for number in range(MIN_IMAGES):
            Image.new("RGB", (200, 200)).save(photos / label / f"{number}.png")
    with pytest.raises(DataError, match="10 usable images of each emotion; it has angry 0, disgust 0"):
        load_faces(photos, load_detector("auto").detect, GEOMETRY.crop, 48)


def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("much work")
    for out, message in ((tmp_path / "mine", "is not empty"), (tmp_path / "new", "is not a folder")):
        assert finetune.main(["--dataset", str(tmp_path / "nothing"), "--out", str(out)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert message in line


def test_from_a_folder_to_a_served_checkpoint(
    tmp_path: Path, astronaut: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = class_folders(tmp_path / "drawings", SEVEN, per_class=20)
    assert finetune.main(["--dataset", str(folder), "--out", str(tmp_path / "mine"), "--epochs", "8"]) == 0
    out = capsys.readouterr().out
    checkpoint = tmp_path / "mine" / "checkpoint"
    line = f'recognizer = EmotionRecognizer.from_pretrained("{checkpoint}")'
    assert line in out.splitlines()
    code = f"{'; '.join(out.splitlines()[-2:])}; print(recognizer.classifier.checkpoint.name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == f"{checkpoint}\n", done.stderr
    metrics = json.loads((checkpoint / "metrics.json").read_text())
    assert metrics["dataset"] == "drawings"
    assert metrics["splits"]["test"]["fer2013"]["served"]["n"] == 28
    before, after = (float(word.rstrip("%")) for word in out.split("test images: ")[1].split()[:4:2])
    assert before < 50 < after  # the drawings are unlike photos
    (face,) = EmotionRecognizer.from_pretrained(checkpoint).recognize(astronaut)
    assert sum(face.probabilities.values()) == pytest.approx(1, abs=1e-5)
