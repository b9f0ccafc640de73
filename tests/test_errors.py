import re
from pathlib import Path

import numpy as np
import pytest
from drawn_faces import class_folders, textured
from skimage import data

from deepfer.checkpoint import resolve
from deepfer.classifier import EmotionClassifier
from deepfer.detection import load_detector
from deepfer.face import LABELS
from deepfer.recognizer import EmotionRecognizer
from training import errors
from training.data.loading import pack
from training.data.split import Split, joined
from training.data.synthetic import synthetic_split
from training.report.conditions import find_face, measure_conditions
from training.report.corruptions import CORRUPTIONS, zoom


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    """The astronaut's face, as the pipeline crops it."""
    recognizer = EmotionRecognizer.from_pretrained()
    image = data.astronaut()
    return recognizer.crop(image, recognizer.recognize(image)[0])


def alone(images: list[np.ndarray]) -> Split:
    """Happy faces, on which all voters agree."""
    happy = np.full(len(images), LABELS.index("happy"))
    return Split(np.stack(images), happy, np.eye(len(LABELS), dtype=np.float32)[happy], happy)


def conditions(*images: np.ndarray) -> dict[str, np.ndarray]:
    split, detector = alone(list(images)), load_detector()
    geometry = resolve(None).geometry
    return measure_conditions(split, [find_face(image, detector) for image in images], geometry)


def test_conditions_follow_what_is_done_to_a_crop(crop: np.ndarray) -> None:
    rng = np.random.default_rng(0)

    def changed(name: str, strength: float) -> np.ndarray:
        return CORRUPTIONS[name].apply(crop, strength, rng)

    plain, rotated, tight, dark, blurred = range(5)
    found = conditions(
        crop, changed("rotation", 20), changed("tight crop", 1.2), changed("dark", 0.5), changed("blur", 0.03)
    )
    assert found["roll"][plain] < 5
    assert abs(found["roll"][rotated] - 20) < 5
    assert found["size"][plain] == pytest.approx(1, abs=0.1)
    assert found["size"][tight] / found["size"][plain] == pytest.approx(1.2, abs=0.1)
    assert found["turn"][plain] < 0.2
    assert found["brightness"][dark] == pytest.approx(found["brightness"][plain] / 2, abs=1)
    assert found["contrast"][dark] == pytest.approx(found["contrast"][plain] / 2, abs=1)
    assert found["sharpness"][blurred] < found["sharpness"][plain] - 0.5
    assert (found["agreement"] == 1).all()


def test_what_cannot_be_measured_is_not_a_number(crop: np.ndarray) -> None:
    flat = np.full_like(crop, 100)
    found = conditions(flat)
    assert all(np.isnan(found[name]).all() for name in ("roll", "turn", "size", "mouth", "sharpness"))
    assert found["brightness"][0] == 100
    happy = np.array([LABELS.index("happy")])
    unvoted = Split(flat[None], happy, np.zeros((1, 7), np.float32), np.array([-1]))
    assert np.isnan(measure_conditions(unvoted, [None], resolve(None).geometry)["agreement"]).all()


def test_a_page(tmp_path: Path, crop: np.ndarray) -> None:
    drawn = textured(synthetic_split(70, 0), 1)
    validation = joined({"drawn": drawn, "photo": alone([crop, crop[:, ::-1]])})
    pack({"train": drawn, "validation": validation}, tmp_path / "drawn.npz")
    out = tmp_path / "out"
    assert errors.main(["--checkpoint", "cnn", "--dataset", str(tmp_path / "drawn.npz"), "--out", str(out)]) == 0
    page = (out / errors.PAGE).read_text()
    pictures = re.findall(r"!\[[^]]{20,}\]\(([^)]*)\)", page)
    assert sorted(pictures) == sorted(path.name for path in out.glob("*.png"))

    truth = validation.ferplus_labels
    predicted = EmotionClassifier(resolve("cnn")).predict(validation.images).argmax(axis=1)
    wrong = int(np.sum(predicted != truth))
    assert f"\n{wrong} answers are wrong." in page
    causes = re.findall(r"^\| (?:the labels|ours|the network's): .*? \| (\d+) \| ", page, re.MULTILINE)
    assert sum(map(int, causes)) == wrong > 0
    served = re.search(r"^\| as served \| 72 \| ([\d.]+) \|", page, re.MULTILINE)
    assert served
    assert served[1] == f"{100 - 100 * wrong / 72:.1f}"
    assert re.search(r"^\| cropped by landmarks \| \d+ \| ", page, re.MULTILINE)
    assert "| brightness | " in page


def test_answers_without_an_image_are_no_answers() -> None:
    probabilities = np.array([[0.1, 0.9], [np.nan, np.nan], [0.6, 0.4]])
    assert errors.Answers("some", probabilities).predicted.tolist() == [1, -1, 0]


def test_crops_are_zoomed_around_their_middle() -> None:
    image = np.zeros((48, 48), np.uint8)
    image[20:28, 20:28] = 255
    assert zoom(image, 1).tolist() == image.tolist()
    for scale in (0.5, 1.5):
        zoomed = zoom(image, scale) > 127
        assert zoomed.sum() == pytest.approx(64 * scale**2, rel=0.15)
        assert (zoomed == zoomed[::-1, ::-1]).all()


def test_expected_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str) -> str:
        assert errors.main(["--checkpoint", "cnn", *arguments]) == 1
        out, error = capsys.readouterr()
        assert not out
        return error.rpartition("error: ")[2]

    assert "choose a folder under runs/" in said("--dataset", "x", "--out", "docs")
    few = class_folders(tmp_path / "few", {"happy": "happy", "sad": "sad"}, per_class=8)
    assert said("--dataset", str(few), "--out", str(tmp_path / "out")).startswith("the split has 2 images")
