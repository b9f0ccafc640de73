"""What the page takes at all, and the ways past its line, against `python app.py` in a process of its own."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from app_server import AppServer, serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    with serve(tmp_path_factory.mktemp("app"), env={"DEEPFER_MAX_UPLOAD_BYTES": "2000000"}) as running:
        yield running


def post(server: AppServer, path: str, **what: Any) -> httpx.Response:
    return httpx.post(f"{server.url}gradio_api/{path}", timeout=60, **what)


def pieces(count: int) -> Iterator[bytes]:
    """A body that does not say how long it is."""
    return (b" " * 100_000 for _ in range(count))


@pytest.mark.parametrize("path", ["component_server/", "queue/join", "run/recognize_image", "call/recognize_image"])
def test_a_body_too_long_is_refused(server: AppServer, path: str) -> None:
    assert post(server, path, content=b" " * 8_000_000).status_code == 413
    assert post(server, path, content=pieces(20)).status_code in (400, 413)  # 400: Gradio takes it for bad JSON
    assert post(server, path, content=pieces(5)).status_code not in (200, 413)


def test_an_upload_is_bounded_however_many_files_it_has(server: AppServer) -> None:
    file = ("files", ("a.jpg", bytes(1_800_000)))
    assert post(server, "upload", files=[file]).status_code == 200
    assert post(server, "upload", files=[file, file]).status_code == 413
    assert post(server, "upload", files=[("files", ("a.jpg", bytes(2_000_001)))]).status_code == 413


@pytest.mark.parametrize("name", ["recognize_image", "recognize_video"])
def test_nobody_passes_the_line(server: AppServer, name: str) -> None:
    told = post(server, f"run/{name}", json={"data": [None]})
    assert told.status_code == 404
    assert "join the queue" in told.text
