"""The inputs of the command line: files, and what folders contain."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deepfer import video_reader
from deepfer.cli.console import fail_usage, note
from deepfer.media import find_media


@dataclass(frozen=True)
class Input:
    """An image or video, or an input that is already known to fail.

    Attributes:
        path: The file.
        depth: How many of the path's last parts name it in --save.
        error: Why it cannot be read, or None.
    """

    path: Path
    depth: int = 1
    error: str | None = None

    @property
    def is_video(self) -> bool:
        """Whether it is named like a video; all other files are treated as images."""
        return not self.error and self.path.suffix.lower() in video_reader.SUFFIXES


def find_inputs(arguments: Sequence[str], save: Path | None) -> list[Input]:
    """The inputs, without duplicates, in the order of the arguments and sorted within each folder.

    Raises:
        SystemExit: There are none.
    """
    found: dict[str, Input] = {}
    for argument in arguments:
        if not argument:
            fail_usage("an input name is empty")
        path = Path(argument)
        if save and len(arguments) > 1 and os.path.isdir(path) and os.path.realpath(path) == os.path.realpath(save):
            note(f"skipping {path}: it is the --save folder")  # from the second run on, photos/* includes it
            continue
        items = _walk(path, save) if os.path.isdir(path) else [Input(path)]
        for item in items:
            found.setdefault(os.path.abspath(item.path), item)
    if not found:
        fail_usage("there is no input besides the --save folder")
    return list(found.values())


def _walk(folder: Path, save: Path | None) -> list[Input]:
    """The images and videos in a folder, except those in the --save folder, and the subfolders that cannot be read."""
    found = [
        Input(path, 1 if error else len(path.relative_to(folder).parts), error)
        for path, error in find_media(folder, skip=save)
    ]
    return sorted(found, key=lambda item: item.path) or [Input(folder, error="no images or videos in this folder")]
