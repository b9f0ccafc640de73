"""Downloads from the Hugging Face Hub at a commit, in bounded time, with one-line errors."""

from __future__ import annotations

import errno
import math
import os
import re
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from deepfer.errors import HubError
from deepfer.hub_errors import at_revision, explain
from deepfer.limits import HUB_TIMEOUT_S, MAX_MODEL_BYTES
from deepfer.text import first_line
from deepfer.watchdog import Stalled, StallWatchdog

# huggingface_hub is imported inside functions, so that a recognizer with embedded files starts without it.

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")
CHUNK_BYTES = 128 * 1024  # the client reports progress, our sign of life, after each chunk

Downloaded = tuple[Path, str]


def download(
    repo: str,
    files: Sequence[str],
    revision: str | None = None,
    local_files_only: bool = False,
    *,
    force: bool = False,
    advice: str = "",
) -> Downloaded:
    """Download files of a model repo into the Hub's cache.

    The revision is resolved to a commit once. A cached, pinned commit needs no network. An interrupted download is
    continued. If nothing arrives for `HUB_TIMEOUT_S` (or `HF_HUB_ETAG_TIMEOUT` if that is set), the download fails.
    Incomplete files are never used.

    Args:
        repo: "user/name".
        files: Names of the files.
        revision: A branch, tag or commit; None for the main branch.
        local_files_only: Use the cache without opening a connection, as `HF_HUB_OFFLINE` does.
        force: Download files even if they are cached.
        advice: What to do if the repo lacks a file, for the error message.

    Returns:
        The folder with the files, and the commit.

    Raises:
        HubError: What failed and what to do, in one line.
    """
    from httpx2 import HTTPError
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError, RevisionResolutionError

    try:
        cached = _cached(repo, files, revision)
    except HFValidationError as error:
        raise HubError(f"{repo!r} is not a valid repo name: {first_line(error)}") from error
    offline = constants.is_offline_mode()
    if local_files_only or offline:
        if cached:
            return cached
        why = " (HF_HUB_OFFLINE is set)" if offline else ""
        raise HubError(f"{at_revision(repo, revision)} is not in the local cache{why}; allow downloading it once")
    if cached and COMMIT.fullmatch(revision or "") and not force:
        return cached
    patience_s = constants.HF_HUB_ETAG_TIMEOUT if "HF_HUB_ETAG_TIMEOUT" in os.environ else HUB_TIMEOUT_S
    transfer = _Transfer(repo, force, StallWatchdog(patience_s))
    try:
        return transfer.run(files, revision, advice)
    except (OSError, HTTPError, RevisionResolutionError, JSONDecodeError) as error:
        message, transient = explain(error, repo, revision)
        if transient and cached:
            message += "; local_files_only=True or HF_HUB_OFFLINE=1 uses the copy in the cache"
        raise HubError(message) from error


def _cached(repo: str, files: Sequence[str], revision: str | None) -> Downloaded | None:
    """The cached files of a revision, if all of them are cached."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import RevisionResolutionError

    try:
        commit = HfApi().resolve_revision(repo, revision=revision, local_files_only=True).resolved
    except RevisionResolutionError:
        return None
    paths = [try_to_load_from_cache(repo, name, revision=commit) for name in files]
    found = [Path(path) for path in paths if isinstance(path, str)]
    return (found[0].parent, commit) if len(found) == len(files) else None


class _Transfer:
    """One download, in a thread that is abandoned if it stalls.

    The client's own timeouts do not bound its retries, the waits between them, or the addresses that it tries.
    """

    def __init__(self, repo: str, force: bool, watchdog: StallWatchdog) -> None:
        self._repo, self._force, self._watchdog = repo, force, watchdog
        self._bytes = 0
        self._bars: list[Any] = []

    def run(self, files: Sequence[str], revision: str | None, advice: str) -> Downloaded:
        from httpx2 import TimeoutException
        from huggingface_hub import constants

        try:
            return self._watchdog.run(lambda: self._download_all(files, revision, advice), self._idle_s, "deepfer-hub")
        except (Stalled, TimeoutException):  # whichever comes first
            raise HubError(
                f"the Hub at {constants.ENDPOINT} does not answer: no data for {self._watchdog.patience_s:g} s; "
                "check the connection (and HF_ENDPOINT, if it is set), and try again"
            ) from None
        finally:
            for bar in self._bars:  # otherwise the next message would continue the bar's line
                bar.close()

    def _download_all(self, files: Sequence[str], revision: str | None, advice: str) -> Downloaded:
        from huggingface_hub import HfApi

        api = HfApi()
        # The client's other calls retry, or silently use the cache; this one reports errors at once.
        info = api.model_info(self._repo, revision=revision, timeout=self._watchdog.patience_s)
        self._watchdog.tick()
        commit, available = str(info.sha), {file.rfilename for file in info.siblings or []}
        api.resolve_revision(self._repo, revision=revision)  # caches which commit the revision stands for
        missing = [name for name in files if name not in available]
        if missing:
            message = f"{self._repo}@{commit[:8]} contains no {' and no '.join(missing)}"
            raise HubError(message + (f"; {advice}" if advice else ""))
        paths = []
        for name in files:
            self._watchdog.tick()
            paths.append(self._download(name, commit))
        return paths[0].parent, commit

    def _download(self, name: str, commit: str) -> Path:
        """Download one file into the cache unless it is there, after checking its size and the disk space."""
        from httpx2 import TransportError
        from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
        from huggingface_hub.utils import tqdm

        transfer = self

        class Bar(tqdm):
            """The client's progress bar, which shows only on a terminal; every step is a sign of life."""

            def __init__(self, *args: object, **kwargs: object) -> None:
                transfer._count(0)
                super().__init__(*args, **kwargs)
                transfer._bars.append(self)

            def update(self, n: float | None = 1) -> bool | None:
                transfer._count(int(n or 0))
                return super().update(n)

        # The default of 10 MB would look like a stall.
        constants.DOWNLOAD_CHUNK_SIZE = min(constants.DOWNLOAD_CHUNK_SIZE, CHUNK_BYTES)
        patience_s = self._watchdog.patience_s
        if self._force or not _cached(self._repo, [name], commit):
            url = hf_hub_url(self._repo, name, revision=commit)
            size = get_hf_file_metadata(url, timeout=patience_s).size or 0
            if size > MAX_MODEL_BYTES:
                raise HubError(_too_large(f"{self._repo}@{commit[:8]}: {name}"))
            if size > shutil.disk_usage(_existing(Path(constants.HF_HUB_CACHE))).free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def fetch() -> Path:
            return Path(
                hf_hub_download(
                    self._repo,
                    name,
                    revision=commit,
                    force_download=self._force,
                    etag_timeout=patience_s,
                    tqdm_class=Bar,
                )
            )

        try:
            try:
                return fetch()
            except TransportError:  # those that the client does not retry itself
                return fetch()
        except RuntimeError as error:  # the only error that Xet, the client for large files, raises
            raise HubError(
                f"{self._repo}@{commit[:8]}: {name} could not be downloaded ({first_line(error)}); try again, "
                "with HF_HUB_DISABLE_XET=1 if it happens again"
            ) from error

    def _count(self, n: int) -> None:
        """Report `n` bytes of a file as a sign of life."""
        self._bytes += n
        if self._bytes > 4 * MAX_MODEL_BYTES:  # the client may count twice, and try twice
            raise HubError(_too_large("the download"))
        self._watchdog.tick()

    def _idle_s(self) -> float:
        """Seconds since any process wrote to an incomplete file of the repo: the client waits for other downloads."""
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        folder = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=self._repo, repo_type="model"), "blobs")
        times = []
        for path in folder.glob("*.incomplete"):
            with suppress(OSError):  # it has just been completed
                times.append(path.stat().st_mtime)
        return time.time() - max(times, default=-math.inf)


def _too_large(what: str) -> str:
    return f"{what} is larger than the limit of {MAX_MODEL_BYTES / 1e6:g} MB"


def _existing(path: Path) -> Path:
    """The nearest existing parent of a path, or itself."""
    return path if path.exists() else _existing(path.parent)
