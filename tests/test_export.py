"""Export of a user's own Keras file: the checkpoint gives Keras's outputs, and unusable files give a one-line error."""

import json
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from keras import layers

from deepfer import LABELS, EmotionClassifier, EmotionRecognizer
from deepfer.checkpoint import read
from deepfer.classifier import softmax
from training import export
from training.convert import checkpoint_folder, keras_file
from training.convert.calibration import calibrate, rank_shares
from training.convert.litert import predict_logits, served_model, to_litert
from training.data.loading import pack
from training.data.split import Split
from training.model.models import build_cnn

pytestmark = pytest.mark.slow

OWN_ORDER = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")  # of the FER2013 CSV
COLUMNS = [[name.lower() for name in OWN_ORDER].index(label) for label in LABELS]
DATA = Path(__file__).parent / "data"  # files of Keras 2, written by tf_keras 2.21, and what it answered
IMAGES = np.random.default_rng(1).integers(0, 256, (8, 48, 48), dtype=np.uint8)


def words(*arguments: object) -> list[str]:
    return [str(argument) for argument in arguments]


def convert(path: Path, out: Path, *more: object, rescale: str = "0-1", labels: tuple[str, ...] = OWN_ORDER) -> int:
    asked = words("--keras", path, "--labels", ",".join(labels), f"--rescale={rescale}", "--out", out, *more)
    return export.main(asked)


def spread(model: keras.Model) -> keras.Model:
    """Random weights, so that outputs differ between images."""
    rng = np.random.default_rng(0)
    model.set_weights([np.abs(rng.normal(0, 0.3, w.shape)) if w.ndim == 1 else w * 1.5 for w in model.get_weights()])
    return model


def sequential() -> keras.Model:
    """A plain CNN, as beginners build it."""
    return keras.Sequential(
        [
            keras.Input((48, 48, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(4),
            layers.Flatten(),
            layers.Dense(7, activation="softmax"),
        ]
    )


def transferred() -> keras.Model:
    """A base model nested in another, after augmentation layers, with its own softmax; takes colour from -1 to 1."""
    pixels = keras.Input((64, 64, 3))
    base = keras.Sequential([keras.Input((64, 64, 3)), layers.Conv2D(8, 3, 2, activation="relu")], name="base")
    augmentation = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.4)])
    x = layers.GlobalAveragePooling2D()(base(augmentation(pixels)))
    return keras.Model(pixels, layers.Softmax()(layers.Dense(7)(layers.Dropout(0.3)(x))))


def probabilities_inside() -> keras.Model:
    """Rescales its own input; its softmax is nested too deeply to be removed."""
    pixels = keras.Input((48, 48, 1))
    x = layers.AveragePooling2D(8)(layers.Rescaling(1 / 255)(pixels))
    answers = layers.Dense(7, activation="softmax")(layers.Flatten()(x))
    return keras.Model(pixels, layers.Reshape((7,))(answers))


def operators() -> keras.Model:
    """Arithmetic between layers, in the model and in a nested one that ends in pooling and a Dense layer."""
    inner = keras.Input((24, 24, 8))
    residual = keras.Model(inner, keras.ops.relu(layers.Conv2D(8, 3, padding="same")(inner) * 0.5 + inner))
    pixels = keras.Input((48, 48, 1))
    x = layers.Conv2D(8, 3, 2, padding="same", activation="relu")(pixels / 255.0)
    return keras.Model(pixels, layers.Dense(7, activation="softmax")(layers.GlobalAveragePooling2D()(residual(x))))


def functions() -> keras.Model:
    """Functions of keras.ops from the input to the softmax."""
    pixels = keras.Input((48, 48, 1))
    x = keras.ops.concatenate([pixels, pixels * 0.5, pixels * 0.25], axis=-1)[..., ::-1]
    x = layers.Conv2D(8, 3, 2)(x / 127.5 - 1)
    x = keras.ops.mean(keras.ops.maximum(x, 0.1 * x), axis=(1, 2))
    return keras.Model(pixels, keras.ops.softmax(layers.Dense(7)(x)))


def shared_dense() -> keras.Model:
    """Its last Dense layer is called twice, so its softmax must not be removed."""
    pixels = keras.Input((48, 48, 1))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(7, 3)(pixels / 255.0))
    dense = layers.Dense(7, activation="softmax")
    return keras.Model(pixels, dense(dense(x) * 3 + x))


@pytest.mark.parametrize(
    ("build", "suffix", "rescale"),
    [
        (sequential, ".h5", "0-1"),
        (transferred, ".keras", "-1-1"),
        (probabilities_inside, ".keras", "none"),
        (operators, ".keras", "none"),
        (functions, ".keras", "none"),
        (shared_dense, ".keras", "none"),
    ],
)
def test_a_keras_file_is_served_with_the_same_outputs(
    build: Callable[[], keras.Model], suffix: str, rescale: str, tmp_path: Path, astronaut: np.ndarray
) -> None:
    keras.utils.set_random_seed(0)
    model = spread(build())
    path = tmp_path / f"best_model{suffix}"
    save_quietly(model, path)
    assert convert(path, tmp_path / "own", "--float32", rescale=rescale) == 0
    size, channels = model.input_shape[1], model.input_shape[3]
    crops = np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC) for image in IMAGES])
    pixels = np.repeat(crops[..., None], channels, axis=3).astype(np.float32)
    scaled = {"0-1": pixels / 255, "-1-1": pixels / 127.5 - 1, "none": pixels}[rescale]
    expected = model.predict(scaled, verbose=0)[:, COLUMNS]
    classifier = EmotionClassifier(read(tmp_path / "own"))
    assert classifier.predict(crops) == pytest.approx(expected, abs=2e-5)
    assert expected.max(axis=1).std() > 0.001  # not all the same
    config = json.loads((tmp_path / "own" / "config.json").read_text())
    assert config["temperature"] == {"logits": 1.0}
    assert "no temperature was fitted" in config["converted"]["gate"]
    assert "no temperature was fitted" in (tmp_path / "own" / "README.md").read_text()
    recognizer = EmotionRecognizer.from_pretrained(tmp_path / "own")
    (face,) = recognizer.recognize(astronaut)
    assert face.probabilities == pytest.approx(
        dict(zip(LABELS, classifier.predict(recognizer.crop(astronaut, face)[None])[0], strict=True)), abs=1e-6
    )


def test_half_precision_operators_become_float32(tmp_path: Path) -> None:
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        pixels = keras.Input((48, 48, 1))
        x = keras.ops.cast(layers.Conv2D(8, 3, activation="relu")(pixels / 255.0), "float16") * 2
        probabilities = layers.Dense(7, activation="softmax", dtype="float32")(layers.GlobalAveragePooling2D()(x))
        model = spread(keras.Model(pixels, probabilities))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    model.save(tmp_path / "half.keras")
    assert convert(tmp_path / "half.keras", tmp_path / "own", "--float32", rescale="none") == 0
    served = EmotionClassifier(read(tmp_path / "own"))
    expected = model.predict(IMAGES[..., None].astype(np.float32), verbose=0)[:, COLUMNS]
    assert served.predict(IMAGES) == pytest.approx(expected, abs=2e-3)  # float16 is no more precise
    assert list(served.checkpoint.outputs) == ["logits", "activation_map"]


def save_quietly(model: keras.Model, path: Path) -> None:
    if path.suffix == ".keras":
        model.save(path)
    else:  # the same file as model.save, which also warns that the format is old
        from keras.src.legacy.saving.legacy_h5_format import save_model_to_hdf5

        save_model_to_hdf5(model, str(path))


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize(("name", "rescale"), [("sequential", "0-1"), ("nested", "-1-1")])
def test_keras_2_files_are_served_with_the_same_outputs(name: str, rescale: str, suffix: str, tmp_path: Path) -> None:
    assert convert(DATA / f"keras2-{name}{suffix}", tmp_path / "own", "--float32", rescale=rescale) == 0
    expected = np.array(json.loads((DATA / "keras2.json").read_text())[name])[:, COLUMNS]
    classifier = EmotionClassifier(read(tmp_path / "own"))
    assert classifier.predict(IMAGES) == pytest.approx(expected, abs=2e-5)
    if name == "nested":  # pooling and one Dense layer at its end: the map's mean is the logit
        probabilities, maps = classifier.explain(IMAGES)
        exponents = np.exp(maps.mean(axis=(1, 2)))
        assert probabilities == pytest.approx(exponents / exponents.sum(axis=1, keepdims=True), abs=1e-5)
    else:
        with pytest.raises(ValueError, match="no activation maps"):
            classifier.explain(IMAGES)


def test_int8_is_smaller_and_replaces_the_old_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    keras.utils.set_random_seed(0)
    model = spread(sequential())
    save_quietly(model, tmp_path / "model.keras")
    sizes = []
    for more in (("--float32",), ()):
        assert convert(tmp_path / "model.keras", tmp_path / "own", *more) == 0
        sizes.append((tmp_path / "own" / "model.tflite").stat().st_size)
    assert sizes[1] < sizes[0] / 2
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["model.keras", "own"]
    capfd.readouterr()


def test_the_temperature_is_fitted_on_a_dataset(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(140) % 7
    images = np.repeat(np.repeat(rng.integers(0, 256, (140, 6, 6), dtype=np.uint8), 8, axis=1), 8, axis=2)
    split = Split(images, labels, np.zeros((140, 7), np.float32), np.full(140, -1))
    pack({"train": split, "validation": split}, tmp_path / "faces.npz")
    file = DATA / "keras2-sequential.h5"
    assert convert(file, tmp_path / "own", "--float32", "--dataset", tmp_path / "faces.npz") == 0
    config = json.loads((tmp_path / "own" / "config.json").read_text())
    assert config["temperature"]["logits"] > 1.5  # it is confident and knows nothing
    assert config["converted"]["gate"] == "validation"
    assert config["gate"]["images"] == 140
    assert config["gate"]["accuracy_loss"] is not None
    assert len(config["recorded_labels"]) == 140
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["faces.npz", "own"]
    capfd.readouterr()


def classifier(outputs: int = 7, activation: str | None = "softmax", shape: tuple = (48, 48, 1)) -> keras.Model:
    pixels = keras.Input(shape)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(pixels))
    return keras.Model(pixels, layers.Dense(outputs, activation=activation)(x))


def of_two() -> keras.Model:
    first, second = keras.Input((48, 48, 1)), keras.Input((48, 48, 1))
    x = layers.Flatten()(layers.Concatenate()([first, second]))
    return keras.Model([first, second], layers.Dense(7, activation="softmax")(x))


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: classifier(outputs=6), "6 outputs, but there are 7 labels"),
        (lambda: classifier(activation="sigmoid"), "do not sum to 1"),
        (lambda: classifier(shape=(48, 32, 1)), "must be square"),
        (lambda: classifier(shape=(None, None, 3)), "must be square"),
        (lambda: keras.Sequential([keras.Input((48, 48, 1)), layers.Conv2D(7, 3)]), "not a classifier"),
        (of_two, "2 inputs"),
    ],
)
def test_other_networks_are_refused(
    build: Callable[[], keras.Model], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build().save(tmp_path / "own.keras")
    refused(tmp_path / "own.keras", tmp_path / "out", said, capsys)


def refused(
    path: Path, out: Path, said: str, capsys: pytest.CaptureFixture[str], labels: tuple[str, ...] = OWN_ORDER
) -> None:
    assert convert(path, out, labels=labels) == 1
    message = capsys.readouterr().err
    assert said in message
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert not out.exists()
    assert not list(out.parent.glob(".*"))


def test_operations_unsupported_by_litert_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = keras.Input((48, 48, 1))
    x = keras.ops.erfinv(layers.GlobalAveragePooling2D()(pixels / 256.0))
    keras.Model(pixels, layers.Dense(7, activation="softmax")(x)).save(tmp_path / "own.keras")
    refused(tmp_path / "own.keras", tmp_path / "out", "cannot be converted: LiteRT does not support Erfinv", capsys)


def test_the_first_convolution_stays_float32() -> None:
    """With 128 channels, the first convolution would become int8 like the later ones."""
    from ai_edge_litert.interpreter import Interpreter

    keras.utils.set_random_seed(0)
    file = to_litert(served_model(build_cnn(widths=(32,), blocks=1, stem=128), 0.5), quantize=True)
    interpreter = Interpreter(model_content=file)
    interpreter.allocate_tensors()
    kinds = {tuple(t["shape"]): t["dtype"] for t in interpreter.get_tensor_details() if len(t["shape"]) == 4}
    assert kinds[128, 3, 3, 1] is np.float32
    assert kinds[128, 3, 3, 128] is np.int8


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("cat", *OWN_ORDER[1:]), "cat"),
        (OWN_ORDER[:6], "each of angry"),
        (("happy", *OWN_ORDER[1:]), "each of angry"),
    ],
)
def test_labels_must_be_the_seven_emotions(
    labels: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(DATA / "keras2-sequential.h5", tmp_path / "out", said, capsys, labels)


def test_unreadable_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, file = tmp_path / "out", tmp_path / "own.keras"
    refused(tmp_path / "absent.keras", out, "No such file", capsys)
    refused(tmp_path, out, "Is a directory", capsys)
    file.write_bytes(b"what?")
    refused(file, out, "neither a .keras archive nor an HDF5 file", capsys)
    file.write_bytes((DATA / "keras2-nested.h5").read_bytes()[:9000])
    refused(file, out, "cannot be loaded", capsys)
    file.write_bytes((DATA / "keras2-nested.keras").read_bytes()[:9000])
    refused(file, out, "cannot be loaded", capsys)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("hello.txt", "hello")
    refused(file, out, "it lacks metadata.json", capsys)
    model = classifier()
    model.save_weights(tmp_path / "own.weights.h5")
    refused(tmp_path / "own.weights.h5", out, "contains only weights", capsys)


def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for asked in (
        ("--keras", "own.keras", "--out", tmp_path),
        ("--run", "run", "--keras", "own.keras", "--out", tmp_path),
        ("--keras", "own.keras", "--labels", "a", "--rescale", "0-2", "--out", tmp_path),
    ):
        with pytest.raises(SystemExit, match="2"):
            export.main(words(*asked))
    assert "error:" in capsys.readouterr().err


def test_other_folders_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "thesis"
    own.mkdir()
    (own / "chapter.txt").write_text("much work")
    for out, said in (
        (own, "something other than a checkpoint"),
        (own / "chapter.txt", "something other than a checkpoint"),
        (own / "chapter.txt/x", "Not a"),
    ):
        assert convert(DATA / "keras2-sequential.h5", out) == 1
        message = capsys.readouterr().err
        assert said in message
        assert message.count("\n") == 1
    assert [path.name for path in own.iterdir()] == ["chapter.txt"]


def test_a_full_disk_keeps_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        checkpoint_folder, "to_litert", lambda model, quantize: bytes(2000)
    )  # TensorFlow itself writes on the way
    served = keras_file.as_served(classifier(), "0-1")
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "config.json").write_text("the old one")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # no file may grow past it
    try:
        with pytest.raises(OSError, match="File too large"):
            checkpoint_folder.write(served, IMAGES, {}, folder, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (folder / "config.json").read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [folder]


def test_each_head_is_calibrated_on_its_own_labels() -> None:
    model = build_cnn(widths=(8,), blocks=1, stem=8)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (300, 48, 48), np.uint8)
    before = predict_logits(model, images)
    given = dict(before)
    labels = rng.choice(7, 300, p=[0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    nobody = Split(images, labels, np.zeros((300, 7), np.float32), np.full(300, -1))
    found = calibrate(model, given, nobody)
    after = predict_logits(model, images)
    assert list(found) == ["fer2013"]
    assert np.array_equal(after["ferplus"], before["ferplus"])  # nobody voted: nothing to calibrate on
    biases = np.array([found["fer2013"]["biases"][label] for label in LABELS])
    assert after["fer2013"] == pytest.approx(found["fer2013"]["scale"] * before["fer2013"] + biases, abs=1e-3)
    assert given["fer2013"] == pytest.approx(after["fer2013"], abs=1e-3)
    said = softmax(after["fer2013"]).mean(axis=0)
    assert said == pytest.approx(np.bincount(labels, minlength=7) / 300, abs=0.01)


def test_the_smallest_of_the_best_blends_comes_first() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 7, 2000)
    split = Split(np.zeros((2000, 1, 1), np.uint8), truth, np.zeros((2000, 7), np.float32), truth)
    right, noise = np.eye(7)[truth], rng.normal(0, 0.05, (2000, 7))
    shares = rank_shares({"fer2013": right + noise, "ferplus": noise}, split)
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.5  # a small share of the head that is right is as good as all of it
    assert shares[-1] == 1
    assert rank_shares({"fer2013": right, "ferplus": noise}, Split(*[*vars(split).values()][:3], truth * 0 - 1)) == [1]


def test_with_fewer_images_more_blends_are_equal() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(4000) % 7
    split = Split(np.zeros((4000, 1, 1), np.uint8), truth, np.zeros((4000, 7), np.float32), truth)
    heads = {head: np.eye(7)[truth] + rng.normal(0, 0.6, (4000, 7)) for head in ("fer2013", "ferplus")}
    many = rank_shares(heads, split)
    few = rank_shares({head: z[:200] for head, z in heads.items()}, split.take(np.arange(200)))
    assert 0 < many[0] < 0.5 < many[-1] < 1  # the heads are equally good, and better together
    assert few[0] < many[0]  # chance changes the score of 200 images by more
    assert len(few) > len(many)
