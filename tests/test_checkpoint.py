import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deepfer import LABELS, CheckpointError, EmotionClassifier
from deepfer.checkpoint import CONFIG, DEFAULT, EMBEDDED, MODEL, read, resolve


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the embedded checkpoint, to be spoilt."""
    return Path(shutil.copytree(EMBEDDED / DEFAULT, tmp_path / "checkpoint"))


def edit(folder: Path, change: Callable[[dict], None]) -> None:
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))


def test_sources(folder: Path) -> None:
    embedded = resolve(None)
    assert embedded.folder == EMBEDDED / DEFAULT
    assert embedded.name == DEFAULT
    assert resolve(DEFAULT) == embedded
    local = resolve(folder)
    assert (local.folder, local.name, local.revision) == (folder, str(folder), None)


@pytest.mark.parametrize("source", ["nonsense", "a/b/c", "", "user/", "https://example.org/x"])
def test_any_other_source_names_the_forms(source: str) -> None:
    with pytest.raises(ValueError, match=r"'cnn'.*folder.*'user/name'"):
        resolve(source)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("temperature"), "'temperature' is missing"),
        (lambda c: c["crop"].pop("margin"), "'margin' is missing"),
        (lambda c: c.update(format_version=99), "format_version 99.*update deepfer"),
        (lambda c: c.update(labels=["cat", *LABELS[1:]]), "cat.*are not the seven"),
        (lambda c: c.update(labels=LABELS[:6]), "are not the seven"),
        (lambda c: c["input"].update(size=100_000), "100000 pixels"),
        (lambda c: c["input"].update(channels=2), "2 channels"),
        (lambda c: c["temperature"].update(logits=0), "temperature"),
        (lambda c: c["temperature"].update(logits="warm"), "temperature"),
        (lambda c: c["outputs"].pop("logits"), "logits"),
        (lambda c: c["crop"].update(template=[[0, 0]]), "template"),
        (lambda c: c.update(crop=7), "another form"),
    ],
)
def test_a_wrong_config_is_refused(folder: Path, change: Callable[[dict], None], said: str) -> None:
    edit(folder, change)
    with pytest.raises(CheckpointError, match=said):
        read(folder)


def test_what_is_no_checkpoint_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        resolve(tmp_path)
    (folder / CONFIG).write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        read(folder)
    (folder / CONFIG).write_text("[]")
    with pytest.raises(CheckpointError, match="not a JSON object"):
        read(folder)


def test_a_changed_model_file_is_refused(folder: Path) -> None:
    with (folder / MODEL).open("r+b") as file:
        file.seek(1000)
        file.write(b"\xff\x00\xff")
    with pytest.raises(CheckpointError, match="sha256 differs"):
        read(folder)
    (folder / MODEL).unlink()
    with pytest.raises(CheckpointError, match=f"no {MODEL}"):
        read(folder)


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(100_000)])
def test_a_file_that_is_no_model_is_refused(folder: Path, content: bytes) -> None:
    from deepfer.checkpoint import sha256

    (folder / MODEL).write_bytes(content)
    edit(folder, lambda c: c["sha256"].update({MODEL: sha256(folder / MODEL)}))
    with pytest.raises(CheckpointError, match="no LiteRT model"):
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
def test_a_model_that_its_config_does_not_fit_is_refused(folder: Path, change: Callable[[dict], None]) -> None:
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
