"""Publish an annotated data set on the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deepfer.annotate.errors import AnnotationError
from deepfer.annotate.manifest import CARD, MANIFEST, SHARD
from deepfer.annotate.shards import FOLDER
from deepfer.errors import HubError
from deepfer.hub import HUB_ID
from deepfer.hub_errors import explain

# Limits per commit: the Hub advises against more, and an interrupted push repeats at most one commit.
MAX_FILES = 100
MAX_BYTES = 1_000_000_000


def publish(out: Path, repo: str) -> str:
    """Upload the shards in bounded commits, then the card and the manifest. A repo that does not exist is created.

    Args:
        out: A folder in which `annotate` has finished.
        repo: "user/name".

    Returns:
        The address of the data set.

    Raises:
        AnnotationError: `repo` is not a name, or holds shards that `out` does not.
        HubError: The Hub cannot be reached, or refuses the upload. What was uploaded before stays.
    """
    from httpx2 import HTTPError
    from huggingface_hub import HfApi

    check_name(repo)
    shards = sorted((out / FOLDER).glob("train-*.parquet"))
    api = HfApi()
    try:
        url = api.create_repo(repo, repo_type="dataset", exist_ok=True)
        _check_others(api, repo, {f"{FOLDER}/{path.name}" for path in shards})
        for number, files in enumerate(_batches(shards), 1):
            _commit(api, repo, out, files, f"Shards, part {number}")
        _commit(api, repo, out, [out / MANIFEST, out / CARD], "Card and manifest")
    except (OSError, ValueError, HTTPError) as error:
        raise HubError(explain(error, repo, kind="dataset")[0]) from error
    return str(url)


def check_name(repo: str) -> None:
    """Raise an `AnnotationError` unless `repo` is "user/name"."""
    if not HUB_ID.fullmatch(repo):
        raise AnnotationError(f"{repo!r} is not a name on the Hub: give user/name")


def _check_others(api: Any, repo: str, own: set[str]) -> None:
    found = api.list_repo_files(repo, repo_type="dataset")
    others = [path for path in found if path not in own and SHARD.fullmatch(path.rpartition("/")[2])]
    if others:
        raise AnnotationError(
            f"{repo} has shards that are not in this data set ({others[0]}): delete them, or choose another repo"
        )


def _commit(api: Any, repo: str, out: Path, files: Sequence[Path], message: str) -> None:
    from huggingface_hub import CommitOperationAdd

    operations = [CommitOperationAdd(path.relative_to(out).as_posix(), path) for path in files]
    api.create_commit(repo, operations, commit_message=message, repo_type="dataset")


def _batches(files: Sequence[Path]) -> Iterator[list[Path]]:
    batch: list[Path] = []
    size = 0
    for path in files:
        more = path.stat().st_size
        if batch and (len(batch) == MAX_FILES or size + more > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(path)
        size += more
    if batch:
        yield batch
