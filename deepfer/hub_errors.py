"""Describes errors of the Hugging Face Hub's client in one line, with what to do."""

from __future__ import annotations

import errno
from json import JSONDecodeError
from typing import Any

from deepfer.text import first_line

LOGIN = "log in with `hf auth login`, or set HF_TOKEN"
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def explain(error: Exception, repo: str, revision: str | None = None, kind: str = "model") -> tuple[str, bool]:
    """Describe an error of the client in one line, with what to do.

    Returns:
        The message, and whether the error may be transient.
    """
    from httpx2 import TransportError
    from huggingface_hub import constants, errors

    wanted, hub = at_revision(repo, revision), constants.ENDPOINT
    wrappers = errors.LocalEntryNotFoundError | errors.RevisionResolutionError
    if isinstance(error, wrappers) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    reason = first_line(error)
    messages: list[tuple[Any, str, bool]] = [
        (TransportError, f"cannot reach the Hub at {hub}: {reason}; check the connection", True),
        (
            (JSONDecodeError, errors.FileMetadataError),
            f"{hub} does not answer like a Hub: check HF_ENDPOINT and the connection",
            True,
        ),
        (errors.GatedRepoError, f"{wanted} is gated: ask for access on its page, and {LOGIN}", False),
        (
            errors.RepositoryNotFoundError,
            f"no {kind} repo {repo} on the Hub, or it is private: check the name, or {LOGIN}",
            False,
        ),
        (
            errors.RevisionNotFoundError,
            f"{repo} has no revision {revision!r}: its page on the Hub lists branches, tags and commits",
            False,
        ),
        (errors.RemoteEntryNotFoundError, f"{wanted} lacks a file: {reason}", False),
    ]
    for types, message, transient in messages:
        if isinstance(error, types):
            return message, transient
    if isinstance(error, errors.HfHubHTTPError):
        return _explain_status(error, wanted)
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return f"the disk is full: free space in {constants.HF_HUB_CACHE}, or set HF_HOME to another folder", False
    if isinstance(error, OSError) and error.errno is not None:
        message = f"{constants.HF_HUB_CACHE} cannot be written ({error.strerror}): set HF_HOME to another folder"
        return message, False
    return f"communication with the Hub about {wanted} failed ({reason}): try again", True


def _explain_status(error: Any, wanted: str) -> tuple[str, bool]:
    status = error.response.status_code
    if status >= 500:
        return f"the Hub has an internal error ({status}): try again later", True
    if status == 429:
        seconds = error.response.headers.get("Retry-After")
        return f"the Hub's rate limit is reached: wait {f'{seconds} s' if seconds else 'a while'}, or {LOGIN}", True
    messages = {
        401: f"the Hub does not accept the token for {wanted}: {LOGIN}",
        403: f"the token does not give access to {wanted}: {LOGIN} with one that does",
    }
    return messages.get(status, f"the Hub refused {wanted}: {first_line(error)}"), False


def at_revision(repo: str, revision: str | None) -> str:
    """A repo's name for messages, with the revision if there is one."""
    return f"{repo}@{revision}" if revision else repo
