"""Sources that consist of files: a folder, a list of paths and URLs, or the tree below a URL."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepfer import video_reader
from deepfer.annotate.errors import AnnotationError
from deepfer.annotate.fingerprint import fingerprint
from deepfer.annotate.item import Item
from deepfer.media import find_media
from deepfer.text import first_line, printable


@dataclass(frozen=True)
class Files:
    """A sequence of files, which the workers read; see `Source`.

    Attributes:
        kind: As in `Source`.
        fingerprint: As in `Source`.
        names: The ids.
        root: What to put before a name to get its location.
        filesystem: As in `Source`.
        errors: The reason for each input that cannot be read, by its number.
    """

    kind: str
    fingerprint: str
    names: Sequence[str]
    root: str = ""
    filesystem: Any = None
    errors: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> Item:
        name = self.names[number]
        location = name if "://" in name else os.path.join(self.root, name)
        is_video = os.path.splitext(name)[1].lower() in video_reader.SUFFIXES
        return Item(as_id(name), is_video, location, error=self.errors.get(number))

    def item_id(self, number: int) -> str:
        """As in `Source`."""
        return as_id(self.names[number])


def as_id(name: str) -> str:
    """A file name as text: the bytes of a name that is not UTF-8 are escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def folder_source(folder: Path) -> Files:
    """The images and videos in a folder, sorted; their ids are their paths in it.

    Raises:
        AnnotationError: There are none.
    """
    found = {path.relative_to(folder).as_posix(): error for path, error in find_media(folder)}
    names = _sorted(found)
    if not names:
        raise AnnotationError(f"no images, videos or Parquet files in {printable(folder)}")
    errors = {number: error for number, name in enumerate(names) if (error := found[name])}
    sizes = ([as_id(name), _size(folder / name)] for name in names)
    return Files("files", fingerprint("files", sizes), names, os.path.join(folder.absolute(), ""), errors=errors)


def list_source(file: Path) -> Files:
    """The paths and URLs in a text file, one per line, relative to the file's folder; repeated lines count once.

    Raises:
        AnnotationError: The file cannot be read, is not text, or is empty; or the package for its URLs is missing.
    """
    try:
        lines = file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise AnnotationError(f"{printable(file)} cannot be read: {error.strerror}") from error
    names = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not names or any("\0" in name for name in names):
        raise AnnotationError(f"{printable(file)} is not a text file with a path or URL per line")
    _check_packages(names)
    root = os.path.join(file.absolute().parent, "")
    return Files("list", fingerprint("list", map(as_id, names)), names, root)


def tree_source(filesystem: Any, root: str, sizes: Mapping[str, int], version: str) -> Files:
    """Files of a file system; their ids are their paths below `root`.

    Args:
        filesystem: An fsspec file system.
        root: A folder in it.
        sizes: The size of each file in bytes, by path.
        version: The commit, or "" if there is none.
    """
    prefix = root.rstrip("/") + "/" if root.rstrip("/") else ""
    short = {name.removeprefix(prefix).lstrip("/"): name for name in sizes}
    names = _sorted(short)
    parts = ([name, sizes[short[name]]] for name in names)
    return Files("files", fingerprint("files", [version, *parts]), names, prefix, filesystem)


def _check_packages(names: Sequence[str]) -> None:
    """Raise an `AnnotationError` if a URL needs a package that is missing: it would be missing for each of them."""
    from fsspec import get_filesystem_class

    for protocol in {name.partition("://")[0] for name in names if "://" in name}:
        try:
            get_filesystem_class(protocol)
        except ImportError as error:
            raise AnnotationError(f"{printable(protocol)}:// cannot be read: {first_line(error)}") from error
        except ValueError:  # no such protocol: that is an error of its rows
            pass


def _sorted(names: Mapping[str, object]) -> list[str]:
    return sorted(names, key=lambda name: name.split("/"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # reading it will report the error
        return -1
