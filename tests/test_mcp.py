"""The MCP server: a real client lists its tool and sends photos, and nothing else gets through it."""

import asyncio
import base64
import json
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
from slow_pictures import jpeg_with_scans

from benchmarks.harness.app_server import ROOT, AppServer, serve
from deepfer import LABELS
from ui.mcp_server import MCP_INSTALLED, MCP_ROUTES

pytestmark = pytest.mark.slow

ASTRONAUT = ROOT / "ui" / "examples" / "astronaut.jpg"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
HEADERS = {"Accept": "application/json, text/event-stream"}
WITHOUT = "import sys; sys.modules['mcp'] = None"  # as if it were not installed


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    env = {"DEEPFER_MAX_WAITING": "60", "DEEPFER_HOSTS": "faces.example.org"}
    with serve(tmp_path_factory.mktemp("app"), env=env) as running:
        yield running


@pytest.fixture
def mcp(server: AppServer, leave_out: Callable[[str], NoReturn]) -> str:
    """The address of the MCP server."""
    if not MCP_INSTALLED:
        leave_out("the MCP server: pip install -r ui/requirements-mcp.txt")
    return f"{server.url}gradio_api/mcp/"


def with_session(address: str, use: Callable[[Any], Awaitable[Any]]) -> Any:
    """What `use` returns for a session of the official client."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def run() -> Any:
        async with streamable_http_client(address) as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            return await use(session)

    return asyncio.run(asyncio.wait_for(run(), 300))


def call(address: str, *images: Any, tool: str = "recognize_image") -> list[Any]:
    """The results of sending several photos at once."""
    return with_session(
        address, lambda session: asyncio.gather(*(session.call_tool(tool, {"image": image}) for image in images))
    )


def data_url(content: bytes, kind: str = "image/jpeg") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def message(result: Any) -> str:
    """The message of a failed call: one sentence or two, without a path on the server."""
    assert result.isError, result
    (content,) = result.content
    assert "/tmp" not in content.text
    assert "\n" not in content.text
    return content.text


def upload(server: AppServer, content: bytes, name: str = "photo.jpg") -> str:
    answer = httpx.post(f"{server.url}gradio_api/upload", files={"files": (name, content)}, timeout=60)
    return answer.json()[0]


def test_one_tool_is_offered_and_explained(mcp: str) -> None:
    async def ask(session: Any) -> tuple[Any, Any]:
        return await session.list_tools(), session.get_server_capabilities()

    listed, capabilities = with_session(mcp, ask)
    (tool,) = listed.tools
    assert tool.name == "recognize_image"
    assert capabilities.resources is None
    assert capabilities.prompts is None
    assert ", ".join(LABELS) in tool.description
    for word in ("unclear", "box", "confidence", "What it is not", "strangers", "diagnose"):
        assert word in tool.description
    assert tool.inputSchema["required"] == ["image"]
    (image,) = tool.inputSchema["properties"].values()
    assert image["type"] == "string"
    for word in ("upload_file_to_gradio", "/gradio_api/upload", "data:image/jpeg;base64,", "no other URL"):
        assert word in image["description"]
    assert tool.annotations.readOnlyHint


def test_a_photo_is_answered(mcp: str, server: AppServer) -> None:
    path = upload(server, ASTRONAUT.read_bytes())
    images = (
        data_url(ASTRONAUT.read_bytes()),
        path,
        f"{server.url}gradio_api/file={path}",
        f"{server.url}examples/astronaut.jpg",
    )
    for result in call(mcp, *images):
        assert not result.isError, result
        (content,) = result.content
        found = json.loads(content.text)
        assert found == result.structuredContent
        assert (found["width"], found["height"]) == (512, 512)
        (face,) = found["faces"]
        assert (face["emotion"], face["unclear"]) == ("happy", False)
        assert list(face["probabilities"]) == list(LABELS)
        assert face["confidence"] == face["probabilities"]["happy"] > 0.9
        x1, y1, x2, y2 = face["box"]
        assert 0 < x1 < x2 < 512
        assert 0 < y1 < y2 < 512
        annotated = httpx.get(found["annotated_url"], timeout=60)
        assert annotated.headers["content-type"] == "image/jpeg"


def test_the_annotated_photo_has_the_address_that_the_client_used(mcp: str) -> None:
    sent = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    sent["params"] = {"name": "recognize_image", "arguments": {"image": data_url(ASTRONAUT.read_bytes())}}
    forwarded = {"X-Forwarded-Host": "faces.example.org", "X-Forwarded-Proto": "https"}
    answer = httpx.post(mcp, json=sent, headers=HEADERS | forwarded, timeout=60).json()
    assert answer["result"]["structuredContent"]["annotated_url"].startswith(
        "https://faces.example.org/gradio_api/file="
    )


def test_gradios_uploader_sends_files_of_the_users_computer(mcp: str, server: AppServer, tmp_path: Path) -> None:
    """The second entry of the configuration in docs/programs.md."""
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    photo = tmp_path / "photo.jpg"
    photo.write_bytes(ASTRONAUT.read_bytes())
    arguments = ["-c", "from gradio.cli import cli; cli()", "upload-mcp", server.url.rstrip("/"), str(tmp_path)]

    async def run() -> Any:
        program = StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ))
        async with stdio_client(program) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            return await session.call_tool("upload_file_to_gradio", {"file": str(photo)})

    uploaded = asyncio.run(asyncio.wait_for(run(), 120))
    (result,) = call(mcp, uploaded.content[0].text)
    assert result.structuredContent["faces"][0]["emotion"] == "happy"


def test_no_url_is_fetched_and_no_file_of_the_server_is_read(mcp: str, server: AppServer, tmp_path: Path) -> None:
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(ASTRONAUT.read_bytes())

        do_HEAD = do_GET

    secret = tmp_path / "secret.jpg"
    secret.write_bytes(ASTRONAUT.read_bytes())
    folder = Path(upload(server, ASTRONAUT.read_bytes())).parent
    with HTTPServer(("127.0.0.1", 0), Handler) as canary:
        threading.Thread(target=canary.serve_forever, daemon=True).start()
        elsewhere = f"http://127.0.0.1:{canary.server_port}"
        images = (
            f"{elsewhere}/photo.jpg",
            f"{elsewhere}/examples/astronaut.jpg",
            f"{elsewhere}/gradio_api/file={secret}",
            f"{server.url}gradio_api/file={elsewhere}/photo.jpg",
            f"{server.url}gradio_api/file={secret}",
            f"{server.url}gradio_api/file={folder}/../../../../..{secret}",
            f"{server.url}examples/../LICENSE",
            f"file://{secret}",
            str(secret),
            str(ASTRONAUT),
            f"{folder}/../../../../..{secret}",
            "ui/examples/astronaut.jpg",
            "",
            "\0",
            "http://[::1",
        )
        assert {message(result) for result in call(mcp, *images)} == {
            "Upload the photo first, or send it as a data URL. No other path or URL is read."
        }
        canary.shutdown()
    assert requests == []


def test_a_wrong_photo_is_explained(mcp: str, server: AppServer) -> None:
    broken, text, folder, slow, number = call(
        mcp,
        "data:image/jpeg;base64,/9j/4AAQ!",
        data_url(b"not an image", "text/plain"),
        str(Path(upload(server, b"abc")).parent),
        data_url(jpeg_with_scans(1024, 200)),
        7,
    )
    assert "complete data URL" in message(broken)
    assert "not an image of a supported format" in message(text)
    assert message(folder)
    assert message(slow)
    assert "not of type 'string'" in message(number)
    (other,) = call(mcp, "x", tool="recognize_video")
    assert "no tool 'recognize_video'" in message(other)
    assert "Traceback" not in server.log.read_text()


def test_a_photo_too_large_is_refused_before_it_is_read(mcp: str) -> None:
    large = data_url(os.urandom(1_000_000))
    sent = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "recognize_image"}}
    sent["params"]["arguments"] = {"image": large}  # type: ignore[index]
    answer = httpx.post(mcp, json=sent, headers=HEADERS, timeout=60)
    assert (answer.status_code, answer.json()) == (413, {"detail": "The request body is larger than 1 MB."})
    with pytest.raises(Exception):  # noqa: B017, PT011  # the official client ends its session, in a group of exceptions
        call(mcp, large)
    (result,) = call(mcp, data_url(ASTRONAUT.read_bytes()))
    assert not result.isError


def test_a_photo_in_a_data_url_is_not_kept(mcp: str, server: AppServer) -> None:
    (files,) = (server.log.parent / "uploads").glob("deepfer-page-*/files")
    content = ASTRONAUT.read_bytes() + b"unlike any other"
    (result,) = call(mcp, data_url(content))
    assert not result.isError
    assert not [path for path in files.rglob("*") if path.is_file() and path.stat().st_size == len(content)]


def test_many_calls_wait_in_the_queue_of_all(mcp: str, server: AppServer) -> None:
    """More than Gradio has threads, so that none may hold one while it waits. Those that exceed the queue are told."""
    results = call(mcp, *[data_url(ASTRONAUT.read_bytes())] * 90)
    full = [message(result) for result in results if result.isError]
    assert all(text.startswith("Queue is full") for text in full)
    assert len(results) - len(full) >= 60
    assert httpx.get(server.url, timeout=60).status_code == 200
    (result,) = call(mcp, data_url(ASTRONAUT.read_bytes()))
    assert not result.isError


def test_full_storage_is_told(tmp_path: Path, leave_out: Callable[[str], NoReturn]) -> None:
    if not MCP_INSTALLED:
        leave_out("the MCP server: pip install -r ui/requirements-mcp.txt")
    with serve(tmp_path, env={"DEEPFER_MAX_KEPT_FILES": "90"}) as server:
        results = call(f"{server.url}gradio_api/mcp/", *[data_url(ASTRONAUT.read_bytes())] * 60)
        assert any("storage is full" in message(result) for result in results if result.isError)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"[" * 100_000,
        b"{}",
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 5, "arguments": []}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "recognize_image"}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "no/such"}',
        b'{"jsonrpc": "2.0", "id": {"a": 1}, "method": "tools/list"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": "file:///etc/hostname"}}',
        b'{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}',
        b'{"jsonrpc": "2.0", "id": 1, "result": {}}',
        json.dumps([INITIALIZE, INITIALIZE]).encode(),
    ],
)
def test_malformed_messages_are_refused_and_not_logged(mcp: str, server: AppServer, body: bytes) -> None:
    headers = HEADERS | {"Content-Type": "application/json"}
    answer = httpx.post(mcp, content=body, headers=headers, timeout=60)
    assert answer.status_code < 500
    assert answer.status_code in (202, 400) or "error" in answer.json() or answer.json()["result"]["isError"]
    assert "hostname" not in answer.text.replace("file:///etc/hostname", "")
    log = server.log.read_text()
    assert not [word for word in ("ERROR", "WARNING", "Traceback", "jsonrpc") if word in log]


def test_foreign_sites_and_hosts_are_refused(mcp: str) -> None:
    for headers, status in (
        ({}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"X-Forwarded-Host": "evil.example"}, 421),
    ):
        answer = httpx.post(mcp, json=INITIALIZE, headers=HEADERS | headers, timeout=60)
        assert answer.status_code == status
    answer = httpx.post(
        mcp, content=json.dumps(INITIALIZE), headers=HEADERS | {"Content-Type": "text/plain"}, timeout=60
    )
    assert answer.status_code == 415


def test_there_is_no_other_way_in(mcp: str) -> None:
    """Gradio's other transports are closed, and there is no stream that a client could hold open."""
    assert httpx.post(mcp.rstrip("/"), json=INITIALIZE, headers=HEADERS, timeout=60).status_code == 200
    assert httpx.get(mcp, headers={"Accept": "text/event-stream"}, timeout=60).status_code == 405
    assert [tool["name"] for tool in httpx.get(f"{mcp}schema", timeout=60).json()] == ["recognize_image"]
    for method, path in (
        ("GET", "sse"),
        ("POST", "messages/"),
        ("POST", "http"),
        ("POST", "http/"),
        ("POST", "schema"),
    ):
        assert httpx.request(method, mcp + path, json={}, timeout=60).status_code == 404
    assert httpx.delete(mcp, timeout=60).status_code == 404


def test_without_the_extra_the_page_has_no_mcp_server(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    with serve(tmp_path, env={"PYTHONPATH": str(tmp_path), "GRADIO_MCP_SERVER": "True"}) as server:
        for path in MCP_ROUTES:
            assert httpx.post(server.url + path[1:], json=INITIALIZE, headers=HEADERS, timeout=60).status_code == 404
            assert httpx.get(server.url + path[1:], timeout=60).status_code == 404
        assert not httpx.get(f"{server.url}config", timeout=60).json()["mcp_server"]
        assert upload(server, ASTRONAUT.read_bytes())
