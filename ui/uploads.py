"""Uploads: the files that visitors send and receive."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from gradio.utils import get_upload_folder

from deepfer import ImageError, VideoError, read_image
from deepfer.text import printable
from ui.folder import SPARED
from ui.usage import USAGE


def store(content: bytes, name: str) -> str:
    """Write a file that visitors may download, and return its path.

    Each file gets a folder of its own. Gradio would name the folder after the content and write the file again each
    time, so a visitor could download a file that is being rewritten for another visitor with the same image.

    Raises:
        StorageFull: There is no room for it.
    """
    USAGE.add(len(content), files=1)
    path = Path(tempfile.mkdtemp(dir=get_upload_folder()), name)
    path.write_bytes(content)
    return str(path)


def is_stored(path: str) -> bool:
    """Whether an absolute path is in the folder of uploads and results. Gradio also accepts other paths and URLs."""
    folder = os.path.abspath(get_upload_folder())
    return "\0" not in path and os.path.isabs(path) and Path(os.path.abspath(path)).is_relative_to(folder)


def uploaded_path(record: dict[str, Any]) -> Path:
    """The path of an uploaded file.

    Args:
        record: Gradio's record of the file, which the client may have forged.

    Raises:
        ImageError: The path is not that of an upload, or the file has been deleted meanwhile.
    """
    path = record.get("path") or ""
    if not is_stored(path):
        raise ImageError("This is not an uploaded file.")
    if not os.path.exists(path):
        raise ImageError("This file is no longer on the server, which deletes uploads after a while. Upload it again.")
    return Path(os.path.abspath(path))


def read_upload(record: dict[str, Any]) -> tuple[str, np.ndarray]:
    """The name and the image, RGB uint8 `(H, W, 3)`, of an uploaded file.

    Args:
        record: Gradio's record of the file, which the client may have forged.

    Raises:
        ImageError: It is not an upload, or not a readable image. The message names the file without its folder.
    """
    path = uploaded_path(record)
    try:
        return path.name, read_image(path)
    except ImageError as error:
        raise named(error, path) from error


def named(error: ImageError | VideoError, path: Path) -> ImageError | VideoError:
    """The same error about a file, which names it without its folder."""
    message = error.args[0]
    return type(error)(message.template, **message.values | {"name": printable(path.name)})


def borrow(path: Path, folder: Path) -> Path:
    """Give an upload a second name in a folder, so that it can be read there even if its visitor deletes it.

    Visitors who send the same file share one upload. The second name takes no space.
    """
    borrowed = folder / f"input{path.suffix[:10]}"
    try:
        os.link(path, borrowed)
    except OSError:  # the file system has no links
        return path
    return borrowed


def delete(record: dict[str, Any]) -> bool:
    """Delete an uploaded file when its visitor asks for it.

    Args:
        record: Gradio's record of the file, which the client may have forged.

    Returns:
        Whether the file is gone; False if it belongs to the page, such as an example, or cannot be deleted.
    """
    path = record.get("path") or ""
    if not is_stored(path) or os.path.realpath(path) in SPARED or os.path.abspath(path) in SPARED:
        return False
    upload = Path(os.path.abspath(path))
    if upload.is_dir() or not upload.exists():
        return not upload.exists()
    try:
        upload.unlink()
    except OSError:
        return False
    with suppress(OSError):  # another file is in its folder
        upload.parent.rmdir()
    return True
