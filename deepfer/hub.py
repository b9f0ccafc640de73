"""The Hugging Face Hub: fetching files at a commit, with every fault told in one line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from deepfer.errors import HubError
from deepfer.limits import HUB_TIMEOUT_S

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
COMMIT = re.compile(r"[0-9a-f]{40}")


def pull(
    repo: str, files: Sequence[str], revision: str | None = None, local_files_only: bool = False
) -> tuple[Path, str]:
    """Fetch files of a model repo into the Hub's cache.

    Args:
        repo: "user/name".
        files: Names of the files.
        revision: A branch, tag or commit; None for the main branch. A commit whose files are cached takes no request.
        local_files_only: Take them from the cache, without any connection.

    Returns:
        The folder that holds the files, and the commit.

    Raises:
        HubError: In one line, what could not be had and what to do.
    """
    # Imported here: a recognizer on embedded files alone starts without them.
    from httpx2 import HTTPError
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    wanted = f"{repo}@{revision}" if revision else repo
    try:
        if not local_files_only and not COMMIT.fullmatch(revision or ""):
            # The download itself would try again and again, and then quietly take what is cached: ask once first.
            HfApi().model_info(repo, revision=revision, timeout=HUB_TIMEOUT_S)
        folder = snapshot_download(
            repo,
            revision=revision,
            allow_patterns=list(files),
            local_files_only=local_files_only,
            etag_timeout=HUB_TIMEOUT_S,
        )
    except LocalEntryNotFoundError as error:
        raise HubError(f"{wanted} is not in the local cache; allow downloading it once") from error
    except OfflineModeIsEnabled as error:
        raise HubError(f"{wanted} is not to be had: HF_HUB_OFFLINE is set") from error
    except GatedRepoError as error:
        raise HubError(f"{wanted} is gated: ask for access on its page, then log in with `hf auth login`") from error
    except RepositoryNotFoundError as error:
        raise HubError(f"no model repo {repo} on the Hub, or it is private: log in with `hf auth login`") from error
    except RevisionNotFoundError as error:
        raise HubError(f"{repo} has no revision {revision!r}") from error
    except HfHubHTTPError as error:
        raise HubError(f"the Hub refused {wanted}: {_line(error)}") from error
    except (OSError, HTTPError) as error:  # a full disk, or any fault of the connection
        raise HubError(f"cannot fetch {wanted} from the Hub: {_line(error)}") from error
    return Path(folder), Path(folder).name


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
