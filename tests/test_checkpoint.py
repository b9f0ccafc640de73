import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hub_server import HubServer

from deepfer import LABELS, CheckpointError, EmotionClassifier, EmotionRecognizer
from deepfer.checkpoint import CONFIG, DEFAULT, EMBEDDED, MODEL, encode_config, read, resolve, sha256
from deepfer.classifier import softmax


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the embedded checkpoint that a test may damage."""
    return Path(shutil.copytree(EMBEDDED / DEFAULT, tmp_path / "checkpoint"))


def edit(folder: Path, change: Callable[[dict], None]) -> None:
    config = json.loads((folder / CONFIG).read_text())
    config["sha256"].pop(CONFIG, None)  # or the change alone would be refused
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))


def test_sources(folder: Path) -> None:
    embedded = resolve(None)
    assert embedded.folder == EMBEDDED / DEFAULT
    assert embedded.name == DEFAULT
    assert resolve(DEFAULT) == embedded
    local = resolve(folder)
    assert (local.folder, local.name, local.revision) == (folder, str(folder), None)


def test_only_models_on_the_hub_have_revisions(folder: Path) -> None:
    for source in (None, DEFAULT, folder, "nonsense"):
        with pytest.raises(ValueError, match="revision 'v1': only models on the Hub"):
            resolve(source, "v1")


@pytest.mark.parametrize(
    "source", ["nonsense", "a/b/c", "", "user/", "https://example.org/x", "x" * 300, "nul\0", "two\nlines"]
)
def test_an_invalid_source_lists_the_valid_ones(source: str) -> None:
    with pytest.raises(ValueError, match=r"'cnn'.*folder.*'user/name'"):
        resolve(source)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("temperature"), "'temperature' is missing"),
        (lambda c: c.pop("format_version"), "'format_version' is missing"),
        (lambda c: [c.pop(key) for key in list(c)] and c.update(format_version=2), "format_version 2.*update deepfer"),
        (lambda c: c["crop"].pop("margin"), "'margin' is missing"),
        (lambda c: c.update(format_version=99), "format_version 99.*update deepfer"),
        (lambda c: c.update(labels=["cat", *LABELS[1:]]), "cat.*instead of"),
        (lambda c: c.update(labels=LABELS[:6]), "instead of"),
        (lambda c: c["input"].update(size=100_000), "100000 pixels"),
        (lambda c: c["input"].update(channels=2), "2 channels"),
        (lambda c: c["temperature"].update(logits=0), "temperature"),
        (lambda c: c["temperature"].update(logits="warm"), "temperature"),
        (lambda c: c["temperature"].update(logits=1e-300), "temperature"),  # probabilities would overflow
        (lambda c: c["outputs"].pop("logits"), "logits"),
        (lambda c: c["outputs"].update(logits="x" * 201), "outputs must map"),
        (lambda c: c["crop"].update(template=[[0, 0]]), "template"),
        (lambda c: c["crop"].update(template=[[0.5, 0.5]] * 5), "coincide"),
        (lambda c: c["crop"].update(template=[[1e300, 0.5], *c["crop"]["template"][1:]]), "from -10 to 10"),
        (lambda c: c["crop"].update(margin=1e-300), "a margin between 0.1"),
        (lambda c: c.update(crop=7), "wrong type"),
    ],
)
def test_a_wrong_config_is_refused(folder: Path, change: Callable[[dict], None], said: str) -> None:
    edit(folder, change)
    with pytest.raises(CheckpointError, match=said):
        read(folder)


def test_messages_about_a_wrong_config_are_short(folder: Path) -> None:
    edit(folder, lambda c: c.update(labels=["x" * 10_000, *LABELS[1:]]))
    with pytest.raises(CheckpointError) as caught:
        read(folder)
    assert len(str(caught.value)) < len(str(folder)) + 450


def test_other_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a checkpoint folder"):
        resolve(tmp_path)
    (folder / CONFIG).write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        read(folder)
    (folder / CONFIG).write_text("[]")
    with pytest.raises(CheckpointError, match="not a JSON object"):
        read(folder)
    (folder / CONFIG).write_bytes(b" " * 2_000_000 + b"{}")
    with pytest.raises(CheckpointError, match="larger than 1000 kB"):
        read(folder)


def test_a_changed_model_file_is_refused(folder: Path) -> None:
    with (folder / MODEL).open("r+b") as file:
        file.seek(1000)
        file.write(b"\xff\x00\xff")
    with pytest.raises(CheckpointError, match="sha256 differs"):
        read(folder)
    (folder / MODEL).unlink()
    with pytest.raises(CheckpointError, match=rf"no {MODEL}.*your own.*training.export --keras"):
        read(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["labels"].reverse(),
        lambda c: c["temperature"].update(logits=0.5),
        lambda c: c["crop"].update(margin=1.5),
        lambda c: c.update(recorded_labels="0"),
        lambda c: c["sha256"].update({CONFIG: "0" * 64}),
    ],
)
def test_a_changed_config_is_refused(folder: Path, change: Callable[[dict], None]) -> None:
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=rf"{CONFIG} was changed.*export it again.*remove '{CONFIG}'"):
        read(folder)


def test_the_layout_of_a_config_does_not_matter(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(dict(reversed(config.items())), indent="\t"))
    assert read(folder).labels == LABELS
    (folder / CONFIG).write_bytes(encode_config(config))  # a second time changes nothing
    assert (folder / CONFIG).read_bytes() == (EMBEDDED / DEFAULT / CONFIG).read_bytes()


def test_every_embedded_config_has_its_hash_and_older_ones_load(folder: Path) -> None:
    for path in EMBEDDED.glob(f"*/{CONFIG}"):
        assert CONFIG in json.loads(path.read_text())["sha256"]
    edit(folder, lambda c: c["labels"].reverse())  # without a hash of the config, as before
    assert read(folder).labels == LABELS[::-1]


def test_a_model_that_never_finishes_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepfer.model_probe.MODEL_TRIAL_S", 0.001)
    with (folder / MODEL).open("ab") as file:
        file.write(b"unlike any that was tried")
    edit(folder, lambda c: c["sha256"].update({MODEL: sha256(folder / MODEL)}))
    with pytest.raises(CheckpointError, match="does not answer within"):
        EmotionClassifier(read(folder))


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(100_000)])
def test_a_file_that_is_not_a_model_is_refused(folder: Path, content: bytes) -> None:
    (folder / MODEL).write_bytes(content)
    edit(folder, lambda c: c["sha256"].update({MODEL: sha256(folder / MODEL)}))
    with pytest.raises(CheckpointError, match="not a LiteRT model"):
        EmotionClassifier(read(folder))


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["input"].update(size=64),
        lambda c: c["input"].update(channels=3),
        lambda c: c["outputs"].update(logits="other"),
        lambda c: c["outputs"].update(activation_map="logits"),
    ],
)
def test_a_model_that_does_not_match_its_config_is_refused(folder: Path, change: Callable[[dict], None]) -> None:
    edit(folder, change)
    with pytest.raises(CheckpointError, match=r"does not take|has no output"):
        EmotionClassifier(read(folder))


def test_another_label_order_comes_out_canonical(folder: Path) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    before, maps_before = EmotionClassifier(read(folder)).explain(crops)
    order = [3, 0, 6, 1, 5, 2, 4]
    edit(folder, lambda c: c.update(labels=[LABELS[i] for i in order]))
    after, maps_after = EmotionClassifier(read(folder)).explain(crops)
    # The model's column k is now called LABELS[order[k]].
    assert after[:, order] == pytest.approx(before, abs=1e-6)
    assert np.array_equal(maps_after[..., order], maps_before)


# --- other people's models --------------------------------------------------------------------------------------------

ORDER = (6, 2, 0, 5, 1, 3, 4)  # LABELS[ORDER[k]] is what the model's column k stands for
KERNEL = np.random.default_rng(0).normal(0, 2, (3, 7)).astype(np.float32)
TEMPERATURE = 1.7


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another author's model: 64 pixels, colour, labels in another order, one output of another name, no map.

    It answers by the mean colour, so that what is due can be worked out without it.
    """
    from training.convert.litert import keras, to_litert

    pixels = keras.Input((64, 64, 3))
    scores = keras.layers.Dense(7, use_bias=False)
    model = keras.Model(
        pixels, {"scores": scores(keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pixels)))}
    )
    scores.set_weights([KERNEL])
    folder = tmp_path_factory.mktemp("checkpoints") / "colours"
    folder.mkdir()
    (folder / MODEL).write_bytes(to_litert(model, quantize=False))
    config = {
        "format_version": 1,
        "labels": [LABELS[i] for i in ORDER],
        "input": {"size": 64, "channels": 3},
        "outputs": {"logits": "scores"},
        "temperature": {"logits": TEMPERATURE},
        "crop": json.loads((EMBEDDED / DEFAULT / CONFIG).read_text())["crop"],
        "sha256": {MODEL: sha256(folder / MODEL)},
    }
    (folder / CONFIG).write_text(json.dumps(config))
    return folder


def due(crops: np.ndarray) -> np.ndarray:
    """The expected probabilities of the mean-colour model for RGB crops `(N, H, W, 3)`, in the order of `LABELS`."""
    columns = softmax(crops.mean(axis=(1, 2)) / 255 @ KERNEL / TEMPERATURE)
    answer = np.empty_like(columns)
    answer[:, ORDER] = columns
    return answer


def test_size_colour_order_and_heads_follow_the_config(colours: Path) -> None:
    classifier = EmotionClassifier(resolve(colours))
    crops = np.random.default_rng(1).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    crops[:, :, :, 0] //= 3
    assert classifier.predict(crops) == pytest.approx(due(crops), abs=1e-5)
    gray = crops[..., 0]
    assert classifier.predict(gray) == pytest.approx(due(np.repeat(gray[..., None], 3, axis=3)), abs=1e-5)
    for lacking in (lambda: classifier.predict(crops, head="fer2013"), lambda: classifier.explain(crops)):
        with pytest.raises(ValueError, match=r"no head 'fer2013'|no activation maps"):
            lacking()


def test_a_colour_model_from_the_hub_gets_colour_crops(colours: Path, hub: HubServer, astronaut: np.ndarray) -> None:
    commit = hub.commit("other/faces", {name: (colours / name).read_bytes() for name in (CONFIG, MODEL)})
    recognizer = EmotionRecognizer.from_pretrained("other/faces")
    (face,) = recognizer.recognize(astronaut)
    crop = recognizer.crop(astronaut, face)
    assert crop.shape == (64, 64, 3)
    assert crop[..., 0].mean() > crop[..., 2].mean() + 10  # skin, in RGB
    assert np.array(list(face.probabilities.values())) == pytest.approx(due(crop[None])[0], abs=1e-5)
    assert (tuple(face.probabilities), recognizer.revision) == (LABELS, commit)
