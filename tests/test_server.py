"""Limits on connections: their number, their silence, and the lines they write to the log."""

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from benchmarks.harness.app_server import AppServer, serve

pytestmark = pytest.mark.slow

HALF = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
DEADLINE_S = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """127.0.0.1 is a proxy; every other address is a client."""
    env = {"DEEPFER_HEADERS_S": str(DEADLINE_S), "DEEPFER_MAX_CLIENT_REQUESTS": "5", "FORWARDED_ALLOW_IPS": "127.0.0.1"}
    with serve(tmp_path_factory.mktemp("app"), env=env) as running:
        yield running


def port(server: AppServer) -> int:
    return urlsplit(server.url).port or 0


def connect(server: AppServer, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port(server)), timeout=60, source_address=(source, 0))


def established(server: AppServer) -> int:
    connections = psutil.Process(server.process.pid).net_connections("tcp")
    return sum(connection.status == psutil.CONN_ESTABLISHED for connection in connections)


def closed_after(connection: socket.socket, trickle: bytes = b"") -> float:
    """Seconds until the server closes a connection on which `trickle` is sent again and again."""
    start = time.monotonic()
    connection.settimeout(0.5)
    while time.monotonic() < start + 5 * DEADLINE_S:
        try:
            if trickle:
                connection.sendall(trickle)
            if not connection.recv(65536):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - start


def test_half_sent_requests_keep_nobody_out(server: AppServer) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_NOFILE, (1024, 1024))
    before = server.log.stat().st_size
    with ExitStack() as stack:
        for _ in range(1100):
            connection = stack.enter_context(connect(server))
            with suppress(OSError):  # closed to make room
                connection.sendall(HALF)
        for _ in range(4):
            assert httpx.get(server.url, timeout=DEADLINE_S).status_code == 200
        assert established(server) <= 512
        time.sleep(DEADLINE_S + 2)
        assert established(server) < 10
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert server.log.stat().st_size - before < 10_000


@pytest.mark.parametrize("trickle", [b"", b"a"], ids=["silent", "trickling"])
@pytest.mark.parametrize("begun", [b"", HALF], ids=["nothing", "half"])
def test_headers_have_a_deadline(server: AppServer, begun: bytes, trickle: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(begun)
        assert DEADLINE_S - 1 < closed_after(connection, trickle) < 3 * DEADLINE_S


def test_a_second_request_has_a_deadline_too(server: AppServer) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /config HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        assert closed_after(connection, b"a") < 3 * DEADLINE_S


def test_a_client_that_stops_reading_is_cut_off(server: AppServer) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port(server)))
        connection.sendall(b"GET /static/ffmpeg/ffmpeg-core.wasm HTTP/1.1\r\nHost: localhost\r\n\r\n")
        own = connection.getsockname()
        end = time.monotonic() + 4 * DEADLINE_S

        def open_there() -> bool:
            return any(c.raddr and tuple(c.raddr) == own for c in psutil.Process(server.process.pid).net_connections())

        time.sleep(1)
        assert open_there()
        while open_there() and time.monotonic() < end:
            time.sleep(0.5)
        assert not open_there()


@pytest.mark.parametrize("forwarded", [False, True], ids=["itself", "forwarded"])
def test_one_client_leaves_room_for_others(server: AppServer, forwarded: bool) -> None:
    """Directly or through a proxy. Endless responses hold a connection longest."""
    source, header = ("127.0.0.1", "X-Forwarded-For: 198.51.100.7\r\n") if forwarded else ("127.0.0.2", "")

    def request(path: str, stack: ExitStack) -> bytes:
        connection = stack.enter_context(connect(server, source))
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n".encode())
        return connection.recv(12)

    with ExitStack() as stack:
        streams = [request("/gradio_api/heartbeat/s", stack) for _ in range(5)]
        assert streams == [b"HTTP/1.1 200"] * 5
        assert request("/", stack) == b"HTTP/1.1 429"
        assert httpx.get(server.url, timeout=30).status_code == 200
        assert httpx.get(server.url, timeout=30, headers={"X-Forwarded-For": "198.51.100.8"}).status_code == 200
    for _ in range(50):
        with ExitStack() as stack:
            if request("/", stack) == b"HTTP/1.1 200":
                return
        time.sleep(0.2)
    pytest.fail("the client's place is not free again")


def test_nonsense_does_not_flood_the_log(server: AppServer) -> None:
    before = server.log.stat().st_size
    for _ in range(400):
        with connect(server) as connection:
            connection.sendall(b"\0\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 400"
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "a"}
    with httpx.Client(base_url=server.url, headers=upgrade) as client:
        for _ in range(200):
            assert client.get("/favicon.ico").status_code in (200, 404)
    assert server.log.stat().st_size - before < 10_000
