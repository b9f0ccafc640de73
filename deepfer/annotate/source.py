"""Source: the images and videos of a data set, as a lazy sequence that can be pickled.

source = open_source(pin_source("photos/"))  # or paths.txt, photos.parquet, s3://bucket/photos, user/name@revision
source[0].id
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Protocol

from deepfer import image_io, video_reader
from deepfer.annotate.errors import AnnotationError, require
from deepfer.annotate.item import Item
from deepfer.errors import HubError
from deepfer.hub import COMMIT, HUB_ID
from deepfer.limits import HUB_TIMEOUT_S
from deepfer.media import is_media
from deepfer.text import first_line, printable

SAVED = ("dataset_dict.json", "dataset_info.json")  # each folder written by `datasets.save_to_disk` has one of these
MEDIA = (*image_io.SUFFIXES, *video_reader.SUFFIXES)


class Source(Protocol):
    """The inputs of a data set, in a fixed order."""

    @property
    def kind(self) -> str:
        """One of "files", "list", "parquet" and "arrow"."""
        ...

    @property
    def fingerprint(self) -> str:
        """A sha256 that changes with the inputs."""
        ...

    @property
    def filesystem(self) -> Any:
        """The fsspec file system of the items' locations; None if they are paths or URLs."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Item: ...

    def item_id(self, number: int) -> str:
        """The id of an item, without reading it."""
        ...


def pin_source(name: str) -> str:
    """A source's name; for a data set on the Hub, with the commit that its revision points to now.

    Raises:
        HubError: The Hub, the data set or its revision cannot be reached.
    """
    repo, _, revision = name.partition("@")
    if os.path.exists(name) or not HUB_ID.fullmatch(repo) or COMMIT.fullmatch(revision):
        return name
    from httpx2 import HTTPError
    from huggingface_hub import HfApi

    from deepfer.hub_errors import explain

    try:
        info = HfApi().dataset_info(repo, revision=revision or None, timeout=HUB_TIMEOUT_S)
    except (OSError, ValueError, HTTPError) as error:
        raise HubError(explain(error, repo, revision or None, kind="dataset")[0]) from error
    return f"{repo}@{info.sha}"


def open_source(name: str) -> Source:
    """Open a data set.

    Args:
        name: A folder of images and videos, of Parquet files, or of `datasets.save_to_disk`; a text file with a path or
            URL per line; a Parquet file; a URL that fsspec reads; or "user/name@commit" on the Hub.

    Raises:
        AnnotationError: It is none of these, holds nothing to annotate, or cannot be read.
    """
    from deepfer.annotate.file_sources import list_source

    path = Path(name)
    if "://" in name or "::" in name:
        return _open_url(name)
    if os.path.isdir(path):
        return _open_folder(path)
    if os.path.isfile(path):
        if path.suffix.lower() == ".parquet":
            return _open_url(path.absolute().as_uri())
        if is_media(path):
            raise AnnotationError(f"{printable(name)} is a single image or video: use `deepfer {printable(name)}`")
        return list_source(path)
    repo, _, commit = name.partition("@")
    if HUB_ID.fullmatch(repo) and COMMIT.fullmatch(commit):
        return _open_url(f"hf://datasets/{name}", version=commit)
    raise AnnotationError(
        f"no data set {printable(name)}: give a folder, a text file of paths, a Parquet file, a URL, or user/name on "
        "the Hub"
    )


def public_name(name: str) -> str:
    """A source's name for publication: the last part of a local path, or a URL without a password and a query."""
    if "::" in name:  # of fsspec: a file in an archive, say
        return "::".join(map(public_name, name.split("::")))
    name = name.removeprefix("file://")
    if "://" in name:
        return re.sub(r"[?#].*", "", re.sub(r"//[^/]*@", "//", name))
    return Path(name).name if os.path.exists(name) else name


def _open_folder(folder: Path) -> Source:
    from deepfer.annotate.arrow_source import ArrowSource
    from deepfer.annotate.file_sources import folder_source

    if any((folder / name).is_file() for name in SAVED):
        return ArrowSource(folder)
    if next(folder.rglob("[!.]*.parquet"), None):
        return _open_url(folder.absolute().as_uri())
    return folder_source(folder)


def _open_url(url: str, version: str = "") -> Source:
    from deepfer.annotate.file_sources import tree_source
    from deepfer.annotate.parquet_source import ParquetSource

    require("annotate", "fsspec")
    from fsspec.core import url_to_fs

    try:
        filesystem, root = url_to_fs(url)
        if root.endswith(".parquet") and filesystem.isfile(root):
            return ParquetSource(filesystem, root.rpartition("/")[0], {root: filesystem.size(root)}, version)
        found = {name: info.get("size") or 0 for name, info in filesystem.find(root, detail=True).items()}
        tables = {name: size for name, size in found.items() if name.endswith(".parquet") and not _hidden(name, root)}
        if tables:
            return ParquetSource(filesystem, root, tables, version)
        found = {name: size for name, size in found.items() if name.lower().endswith(MEDIA) and not _hidden(name, root)}
    except AnnotationError:
        raise
    except Exception as error:  # each file system has errors of its own
        raise AnnotationError(f"{public_name(url)} cannot be read: {first_line(error)}") from error
    if not found:
        raise AnnotationError(f"{public_name(url)} holds no images, videos or Parquet files")
    return tree_source(filesystem, root, found, version)


def _hidden(name: str, root: str) -> bool:
    return any(part.startswith(".") for part in name.removeprefix(root).split("/"))
