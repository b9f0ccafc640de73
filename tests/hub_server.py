"""HubServer: a small Hugging Face Hub on the loopback interface, so that tests run the real client without a network.

Only what the client asks for when it downloads; pushes will come as more entries of `_ROUTES`. Repos are named as in
the Hub's addresses: "user/name" is a model, "datasets/user/name" a dataset, "spaces/user/name" a Space.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LFS_SUFFIXES = (".onnx", ".tflite", ".keras", ".h5", ".bin", ".safetensors", ".parquet", ".zip")
TOKEN = "hf_loopback"  # what opens private repos
LAST_MODIFIED = "2024-01-01T00:00:00.000Z"

Files = Mapping[str, bytes]


@dataclass
class Repo:
    """A repo: the files of every commit, and which commit each branch or tag is at."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)


class HubServer:
    """A running Hub; as a context manager it stops at the end.

    Attributes:
        url: What `HF_ENDPOINT` is set to.
        repos: Name to `Repo`.
        requests: "METHOD /path" of every request since the start or the last `reset`.
        silent: While it is set, requests are taken and never answered.
    """

    def __init__(self, repos: Mapping[str, Files] | None = None, private: Iterable[str] = ()) -> None:
        self.silent = threading.Event()
        self._closing = threading.Event()
        self.reset(repos, private)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.hub = self  # type: ignore[attr-defined]
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> HubServer:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()

    def reset(self, repos: Mapping[str, Files] | None = None, private: Iterable[str] = ()) -> None:
        """Forget everything, and hold `repos`, each with one commit on main."""
        self.silent.clear()
        self.requests: list[str] = []
        self.repos: dict[str, Repo] = {}
        hidden = set(private)
        for name, files in (repos or {}).items():
            self.repos[name] = Repo(name in hidden)
            self.commit(name, files)

    def commit(self, repo: str, files: Files, revision: str = "main") -> str:
        """Make these files the content of a branch or tag, in a repo that may be new; the commit's hash."""
        held = self.repos.setdefault(repo, Repo())
        content = "".join(f"{path} {sha1(data)}\n" for path, data in sorted(files.items()))
        sha = hashlib.sha1(f"{repo} {len(held.commits)}\n{content}".encode()).hexdigest()
        held.commits[sha] = dict(files)
        held.refs[revision] = sha
        return sha


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # the client keeps its connections

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def log_message(self, *_args: object) -> None:
        pass

    def _serve(self) -> None:
        hub: HubServer = self.server.hub  # type: ignore[attr-defined]
        hub.requests.append(f"{self.command} {self.path}")
        while hub.silent.is_set() and not hub._closing.wait(0.05):
            pass
        for pattern, answer in _ROUTES:
            if match := pattern.fullmatch(urlsplit(self.path).path):  # a slash inside a revision comes as %2F
                return answer(
                    self, hub, **{name: value and unquote(value) for name, value in match.groupdict().items()}
                )
        self._refuse(404, "NotFound", "No such address")

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps({"error": message}).encode()
        self._send(status, body, {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})})

    def _find(self, hub: HubServer, name: str, revision: str) -> tuple[Repo, str] | None:
        """The repo and commit that are asked for, or None after a refusal was sent."""
        repo = hub.repos.get(name)
        if repo is None or (repo.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"):
            # To one without access, the Hub says the same of a private repo and of none.
            self._refuse(401 if repo else 404, "RepoNotFound", "Repository not found")
            return None
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repo, commit

    def _info(self, hub: HubServer, kind: str, repo: str, revision: str | None = None) -> None:
        if found := self._find(hub, named(kind, repo), revision or "main"):
            held, commit = found
            siblings = [{"rfilename": path} for path in sorted(held.commits[commit])]
            info = {"_id": commit[:24], "id": repo, "sha": commit, "private": held.private, "tags": [], "cardData": {}}
            if kind == "models":
                info["modelId"] = repo
            self._json(info | {"siblings": siblings, "lastModified": LAST_MODIFIED, "createdAt": LAST_MODIFIED})

    def _tree(self, hub: HubServer, kind: str, repo: str, revision: str, folder: str | None = None) -> None:
        if found := self._find(hub, named(kind, repo), revision):
            files = found[0].commits[found[1]]
            inside = f"{folder.strip('/')}/" if folder else ""
            self._json([entry(path, data) for path, data in sorted(files.items()) if path.startswith(inside)])

    def _refs(self, hub: HubServer, kind: str, repo: str) -> None:
        if found := self._find(hub, named(kind, repo), "main"):
            branches = [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit}
                for name, commit in found[0].refs.items()
            ]
            self._json({"branches": branches, "tags": [], "converts": [], "pullRequests": []})

    def _resolve(self, hub: HubServer, repo: str, revision: str, path: str) -> None:
        found = self._find(hub, repo, revision)
        if not found:
            return
        held, commit = found
        data = held.commits[commit].get(path)
        if data is None:
            return self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes", "ETag": f'"{oid(path, data)}"'}
        if path.endswith(LFS_SUFFIXES):
            headers |= {"X-Linked-Etag": f'"{oid(path, data)}"', "X-Linked-Size": str(len(data))}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            return self._send(200, data, headers)
        start, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
        if start >= len(data):
            return self._send(416, b"", headers | {"Content-Range": f"bytes */{len(data)}"})
        self._send(206, data[start : end + 1], headers | {"Content-Range": f"bytes {start}-{end}/{len(data)}"})


_API = r"/api/(?P<kind>models|datasets|spaces)/(?P<repo>[^/]+/[^/]+)"
_ROUTES = [
    (re.compile(_API + r"(?:/revision/(?P<revision>[^/]+))?"), _Handler._info),
    (re.compile(_API + r"/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?"), _Handler._tree),
    (re.compile(_API + r"/refs"), _Handler._refs),
    (
        re.compile(r"/(?P<repo>(?:(?:datasets|spaces)/)?[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)"),
        _Handler._resolve,
    ),
]


def named(kind: str, repo: str) -> str:
    """A repo's name here, from the kind and the id that the API's addresses have."""
    return repo if kind == "models" else f"{kind}/{repo}"


def sha1(data: bytes) -> str:
    """What git calls a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def oid(path: str, data: bytes) -> str:
    """The Hub's identity of a file: sha256 for a large file (LFS), git's own for another."""
    return hashlib.sha256(data).hexdigest() if path.endswith(LFS_SUFFIXES) else sha1(data)


def entry(path: str, data: bytes) -> dict[str, Any]:
    """A file as the tree lists it."""
    item: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": sha1(data)}
    if path.endswith(LFS_SUFFIXES):
        item["lfs"] = {"oid": oid(path, data), "size": len(data), "pointerSize": 134}
    return item
