import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from deepfer import LABELS, EmotionRecognizer, Face, ImageError, read_image
from deepfer.face import iou
from deepfer.text import format_percent


@pytest.fixture(scope="module")
def recognizer() -> EmotionRecognizer:
    return EmotionRecognizer.from_pretrained()


def test_the_astronaut_is_happy(recognizer: EmotionRecognizer, astronaut: np.ndarray) -> None:
    faces = recognizer.recognize(astronaut)
    assert len(faces) == 1
    face = faces[0]
    assert isinstance(face, Face)
    assert face.emotion == "happy"
    assert face.confidence == max(face.probabilities.values())
    assert tuple(face.probabilities) == LABELS
    assert sum(face.probabilities.values()) == pytest.approx(1, abs=1e-5)
    x1, y1, x2, y2 = face.box
    assert 150 < x1 < 200 < x2 < 300
    assert 40 < y1 < 100 < y2 < 220
    assert 0.5 < face.detection_score <= 1
    assert len(face.landmarks) == 5
    assert recognizer.detector_name == "deepfer"
    assert (recognizer.model_name, recognizer.revision) == ("cnn", None)


def test_to_dict_has_the_documented_fields(recognizer: EmotionRecognizer, astronaut: np.ndarray) -> None:
    (face,) = recognizer.recognize(astronaut)
    found = face.to_dict()
    assert list(found) == [
        "box", "detection_score", "landmarks", "emotion", "confidence", "unclear", "probabilities", "track_id",
    ]  # fmt: skip
    assert found["box"] == list(face.box)
    assert found["landmarks"] == [list(point) for point in face.landmarks]
    assert (found["detection_score"], found["track_id"]) == (face.detection_score, None)


@pytest.mark.parametrize(
    ("probability", "text"),
    [(None, "0%"), (0.0, "0%"), (0.004, "<1%"), (0.006, "1%"), (0.934, "93%"), (0.994, "99%"), (0.995, ">99%"),
     (0.99999, ">99%"), (1.0, "100%")],
)  # fmt: skip
def test_percentages_never_round_to_certainty(probability: float | None, text: str) -> None:
    assert format_percent(probability) == text


def test_no_face(recognizer: EmotionRecognizer) -> None:
    assert recognizer.recognize(np.full((200, 300, 3), 128, np.uint8)) == []
    assert recognizer.recognize(np.zeros((1, 1, 3), np.uint8)) == []


def test_faces_are_sorted_by_size_with_their_own_results(recognizer: EmotionRecognizer, astronaut: np.ndarray) -> None:
    alone = recognizer.recognize(astronaut)[0]
    picture = np.full((600, 900, 3), 128, np.uint8)
    picture[20:532, 20:532] = astronaut
    picture[100:356, 600:856] = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    large, small = recognizer.recognize(picture)
    assert large.box[2] < 540 < small.box[0]
    assert large.emotion == small.emotion == "happy"
    assert large.probabilities["happy"] == pytest.approx(alone.probabilities["happy"], abs=0.1)


def test_the_crop_is_what_is_classified(recognizer: EmotionRecognizer, astronaut: np.ndarray) -> None:
    (face,) = recognizer.recognize(astronaut)
    crop = recognizer.crop(astronaut, face)
    assert crop.shape == (recognizer.classifier.input_size,) * 2
    assert crop.dtype == np.uint8
    probabilities = recognizer.classifier.predict(crop[None])[0]
    assert probabilities == pytest.approx(np.array(list(face.probabilities.values())))


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.full((10, 10, 3), np.nan),
        np.zeros((0, 10, 3), np.uint8),
        [[[0, 0, 0]]],
        None,
    ],
)
def test_other_types_and_shapes_are_refused(recognizer: EmotionRecognizer, wrong: object) -> None:
    with pytest.raises(ValueError, match="uint8"):
        recognizer.recognize(wrong)  # type: ignore[arg-type]


def test_paths_and_pil_images_give_the_same_faces_as_arrays(
    recognizer: EmotionRecognizer, photo: Path, tmp_path: Path
) -> None:
    expected = recognizer.recognize(read_image(photo))
    assert len(expected) == 1
    sideways = tmp_path / "sideways.png"
    image = Image.open(photo)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # turn the stored pixels clockwise
    image.transpose(Image.Transpose.ROTATE_90).save(sideways, exif=exif)
    transparent = image.convert("RGBA")
    for source in (photo, str(photo), image, sideways, Image.open(sideways), transparent):
        assert recognizer.recognize(source) == expected


def test_a_damaged_or_missing_file_raises_an_image_error(
    recognizer: EmotionRecognizer, photo: Path, tmp_path: Path
) -> None:
    truncated = tmp_path / "truncated.png"
    truncated.write_bytes(photo.read_bytes()[:-400])
    with Image.open(truncated) as image:
        for source in (truncated, image):
            with pytest.raises(ImageError, match="damaged or truncated"):
                recognizer.recognize(source)
    with pytest.raises(ImageError, match="No such file"):
        recognizer.recognize(tmp_path / "missing.jpg")
    with pytest.raises(ImageError, match=r"more than 64 megapixels \(8001x8000\)"):
        recognizer.recognize(Image.new("1", (8001, 8000)))


def test_a_batch_streams_results_in_order(recognizer: EmotionRecognizer, photo: Path) -> None:
    taken: list[int] = []

    def sources() -> Iterator[Path | np.ndarray]:
        for i in range(20):
            taken.append(i)
            yield (photo, np.zeros((20 + i, 30, 3), np.uint8), Path("missing.jpg"))[i % 3]

    results = recognizer.recognize_batch(sources())
    assert taken == []
    first = next(results)
    assert len(taken) <= 4  # bounded: only a few images are in memory
    everything = [first, *results]
    assert [result.count for result in everything] == [1, 0, 0] * 6 + [1, 0]
    assert [result.path for result in everything[:3]] == [str(photo), "", "missing.jpg"]
    assert first.faces == recognizer.recognize(photo)
    assert (first.width, first.height, first.error) == (150, 130, None)
    assert [result.height for result in everything[1::3]] == [20 + i for i in range(1, 20, 3)]
    assert everything[2].error == "missing.jpg: No such file or directory"
    assert first.to_dict()["model"] == "cnn"


def test_a_batch_raises_for_something_else_than_an_image(recognizer: EmotionRecognizer, photo: Path) -> None:
    results = recognizer.recognize_batch([photo, np.zeros((4, 4), np.uint8)])
    assert next(results).count == 1
    with pytest.raises(ValueError, match="uint8"):
        next(results)


def test_a_batch_that_is_closed_early_leaves_no_threads(recognizer: EmotionRecognizer, photo: Path) -> None:
    with closing(recognizer.recognize_batch([photo] * 10)) as results:
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("deepfer-batch")]


def test_repr_names_model_and_detector(recognizer: EmotionRecognizer) -> None:
    assert repr(recognizer) == "EmotionRecognizer(model='cnn', detector='deepfer')"


def test_a_box_without_a_pixel_is_refused(recognizer: EmotionRecognizer, astronaut: np.ndarray) -> None:
    with pytest.raises(ValueError, match="is empty"):
        recognizer.crop(astronaut, Face((5, 5, 5, 5)))


def test_two_threads_give_the_same_results_as_one(recognizer: EmotionRecognizer, astronaut: np.ndarray) -> None:
    pictures = [astronaut, np.ascontiguousarray(astronaut[:, ::-1]), astronaut[:300, :400]]
    expected = [recognizer.recognize(picture) for picture in pictures]
    answers: list[list[list[Face]]] = []
    threads = [
        threading.Thread(target=lambda: answers.append([recognizer.recognize(picture) for picture in pictures]))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected, expected]


def test_an_unknown_source_or_detector_lists_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="user/name"):
        EmotionRecognizer.from_pretrained("nonsense")
    with pytest.raises(ValueError, match="haar"):
        EmotionRecognizer.from_pretrained(detector="nonsense")


def test_the_embedded_model_gives_its_recorded_labels(fer2013: Path) -> None:
    """On at least 998 of the 1,000 recorded validation rows: the same answers on this machine as where it was made."""
    from deepfer.checkpoint import embedded_models, read_config
    from training.data.loading import load

    images = load(fer2013)["validation"].images
    for folder in embedded_models():
        recorded = read_config(folder)["recorded_labels"]
        classifier = EmotionRecognizer.from_pretrained(folder.name).classifier
        labels = classifier.predict(images[: len(recorded)]).argmax(axis=1)
        assert len(recorded) == 1000
        assert sum(int(a) == b for a, b in zip(recorded, labels, strict=True)) >= 998, folder.name


@pytest.mark.parametrize("detector", ["auto", "haar"])
def test_frames_show_the_same_face_to_the_same_model(astronaut: np.ndarray, detector: str) -> None:
    recognizer = EmotionRecognizer.from_pretrained(detector=detector)
    quick = recognizer.for_frames()
    assert quick.classifier is recognizer.classifier
    assert quick.detector_name == recognizer.detector_name
    (face,), (thorough,) = quick.recognize(astronaut), recognizer.recognize(astronaut)
    assert iou(face.box, thorough.box) > 0.6
    assert face.emotion == thorough.emotion == "happy"


@pytest.mark.parametrize("degrees", [45, 90, 135, 180, 225, 270])
def test_a_turned_face_keeps_its_emotion(astronaut: np.ndarray, degrees: float) -> None:
    turn = cv2.getRotationMatrix2D((223, 120), degrees, 1.0)
    image = cv2.warpAffine(astronaut, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    for face in EmotionRecognizer.from_pretrained().recognize(image):
        assert face.emotion == "happy" or (face.confidence or 0) <= 0.5
