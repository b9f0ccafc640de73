"""Results as pandas tables; tests/test_results_file.py covers CSV."""

import sys

import pandas
import pytest

from deepfer import LABELS, Face, Person, Result, VideoResult, to_pandas
from deepfer.result import COLUMNS, FACE_COLUMNS


def face(emotion: str, x: int) -> Face:
    probabilities = {label: 0.7 if label == emotion else 0.05 for label in LABELS}
    return Face((x, 0, x + 10, 10), 0.9, (), probabilities)


PHOTO = Result("photo.jpg", "cnn", None, "deepfer", 40, 30, [face("happy", 0), face("sad", 20)])
EMPTY = Result("empty.jpg", "cnn", None, "deepfer", 4, 3)
BROKEN = Result("broken.jpg", "cnn", None, "deepfer", error="broken.jpg: damaged")


def video() -> VideoResult:
    seconds = {label: 2.0 if label == "fear" else 0.0 for label in LABELS}
    person = Person(1, 0.0, 2.0, seconds, face("fear", 0).probabilities, None, 0.0, 0.2)  # type: ignore[arg-type]
    return VideoResult("video.mp4", "cnn", None, "deepfer", 64, 48, 2.0, 10.0, 20, [person])


def test_faces_become_a_table() -> None:
    table = to_pandas(PHOTO.faces)
    assert tuple(table.columns) == FACE_COLUMNS
    assert table["emotion"].tolist() == ["happy", "sad"]
    assert table["face"].tolist() == [1, 2]
    assert table["x1"].tolist() == [0, 20]
    assert table["happy"].tolist() == [0.7, 0.05]


def test_results_become_a_table_with_a_row_per_face() -> None:
    table = to_pandas(result for result in (PHOTO, EMPTY, BROKEN, video()))
    assert tuple(table.columns) == COLUMNS
    assert table["path"].tolist() == ["photo.jpg", "photo.jpg", "empty.jpg", "broken.jpg", "video.mp4"]
    assert table["faces"].tolist() == [2, 2, 0, 0, 1]
    assert table["emotion"].fillna("").tolist() == ["happy", "sad", "", "", "fear"]
    assert table["error"].dropna().tolist() == ["broken.jpg: damaged"]


def test_one_result_becomes_a_table() -> None:
    pandas.testing.assert_frame_equal(to_pandas(PHOTO), to_pandas([PHOTO]))
    assert len(to_pandas(video())) == 1
    assert len(to_pandas([])) == 0


def test_without_pandas_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)  # importing it fails, as when it is not installed
    with pytest.raises(ImportError, match="pip install pandas"):
        to_pandas(PHOTO)
