from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfer.face import LABELS
from training.data import FERPLUS_COLUMNS, DataError, ferplus_targets, label_index, load, main, resize, stratified


def class_folders(root: Path, names: list[str], per_class: int = 10) -> Path:
    for number, name in enumerate(names):
        (root / "train" / name).mkdir(parents=True)
        for i in range(per_class):
            Image.new("RGB", (60, 50), (30 * number, 10 * i, 0)).save(root / "train" / name / f"{i}.png")
    return root


def votes(**counts: int) -> np.ndarray:
    return np.array([[counts.get(column, 0) for column in FERPLUS_COLUMNS]], np.uint8)


def test_names_of_other_datasets_map_to_ours() -> None:
    names = ["Anger", "disgusted", " fear ", "happiness", "Neutral", "sadness", "surprised", "joy"]
    assert label_index(names).tolist() == [0, 1, 2, 3, 4, 5, 6, 3]
    with pytest.raises(DataError, match="contempt, 7"):
        label_index(["happy", "contempt", "7"])


def test_ferplus_votes() -> None:
    shares, majority = ferplus_targets(votes(happiness=6, surprise=3, fear=1))
    assert shares[0, LABELS.index("happy")] == pytest.approx(2 / 3)  # the single vote does not count
    assert shares[0, LABELS.index("fear")] == 0
    assert LABELS[majority[0]] == "happy"
    for none in (votes(), votes(anger=5, sadness=5), votes(contempt=6, anger=4), votes(NF=10), votes(anger=1, fear=1)):
        assert ferplus_targets(none)[1].tolist() == [-1]
    assert ferplus_targets(votes(NF=10))[0].tolist() == [[0.0] * 7]
    for column in FERPLUS_COLUMNS[:7]:
        name = LABELS[ferplus_targets(votes(**{column: 9}))[1][0]]
        assert label_index([column]).tolist() == [LABELS.index(name)]


def test_a_folder_of_class_folders(tmp_path: Path) -> None:
    splits = load(class_folders(tmp_path / "faces", ["happiness", "Anger", "sad"]))
    assert {name: len(split) for name, split in splits.items()} == {"train": 27, "validation": 3}
    train = splits["train"]
    assert train.images.dtype == np.uint8
    assert train.images.shape == (27, 48, 48)
    assert sorted(np.unique(train.labels)) == [LABELS.index(name) for name in ("angry", "happy", "sad")]
    assert not train.votes.any()
    assert np.all(train.majority == -1)
    again = load(tmp_path / "faces")["validation"]
    assert np.array_equal(again.images, splits["validation"].images)


def test_packing_keeps_everything(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "faces", ["happy", "fear"])
    assert main(["--dataset", str(folder), "--out", str(tmp_path / "faces.npz")]) == 0
    before, after = load(folder), load(tmp_path / "faces.npz")
    assert before.keys() == after.keys()
    for name in before:
        for key, value in vars(before[name]).items():
            assert np.array_equal(value, getattr(after[name], key))
    with pytest.raises(DataError, match="not 64 x 64"):
        load(tmp_path / "faces.npz", size=64)


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot load"):
        load(tmp_path / "nothing")
    (tmp_path / "broken.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match="no packed dataset"):
        load(tmp_path / "broken.npz")
    with pytest.raises(DataError, match="contempt"):
        load(class_folders(tmp_path / "eight", ["happy", "contempt"]))
    folder = class_folders(tmp_path / "torn", ["happy", "fear"])
    picture = folder / "train" / "happy" / "3.png"
    picture.write_bytes(b"no picture at all")
    with pytest.raises(DataError, match=r"3\.png"):
        load(folder)


def test_the_held_out_share_is_that_of_every_label(tmp_path: Path) -> None:
    whole = load(class_folders(tmp_path / "faces", ["happy", "fear"], per_class=30))["train"]
    kept, held = stratified(whole, 0.5, seed=1)
    assert len(kept) + len(held) == len(whole)
    assert np.bincount(held.labels).max() == np.bincount(held.labels)[np.bincount(held.labels) > 0].min()


def test_shrinking_averages() -> None:
    checkers = (np.indices((96, 96)).sum(axis=0) % 2 * 254).astype(np.uint8)
    assert np.all(resize(checkers, 48) == 127)
