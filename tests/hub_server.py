"""HubServer: a small Hugging Face Hub on the loopback interface, so that tests run the real clients without a network.

It holds models, datasets and Spaces, serves and takes files, and fails on demand. Repos are named as in the Hub's
addresses: "user/name" is a model, "datasets/user/name" a dataset, "spaces/user/name" a Space.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

LFS_SUFFIXES = (".onnx", ".tflite", ".keras", ".h5", ".bin", ".safetensors", ".parquet", ".zip", ".png", ".jpg")
TOKEN = "hf_loopback"  # of "user": opens private repos, and may write
READ_TOKEN = "hf_loopback_read"  # may read the same, and write nothing
LAST_MODIFIED = "2024-01-01T00:00:00.000Z"
COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")

Files = Mapping[str, bytes]


@dataclass
class Repo:
    """A repo: the files of every commit, and the commit of each branch, tag and pull request."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def find(self, revision: str) -> str | None:
        commit = self.refs.get(revision) or self.tags.get(revision) or revision
        return commit if commit in self.commits else None


@dataclass
class Fault:
    """A fault in the next requests whose "METHOD /path" matches a pattern.

    Attributes:
        pattern: A regular expression.
        status: The answer's status, with `code` as `X-Error-Code` and `headers`.
        after: Bytes of the body that are sent before `then` happens.
        then: "cut" (the connection ends), "reset" (it breaks), "stall" (nothing more comes), or "trickle" (a few bytes
            every 50 ms).
        body: What is sent in place of the body.
        times: How often.
        before: Called before the answer is made: what happens meanwhile.
    """

    pattern: str
    status: int = 0
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    after: int = 0
    then: str = ""
    body: bytes | None = None
    times: int = 1
    before: Callable[[], object] | None = None


class HubServer:
    """A running Hub; as a context manager it stops at the end.

    Attributes:
        url: What `HF_ENDPOINT` is set to.
        repos: Name to `Repo`.
        requests: "METHOD /path" of every request since the start or the last `reset`.
        authorizations: The Authorization headers of these.
        faults: What is to go wrong.
        silent: While it is set, requests are taken and never answered.
    """

    def __init__(self, repos: Mapping[str, Files] | None = None, private: Iterable[str] = ()) -> None:
        self.silent = threading.Event()
        self._closing = threading.Event()
        self._lock = threading.Lock()
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
        """Delete everything, and create `repos`, each with one commit on main."""
        self.silent.clear()
        self.requests: list[str] = []
        self.authorizations: list[str | None] = []
        self.faults: list[Fault] = []
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}  # large files, by sha256
        hidden = set(private)
        for name, files in (repos or {}).items():
            self.repos[name] = Repo(name in hidden)
            self.commit(name, files)

    def fail(self, pattern: str, **how: Any) -> None:
        """Make the next matching requests fail as `Fault` describes."""
        self.faults.append(Fault(pattern, **how))

    def commit(self, repo: str, files: Files, revision: str = "main") -> str:
        """Commit these files to a branch of a repo, which is created if necessary; returns the commit's hash."""
        held = self.repos.setdefault(repo, Repo())
        content = "".join(f"{path} {sha1(data)}\n" for path, data in sorted(files.items()))
        sha = hashlib.sha1(f"{repo} {len(held.commits)}\n{content}".encode()).hexdigest()
        held.commits[sha] = dict(files)
        held.refs[revision] = sha
        return sha

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        """The files of a repo."""
        held = self.repos[repo]
        commit = held.find(revision)
        assert commit, f"{repo} has no {revision}"
        return held.commits[commit]

    def take_fault(self, request: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.times and re.search(fault.pattern, request):
                    fault.times -= 1
                    return fault
        return None


@contextmanager
def black_hole() -> Iterator[str]:
    """The address of an endpoint that answers no packet, because its queue of connections is full."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(taken.getsockname())
            fillers.append(filler)
        try:
            yield f"http://127.0.0.1:{taken.getsockname()[1]}"
        finally:
            for filler in fillers:
                filler.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # the client keeps its connections

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def log_message(self, *_args: object) -> None:
        pass

    def _serve(self) -> None:
        try:
            self._answer()
        except (BrokenPipeError, ConnectionResetError):  # the client has gone
            self.close_connection = True

    def _answer(self) -> None:
        hub: HubServer = self.server.hub  # type: ignore[attr-defined]
        request = f"{self.command} {self.path}"
        asked = hub.requests
        asked.append(request)
        hub.authorizations.append(self.headers.get("Authorization"))
        while hub.silent.is_set() and not hub._closing.wait(0.05):
            pass
        if hub.requests is not asked:  # a request from before a reset must not use up a later test's fault
            self.close_connection = True
            return
        self.body = self._read_body()
        self.fault = hub.take_fault(request)
        if self.fault and self.fault.before:
            self.fault.before()
        if self.fault and self.fault.status and self.fault.body is not None:
            return self._send(self.fault.status, self.fault.body, self.fault.headers)
        if self.fault and self.fault.status:
            return self._refuse(self.fault.status, self.fault.code, "Made to fail", self.fault.headers)
        self.query = parse_qs(urlsplit(self.path).query)
        for methods, pattern, answer in _ROUTES:
            # A slash inside a revision comes as %2F.
            if self.command in methods and (match := re.fullmatch(pattern, urlsplit(self.path).path)):
                groups = {name: value and unquote(value) for name, value in match.groupdict().items()}
                return answer(self, hub, **groups)
        self._refuse(404, "NotFound", "No such address")

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    # --- answers ------------------------------------------------------------------------------------------------------

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        if self.fault and self.fault.body is not None:
            body = self.fault.body
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(body)

    def _send_body(self, body: bytes) -> None:
        fault, hub = self.fault, self.server.hub  # type: ignore[attr-defined]
        if not fault or not fault.then:
            self.wfile.write(body)
            return
        self.wfile.write(body[: fault.after])
        self.wfile.flush()
        if fault.then == "trickle":
            for start in range(fault.after, len(body), 65536):
                time.sleep(0.05)
                self.wfile.write(body[start : start + 65536])
        elif fault.then == "stall":
            hub._closing.wait(60)
        elif fault.then == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        if fault.then != "trickle":
            self.close_connection = True

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps({"error": message}).encode()
        self._send(status, body, {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})})

    def _find(self, hub: HubServer, name: str, revision: str) -> tuple[Repo, str] | None:
        """The requested repo and commit, or None after sending a refusal."""
        repo, token = hub.repos.get(name), (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token not in (TOKEN, READ_TOKEN):
            self._refuse(401, "", "Invalid credentials in Authorization header")
            return None
        if repo is None or (repo.private and not token):
            # Without access, the Hub answers the same for a private repo as for a missing one.
            self._refuse(401 if repo else 404, "RepoNotFound", "Repository not found")
            return None
        if repo.gated:
            self._refuse(403, "GatedRepo", "Access to it is restricted")
            return None
        commit = repo.find(revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repo, commit

    def _may_write(self) -> bool:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token == TOKEN:
            return True
        if token == READ_TOKEN:
            self._refuse(403, "", "You don't have the rights to write here")
        else:
            self._refuse(401, "", "Invalid username or password.")
        return False

    # --- reading ------------------------------------------------------------------------------------------------------

    def _whoami(self, hub: HubServer) -> None:
        if self._may_write():
            access = {"displayName": "loopback", "role": "write", "createdAt": LAST_MODIFIED}
            self._json({"type": "user", "name": "user", "orgs": [], "auth": {"accessToken": access}})

    def _info(self, hub: HubServer, kind: str, repo: str, revision: str | None = None) -> None:
        if found := self._find(hub, named(kind, repo), revision or "main"):
            held, commit = found
            siblings = [{"rfilename": path} for path in sorted(held.commits[commit])]
            info = {"_id": commit[:24], "id": repo, "sha": commit, "private": held.private, "tags": [], "cardData": {}}
            if kind == "models":
                info["modelId"] = repo
            self._json(info | {"siblings": siblings, "lastModified": LAST_MODIFIED, "createdAt": LAST_MODIFIED})

    def _tree(self, hub: HubServer, kind: str, repo: str, revision: str, folder: str | None = None) -> None:
        found = self._find(hub, named(kind, repo), revision)
        if not found:
            return
        files, inside = found[0].commits[found[1]], f"{folder.strip('/')}/" if folder else ""
        listed = {path: data for path, data in sorted(files.items()) if path.startswith(inside)}
        if folder and not listed:
            return self._refuse(404, "EntryNotFound", f"{folder} does not exist", {"X-Repo-Commit": found[1]})
        if self.query.get("recursive", ["False"])[0].lower() == "true":
            folders = {path.rsplit("/", n + 1)[0] for path in listed for n in range(path[len(inside) :].count("/"))}
        else:
            folders = {
                inside + path[len(inside) :].split("/")[0] for path in listed if "/" in path.removeprefix(inside)
            }
            listed = {path: data for path, data in listed.items() if "/" not in path.removeprefix(inside)}
        self._json([directory(path) for path in sorted(folders)] + [entry(*item) for item in listed.items()])

    def _paths_info(self, hub: HubServer, kind: str, repo: str, revision: str) -> None:
        if found := self._find(hub, named(kind, repo), revision):
            files, answer = found[0].commits[found[1]], []
            for path in parse_qs(self.body.decode()).get("paths", []):
                if path in files:
                    answer.append(entry(path, files[path]))
                elif any(name.startswith(f"{path.strip('/')}/") for name in files):
                    answer.append(directory(path.strip("/")))
            self._json(answer)

    def _refs(self, hub: HubServer, kind: str, repo: str) -> None:
        if found := self._find(hub, named(kind, repo), "main"):

            def listed(refs: Mapping[str, str], prefix: str) -> list[dict[str, str]]:
                return [{"name": n, "ref": f"refs/{prefix}/{n}", "targetCommit": c} for n, c in refs.items()]

            branches = {name: commit for name, commit in found[0].refs.items() if not name.startswith("refs/pr/")}
            self._json(
                {
                    "branches": listed(branches, "heads"),
                    "tags": listed(found[0].tags, "tags"),
                    "converts": [],
                    "pullRequests": [],
                }
            )

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
        headers |= self.fault.headers if self.fault else {}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            return self._send(200, data, headers)
        start, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
        if start >= len(data):
            return self._send(416, b"", headers | {"Content-Range": f"bytes */{len(data)}"})
        self._send(206, data[start : end + 1], headers | {"Content-Range": f"bytes {start}-{end}/{len(data)}"})

    # --- writing ------------------------------------------------------------------------------------------------------

    def _create(self, hub: HubServer) -> None:
        if not self._may_write():
            return
        asked = json.loads(self.body)
        repo = f"{asked.get('organization') or 'user'}/{asked['name']}"
        kind = f"{asked.get('type') or 'model'}s"
        url = f"{hub.url}/{named(kind, repo)}"
        if named(kind, repo) in hub.repos:
            return self._json({"error": "You already created this repo", "url": url}, 409)
        if not repo.startswith("user/"):
            return self._refuse(403, "", "You don't have the rights to create a repo there")
        if kind == "spaces" and asked.get("sdk") != "gradio":
            return self._refuse(400, "", "A Space needs an sdk")
        hub.repos[named(kind, repo)] = Repo(asked.get("visibility") == "private")
        hub.commit(named(kind, repo), {".gitattributes": b"*.tflite filter=lfs diff=lfs merge=lfs -text\n"})
        self._json({"url": url, "name": repo, "id": repo})

    def _validate(self, hub: HubServer) -> None:
        asked = json.loads(self.body)
        faults = metadata_faults(asked["content"], asked["repoType"])
        self._json(
            {"errors": [{"message": fault} for fault in faults], "warnings": []},
            400 if faults else 200,
        )

    def _preupload(self, hub: HubServer, kind: str, repo: str, revision: str) -> None:
        if not self._may_write() or not (found := self._find(hub, named(kind, repo), revision)):
            return
        held, answer = found[0].commits[found[1]], []
        for file in json.loads(self.body)["files"]:
            path = file["path"]
            mode = "lfs" if path.endswith(LFS_SUFFIXES) else "regular"
            answer.append({"path": path, "uploadMode": mode, "shouldIgnore": False})
            if path in held:
                answer[-1]["oid"] = oid(path, held[path])
        self._json({"files": answer})

    def _batch(self, hub: HubServer, repo: str) -> None:
        if self._may_write():
            objects = []
            for asked in json.loads(self.body)["objects"]:
                objects.append({"oid": asked["oid"], "size": asked["size"]})
                if asked["oid"] not in hub.objects:
                    upload, verify = f"{hub.url}/lfs/{asked['oid']}", f"{hub.url}/lfs/verify"
                    objects[-1]["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
            self._json({"transfer": "basic", "objects": objects})

    def _store(self, hub: HubServer, sha256: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != sha256:
            return self._refuse(400, "", "Its sha256 differs")
        hub.objects[sha256] = self.body
        self._send(200, b"")

    def _verify(self, hub: HubServer) -> None:
        asked = json.loads(self.body)
        held = hub.objects.get(asked["oid"], b"")
        self._json({}) if len(held) == asked["size"] else self._refuse(404, "", "No such object")

    def _commit(self, hub: HubServer, kind: str, repo: str, revision: str) -> None:
        if not self._may_write() or not (found := self._find(hub, named(kind, repo), revision)):
            return
        name, held, head = named(kind, repo), *found
        files, header = dict(held.commits[head]), {}
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                header = value
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                if value["oid"] not in hub.objects:
                    return self._refuse(400, "", "A large file was not uploaded")
                files[value["path"]] = hub.objects[value["oid"]]
            elif item["key"] == "deletedFile":
                del files[value["path"]]
            elif item["key"] == "deletedFolder":
                files = {path: data for path, data in files.items() if not path.startswith(value["path"])}
        wants_pr = self.query.get("create_pr") == ["1"]
        if not wants_pr and header.get("parentCommit", head) != head:
            return self._refuse(412, "", "A commit has happened since. Please refresh and try again.")
        target = revision
        answer = {}
        if wants_pr:
            number = 1 + sum(ref.startswith("refs/pr/") for ref in held.refs)
            target = f"refs/pr/{number}"
            answer["pullRequestUrl"] = f"{hub.url}/{name}/discussions/{number}"
        sha = hub.commit(name, files, target)
        self._json({"success": True, "commitOid": sha, "commitUrl": f"{hub.url}/{name}/commit/{sha}", **answer})

    def _tag(self, hub: HubServer, kind: str, repo: str, revision: str) -> None:
        if self._may_write() and (found := self._find(hub, named(kind, repo), revision)):
            tag = json.loads(self.body)["tag"]
            if tag in found[0].tags:
                return self._refuse(409, "", f"Tag {tag} already exists")
            found[0].tags[tag] = found[1]
            self._json({})

    def _branch(self, hub: HubServer, kind: str, repo: str, branch: str) -> None:
        if self._may_write() and (found := self._find(hub, named(kind, repo), "main")):
            found[0].refs.setdefault(branch, json.loads(self.body or b"{}").get("startingPoint") or found[1])
            self._json({})


_API = r"/api/(?P<kind>models|datasets|spaces)/(?P<repo>[^/]+/[^/]+)"
_ID = r"/(?P<repo>(?:(?:datasets|spaces)/)?[^/]+/[^/]+)"
_ROUTES: list[tuple[tuple[str, ...], str, Callable[..., None]]] = [
    (("GET",), r"/api/whoami-v2", _Handler._whoami),
    (("GET",), _API + r"(?:/revision/(?P<revision>[^/]+))?", _Handler._info),
    (("GET",), _API + r"/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?", _Handler._tree),
    (("POST",), _API + r"/paths-info/(?P<revision>[^/]+)", _Handler._paths_info),
    (("GET",), _API + r"/refs", _Handler._refs),
    (("HEAD", "GET"), _ID + r"/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler._resolve),
    (("POST",), r"/api/repos/create", _Handler._create),
    (("POST",), r"/api/validate-yaml", _Handler._validate),
    (("POST",), _API + r"/preupload/(?P<revision>[^/]+)", _Handler._preupload),
    (("POST",), _ID + r"\.git/info/lfs/objects/batch", _Handler._batch),
    (("PUT",), r"/lfs/(?P<sha256>[0-9a-f]{64})", _Handler._store),
    (("POST",), r"/lfs/verify", _Handler._verify),
    (("POST",), _API + r"/commit/(?P<revision>[^/]+)", _Handler._commit),
    (("POST",), _API + r"/tag/(?P<revision>[^/]+)", _Handler._tag),
    (("POST",), _API + r"/branch/(?P<branch>[^/]+)", _Handler._branch),
]


def named(kind: str, repo: str) -> str:
    """A repo's name in this server, from the kind and the id in the API's addresses."""
    return repo if kind == "models" else f"{kind}/{repo}"


def sha1(data: bytes) -> str:
    """The git blob hash of a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def oid(path: str, data: bytes) -> str:
    """The Hub's hash of a file: sha256 for a large file (LFS), git's blob hash otherwise."""
    return hashlib.sha256(data).hexdigest() if path.endswith(LFS_SUFFIXES) else sha1(data)


def entry(path: str, data: bytes) -> dict[str, Any]:
    """A file's entry in the tree listing."""
    item: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": sha1(data)}
    if path.endswith(LFS_SUFFIXES):
        item["lfs"] = {"oid": oid(path, data), "size": len(data), "pointerSize": 134}
    return item


def directory(path: str) -> dict[str, Any]:
    """A folder's entry in the tree listing."""
    return {"type": "directory", "path": path, "size": 0, "oid": sha1(path.encode())}


def metadata_faults(readme: str, kind: str) -> list[str]:
    """The errors that the Hub would report in a README's YAML header; only some of its checks."""
    found = re.match(r"---\n(.*?)\n---\n", readme, re.DOTALL)
    if not found:
        return []
    try:
        metadata = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        return [f"the YAML cannot be read: {error}"]
    faults = []
    for result in (result for model in metadata.get("model-index", []) for result in model["results"]):
        if not {"task", "dataset", "metrics"} <= set(result) or "type" not in result["dataset"]:
            faults.append('"model-index" has a result without task, dataset or metrics')
        if not all({"type", "value"} <= set(metric) for metric in result["metrics"]):
            faults.append('"model-index" has a metric without type or value')
    if kind == "space":
        for key in ("colorFrom", "colorTo"):
            if metadata.get(key) not in COLOURS:
                faults.append(f'"{key}" must be one of {COLOURS}')
        if len(metadata.get("short_description", "")) > 60:
            faults.append('"short_description" length must be less than or equal to 60 characters long')
    return faults
