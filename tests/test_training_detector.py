"""The face detector's training, from composed images to a folder that deepfer loads."""

from __future__ import annotations

import cmath
import io
import json
import math
from pathlib import Path

import cv2
import keras
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from deepfer import CheckpointError, DetectorError, EmotionRecognizer, load_detector
from deepfer.checkpoint import CONFIG, DETECTOR, EMBEDDED, MODEL
from deepfer.detector_network import decode, load_network, read_detector
from deepfer.face import iou
from deepfer.grid_network import STRIDES
from training.detector import photos
from training.detector.__main__ import THRESHOLDS, drawn_heads, main
from training.detector.canvas import Canvas, moved
from training.detector.card import render
from training.detector.compose import Composer
from training.detector.export import write
from training.detector.network import build_detector
from training.detector.photos import COLUMNS, LANDMARKS, SCORE, Photos, boxes
from training.detector.recorded import drawn_images
from training.detector.targets import PLACE, cells, loss, targets
from training.exceptions import DataError

pytestmark = pytest.mark.slow

COLOURS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)], np.uint8)  # of landmarks


def marked_face() -> tuple[np.ndarray, np.ndarray]:
    """A gray piece with a spot of its own colour at each landmark, and the face's row."""
    image = np.full((200, 160, 3), 128, np.uint8)
    row = np.zeros(COLUMNS, np.float32)
    row[:4] = 80, 100, 90, 120
    row[LANDMARKS] = 60, 80, 100, 80, 80, 105, 62, 130, 98, 130
    row[SCORE] = 1
    for (x, y), colour in zip(row[LANDMARKS].reshape(5, 2), COLOURS.tolist(), strict=True):
        cv2.circle(image, (int(x), int(y)), 9, colour, -1)
    return image, row


def small_detector() -> keras.Model:
    keras.mixed_precision.set_global_policy("float32")  # another file's training may have set another
    keras.utils.set_random_seed(0)
    return build_detector((8, 8, 16, 16, 16), (0, 0, 0, 1), 16)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos with drawn heads, scenes without, and labels as the teacher would leave them."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for split in ("train", "validation"):
        heads = drawn_heads("validation")
        for part in ("people", "scenes", "varied"):
            images, rows = [], []
            for number in range(4):
                image = rng.integers(60, 200, (256, 256, 3), dtype=np.uint8)
                faces = np.empty((0, COLUMNS), np.float32)
                if part != "scenes":
                    head, row = heads[number]
                    alpha = head[..., 3:]
                    image = (head[..., :3] * alpha + image * (1 - alpha)).astype(np.uint8)
                    faces = row[None]
                coded = io.BytesIO()
                Image.fromarray(image).save(coded, "JPEG", quality=95)
                images.append({"bytes": coded.getvalue(), "path": f"{number}.jpg"})
                rows.append(faces)
            pyarrow.parquet.write_table(pyarrow.table({"image": images}), folder / f"{part}-{split}.parquet")
            photos.save(folder / "labels" / f"{part}-{split}.npz", rows)
        face = cv2.resize(heads[0][0][..., 0].astype(np.uint8), (48, 48))
        row = np.concatenate([heads[0][1][:4] * 48 / 256, [0], heads[0][1][LANDMARKS] * 48 / 256, [1]])
        np.savez(folder / "labels" / f"crops-{split}.npz", images=face[None], faces=row[None].astype(np.float32))
    return folder


def composer(side: int = 128) -> Composer:
    image, row = marked_face()
    scenes = Photos([np.full((300, 300, 3), 40, np.uint8)], [np.empty((0, COLUMNS), np.float32)])
    marked = Photos([image], [row[None]])
    return Composer(marked, marked, scenes, marked, drawn_heads("validation")[:1], side)


# --- faces and their places -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("degrees", [0, 30, -90, 180])
def test_landmarks_move_with_their_pixels(mirror: bool, degrees: float) -> None:
    image, row = marked_face()
    canvas = Canvas(np.zeros((256, 256, 3), np.uint8))
    a = cmath.rect(0.8, math.radians(degrees))
    b = 128 + 128j - a * (80 + 100j)
    canvas.paste(image, row[None], a, b, mirror, np.full(image.shape[:2], 255, np.uint8))
    (found,) = canvas.rows
    # In a mirror the right eye is where the left one was.
    order = [1, 0, 2, 4, 3] if mirror else range(5)
    for (x, y), colour in zip(found[LANDMARKS].reshape(5, 2), COLOURS[order], strict=True):
        assert np.abs(canvas.image[int(y), int(x)].astype(int) - colour).max() < 60
    assert boxes(found[None])[0] == pytest.approx(boxes(moved(row, a, b, mirror, 160)[None])[0])


def test_a_rolled_box_is_around_the_ellipse() -> None:
    _, row = marked_face()
    (upright,) = boxes(row[None])
    assert upright.tolist() == [35, 40, 125, 160]
    (turned,) = boxes(moved(row, 1j, 0j, False, 160)[None])
    assert turned[2] - turned[0] == pytest.approx(120, abs=1e-3)
    assert turned[3] - turned[1] == pytest.approx(90, abs=1e-3)


def test_a_covered_face_is_in_doubt_or_gone() -> None:
    image, row = marked_face()
    for share, expected in ((0.0, 1.0), (0.45, 0.0), (0.9, None)):
        canvas = Canvas(np.zeros((200, 160, 3), np.uint8).copy())
        canvas.image = np.zeros((200, 200, 3), np.uint8)
        whole = np.full(image.shape[:2], 255, np.uint8)
        canvas.paste(image, row[None], 1 + 0j, 0j, False, whole)
        cover = np.zeros((200, 160, 3), np.uint8)
        top = 52 + 96 * (1 - share)
        canvas.paste(cover, np.empty((0, COLUMNS)), 1 + 0j, complex(0, top), False, whole)
        assert [float(kept[SCORE]) for kept in canvas.rows] == ([] if expected is None else [expected])


def test_composed_images_are_the_same_for_a_seed() -> None:
    make = composer()
    image, rows = make(np.random.default_rng(3))
    again, rows_again = make(np.random.default_rng(3))
    assert np.array_equal(image, again)
    assert np.array_equal(rows, rows_again)
    other, _ = make(np.random.default_rng(4))
    assert not np.array_equal(image, other)


def test_composed_faces_have_every_roll_and_size() -> None:
    make = composer(256)
    rows = np.concatenate([make(np.random.default_rng(seed))[1] for seed in range(120)])
    rolls = np.abs(np.degrees(np.angle(np.exp(1j * rows[:, 4]))))
    assert (rolls < 20).mean() > 0.3
    assert (rolls > 90).mean() > 0.05
    heights = rows[:, 3]
    assert (heights < 24).any()
    assert (heights > 150).any()
    assert np.isfinite(rows).all()


def test_what_cells_should_answer_reads_as_the_faces() -> None:
    """The detector's reader, given perfect answers, gives every face back: training and serving agree."""
    _, row = marked_face()
    rows = np.stack([
        moved(row, 0.1 + 0j, 20 + 30j, False, 160),
        moved(row, cmath.rect(0.3, 1.0), 150 + 10j, False, 160),
        moved(row, cmath.rect(0.9, -0.3), 60 + 130j, False, 160),
    ])  # fmt: skip
    wanted = targets(rows, 256)
    assert wanted.shape == (cells(256), PLACE.stop)
    found, start = [], 0
    for stride in STRIDES:
        count = 256 // stride
        grid = wanted[start : start + count * count].reshape(count, count, PLACE.stop)
        logits = np.where(grid[..., :1] > 0, 9.0, -9.0)
        found.append(decode(np.concatenate([logits, grid[..., PLACE]], axis=-1), stride, 0.5))
        start += count * count
    answers = np.concatenate(found)
    for row, box in zip(rows, boxes(rows), strict=True):
        near = [a for a in answers if iou((*a[:2], *(a[:2] + a[2:4])), tuple(box)) > 0.8]
        assert near
        for answer in near:
            assert answer[4:14] == pytest.approx(row[LANDMARKS], abs=0.01)
            assert (*answer[:2], *(answer[:2] + answer[2:4])) == pytest.approx(tuple(box), abs=0.05)
    assert len(answers) == sum(
        any(iou((*a[:2], *(a[:2] + a[2:4])), tuple(box)) > 0.8 for box in boxes(rows)) for a in answers
    )


def test_faces_in_doubt_teach_nothing() -> None:
    _, row = marked_face()
    row[SCORE] = 0
    wanted = targets(row[None], 256)
    assert wanted[:, 0].sum() == wanted[:, 2].sum() == 0
    assert 0 < (wanted[:, 1] == 0).sum() < len(wanted) / 2


def test_the_loss_is_least_for_the_right_answer() -> None:
    _, row = marked_face()
    wanted = targets(row[None], 256)[None]
    right = np.concatenate([np.where(wanted[..., :1] > 0, 12.0, -12.0), wanted[..., PLACE]], axis=-1)
    best = float(loss(wanted, right.astype(np.float32)))
    assert best < 0.01
    for column, change in ((0, -24.0), (1, 1.0), (3, 0.5), (9, 1.0)):
        worse = right.copy()
        worse[..., column] += change
        assert float(loss(wanted, worse.astype(np.float32))) > best + 0.1


# --- labels -----------------------------------------------------------------------------------------------------------


def test_the_teacher_labels_the_astronaut(yunet_file: Path, astronaut: np.ndarray) -> None:
    from deepfer.yunet import load_yunet

    (row,) = photos.label(astronaut, load_yunet(yunet_file))
    assert row[SCORE] > photos.SURE
    assert iou(tuple(boxes(row[None])[0]), (178, 63, 268, 176)) > 0.6
    animal = photos.label(astronaut, load_yunet(yunet_file), animal=True)
    assert not (animal[:, SCORE] >= photos.SURE).any()


def test_animals_are_known_by_their_wordnet_id() -> None:
    assert photos.shows_animal("n01514668_cock.JPEG")
    assert not photos.shows_animal("n02666196_abacus.JPEG")
    assert not photos.shows_animal("Abdel_Aziz_Al-Hakim_0001.jpg")


def test_faults_in_the_data_are_named(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="people-train"):
        photos.decode(tmp_path / "people-train.parquet")
    with pytest.raises(DataError, match="label"):
        photos.load(data / "people-train.parquet", tmp_path / "none.npz", None)
    command = ["train", "--photos", str(tmp_path), "--crops", "x", "--out", str(tmp_path / "run")]
    assert main(command) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_the_card_tells_how_it_was_trained() -> None:
    first = {"epochs": 3, "steps": 10, "batch_size": 4, "learning_rate": 0.1, "seed": 0}
    second = {**first, "epochs": 2, "batch_size": 8, "init": {**first, "resumed": [{**first, "until_epoch": 1}]}}
    config = {"parameters": 9, "thresholds": {"photo": 0.5, "frame": 0.5}, "run": second}
    card = render(config, {"photos": {}}, 1000)
    assert "120 (batches of 4, learning rate up to 0.1), then 160 (batches of 8, learning rate up to 0.1)." in card


# --- from a run to a folder that deepfer loads ------------------------------------------------------------------------


def test_train_resume_export_and_load(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = ["--photos", str(data), "--crops", "unused", "--labels", str(data / "labels")]
    run = ["train", *source, "--out", str(tmp_path / "run"), "--steps", "2", "--batch-size", "2"]
    assert main([*run, "--epochs", "1"]) == 0
    with pytest.raises(SystemExit):
        main([*run, "--epochs", "2"])
    assert "--resume" in capsys.readouterr().err
    assert main([*run, "--epochs", "2", "--resume"]) == 0
    assert len((tmp_path / "run/log.csv").read_text().splitlines()) == 3
    assert main(["export", *source, "--run", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 0
    detector = load_detector(tmp_path / "out")
    assert detector.name == "deepfer"
    assert detector.detect(np.zeros((96, 128, 3), np.uint8)) == []


def test_the_file_answers_as_keras_does_at_any_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((64, 64), (96, 160), (320, 32))]
    apart = write(small_detector(), tmp_path / "detector", images, {"thresholds": THRESHOLDS})
    assert apart < 0.05
    assert (tmp_path / "detector" / MODEL).stat().st_size < 500_000


def test_the_embedded_detector_finds_what_it_did(astronaut: np.ndarray) -> None:
    recorded = json.loads((EMBEDDED / DETECTOR / CONFIG).read_text())["recorded"]["drawn"]
    detector = load_detector()
    for image, expected in zip(drawn_images(), recorded, strict=True):
        found = [face.box for face in detector.detect(image)]
        assert len(found) == len(expected)
        assert all(iou(box, tuple(was)) > 0.95 for box, was in zip(found, expected, strict=True))
    assert sum(map(len, recorded)) >= 0.8 * len(recorded)


def test_the_embedded_detector_counts_as_recorded(faces_data: Path) -> None:
    recorded = json.loads((EMBEDDED / DETECTOR / CONFIG).read_text())["recorded"]
    detector = load_detector()
    for part in ("people", "varied"):
        _, images = photos.decode(faces_data / f"{part}-validation.parquet")
        counts = [len(detector.detect(image)) for image in images[: len(recorded[part])]]
        differing = sum(a != b for a, b in zip(counts, recorded[part], strict=True))
        assert differing <= 0.01 * len(counts)  # processors round differently


def test_a_detector_is_no_model_of_emotions(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="face detector"):
        EmotionRecognizer.from_pretrained("detector")
    with pytest.raises(CheckpointError, match="face detector"):
        EmotionRecognizer.from_pretrained(EMBEDDED / DETECTOR)
    with pytest.raises(DetectorError, match="not a face detector"):
        load_detector(EMBEDDED / "cnn")
    with pytest.raises(ValueError, match="'cnn' or 'resnet50v2'"):
        EmotionRecognizer.from_pretrained("nothing like it")


def test_faults_in_a_detector_folder_are_named(tmp_path: Path) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    folder = tmp_path / "detector"
    write(small_detector(), folder, [image], {"thresholds": THRESHOLDS})
    config, model = (folder / CONFIG).read_text(), (folder / MODEL).read_bytes()

    def refused(match: str) -> None:
        with pytest.raises(DetectorError, match=match) as fault:
            load_network(read_detector(folder))
        assert "\n" not in str(fault.value)
        (folder / CONFIG).write_text(config)
        (folder / MODEL).write_bytes(model)

    (folder / CONFIG).write_text(config.replace('"photo": 0.', '"photo": 0.1'))
    refused("changed after it was written")
    (folder / CONFIG).write_text(config.replace('"kind": "detector"', '"kind": "classifier"'))
    refused("not a face detector")
    (folder / CONFIG).write_text(config.replace('"format_version": 1', '"format_version": 99'))
    refused("update deepfer")
    (folder / CONFIG).write_text(config.replace('"photo": 0', '"photo": 7'))
    refused("thresholds")
    (folder / CONFIG).write_text("{")
    refused("JSON")
    (folder / MODEL).write_bytes(model[:-1000])
    refused("sha256")
    (folder / MODEL).unlink()
    refused("holds no")
