"""Routes, methods, hosts and origins that the page serves, also behind a proxy and on a Space."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import clips
import httpx
import pytest
from gradio_client import Client, handle_file
from reverse_proxy import proxied

from benchmarks.harness.app_server import ROOT, AppServer, serve
from benchmarks.harness.chromium import chromium, playing
from ui.addresses import EXAMPLES
from ui.document import PUBLIC
from ui.mcp_server import MCP_INSTALLED, MCP_ROUTES
from ui.middleware import ROUTES, UPLOAD

ASTRONAUT = ROOT / "ui" / "examples" / "astronaut.jpg"
SPACE = "somebody-deepfer.hf.space"

# Routes of Gradio that the page does not need, each reviewed.
CLOSED = """
    GET,HEAD /openapi.json                 GET /gradio_api/openapi.json        GET /config/
    POST /login                            POST /login/                        GET /logout
    GET /gradio_api/user                   GET /gradio_api/user/               GET /gradio_api/login_check
    GET /gradio_api/login_check/           GET /gradio_api/token               GET /gradio_api/token/
    GET /gradio_api/app_id/                GET /gradio_api/info/               GET /gradio_api/deep_link
    GET /svelte/{path:path}                GET /pwa_icon                       GET /pwa_icon/{size}
    GET /monitoring                        GET /monitoring/summary             GET /monitoring/{key}
    GET /gradio_api/dev/reload             GET /gradio_api/theme.css           GET /gradio_api/queue/status
    GET /gradio_api/runs                   GET /gradio_api/runs/               POST /gradio_api/run-history/connect
    GET /gradio_api/run-history/buckets    GET /gradio_api/run-history/records
    GET /gradio_api/run-history/records/{endpoint}/{record_id}/assets/{asset_id}
    GET /gradio_api/custom_component/{id}/{environment}/{type}/{file_name}
    GET,HEAD /gradio_api/proxy={url_path:path}                               GET /gradio_api/file/{path:path}
    HEAD /gradio_api/file={path_or_url:path}
    POST /gradio_api/stream/{event_id}     POST /gradio_api/stream/{event_id}/close
    GET /gradio_api/stream/{session_hash}/{run}/{component_id}/playlist.m3u8
    GET /gradio_api/stream/{session_hash}/{run}/{component_id}/playlist-file
    GET /gradio_api/stream/{session_hash}/{run}/{component_id}/{segment_id}.{ext}
    POST /gradio_api/reset/                POST /gradio_api/component_server   POST /gradio_api/process_recording
    POST /gradio_api/run/{api_name}/    POST /gradio_api/api/{api_name}
    POST /gradio_api/api/{api_name}/       POST /gradio_api/call/{api_name}/   POST /gradio_api/call/v2/{api_name}/
    POST /gradio_api/vibe-edit             POST /gradio_api/vibe-edit/         POST /gradio_api/undo-vibe-edit
    POST /gradio_api/undo-vibe-edit/       GET,POST /gradio_api/vibe-code      GET,POST /gradio_api/vibe-code/
    POST /gradio_api/vibe-starter-queries  POST /gradio_api/vibe-starter-queries/
    GET /gradio_api/profiling/traces       GET /gradio_api/profiling/summary   POST /gradio_api/profiling/clear
"""
CLOSED_ROUTES = {
    (method, path) for methods, path in re.findall(r"([A-Z,]+) (\S+)", CLOSED) for method in methods.split(",")
}
INSTALLED = """
import gradio as gr
from gradio.routes import App

def show(routes, prefix=""):
    for route in routes:
        if included := getattr(route, "original_router", None):
            show(included.routes, prefix)
        elif mounted := getattr(route, "routes", None):
            show(mounted, prefix + route.path)
        else:
            for method in getattr(route, "methods", None) or ["MOUNT"]:
                print(method, prefix + route.path)

with gr.Blocks() as demo:
    gr.Textbox()
show(App.create_app(demo, mcp_server=MCP).routes)
"""  # run in a process of its own, because Gradio leaves an event loop open
# Our own files. Gradio has the route of the manifest, too.
OWN_ROUTES = {("GET", f"/{path.name}") for path in PUBLIC.iterdir()} - {("GET", "/manifest.json")}
OWN_ROUTES |= {("GET", path) for path in EXAMPLES}
OPEN_ROUTES = {(method, path) for path, methods in ROUTES.items() for method in methods if path not in MCP_ROUTES}
# Those of Gradio's own MCP server, which McpServer replaces: it has another transport, too.
OPEN_MCP_ROUTES = {(method, path) for path, methods in MCP_ROUTES.items() for method in methods}
GRADIOS_MCP_ROUTES = {f"/gradio_api/mcp{path}" for path in ("", "/schema", "/sse", "/messages")}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    with serve(tmp_path_factory.mktemp("app"), env={"DEEPFER_HOSTS": "faces.example.org, "}) as running:
        yield running


def port(server: AppServer) -> int:
    return urlsplit(server.url).port or 0


def ask(server: AppServer, method: str, path: str, **what: Any) -> httpx.Response:
    return httpx.request(method, server.url.rstrip("/") + path, timeout=30, **what)


def join(server: AppServer, headers: dict[str, str]) -> int:
    """The status of a request without effect."""
    return ask(server, "POST", "/gradio_api/reset", json={"event_id": "none"}, headers=headers).status_code


@pytest.mark.parametrize("with_mcp", [False, True], ids=["without", "with"])
def test_every_gradio_route_is_reviewed(with_mcp: bool, leave_out: Callable[[str], NoReturn]) -> None:
    """A route added by a new version of Gradio is closed, and this fails until it is listed here or in `ROUTES`."""
    if with_mcp and not MCP_INSTALLED:
        leave_out("the MCP server: pip install -r ui/requirements-mcp.txt")
    code = INSTALLED.replace("MCP", str(with_mcp))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    installed = {(method, path) for line in done.stdout.splitlines() for method, path in [line.split(" ")]}
    assert ("POST", "/gradio_api/process_recording") in installed
    added = {path for _, path in installed if path.startswith("/gradio_api/mcp")}
    assert added == (GRADIOS_MCP_ROUTES if with_mcp else set())
    decided = {(method, path) for method, path in installed if path not in added}
    assert decided - OPEN_ROUTES - CLOSED_ROUTES == set()
    assert OPEN_ROUTES - decided == OWN_ROUTES
    assert not OPEN_ROUTES & CLOSED_ROUTES


def test_the_mcp_server_is_open_if_it_is_installed(server: AppServer) -> None:
    for path in sorted(MCP_ROUTES):
        for method in ("GET", "POST", "DELETE", "HEAD"):
            answer = ask(server, method, path, json={} if method == "POST" else None)
            opened = MCP_INSTALLED and (method, path) in OPEN_MCP_ROUTES
            assert (answer.status_code != 404) == opened, (method, path)


def test_closed_routes_are_not_found(server: AppServer) -> None:
    for method, template in CLOSED_ROUTES:
        answer = ask(server, method, re.sub(r"\{.*?\}", "1", template), follow_redirects=False)
        assert (answer.status_code, template) == (404, template)
        assert method == "HEAD" or answer.json() == {"detail": "Not found."}, template


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("OPTIONS", "/gradio_api/queue/join"),
        ("PUT", "/config"),
        ("DELETE", "/gradio_api/upload"),
        ("POST", "/"),
        ("GET", "/gradio_api/upload"),
        ("GET", "/nothing"),
        ("GET", "//config"),
        ("POST", "/gradio_api/upload/"),
        ("GET", "/gradio_api/mcp/sse"),
        ("POST", "/gradio_api/mcp/messages/"),
        ("GET", "/examples/group.jpg"),
        ("GET", "/gradio_api/file=/etc/hostname"),
        ("GET", "/gradio_api/file=ui/examples/astronaut.jpg"),
        ("GET", "/gradio_api/file=https://example.org/"),
        ("GET", "/gradio_api/file=/tmp/%00"),
    ],
)
def test_other_methods_and_paths_are_not_found(server: AppServer, method: str, path: str) -> None:
    assert ask(server, method, path).status_code == 404


def test_no_recording_is_processed(server: AppServer, tmp_path: Path) -> None:
    clip = clips.write(tmp_path / "a.webm", [frame for frame, _ in clips.crossing(96, 64, 5, people=1)], 10, "VP80")
    before = set(Path(tempfile.gettempdir()).glob("*_processed.mp4"))
    answer = ask(server, "POST", "/gradio_api/process_recording", files={"video": ("a.mp4", clip.read_bytes())})
    assert answer.status_code == 404
    assert set(Path(tempfile.gettempdir()).glob("*_processed.mp4")) == before


@pytest.mark.parametrize("name", ["upload", "call/upload", "run/upload"])
def test_json_is_bounded_on_every_path(server: AppServer, name: str) -> None:
    body = b"[" + b"[]," * 700_000 + b"[]]"
    answer = ask(server, "POST", f"/gradio_api/{name}", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == {"upload": 415, "call/upload": 413, "run/upload": 413}[name]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"])
def test_other_kinds_of_bodies_are_refused(server: AppServer, kind: str) -> None:
    for path, methods in ROUTES.items():
        if "POST" in methods and path != UPLOAD:
            answer = ask(server, "POST", path.replace("{api_name}", "x"), content=b"{}", headers={"Content-Type": kind})
            assert answer.status_code == 415


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("127.0.0.1:PORT", True),
        ("localhost:PORT", True),
        ("[::1]:PORT", True),
        ("192.168.1.20:8080", True),  # a tunnel or a container: an address cannot be rebound
        ("faces.example.org", True),
        ("FACES.example.org.:443", True),
        ("evil.example", False),
        ("evil.example:PORT", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("faces.example.org.evil.example", False),
        ("somebody.hf.space", False),
        ("", False),
    ],
)
def test_only_known_hosts_are_served(server: AppServer, host: str, served: bool) -> None:
    host = host.replace("PORT", str(port(server)))
    answer = ask(server, "GET", "/", headers={"Host": host, "Origin": f"http://{host}"})
    assert answer.status_code == (200 if served else 421)
    assert served or "access-control-allow-origin" not in answer.headers
    forwarded = ask(server, "GET", "/config", headers={"X-Forwarded-Host": host})
    assert forwarded.status_code == (200 if served or not host else 421)


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        (None, True),  # not a browser
        ("http://127.0.0.1:PORT", True),
        ("http://127.0.0.1:1", False),
        ("http://localhost:PORT", False),  # a page from localhost calls localhost
        ("https://faces.example.org", True),
        ("https://evil.example", False),
        ("https://evil.example/127.0.0.1:PORT", False),
        ("null", False),
        ("", False),
    ],
)
def test_posts_from_foreign_origins_are_refused(server: AppServer, origin: str | None, own: bool) -> None:
    headers = {} if origin is None else {"Origin": origin.replace("PORT", str(port(server)))}
    assert join(server, headers) == (200 if own else 403)
    read = ask(server, "GET", "/config", headers=headers)
    assert read.status_code == 200
    assert own or "access-control-allow-origin" not in read.headers


def test_every_response_has_the_security_headers(server: AppServer) -> None:
    for method, path in [("GET", "/"), ("GET", "/theme.css"), ("GET", "/nothing"), ("POST", "/gradio_api/queue/join")]:
        headers = ask(server, method, path, json={} if method == "POST" else None).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'self'" in headers["content-security-policy"].split("; ")
        assert "object-src 'none'" in headers["content-security-policy"]


def test_a_visitors_file_is_not_stored_and_runs_nothing(server: AppServer) -> None:
    sent = {"files": ("a.html", b"<script>alert(1)</script>", "text/html")}
    (path,) = ask(server, "POST", "/gradio_api/upload", files=sent).json()
    headers = ask(server, "GET", f"/gradio_api/file={path}").headers
    assert headers["cache-control"] == "no-store"
    assert "sandbox" in headers["content-security-policy"]


def happy(url: str, folder: Path, headers: dict[str, str] | None = None) -> bool:
    """Whether Gradio's own client gets the result and the annotated image from the endpoint."""
    client = Client(url, verbose=False, download_files=folder, headers=headers)
    annotated, result = client.predict(handle_file(ASTRONAUT), api_name="/recognize_image")
    client.close()
    return result["faces"][0]["emotion"] == "happy" and Path(annotated).stat().st_size > 10_000


def test_a_space_answers_and_can_be_embedded(tmp_path: Path) -> None:
    headers = {"Host": SPACE, "X-Forwarded-Host": SPACE, "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
    with serve(tmp_path, env={"SPACE_HOST": f"{SPACE},deepfer.example.org"}) as server:
        page = ask(server, "GET", "/?__theme=light", headers=headers)
        assert page.status_code == 200
        assert f"https://{SPACE}" in page.text
        assert "frame-ancestors 'self' https://huggingface.co" in page.headers["content-security-policy"]
        assert ask(server, "GET", "/", headers={"Host": "deepfer.example.org"}).status_code == 200
        assert ask(server, "GET", "/", headers={"Host": "10.20.30.40:7860"}).status_code == 200  # a health check
        assert join(server, headers | {"Origin": f"https://{SPACE}"}) == 200
        assert join(server, headers | {"Origin": "https://another-space.hf.space"}) == 403
        del headers["X-Forwarded-Host"]  # or the client would fetch the image from the Space's address
        assert happy(server.url, tmp_path, headers)


@pytest.mark.slow
@pytest.mark.parametrize("stripped", [True, False], ids=["stripped", "whole"])
def test_the_page_works_below_a_root_path(tmp_path: Path, stripped: bool, leave_out: Callable[[str], NoReturn]) -> None:
    """Behind a proxy, whether it strips the path or not, with Gradio's client and in a browser."""
    env = {"GRADIO_ROOT_PATH": "/faces"}
    with serve(tmp_path, env=env) as server, proxied(port(server), "/faces" if stripped else "") as outside:
        url = outside if stripped else f"{outside}faces/"
        assert httpx.post(f"{url}gradio_api/process_recording").status_code == 404
        assert httpx.post(f"{url}gradio_api/call/upload", content=b"[]").status_code == 415
        assert httpx.post(f"{url}gradio_api/queue/join", json={}, headers={"Origin": "http://evil"}).status_code == 403
        assert happy(url, tmp_path)
        with playing() as playwright, chromium(playwright) as browser:
            if isinstance(browser, str):
                leave_out(browser)
            page = browser.new_page()
            page.set_default_timeout(120_000)
            refused: list[str] = []
            page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
            page.on("console", lambda line: refused.append(line.text) if "Content Security" in line.text else None)
            page.goto(url)
            page.set_input_files("#picture input[type=file]", ASTRONAUT)
            page.wait_for_selector(".photo-stage img")
            assert page.locator(".fer-card").count() == 1
            assert refused == []
