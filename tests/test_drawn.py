from pathlib import Path

import numpy as np
import pytest

from deepfer import LABELS
from training import drawn
from training.data.loading import load
from training.data.synthetic import synthetic_split, write


def test_a_folder_of_synthetic_faces_is_a_dataset(tmp_path: Path) -> None:
    write(tmp_path / "drawn", {"train": 21, "validation": 14})
    splits = load(tmp_path / "drawn")
    assert {name: len(split) for name, split in splits.items()} == {"train": 21, "validation": 14}
    assert np.bincount(splits["train"].labels).tolist() == [3] * len(LABELS)
    by_label = splits["train"].images[np.argsort(splits["train"].labels, kind="stable")].reshape(7, 3, -1).astype(float)
    assert not np.array_equal(by_label[0, 0], by_label[0, 1])
    assert np.array_equal(synthetic_split(7, 0).images, synthetic_split(7, 0).images)  # the same for the same seed


def test_an_unwritable_folder_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert drawn.main(["--out", str(tmp_path / "file" / "x")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
