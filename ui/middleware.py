"""Gate: what a request must be before Gradio's server sees it, and the headers that every response carries.

Gradio installs some eighty routes, whatever a page uses. `ROUTES` lists those that this page and its two endpoints
need, so that a route which a new version of Gradio adds stays closed until somebody has looked at it.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gradio.routes import App
from gradio.utils import get_upload_folder
from starlette.routing import compile_path

from ui.limits import MAX_CLIENT_REQUESTS

JSON = "application/json"
MULTIPART = "multipart/form-data"
UPLOAD = "/gradio_api/upload"
FILE = "/gradio_api/file={path_or_url:path}"

# What each route takes: a method, and for POST the type of the body. Not listed, though a later feature may want them:
# PWA needs /pwa_icon/{size}, which scales an image to whatever size is asked, so list only the manifest's sizes; MCP
# needs /gradio_api/mcp, and its tools fetch URLs.
ROUTES: dict[str, dict[str, str | None]] = {
    "/": {"GET": None, "HEAD": None},  # HEAD: Gradio looks whether its page answers
    "/config": {"GET": None},
    "/favicon.ico": {"GET": None},
    "/manifest.json": {"GET": None},
    "/robots.txt": {"GET": None},
    "/theme.css": {"GET": None},
    "/assets/{path:path}": {"GET": None},
    "/static/{path:path}": {"GET": None},
    "/gradio_api/app_id": {"GET": None},
    "/gradio_api/info": {"GET": None},
    "/gradio_api/startup-events": {"GET": None},  # Gradio asks for it once, when it starts
    "/gradio_api/heartbeat/{session_hash}": {"GET": None},
    "/gradio_api/queue/data": {"GET": None},
    "/gradio_api/queue/join": {"POST": JSON},
    "/gradio_api/run/{api_name}": {"POST": JSON},  # functions of the page that do not wait in the queue
    "/gradio_api/call/{api_name}": {"POST": JSON},
    "/gradio_api/call/{api_name}/{event_id}": {"GET": None},
    "/gradio_api/call/v2/{api_name}": {"POST": JSON},  # the API page's example for curl
    "/gradio_api/call/v2/{api_name}/{event_id}": {"GET": None},
    "/gradio_api/cancel": {"POST": JSON},
    "/gradio_api/reset": {"POST": JSON},
    "/gradio_api/component_server/": {"POST": JSON},
    UPLOAD: {"POST": MULTIPART},
    "/gradio_api/upload_progress": {"GET": None},
    FILE: {"GET": None},
}
_PATTERNS = {template: compile_path(template)[0] for template in ROUTES}

SPACES = "https://huggingface.co"  # shows each Space in a frame
SHARE_FILES = "https://gradio.s3-us-west-2.amazonaws.com"  # where a shared page's scripts and styles are
# Gradio's page has inline scripts, compiles templates and `js_on_load`, and runs ffmpeg from memory to trim a clip.
POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval' blob:",
    "style-src": "'self' 'unsafe-inline'",
    "font-src": "'self' data:",
    "img-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "connect-src": "'self' data: blob:",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'self'",
}
# A visitor's file, opened as a page of its own, runs nothing.
FILE_POLICY = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"


class Refused(Exception):
    """A request that is not answered, with the status and one sentence that say why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason

    async def answer(self, send: Any) -> None:
        """Send it as Gradio's clients expect it, and close the connection: the request may have more to come."""
        body = json.dumps({"detail": self.reason}).encode()
        size = (b"content-length", str(len(body)).encode())
        head = [(b"content-type", b"application/json"), size, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status, "headers": head})
        await send({"type": "http.response.body", "body": body})


class Gate:
    """An ASGI application around Gradio's. It refuses what `ROUTES` does not list, foreign hosts and origins.

    It stands outside of Gradio's own middleware, which answers CORS requests itself.

    Args:
        app: What answers the requests that pass.
        gradio: Gradio's application, which knows its root path and its address on gradio.live.
        host: The address that the server listens on.
    """

    def __init__(self, app: Any, gradio: App, host: str) -> None:
        self._app = app
        self._gradio = gradio
        self._names = {"localhost", socket.gethostname().lower(), _hostname(host), *_listed("SPACE_HOST")}
        self._configured = _listed("DEEPFER_HOSTS")
        self._proxies = _networks("FORWARDED_ALLOW_IPS")
        self._active: Counter[str] = Counter()  # requests that are being answered, by the client's address

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page has no websockets
            await send({"type": "websocket.close"})
            return
        path, headers = self._route_path(scope), _headers(scope)
        listed = (t for t, pattern in _PATTERNS.items() if scope["method"] in ROUTES[t] and pattern.match(path))
        template = next(listed, None)
        own = [(name.encode(), value.encode()) for name, value in self._response_headers(template).items()]

        async def marked(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        client = (scope.get("client") or ("",))[0]
        counted = self._is_one_client(client)
        try:
            self._check_host(headers)
            if template is None or (template == FILE and not is_kept(path.partition("=")[2])):
                raise Refused(404, "Not found.")
            self._check_body_type(ROUTES[template][scope["method"]], headers)
            if not self._is_own_origin(headers):
                if scope["method"] == "POST":
                    raise Refused(403, "This page takes requests from its own origin only.")
                # Without an Origin, Gradio answers without the headers that would let another site read the answer.
                scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"origin"]
            if counted and self._active[client] >= MAX_CLIENT_REQUESTS:
                raise Refused(429, "Too many requests from your address are being answered already.")
        except Refused as refused:
            await refused.answer(marked)
            return
        scope["deepfer.route"] = template
        self._active[client] += counted
        try:
            await self._app(scope, receive, marked)
        finally:
            self._active[client] -= counted
            if not self._active[client]:
                del self._active[client]

    def _route_path(self, scope: dict[str, Any]) -> str:
        """The path below the root path, whether or not the proxy in front removed the latter: as Starlette has it."""
        path, root = scope["path"], self._gradio.root_path
        return path[len(root) :] or "/" if root and f"{path}/".startswith(f"{root}/") else path

    def _check_host(self, headers: dict[str, str]) -> None:
        """Refuse names that this page is not served under: a site of that name may have been pointed at this machine.

        A host that is an address is no such name: the browser got its page from that very address.
        """
        served = self._names | self._configured | self._own_names()
        for host in [headers.get("host", ""), *_forwarded(headers)]:
            name = _hostname(host)
            if name not in served and not _is_address(name):
                raise Refused(421, f"This page is not served under the name {name[:80]!r}: see DEEPFER_HOSTS.")

    def _own_names(self) -> set[str]:
        """The names in Gradio's root path, where that is a URL, and of its address on gradio.live."""
        share = getattr(self._gradio.blocks, "share_url", None)
        return {_hostname(urlsplit(url).netloc) for url in (self._gradio.root_path, share or "") if "//" in url}

    @staticmethod
    def _check_body_type(wanted: str | None, headers: dict[str, str]) -> None:
        if wanted and headers.get("content-type", "").partition(";")[0].strip().lower() != wanted:
            raise Refused(415, f"The body must be {wanted}.")

    def _is_own_origin(self, headers: dict[str, str]) -> bool:
        """Whether the request comes from this page, or from a program, which names no origin."""
        origin = headers.get("origin")
        if origin is None:
            return True
        scheme, _, authority = origin.lower().partition("://")
        served = {_with_port(host, scheme) for host in [headers["host"].lower(), *_forwarded(headers)]}
        named = self._configured | self._own_names()
        return _with_port(authority, scheme) in served or _hostname(authority) in named - {""}

    def _is_one_client(self, address: str) -> bool:
        """Whether an address stands for one client. A private one may be a proxy's, and so everybody's.

        Where `FORWARDED_ALLOW_IPS` names the proxies, all others are clients; behind these proxies, Uvicorn gives the
        client's address as they forward it.
        """
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        return ip.is_global or (bool(self._proxies) and not any(ip in network for network in self._proxies))

    def _response_headers(self, template: str | None) -> dict[str, str]:
        headers = {"x-content-type-options": "nosniff"}
        if template == FILE:  # it shows a person, so the browser must not keep a copy
            return headers | {"content-security-policy": FILE_POLICY, "cache-control": "no-store"}
        policy = dict(POLICY)
        if os.environ.get("SPACE_HOST"):
            policy["frame-ancestors"] += f" {SPACES}"
        if getattr(self._gradio.blocks, "share", False):
            for kind in ("default-src", "script-src", "style-src", "font-src", "img-src", "connect-src"):
                policy[kind] += f" {SHARE_FILES}"
        return headers | {"content-security-policy": "; ".join(map(" ".join, policy.items()))}


def _headers(scope: dict[str, Any]) -> dict[str, str]:
    """The request's headers by name; those that are repeated, joined by commas."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1")
        found[key] = f"{found[key]},{value.decode('latin-1')}" if key in found else value.decode("latin-1")
    return found


def _forwarded(headers: dict[str, str]) -> list[str]:
    """The hosts that proxies were asked for, by their own words."""
    return [host.strip().lower() for host in headers.get("x-forwarded-host", "").split(",") if host.strip()]


def _listed(variable: str) -> set[str]:
    """The host names in a comma-separated environment variable."""
    return {_hostname(name.strip()) for name in os.environ.get(variable, "").split(",") if name.strip()}


def _networks(variable: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The addresses and networks in a comma-separated environment variable; what is neither is left out."""
    found = []
    for name in os.environ.get(variable, "").split(","):
        with suppress(ValueError):
            found.append(ipaddress.ip_network(name.strip(), strict=False))
    return found


def _hostname(authority: str) -> str:
    """The host of "host:port", in lower case and without the brackets of an IPv6 address."""
    host = authority.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0].rstrip(".")


def _with_port(authority: str, scheme: str) -> str:
    """An authority without the port that its scheme implies."""
    return authority.removesuffix({"http": ":80", "https": ":443"}.get(scheme, ""))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_kept(name: str) -> bool:
    """Whether a path is among the uploads and answers. Gradio takes others, too, and downloads URLs."""
    folder = os.path.abspath(get_upload_folder())
    return "\0" not in name and os.path.isabs(name) and Path(os.path.abspath(name)).is_relative_to(folder)
