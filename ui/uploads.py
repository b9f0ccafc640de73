"""Uploads: the files that visitors send, and those that they get."""

import os
import tempfile
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from deepfer import ImageError
from ui.usage import USAGE


def kept(content: bytes, name: str) -> str:
    """Write a file that visitors may fetch, and return its path.

    Each has a folder of its own. Gradio would name the folder by the content and write the file again each time, so
    that of two visitors with the same picture one would be sent a file that is just being written for the other.

    Raises:
        StorageFull: There is no room for it.
    """
    USAGE.add(len(content), files=1)
    path = Path(tempfile.mkdtemp(dir=get_upload_folder()), name)
    path.write_bytes(content)
    return str(path)


def uploaded(record: dict[str, Any]) -> Path:
    """Where an uploaded file is, by Gradio's record of it.

    Raises:
        ImageError: The record names a file that nobody uploaded. Gradio 6.31 lets one without "meta" through with any
            path on this machine; uploads are in its own folder. Or the file has been deleted by now.
    """
    path = Path(os.path.abspath(record.get("path") or ""))
    if not path.is_relative_to(os.path.abspath(get_upload_folder())):
        raise ImageError("Send it as a file.")
    if not path.exists():
        raise ImageError("It is no longer here: what waits for too long is deleted. Send it again.")
    return path
