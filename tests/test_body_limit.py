"""Limits on request bodies, storage and the queue, against `python app.py` in a process of its own."""

import concurrent.futures
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from gradio_client import Client, handle_file
from gradio_client.utils import QueueError
from waiting import within

from benchmarks.harness.app_server import ROOT, AppServer, serve
from ui.cores import usable_cores

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    limits = {"MAX_UPLOAD_BYTES": "2000000", "MAX_KEPT_BYTES": "9000000", "BODY_SILENCE_S": "2", "MAX_WAITING": "3"}
    limits["MAX_SESSIONS"] = "16"
    env = {f"DEEPFER_{name}": value for name, value in limits.items()} | {"DEEPFER_UPLOAD_AGE_S": "5"}
    with serve(tmp_path_factory.mktemp("app"), env=env) as running:
        yield running


def post(server: AppServer, path: str, **what: Any) -> httpx.Response:
    return httpx.post(f"{server.url}gradio_api/{path}", timeout=60, **what)


JSON = {"Content-Type": "application/json"}


def pieces(count: int) -> Iterator[bytes]:
    """A body that does not announce its length."""
    return (b" " * 100_000 for _ in range(count))


@pytest.mark.parametrize("path", ["component_server/", "queue/join", "run/recognize_image", "call/recognize_image"])
def test_a_body_too_long_is_refused(server: AppServer, path: str) -> None:
    assert post(server, path, content=b" " * 8_000_000, headers=JSON).status_code == 413
    assert post(server, path, content=pieces(20), headers=JSON).status_code == 413
    assert post(server, path, content=pieces(5), headers=JSON).status_code == 400


def test_an_upload_is_bounded_however_many_files_it_has(server: AppServer) -> None:
    file = ("files", ("a.jpg", bytes(1_800_000)))
    assert post(server, "upload", files=[file]).status_code == 200
    assert post(server, "upload", files=[file, file]).status_code == 413
    assert post(server, "upload", files=[("files", ("a.jpg", bytes(2_000_001)))]).status_code == 413


# In the responses of functions that need no queue: they only change what the page shows.
UNQUEUED = ("Cancelled", "Your photo", "Your video", "Add a video", "drawn.mp4")


@pytest.mark.parametrize("name", ["recognize_image", "recognize_video"])
def test_nobody_skips_the_queue(server: AppServer, name: str) -> None:
    """Neither visitors nor programs can skip the queue."""
    (path,) = post(server, "upload", files=[("files", ("a.jpg", b"a"))]).json()
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    for way in [{}, *({"fn_index": index} for index in range(20))]:
        response = post(server, f"run/{name}", json={"data": [0]} | way)
        if response.status_code == 400:  # it takes a file
            response = post(server, f"run/{name}", json={"data": [file]} | way)
        unqueued = any(word in response.text for word in UNQUEUED)
        assert response.status_code == 404 or unqueued, response.text


def test_uploads_are_refused_when_storage_is_full(server: AppServer) -> None:
    """Until stored files are old. Other requests still get responses."""
    statuses = [upload(server, i).status_code for i in range(6)]
    assert statuses[0] == 200
    assert statuses[-1] == 507
    assert post(server, "queue/join", json={}).status_code != 507
    assert within(20, lambda: upload(server, 9).status_code == 200, every_s=0.5)


def upload(server: AppServer, number: int) -> httpx.Response:
    return post(server, "upload", files=[("files", ("a.jpg", bytes([number]) * 1_900_000))])


def memory_mb(server: AppServer) -> float:
    return psutil.Process(server.process.pid).memory_info().rss / 1e6


def test_old_sessions_are_forgotten(server: AppServer) -> None:
    config = httpx.get(f"{server.url}config", timeout=60).json()
    (camera,) = (each["id"] for each in config["components"] if "server_fns" in each["props"])
    call = {"data": None, "component_id": camera, "fn_name": "recognize_frame"}
    before = 0.0
    with httpx.Client(base_url=f"{server.url}gradio_api/") as client:
        for number in range(800):
            answer = client.post("component_server/", json=call | {"session_hash": f"s{number}"})
            assert answer.json() == {"error": "expected an object with token, time_s and frame"}
            before = before or (memory_mb(server) if number == 100 else 0.0)
    assert memory_mb(server) < before + 40  # it would be 100


def test_a_body_that_stalls_is_refused(server: AppServer) -> None:
    port = int(server.url.rstrip("/").rsplit(":", 1)[1])
    head = b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
    head += b"Content-Type: application/json\r\n\r\n{"
    slow = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(50)]
    start = time.monotonic()
    for connection in slow:
        connection.sendall(head)
    assert post(server, "queue/join", json={}).elapsed.total_seconds() < 2  # they delay nobody
    responses = [b"".join(iter(lambda c=connection: c.recv(4096), b"")) for connection in slow]
    assert all(answer.startswith(b"HTTP/1.1 4") for answer in responses)
    assert 2 <= time.monotonic() - start < 15
    for connection in slow:
        connection.close()


def test_a_body_that_trickles_is_refused(server: AppServer) -> None:
    """It is never silent for long, but would take an hour."""
    port = int(server.url.rstrip("/").rsplit(":", 1)[1])
    head = b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n"
    start, answer = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", port), timeout=0.4) as connection:
        connection.sendall(head + b"Content-Type: application/json\r\n\r\n")
        while not answer and time.monotonic() < start + 20:
            connection.sendall(b" ")
            with suppress(TimeoutError):
                answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408")
    assert 2 <= time.monotonic() - start < 15


def test_a_full_queue_is_reported_and_soon_has_room(server: AppServer, tmp_path: Path) -> None:
    """With more clients than the queue holds, each gets a result or a message, and then there is room again."""
    count = 8 + 2 * usable_cores()
    clients = [Client(server.url, verbose=False, download_files=tmp_path / str(i)) for i in range(count)]
    photo = handle_file(ROOT / "ui" / "examples" / "astronaut.jpg")

    def ask(client: Client) -> str:
        try:
            return client.predict(photo, api_name="/recognize_image")[1]["faces"][0]["emotion"]
        except QueueError as error:
            return str(error)

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        results = list(pool.map(ask, clients))
    assert set(results) == {"happy", "Queue is full! Please try again."}
    assert ask(clients[0]) == "happy"
    for client in clients:
        client.close()
