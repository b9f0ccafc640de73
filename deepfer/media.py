"""The images and videos in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from deepfer import image_io, video_reader


def find_media(folder: Path, skip: Path | None = None) -> Iterator[tuple[Path, str | None]]:
    """Search a folder and its subfolders, in no particular order.

    Hidden files are skipped, and so are links to folders, because they may form a circle.

    Args:
        folder: The folder.
        skip: A subfolder to leave out.

    Yields:
        (an image or video, None), or (a subfolder that cannot be read, the reason).
    """
    left_out = os.path.realpath(skip) if skip else None
    unreadable: list[tuple[Path, str | None]] = []

    def note(error: OSError) -> None:
        unreadable.append((Path(error.filename), error.strerror))

    for root, folders, files in os.walk(folder, onerror=note):
        folders[:] = [
            name for name in folders if not name.startswith(".") and os.path.realpath(Path(root, name)) != left_out
        ]
        paths = (Path(root, name) for name in files if not name.startswith("."))
        yield from ((path, None) for path in paths if is_media(path))
    yield from unreadable


def is_media(path: Path) -> bool:
    """Whether a file in a folder is an image or a video, judged by its name."""
    return path.suffix.lower() in image_io.SUFFIXES or video_reader.may_be_video(path)
