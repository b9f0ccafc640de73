"""Uploads that are deleted by their visitor, and read under a second name."""

from pathlib import Path
from typing import Any

import pytest

from ui import uploads
from ui.folder import entries
from ui.uploads import borrow, delete


@pytest.fixture
def upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file as Gradio stores it, in a folder of its own."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "files"))
    path = tmp_path / "files" / "0123abcd" / "walk.mp4"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * 100_000)
    return path


def record(path: Path | str) -> dict[str, Any]:
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def test_an_upload_is_deleted_with_its_folder(upload: Path) -> None:
    assert delete(record(upload))
    assert not upload.parent.exists()
    assert delete(record(upload))  # it is gone
    assert upload.parents[1].exists()


def test_nothing_else_is_deleted(upload: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "secret.txt"
    other.write_text("secret")
    for path in (other, upload.parent / ".." / ".." / other.name, upload.parent, "", "relative"):
        assert not delete(record(path))
    monkeypatch.setattr(uploads, "SPARED", {str(upload)})
    assert not delete(record(upload))
    assert not delete(record(upload.parent / ".." / upload.parent.name / upload.name))
    assert upload.exists()
    assert other.exists()


def test_a_borrowed_upload_outlives_its_deletion(upload: Path, tmp_path: Path) -> None:
    """Two visitors who send the same file share one upload; one of them cancels."""
    borrowed = borrow(upload, tmp_path)
    assert borrowed.suffix == ".mp4"
    assert delete(record(upload))
    assert borrowed.read_bytes() == b"x" * 100_000


def test_a_borrowed_upload_takes_no_more_room(upload: Path, tmp_path: Path) -> None:
    def size() -> int:
        return sum(entry.size for entry in entries(tmp_path) if not entry.is_folder)

    before = size()
    borrow(upload, tmp_path)
    assert size() == before
