"""Push: makes files the content of a repo on the Hugging Face Hub, in one commit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from json import JSONDecodeError

from httpx2 import HTTPError
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoCard, get_token
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile

from deepfer.hub_errors import LOGIN, explain
from deepfer.limits import HUB_TIMEOUT_S
from deepfer.text import first_line
from training.exceptions import PublishError

CARD = "README.md"

Files = Mapping[str, bytes]  # content by path


@dataclass(frozen=True)
class Target:
    """Where and how to publish.

    Attributes:
        repo: "user/name".
        kind: "model" or "space".
        stale: Path prefixes; files in the repo that start with one and are not published are deleted.
        private: Create the repo as private.
        pull_request: Open a pull request instead of committing to main.
        tag: Tag for the commit on main; None for no tag.
    """

    repo: str
    kind: str = "model"
    stale: tuple[str, ...] = ()
    private: bool = False
    pull_request: bool = False
    tag: str | None = None


@dataclass(frozen=True)
class Pushed:
    """The result of a push.

    Attributes:
        url: The page of the repo or pull request.
        commit: The commit to pin.
        changed: Whether the commit is new.
    """

    url: str
    commit: str
    changed: bool


def push(target: Target, files: Files, message: str) -> Pushed:
    """Make `files` the content of a repo, creating it if needed, in one commit. No commit is made if nothing changed.

    Raises:
        PublishError: Nothing was published; the message is one line that says why.
    """
    repo, kind = target.repo, target.kind
    if get_token() is None:
        raise PublishError(f"there is no token to publish with: {LOGIN}")
    try:
        return _push(HfApi(), target, files, message)
    except HFValidationError as error:
        raise PublishError(f"{repo!r} is not a valid repo name: {first_line(error)}") from error
    except (OSError, HTTPError, JSONDecodeError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code == 412:
            raise PublishError(
                f"someone else changed {repo} in the meantime, so nothing was published: check it and publish again"
            ) from error
        raise PublishError(explain(error, repo, kind=kind)[0]) from error
    except RuntimeError as error:  # the client's error for a failed upload of a large file
        cause = error.__cause__ if isinstance(error.__cause__, OSError | HTTPError) else OSError(str(error))
        raise PublishError(explain(cause, repo, kind=kind)[0]) from error


def _push(api: HfApi, target: Target, files: Files, message: str) -> Pushed:
    repo, kind, tag = target.repo, target.kind, None if target.pull_request else target.tag
    head = _head(api, target, files)
    url = f"{api.endpoint}/{'spaces/' if kind == 'space' else ''}{repo}"
    operations = _operations(api, target, files, head)
    tags = {each.name for each in api.list_repo_refs(repo, repo_type=kind).tags} if tag else set()
    commit = head
    if operations:
        if tag in tags:
            raise PublishError(f"{repo} already has a {tag} with other content: choose a new version with --tag")
        _validate(files[CARD].decode(), kind)
        done = api.create_commit(
            repo, operations, commit_message=message, repo_type=kind, create_pr=target.pull_request, parent_commit=head
        )
        commit, url = done.oid, str(done.pr_url or url)
    if tag and tag not in tags:
        try:
            api.create_tag(repo, tag=tag, revision=commit, repo_type=kind)
        except (HfHubHTTPError, HTTPError) as error:
            reason = explain(error, repo, kind=kind)[0]
            raise PublishError(f"{repo} is at {commit} but lacks the tag {tag}: run this again ({reason})") from error
    return Pushed(url, commit, commit != head)


def _head(api: HfApi, target: Target, files: Files) -> str:
    """Return the repo's last commit, after creating the repo if it does not exist."""
    repo, kind = target.repo, target.kind
    try:
        info = api.repo_info(repo, repo_type=kind, timeout=HUB_TIMEOUT_S)
    except GatedRepoError:  # a subclass of RepositoryNotFoundError
        raise
    except RepositoryNotFoundError:
        _validate(files[CARD].decode(), kind)
        sdk = "gradio" if kind == "space" else None
        api.create_repo(repo, repo_type=kind, private=target.private or None, space_sdk=sdk)
        info = api.repo_info(repo, repo_type=kind, timeout=HUB_TIMEOUT_S)
    if target.private and not info.private:
        raise PublishError(f"{repo} is already public: make it private on its page, or omit --private")
    return str(info.sha)


def _operations(
    api: HfApi, target: Target, files: Files, head: str
) -> list[CommitOperationAdd | CommitOperationDelete]:
    tree = api.list_repo_tree(target.repo, recursive=True, revision=head, repo_type=target.kind)
    present = {file.path: file for file in tree if isinstance(file, RepoFile)}
    changed = [name for name, content in files.items() if name not in present or not _is_same(present[name], content)]
    gone = [name for name in present if name not in files and name.startswith(target.stale)] if target.stale else []
    return [
        *(CommitOperationAdd(name, files[name]) for name in changed),
        *(CommitOperationDelete(name) for name in gone),
    ]


def _validate(readme: str, kind: str) -> None:
    """Ask the Hub whether it accepts a README's header."""
    try:
        RepoCard(readme).validate(repo_type=kind)
    except ValueError as error:
        if isinstance(error, HTTPError | JSONDecodeError):
            raise
        try:
            reason = "; ".join(fault["message"] for fault in json.loads(str(error))["errors"])
        except (ValueError, KeyError, TypeError):
            reason = first_line(error)
        raise PublishError(f"the Hub does not accept the header of {CARD}: {reason}") from error


def _is_same(present: RepoFile, content: bytes) -> bool:
    """Compare by SHA-256 or, for a file outside LFS, by git's blob hash."""
    if present.lfs:
        return present.lfs.sha256 == hashlib.sha256(content).hexdigest()
    return present.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
