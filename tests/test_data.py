import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from drawn_faces import class_folders
from hub_server import HubServer
from PIL import Image as PIL

from deepfer.face import LABELS
from training.data.__main__ import main
from training.data.dataset import open_dataset
from training.data.labels import FERPLUS_COLUMNS, ferplus_targets, label_index
from training.data.loading import load, name_of
from training.data.split import Split, require_trainable, stratified
from training.data.synthetic import synthetic_split
from training.exceptions import DataError

SEVEN = {label: label for label in LABELS}


def votes(**counts: int) -> np.ndarray:
    return np.array([[counts.get(column, 0) for column in FERPLUS_COLUMNS]], np.uint8)


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PIL.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def stored(values: list[Any], feature: Any, column: str = "label") -> Dataset:
    """One synthetic face per value, in a table with that label column."""
    pictures = [{"bytes": png(image), "path": None} for image in synthetic_split(len(values), 0).images]
    return Dataset.from_dict({"picture": pictures, column: values}, Features({"picture": Image(), column: feature}))


def test_label_synonyms() -> None:
    names = ["Anger", "disgusted", " fear ", "happiness", "Neutral", "sadness", "surprised", "joy"]
    assert label_index(names).tolist() == [0, 1, 2, 3, 4, 5, 6, 3]
    with pytest.raises(DataError, match="unknown labels: contempt, 7"):
        label_index(["happy", "contempt", "7"])


def test_ferplus_votes() -> None:
    shares, labels = ferplus_targets(votes(happiness=6, surprise=3, fear=1))
    assert shares[0, LABELS.index("happy")] == pytest.approx(2 / 3)  # the single vote does not count
    assert shares[0, LABELS.index("fear")] == 0
    assert LABELS[labels[0]] == "happy"
    for none in (votes(), votes(anger=5, sadness=5), votes(contempt=6, anger=4), votes(NF=10), votes(anger=1, fear=1)):
        assert ferplus_targets(none)[1].tolist() == [-1]
    assert ferplus_targets(votes(NF=10))[0].tolist() == [[0.0] * 7]
    for column in FERPLUS_COLUMNS[:7]:
        name = LABELS[ferplus_targets(votes(**{column: 9}))[1][0]]
        assert label_index([column]).tolist() == [LABELS.index(name)]


def test_class_folders(tmp_path: Path) -> None:
    names = {"happiness": "happy", "Anger": "angry", "sad": "sad"}
    folder = class_folders(tmp_path / "faces", names, per_class=10, size=(60, 50))
    splits = load(folder)
    assert {name: len(split) for name, split in splits.items()} == {"train": 27, "validation": 3}
    assert splits.held_out == {"share": 0.1, "seed": 0}
    train = splits["train"]
    assert train.images.dtype == np.uint8
    assert train.images.shape == (27, 48, 48)
    assert sorted(np.unique(train.labels)) == [LABELS.index(name) for name in ("angry", "happy", "sad")]
    assert not train.votes.any()
    assert np.all(train.ferplus_labels == -1)
    again = load(folder)["validation"]
    assert np.array_equal(again.images, splits["validation"].images)
    assert load(folder, size=64)["train"].images.shape == (27, 64, 64)


def test_split_names(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        class_folders(tmp_path / "faces" / split, {"happy": "happy", "fear": "fear"}, per_class=3)
    splits = load(tmp_path / "faces")
    assert {name: len(split) for name, split in splits.items()} == {"train": 6, "validation": 6, "test": 6}
    assert splits.held_out is None
    rows = stored([0], ClassLabel(names=["happy"]))
    DatasetDict({"Training": rows, "PublicTest": rows, "PrivateTest": rows}).save_to_disk(str(tmp_path / "original"))
    assert list(load(tmp_path / "original")) == ["train", "validation", "test"]
    DatasetDict({"val": rows, "dev": rows}).save_to_disk(str(tmp_path / "twice"))
    with pytest.raises(DataError, match="two splits that map to validation: val, dev"):
        load(tmp_path / "twice")


@pytest.mark.parametrize("column", ["label", "emotion", "what_it_shows"])
def test_labels_as_class_numbers_or_text(tmp_path: Path, column: str) -> None:
    own = ["surprise", "contempt", "joy"]  # unused class names may be anything
    stored([0, 2, 0], ClassLabel(names=own), column).to_parquet(str(tmp_path / "test.parquet"))
    split = load(tmp_path)["test"]
    assert [LABELS[i] for i in split.labels] == ["surprise", "happy", "surprise"]
    if column != "what_it_shows":  # a text column is the label only if it has a known name
        stored(["Sadness", "joy", "fear"], Value("string"), column).save_to_disk(str(tmp_path / "words"))
        assert [LABELS[i] for i in load(tmp_path / "words")["train"].labels] == ["sad", "happy", "fear"]


@pytest.mark.parametrize("others", [["mask"], ["mask", "heat_map"]])
def test_the_column_named_image_is_used(tmp_path: Path, others: list[str]) -> None:
    rows = stored([0, 1], ClassLabel(names=["happy", "sad"]))
    black = [{"bytes": png(np.zeros((48, 48), np.uint8)), "path": None}] * 2
    table = {**dict.fromkeys(others, black), "Image": rows.with_format("arrow")["picture"].to_pylist(), "label": [0, 1]}
    features = {name: Image() for name in [*others, "Image"]} | {"label": rows.features["label"]}
    Dataset.from_dict(table, Features(features)).save_to_disk(str(tmp_path / "faces"))
    assert np.array_equal(load(tmp_path / "faces")["train"].images, synthetic_split(2, 0).images)


@pytest.mark.parametrize("names", [["mask", "heat_map"], ["image", "photo"]])
def test_ambiguous_image_columns_are_refused(tmp_path: Path, names: list[str]) -> None:
    black = [{"bytes": png(np.zeros((48, 48), np.uint8)), "path": None}]
    features = Features({name: Image() for name in names} | {"label": ClassLabel(names=["happy"])})
    Dataset.from_dict({**dict.fromkeys(names, black), "label": [0]}, features).save_to_disk(str(tmp_path / "faces"))
    with pytest.raises(DataError, match=f"several image columns: {', '.join(names)}. Name the one") as raised:
        load(tmp_path / "faces")
    assert "\n" not in str(raised.value)


def test_ferplus_votes_are_loaded(tmp_path: Path) -> None:
    rows = stored([3, 5], ClassLabel(names=list(LABELS)))
    counts = [votes(happiness=8, surprise=2)[0].tolist(), votes(sadness=5, neutral=5)[0].tolist()]
    rows.add_column("ferplus_votes", counts).to_parquet(str(tmp_path / "test.parquet"))
    split = load(tmp_path)["test"]
    assert split.ferplus_labels.tolist() == [3, -1]
    assert split.votes[0, 3] == pytest.approx(0.8)


def test_hub_dataset_at_a_revision(hub: HubServer, tmp_path: Path) -> None:
    def parquet(label: int) -> bytes:
        path = tmp_path / f"{label}.parquet"
        stored([label], ClassLabel(names=list(LABELS))).to_parquet(str(path))
        return path.read_bytes()

    hub.commit("datasets/user/faces", {"test.parquet": parquet(2)}, "v1")
    hub.commit("datasets/user/faces", {"test.parquet": parquet(6)})
    assert load("user/faces@v1")["test"].labels.tolist() == [2]
    assert load("user/faces")["test"].labels.tolist() == [6]
    for wrong in ("user/nothing", "user/faces@v9"):
        with pytest.raises(DataError, match=f"cannot load the dataset '{wrong}'") as message:
            load(wrong)
        assert "\n" not in str(message.value)


def test_packing_round_trips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = class_folders(tmp_path / "faces", {"happy": "happy", "fear": "fear"}, per_class=10)
    assert main(["--dataset", str(folder), "--out", str(tmp_path / "faces.npz")]) == 0
    said = capsys.readouterr().out
    assert "train: 18 images (angry 0, disgust 0, fear 9, happy 9" in said
    assert "validation was held out: 10% of every label, seed 0" in said
    assert "validation: 2 images have a near-duplicate in train" in said  # these drawings are all alike
    before, after = load(folder), load(tmp_path / "faces.npz")
    assert before.keys() == after.keys()
    assert before.held_out == after.held_out
    for name in before:
        for key, value in vars(before[name]).items():
            assert np.array_equal(value, getattr(after[name], key))
    with pytest.raises(DataError, match="not 64 x 64"):
        load(tmp_path / "faces.npz", size=64)
    assert main(["--dataset", str(folder), "--out", str(tmp_path / "faces.npz" / "below.npz")]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_dataset_names(tmp_path: Path) -> None:
    (tmp_path / "faces.v2").mkdir()
    assert name_of(tmp_path / "faces.v2") == "faces.v2"
    assert name_of(tmp_path / "faces.npz") == "faces"
    assert name_of("user/faces@v1.0") == "user/faces@v1.0"


@pytest.mark.parametrize(
    ("values", "feature", "message"),
    [
        ([0, 1], ClassLabel(names=["happy", "contempt"]), "contempt. Rename them"),
        (["happy", "bored"], Value("string"), "bored. Rename them"),
        ([0, 3], Value("int64"), r"holds numbers such as 0 without class names.*cast_column\('label', ClassLabel"),
        ([0, None], ClassLabel(names=["happy"]), "no label in row 1"),
        ([-1, 0], ClassLabel(names=["happy"]), "no label in row 0"),
        (["fear", None], Value("string"), "no label in row 1"),
    ],
)
def test_unusable_labels_are_reported(tmp_path: Path, values: list[Any], feature: Any, message: str) -> None:
    stored(values, feature).save_to_disk(str(tmp_path / "faces"))
    with pytest.raises(DataError, match=message) as raised:
        load(tmp_path / "faces")
    assert "\n" not in str(raised.value)


def test_unreadable_datasets_are_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot load"):
        load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot load"):
        load(tmp_path / "empty")
    (tmp_path / "broken.npz").write_bytes(b"not a zip")
    with pytest.raises(DataError, match="not a packed dataset"):
        load(tmp_path / "broken.npz")
    Dataset.from_dict({"text": ["a"], "label": ["happy"]}).save_to_disk(str(tmp_path / "words"))
    with pytest.raises(DataError, match="needs an image column and a label column; it has text, label"):
        load(tmp_path / "words")
    (tmp_path / "columns").mkdir()
    for name, columns in (("a", {"label": ["happy"]}), ("b", {"other": [1]})):
        Dataset.from_dict(columns).to_parquet(str(tmp_path / "columns" / f"{name}.parquet"))
    with pytest.raises(DataError, match="cannot load"):
        load(tmp_path / "columns")
    with pytest.raises(DataError, match="one subfolder per emotion"):
        load(class_folders(tmp_path / "one", {"happy": "happy"}))


def test_all_broken_images_are_reported_at_once(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "torn", {"happy": "happy", "fear": "fear"})
    (folder / "happy" / "3.png").write_bytes(b"not an image")
    (folder / "fear" / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 images cannot be decoded: .*fear/1\.png.*happy/3\.png") as raised:
        load(folder)
    assert "\n" not in str(raised.value)
    assert open_dataset(folder)["train"].read(0).shape == (48, 48, 3)


def test_untrainable_splits_are_reported(tmp_path: Path) -> None:
    require_trainable({"train": synthetic_split(14, 0), "validation": synthetic_split(3, 1)})
    rows = np.flatnonzero(~np.isin(np.arange(14) % 7, (1, 2)))
    with pytest.raises(DataError, match="no training images of disgust, fear: "):
        require_trainable({"train": synthetic_split(14, 0).take(rows), "validation": synthetic_split(3, 1)})
    with pytest.raises(DataError, match="no images in the train split; images per split: test 7"):
        require_trainable({"test": synthetic_split(7, 0)})
    with pytest.raises(DataError, match="no images in the validation split; images per split: train 7, validation 0"):
        require_trainable({"train": synthetic_split(7, 0), "validation": synthetic_split(7, 0).take(np.array([], int))})


def test_the_held_out_split_is_stratified() -> None:
    whole = synthetic_split(140, 0)
    kept, held = stratified(whole, 0.25, seed=1)
    assert np.bincount(held.labels).tolist() == [5] * 7
    assert np.bincount(kept.labels).tolist() == [15] * 7
    rows = {image.tobytes() for split in (kept, held) for image in split.images}
    assert rows == {image.tobytes() for image in whole.images}
    assert not np.array_equal(held.images, stratified(whole, 0.25, seed=2)[1].images)
    assert isinstance(kept, Split)
    kept, held = stratified(synthetic_split(21, 0), 0.1, seed=1)  # at least one per label
    assert np.bincount(held.labels).tolist() == [1] * 7
