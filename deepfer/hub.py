"""The Hugging Face Hub: fetching files at a commit, in bounded time, with every fault told in one line."""

from __future__ import annotations

import errno
import math
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import suppress
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from deepfer.errors import HubError
from deepfer.limits import HUB_TIMEOUT_S, MAX_MODEL_BYTES

# huggingface_hub is imported where it is used: a recognizer on embedded files alone starts without it.

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")
CHUNK_BYTES = 128 * 1024  # what comes between two signs of life, and two steps of the progress bar
LOGIN = "log in with `hf auth login`, or set HF_TOKEN"
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Pulled = tuple[Path, str]


def pull(
    repo: str,
    files: Sequence[str],
    revision: str | None = None,
    local_files_only: bool = False,
    *,
    anew: bool = False,
    advice: str = "",
) -> Pulled:
    """Fetch files of a model repo into the Hub's cache.

    The revision is resolved to a commit once; a commit whose files are cached takes no request. A download that is cut
    goes on where it was. Where nothing comes for `HUB_TIMEOUT_S` (or `HF_HUB_ETAG_TIMEOUT`, where that is set), the Hub
    is given up. No file is used, or stays in the cache, before it is whole.

    Args:
        repo: "user/name".
        files: Names of the files.
        revision: A branch, tag or commit; None for the main branch.
        local_files_only: Take them from the cache, without any connection; `HF_HUB_OFFLINE` says the same.
        anew: Fetch them even where they are cached.
        advice: What to do where the repo lacks a file.

    Returns:
        The folder that holds the files, and the commit.

    Raises:
        HubError: In one line, what could not be had and what to do.
    """
    from httpx2 import HTTPError
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError, RevisionResolutionError

    try:
        cached = _cached(repo, files, revision)
    except HFValidationError as error:
        raise HubError(f"{repo!r} is no name of a repo: {_first_line(error)}") from error
    offline = constants.is_offline_mode()
    if local_files_only or offline:
        if cached:
            return cached
        why = " (HF_HUB_OFFLINE is set)" if offline else ""
        raise HubError(f"{_named(repo, revision)} is not in the local cache{why}; allow downloading it once")
    if cached and COMMIT.fullmatch(revision or "") and not anew:
        return cached
    patience = constants.HF_HUB_ETAG_TIMEOUT if "HF_HUB_ETAG_TIMEOUT" in os.environ else HUB_TIMEOUT_S
    try:
        return _watched(lambda watch: _fetch(repo, files, revision, anew, advice, watch), patience, repo)
    except (OSError, HTTPError, RevisionResolutionError, JSONDecodeError) as error:
        told, passing = explain(error, repo, revision)
        if passing and cached:
            told += "; local_files_only=True or HF_HUB_OFFLINE=1 takes the copy in the cache"
        raise HubError(told) from error


def _cached(repo: str, files: Sequence[str], revision: str | None) -> Pulled | None:
    """What the cache holds of a revision, if that is every file; without any connection."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import RevisionResolutionError

    try:
        commit = HfApi().resolve_revision(repo, revision=revision, local_files_only=True).resolved
    except RevisionResolutionError:
        return None
    paths = [try_to_load_from_cache(repo, name, revision=commit) for name in files]
    found = [Path(path) for path in paths if isinstance(path, str)]
    return (found[0].parent, commit) if len(found) == len(files) else None


def _fetch(
    repo: str, files: Sequence[str], revision: str | None, anew: bool, advice: str, watch: _Watch
) -> Pulled:  # fmt: skip
    from huggingface_hub import HfApi

    api = HfApi()
    # The client's other calls try again and again, or quietly take what is cached. This one says at once what is wrong.
    info = api.model_info(repo, revision=revision, timeout=watch.patience)
    watch.tick()
    commit, held = str(info.sha), {file.rfilename for file in info.siblings or []}
    api.resolve_revision(repo, revision=revision)  # for the cache, which keeps what the name stood for
    lacking = [name for name in files if name not in held]
    if lacking:
        raise HubError(f"{repo}@{commit[:8]} holds no {' and no '.join(lacking)}" + (f"; {advice}" if advice else ""))
    paths = []
    for name in files:
        watch.tick()
        paths.append(_download(repo, name, commit, anew, watch))
    return paths[0].parent, commit


def _download(repo: str, name: str, commit: str, anew: bool, watch: _Watch) -> Path:
    """One file, into the cache unless it is there, if it is of the size that it may have and there is room for it."""
    from httpx2 import TransportError
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        """The client's own progress bar, shown on a terminal alone; every step is a sign of life."""

        def __init__(self, *args: object, **kwargs: object) -> None:
            watch.tick()
            super().__init__(*args, **kwargs)
            watch.bars.append(self)

        def update(self, n: float | None = 1) -> bool | None:
            watch.tick(int(n or 0))
            return super().update(n)

    # Ten megabytes at a time, as it comes, would look like a stall.
    constants.DOWNLOAD_CHUNK_SIZE = min(constants.DOWNLOAD_CHUNK_SIZE, CHUNK_BYTES)
    if anew or not _cached(repo, [name], commit):
        url = hf_hub_url(repo, name, revision=commit)
        size = get_hf_file_metadata(url, timeout=watch.patience).size or 0
        if size > MAX_MODEL_BYTES:
            raise HubError(_too_large(f"{repo}@{commit[:8]}: {name}"))
        if size > shutil.disk_usage(_existing(Path(constants.HF_HUB_CACHE))).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for tries_left in (1, 0):
        try:
            path = hf_hub_download(
                repo, name, revision=commit, force_download=anew, etag_timeout=watch.patience, tqdm_class=Bar
            )
            break
        except TransportError:  # what the client does not take up again by itself
            if not tries_left:
                raise
        except RuntimeError as error:  # all that the client for large files (Xet) says, whatever happened
            raise HubError(
                f"{repo}@{commit[:8]}: {name} did not come ({_first_line(error)}); try again, "
                "with HF_HUB_DISABLE_XET=1 if it happens again"
            ) from error
    return Path(path)


class _Watch:
    """Signs of life of a download that another thread makes."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.last = time.monotonic()
        self.given_up = False
        self.bars: list[Any] = []
        self._bytes = 0

    def end(self) -> None:
        """Nobody waits any more."""
        self.given_up = True
        for bar in self.bars:  # or what is told next would stand in its line
            bar.close()

    def tick(self, count: int = 0) -> None:
        """Something came, `count` bytes of a file among it.

        Raises:
            HubError: It is too late for that, or there is no end to it.
        """
        self._bytes += count
        if self.given_up:
            raise HubError("given up")
        if self._bytes > 4 * MAX_MODEL_BYTES:  # the client may count twice, and try twice
            raise HubError(_too_large("what the Hub sends"))
        self.last = time.monotonic()


def _watched(fetch: Callable[[_Watch], Pulled], patience: float, repo: str) -> Pulled:
    """Run `fetch` in a thread of its own, which is left to itself where it shows no sign of life any more.

    No timeout of the client's bounds its tries, its waits between them, or the addresses that it tries in turn. Where
    another program is fetching the same file, the client waits for that one, whose progress is a sign of life too.
    """
    from huggingface_hub import constants

    watch, answer = _Watch(patience), Future[Pulled]()

    def run() -> None:
        try:
            answer.set_result(fetch(watch))
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=run, name="deepfer-hub", daemon=True).start()
    try:
        while not answer.done():
            wait = watch.last + patience - time.monotonic()
            if wait <= 0:
                wait = patience - _since_written(repo)
            if wait <= 0:
                raise HubError(
                    f"the Hub at {constants.ENDPOINT} does not answer: nothing came for {patience:g} s; "
                    "check the connection (and HF_ENDPOINT, where it is set), and try again"
                )
            wait_for([answer], timeout=wait)
    finally:
        watch.end()
    return answer.result()


def _since_written(repo: str) -> float:
    """How many seconds ago anyone wrote to a file of the repo that is not whole yet."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo, repo_type="model"), "blobs")
    times = []
    for path in folder.glob("*.incomplete"):
        with suppress(OSError):  # it has just become whole
            times.append(path.stat().st_mtime)
    return time.time() - max(times, default=-math.inf)


def explain(error: Exception, repo: str, revision: str | None = None, kind: str = "model") -> tuple[str, bool]:
    """A fault of the client's, told in one line with what to do; and whether it may pass by itself."""
    from httpx2 import TransportError
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        FileMetadataError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
        RevisionResolutionError,
    )

    wanted = _named(repo, revision)
    if isinstance(error, LocalEntryNotFoundError | RevisionResolutionError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # what they wrap says what happened
    if isinstance(error, TransportError):
        return f"cannot reach the Hub at {constants.ENDPOINT}: {_first_line(error)}; check the connection", True
    if isinstance(error, JSONDecodeError | FileMetadataError):
        return f"{constants.ENDPOINT} does not answer as a Hub does: check HF_ENDPOINT and the connection", True
    if isinstance(error, GatedRepoError):
        return f"{wanted} is gated: ask for access on its page, and {LOGIN}", False
    if isinstance(error, RepositoryNotFoundError):
        return f"no {kind} repo {repo} on the Hub, or it is private: check the name, or {LOGIN}", False
    if isinstance(error, RevisionNotFoundError):
        return f"{repo} has no revision {revision!r}: its page on the Hub lists branches, tags and commits", False
    if isinstance(error, RemoteEntryNotFoundError):
        return f"{wanted} lacks a file: {_first_line(error)}", False
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status == 429:
            after = error.response.headers.get("Retry-After")
            wait = f"{after} s" if after else "a while"
            return f"the Hub limits how often it is asked: wait {wait}, or {LOGIN}", True
        if status >= 500:
            return f"the Hub has a fault of its own ({status}): try again later", True
        if status == 401:
            return f"the Hub does not accept the token for {wanted}: {LOGIN}", False
        if status == 403:
            return f"the token does not give access to {wanted}: {LOGIN} of one that does", False
        return f"the Hub refused {wanted}: {_first_line(error)}", False
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return f"the disk is full: make room in {constants.HF_HUB_CACHE}, or set HF_HOME to another folder", False
    if isinstance(error, OSError) and error.errno is not None:
        told = f"{constants.HF_HUB_CACHE} cannot be written ({error.strerror}): set HF_HOME to another folder"
        return told, False
    return f"the exchange with the Hub over {wanted} failed ({_first_line(error)}): try again", True


def _named(repo: str, revision: str | None) -> str:
    return f"{repo}@{revision}" if revision else repo


def _too_large(what: str) -> str:
    return f"{what} is larger than {MAX_MODEL_BYTES / 1e6:g} MB, which is no small face model"


def _existing(path: Path) -> Path:
    """The nearest folder above that is there already."""
    return path if path.exists() else _existing(path.parent)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
