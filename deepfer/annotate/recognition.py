"""Recognition: turns an item into its rows. If an item fails, its row says why."""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import cv2

from deepfer.annotate.item import Item
from deepfer.checkpoint import Checkpoint
from deepfer.classifier import EmotionClassifier
from deepfer.detection import load_detector
from deepfer.errors import CheckpointError, DetectorError, ImageError, VideoError
from deepfer.image_io import read_image
from deepfer.interpreter import stderr_silenced
from deepfer.limits import MAX_FILE_BYTES, MAX_VIDEO_BYTES
from deepfer.recognizer import EmotionRecognizer
from deepfer.result import Result, VideoResult
from deepfer.text import first_line, printable
from deepfer.video import recognize_video

Rows = list[dict[str, Any]]

WAITS_S = (1.0, 4.0)  # before reading a remote file again; a file system's own retries come first
COPY_BYTES = 1 << 20  # of a stream, read in one step


def prepare(checkpoint: Checkpoint, detector: str, filesystem: Any) -> Callable[[Item], Rows]:
    """Load a recognizer that uses one thread. Returns a function that turns an item into its rows.

    Args:
        checkpoint: The model.
        detector: The argument for `load_detector`.
        filesystem: As in `Source`.
    """
    cv2.setNumThreads(1)  # the other cores have workers of their own
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "threads;1")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # a row's error says what is wrong with a video
    recognizer = EmotionRecognizer(EmotionClassifier(checkpoint), load_detector(detector))
    return partial(recognize_item, recognizer, filesystem)


def recognize_item(recognizer: EmotionRecognizer, filesystem: Any, item: Item) -> Rows:
    """The rows of an item, with `deepfer.result.COLUMNS` as keys.

    Raises:
        CheckpointError: The model is corrupt.
        DetectorError: The detector is corrupt.
    """
    try:
        if item.error:
            raise ImageError(item.error)
        result = (_recognize_video if item.is_video else _recognize_image)(recognizer, filesystem, item)
        return replace(result, path=item.id).rows()
    except (CheckpointError, DetectorError):
        raise
    except (ImageError, VideoError) as error:
        reason = str(error)
    except OSError as error:
        reason = error.strerror or first_line(error)
    except Exception as error:  # a million images have faults that nobody foresaw; each costs only its own row
        reason = f"{type(error).__name__} ({first_line(error)})"
    return error_rows(recognizer.provenance, item.id, reason)


def error_rows(provenance: tuple[str, str | None, str], item_id: str, reason: str) -> Rows:
    """The row of an item that failed; the message begins with its id."""
    return Result(item_id, *provenance, error=f"{printable(item_id)}: {reason}").rows()


def _recognize_image(recognizer: EmotionRecognizer, filesystem: Any, item: Item) -> Result:
    source: str | bytes
    if _is_local(filesystem, item):
        source = item.location
    elif item.data is not None:
        source = item.data
    else:
        remote, path = _remote(filesystem, item)
        source = _again(lambda: _download(remote, path))
    try:
        rgb = read_image(source)
    except ImageError as error:
        name = "image" if isinstance(source, bytes) else printable(source)
        raise ImageError(str(error).removeprefix(f"{name}: ")) from error
    height, width = rgb.shape[:2]
    return Result(item.id, *recognizer.provenance, width, height, recognizer.recognize(rgb))


def _recognize_video(recognizer: EmotionRecognizer, filesystem: Any, item: Item) -> VideoResult:
    if _is_local(filesystem, item):
        return _watch(recognizer, Path(item.location))
    with tempfile.TemporaryDirectory(prefix="deepfer-") as folder:
        copy = Path(folder, "video")
        if item.data is not None:
            copy.write_bytes(item.data)
        else:
            remote, path = _remote(filesystem, item)
            _again(lambda: _fetch(remote, path, copy))
        return _watch(recognizer, copy)


def _watch(recognizer: EmotionRecognizer, path: Path) -> VideoResult:
    try:
        with closing(recognize_video(recognizer, path)) as steps:
            with stderr_silenced():  # OpenCV prints messages about the file that it opens
                progress = next(steps)
            *_, progress = progress, *steps
    except VideoError as error:
        raise VideoError(str(error).removeprefix(f"{printable(path)}: ")) from error
    assert progress.result
    return progress.result


def _is_local(filesystem: Any, item: Item) -> bool:
    return item.data is None and filesystem is None and "://" not in item.location


def _remote(filesystem: Any, item: Item) -> tuple[Any, str]:
    """The file system of an item, and the path in it."""
    if filesystem is not None:
        return filesystem, item.location
    from fsspec.core import url_to_fs

    found, path = url_to_fs(item.location)
    return found, str(path)


def _download(filesystem: Any, path: str) -> bytes:
    """The bytes of an image, of one that is too large only enough for `read_image` to refuse it."""
    if "http" not in filesystem.protocol:
        return bytes(filesystem.cat_file(path, start=0, end=MAX_FILE_BYTES + 1))
    data = io.BytesIO()  # a web server may ignore a range
    _copy(filesystem, path, data, MAX_FILE_BYTES)
    return data.getvalue()


def _fetch(filesystem: Any, path: str, copy: Path) -> None:
    """Copy a video, of one that is too large only enough for `recognize_video` to refuse it."""
    with open(copy, "wb") as target:
        _copy(filesystem, path, target, MAX_VIDEO_BYTES)


def _copy(filesystem: Any, path: str, target: BinaryIO, limit: int) -> None:
    # HTTP as a stream, without asking for the size first.
    options = {"block_size": 0, "size": 1} if "http" in filesystem.protocol else {}
    with filesystem.open(path, "rb", **options) as file:
        while target.tell() <= limit and (data := file.read(COPY_BYTES)):
            target.write(data)


def _again(read: Callable[[], Any]) -> Any:
    """Read a remote file, and try again after an error unless the file is missing or forbidden."""
    for wait_s in WAITS_S:
        try:
            return read()
        except (FileNotFoundError, PermissionError):
            raise
        except Exception:  # each file system has errors of its own
            time.sleep(wait_s)
    return read()
