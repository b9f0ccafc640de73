"""Gate: checks each request before Gradio's server sees it, and adds security headers to each response.

Gradio installs about eighty routes. `ROUTES` lists those that this page and its two endpoints need, so that a route
added by a new version of Gradio stays closed until somebody has reviewed it.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
from collections import Counter
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from gradio.routes import App
from starlette.routing import compile_path

from ui.addresses import EXAMPLES, requested_hosts
from ui.limits import MAX_CLIENT_REQUESTS
from ui.mcp_server import MCP_INSTALLED, MCP_ROUTES
from ui.uploads import is_stored

JSON = "application/json"
MULTIPART = "multipart/form-data"
UPLOAD = "/gradio_api/upload"
FILE = "/gradio_api/file={path_or_url:path}"

# The methods of each route and, for POST, the type of the body. /pwa_icon/{size} scales an image to any requested size,
# so it stays closed: our manifest.json names the icons of ui/public.
ROUTES: dict[str, dict[str, str | None]] = {
    "/": {"GET": None, "HEAD": None},  # HEAD: Gradio checks at the start that its page responds
    "/config": {"GET": None},
    "/favicon.ico": {"GET": None},
    "/manifest.json": {"GET": None},  # this and the next five are ui/public
    "/icon-192.png": {"GET": None},
    "/icon-512.png": {"GET": None},
    "/thumbnail.png": {"GET": None},
    "/deep-links.js": {"GET": None},
    "/names.js": {"GET": None},
    "/robots.txt": {"GET": None},
    "/theme.css": {"GET": None},
    **{path: {"GET": None} for path in EXAMPLES},
    "/assets/{path:path}": {"GET": None},
    "/static/{path:path}": {"GET": None},
    "/gradio_api/app_id": {"GET": None},
    "/gradio_api/info": {"GET": None},
    "/gradio_api/startup-events": {"GET": None},  # Gradio requests it once, at the start
    "/gradio_api/heartbeat/{session_hash}": {"GET": None},
    "/gradio_api/queue/data": {"GET": None},
    "/gradio_api/queue/join": {"POST": JSON},
    "/gradio_api/run/{api_name}": {"POST": JSON},  # functions that skip the queue
    "/gradio_api/call/{api_name}": {"POST": JSON},
    "/gradio_api/call/{api_name}/{event_id}": {"GET": None},
    "/gradio_api/call/v2/{api_name}": {"POST": JSON},  # the curl example of the API page
    "/gradio_api/call/v2/{api_name}/{event_id}": {"GET": None},
    "/gradio_api/cancel": {"POST": JSON},
    "/gradio_api/reset": {"POST": JSON},
    "/gradio_api/component_server/": {"POST": JSON},
    UPLOAD: {"POST": MULTIPART},
    "/gradio_api/upload_progress": {"GET": None},
    FILE: {"GET": None},
}
if MCP_INSTALLED:
    ROUTES |= MCP_ROUTES
_PATTERNS = {template: compile_path(template)[0] for template in ROUTES}

SPACES = "https://huggingface.co"  # shows each Space in a frame
SHARE_FILES = "https://gradio.s3-us-west-2.amazonaws.com"  # has the scripts and styles of a shared page
# Gradio's page has inline scripts, compiles templates and `js_on_load`, and runs ffmpeg from memory to trim videos.
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
# For visitors' files: opened as a page, they run no scripts.
FILE_POLICY = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"


class Refused(Exception):
    """A request is refused, with a status and a reason of one sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason

    async def respond(self, send: Any) -> None:
        """Send the refusal as Gradio's clients expect it and close the connection, whose request may be incomplete."""
        body = json.dumps({"detail": self.reason}).encode()
        size = (b"content-length", str(len(body)).encode())
        head = [(b"content-type", b"application/json"), size, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": self.status, "headers": head})
        await send({"type": "http.response.body", "body": body})


class Gate:
    """ASGI middleware that refuses routes that `ROUTES` does not list, and foreign hosts and origins.

    It must wrap Gradio's own middleware, which responds to CORS requests itself.

    Args:
        app: Handles the requests that pass.
        gradio: Gradio's application, which knows its root path and its address on gradio.live.
        host: The address that the server listens on.
    """

    def __init__(self, app: Any, gradio: App, host: str) -> None:
        self._app = app
        self._gradio = gradio
        self._names = {"localhost", socket.gethostname().lower(), _hostname(host), *_listed("SPACE_HOST")}
        self._configured = _listed("DEEPFER_HOSTS")
        self._proxies = _networks("FORWARDED_ALLOW_IPS")
        self._active: Counter[str] = Counter()  # requests in progress by client address

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page has no websockets
            await send({"type": "websocket.close"})
            return
        path, headers = self._route_path(scope), headers_of(scope)
        matches = (t for t, pattern in _PATTERNS.items() if scope["method"] in ROUTES[t] and pattern.match(path))
        template = next(matches, None)
        added = [(name.encode(), value.encode()) for name, value in self._response_headers(template).items()]

        async def send_with_headers(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        client = (scope.get("client") or ("",))[0]
        try:
            self._check_host(headers)
            if template is None or (template == FILE and not is_stored(path.partition("=")[2])):
                raise Refused(404, "Not found.")
            self._check_body_type(ROUTES[template][scope["method"]], headers)
            if not self._is_own_origin(headers):
                if scope["method"] == "POST":
                    raise Refused(403, "Requests from other sites are not allowed.")
                # Without an Origin, Gradio's response lacks the headers that would let another site read it.
                scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"origin"]
            if self._is_one_client(client) and self._active[client] >= MAX_CLIENT_REQUESTS:
                raise Refused(429, "Too many requests from your address are in progress. Try again in a moment.")
        except Refused as refused:
            await refused.respond(send_with_headers)
            return
        scope["deepfer.route"] = template
        self._active[client] += 1
        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            self._active[client] -= 1
            if not self._active[client]:
                del self._active[client]

    def _route_path(self, scope: dict[str, Any]) -> str:
        """The path below the root path, whether or not a proxy has stripped the root path already."""
        path, root = scope["path"], self._gradio.root_path
        return path[len(root) :] or "/" if root and f"{path}/".startswith(f"{root}/") else path

    def _check_host(self, headers: dict[str, str]) -> None:
        """Refuse unknown host names: DNS rebinding could point a foreign site's name at this server.

        IP addresses pass: a page loaded from one is served from that very address.
        """
        known = self._names | self._configured | self._own_names()
        for host in requested_hosts(headers):
            name = _hostname(host)
            if name not in known and not _is_address(name):
                advice = "To serve the page under it, set DEEPFER_HOSTS in the server's environment."
                raise Refused(421, f"Unknown host name {name[:80]!r}. {advice}")

    def _own_names(self) -> set[str]:
        """The host names in Gradio's root path, if that is a URL, and in its address on gradio.live."""
        share = getattr(self._gradio.blocks, "share_url", None)
        return {_hostname(urlsplit(url).netloc) for url in (self._gradio.root_path, share or "") if "//" in url}

    @staticmethod
    def _check_body_type(media_type: str | None, headers: dict[str, str]) -> None:
        if media_type and headers.get("content-type", "").partition(";")[0].strip().lower() != media_type:
            raise Refused(415, f"The request's Content-Type must be {media_type}.")

    def _is_own_origin(self, headers: dict[str, str]) -> bool:
        """Whether the request comes from this page, or from a program other than a browser, which sends no origin."""
        origin = headers.get("origin")
        if origin is None:
            return True
        scheme, _, authority = origin.lower().partition("://")
        hosts = {_without_default_port(host, scheme) for host in requested_hosts(headers)}
        names = self._configured | self._own_names()
        return _without_default_port(authority, scheme) in hosts or _hostname(authority) in names - {""}

    def _is_one_client(self, address: str) -> bool:
        """Whether an address belongs to one client. A private one may be a proxy's, and so shared by everyone.

        If `FORWARDED_ALLOW_IPS` names the proxies, all other addresses are clients. For these proxies, Uvicorn passes
        on the client's address that they forward.
        """
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        return ip.is_global or (bool(self._proxies) and not any(ip in network for network in self._proxies))

    def _response_headers(self, template: str | None) -> dict[str, str]:
        headers = {"x-content-type-options": "nosniff"}
        if template == FILE:  # it may show a person, so the browser must not keep a copy
            return headers | {"content-security-policy": FILE_POLICY, "cache-control": "no-store"}
        if template == "/":
            headers["vary"] = "Accept-Language"  # or a proxy's cache would serve one visitor's language to all
        policy = dict(POLICY)
        if os.environ.get("SPACE_HOST"):
            policy["frame-ancestors"] += f" {SPACES}"
        if getattr(self._gradio.blocks, "share", False):
            for kind in ("default-src", "script-src", "style-src", "font-src", "img-src", "connect-src"):
                policy[kind] += f" {SHARE_FILES}"
        return headers | {"content-security-policy": "; ".join(map(" ".join, policy.items()))}


def headers_of(scope: dict[str, Any]) -> dict[str, str]:
    """The request's headers by name; the values of a repeated one are joined by commas."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return headers


def _listed(variable: str) -> set[str]:
    """The host names in a comma-separated environment variable."""
    return {_hostname(name.strip()) for name in os.environ.get(variable, "").split(",") if name.strip()}


def _networks(variable: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The addresses and networks in a comma-separated environment variable; anything else is ignored."""
    networks = []
    for name in os.environ.get(variable, "").split(","):
        with suppress(ValueError):
            networks.append(ipaddress.ip_network(name.strip(), strict=False))
    return networks


def _hostname(authority: str) -> str:
    """The host of "host:port", in lower case and without the brackets of an IPv6 address."""
    host = authority.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0].rstrip(".")


def _without_default_port(authority: str, scheme: str) -> str:
    return authority.removesuffix({"http": ":80", "https": ":443"}.get(scheme, ""))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
