"""Malformed requests to every route get a 4xx status with one sentence, and no traceback in the log."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file

from benchmarks.harness.app_server import ROOT, AppServer, serve

ASTRONAUT = ROOT / "ui" / "examples" / "astronaut.jpg"
META = {"_type": "gradio.FileData"}
FILE = {"path": "UPLOADED", "meta": META}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    with serve(tmp_path_factory.mktemp("app")) as running:
        yield running


@pytest.fixture(scope="module")
def uploaded(server: AppServer) -> str:
    """The path that the server returns for an upload."""
    answer = httpx.post(
        f"{server.url}gradio_api/upload", files={"files": ("a.jpg", ASTRONAUT.read_bytes())}, timeout=60
    )
    return answer.json()[0]


def post(server: AppServer, path: str, body: bytes, kind: str = "application/json") -> httpx.Response:
    return httpx.post(f"{server.url}gradio_api/{path}", content=body, headers={"Content-Type": kind}, timeout=60)


def refused(server: AppServer, answer: httpx.Response) -> None:
    assert 400 <= answer.status_code < 500, answer.text
    assert "\n" not in answer.json()["detail"]
    assert "Traceback" not in server.log.read_text()


def test_wrong_data_is_refused(server: AppServer, uploaded: str) -> None:
    folder = Path(uploaded).parent
    for value in (
        5,
        "a",
        True,
        [],
        {},
        [FILE],
        {"path": uploaded},
        {"path": uploaded, "meta": {}},
        {"path": uploaded, "meta": META, "is_stream": True},
        {"path": uploaded, "meta": META, "size": "much"},
        {"path": uploaded, "meta": META, "orig_name": ["a"]},
        {"path": None, "url": "https://example.org/a.jpg", "meta": META},
        {"path": "https://example.org/a.jpg", "meta": META},
        {"path": "http://127.0.0.1:1/a.jpg", "meta": META},
        {"path": str(ASTRONAUT), "meta": META},
        {"path": "ui/examples/astronaut.jpg", "meta": META},
        {"path": f"{folder}/../../../../etc/hostname", "meta": META},
        {"path": f"{folder}/\0", "meta": META},
        {"path": 7, "meta": META},
    ):
        for name in ("recognize_image", "recognize_video"):
            refused(server, post(server, f"call/{name}", json.dumps({"data": [value]}).encode()))
        refused(server, post(server, "call/v2/recognize_image", json.dumps({"image": value}).encode()))
        call = {"data": [value], "fn_index": 2, "session_hash": "s"}
        refused(server, post(server, "queue/join", json.dumps(call).encode()))


def test_a_list_of_photos_is_checked(server: AppServer, uploaded: str) -> None:
    """The photo tab sends several at a time; its first function is `show`."""
    photo = {"path": uploaded, "meta": META}
    config = httpx.get(f"{server.url}config", timeout=60).json()
    (index,) = [each["id"] for each in config["dependencies"] if each["api_name"] == "show" and each["js"]]

    def join(photos: list[Any]) -> httpx.Response:
        call = {"data": [photos], "fn_index": index, "session_hash": "photos"}
        return post(server, "queue/join", json.dumps(call).encode())

    assert join([photo] * 12).status_code == 200
    assert "Send at most 12" in join([photo] * 13).text
    for wrong in (5, None, [photo], {"path": str(ASTRONAUT), "meta": META}, {"path": uploaded}):
        refused(server, join([photo, wrong]))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"5",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"data":' * 50_000,
        b'{"data": [NaN]}',
        b'{"data": ["\\ud800"]}',
        b"{}",
        b'{"data": ' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"data": 5}',
        b'{"data": []}',
        b'{"data": [null], "session_hash": 5}',
        b'{"data": [null], "session_hash": "%s"}' % (b"s" * 65),
        b'{"data": [null], "session_hash": "../s"}',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_malformed_json_is_refused(server: AppServer, body: bytes) -> None:
    for path in (
        "queue/join",
        "call/recognize_image",
        "call/recognize_video",
        "call/v2/recognize_image",
        "run/load_example",
        "component_server/",
        "cancel",
        "reset",
    ):
        answer = post(server, path, body)
        if answer.status_code == 422:  # Gradio's own response to a missing field
            assert path in ("cancel", "reset")
            continue
        refused(server, answer)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("call/nothing", {"data": [None]}),
        ("call/show", {"data": [None]}),
        ("call/v2/nothing", {"image": None}),
        ("call/v2/recognize_image", {"photo": None}),
        ("call/v2/recognize_image", {"image": None, "more": 1}),
        ("queue/join", {"data": [None], "session_hash": "s"}),
        ("queue/join", {"data": [None], "session_hash": "s", "fn_index": 99}),
        ("queue/join", {"data": [None], "session_hash": "s", "fn_index": -1}),
        ("queue/join", {"data": [None], "session_hash": "s", "fn_index": True}),
        ("queue/join", {"data": [None], "session_hash": "s", "fn_index": [2]}),
        ("queue/join", {"data": [None], "session_hash": "s", "fn_index": 3}),  # runs only in the browser
        ("queue/join", {"data": [None], "session_hash": "s", "fn_index": 2, "batched": True}),
        ("run/load_example", {"data": [99], "session_hash": "s", "fn_index": 0}),
        ("run/load_example", {"data": [-1], "session_hash": "s", "fn_index": 0}),
        ("run/load_example", {"data": [None], "session_hash": "s", "fn_index": 0}),
        ("run/load_example", {"data": ["0"], "session_hash": "s", "fn_index": 0}),
        ("component_server/", {"data": None, "fn_name": "recognize_frame", "session_hash": "s"}),
        ("component_server/", {"data": None, "component_id": [], "fn_name": "recognize_frame", "session_hash": "s"}),
        ("component_server/", {"data": None, "component_id": 9999, "fn_name": "recognize_frame", "session_hash": "s"}),
        ("component_server/", {"data": None, "component_id": 6, "fn_name": "preprocess", "session_hash": "s"}),
        ("component_server/", {"data": None, "component_id": 6, "fn_name": 5, "session_hash": "s"}),
        ("component_server/", {"data": None, "component_id": 6, "fn_name": "preprocess", "session_hash": None}),
    ],
)
def test_unknown_functions_are_refused(server: AppServer, path: str, body: dict[str, Any]) -> None:
    refused(server, post(server, path, json.dumps(body).encode()))


FRAME = b'--b\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n\r\nhello\r\n--b--\r\n'


@pytest.mark.parametrize(
    ("kind", "body", "taken"),
    [
        ("multipart/form-data", b"hello", False),
        ("multipart/form-data; boundary=b", b"hello", False),
        ("multipart/form-data; boundary=b", FRAME.replace(b'; filename="%s"', b""), False),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: nonsense\r\n\r\na\r\n--b--\r\n", False),
        ("multipart/form-data; boundary=b", FRAME % b"../../a", True),
        ("multipart/form-data; boundary=b", FRAME % (b"a" * 3000), True),
        ("multipart/form-data; boundary=b", FRAME % b"\xff\xfe", True),
    ],
)
def test_malformed_uploads_are_refused(server: AppServer, kind: str, body: bytes, taken: bool) -> None:
    answer = post(server, "upload", body, kind)
    assert (answer.status_code == 200) if taken else (400 <= answer.status_code < 500), answer.text
    assert "Traceback" not in server.log.read_text()


def test_requests_of_gradios_clients_are_accepted(server: AppServer, uploaded: str, tmp_path: Path) -> None:
    record = {
        "path": uploaded,
        "meta": META,
        "orig_name": "a.jpg",
        "size": None,
        "url": "http://a/b",
        "mime_type": None,
    }
    for path, body in (
        ("call/recognize_image", {"data": [record]}),
        ("call/v2/recognize_image", {"image": record}),
        ("call/recognize_image", {"data": [None], "session_hash": "abc_DEF-0"}),
    ):
        event = post(server, path, json.dumps(body).encode()).json()["event_id"]
        response = httpx.get(f"{server.url}gradio_api/{path}/{event}", timeout=60).text
        assert ("happy" in response) == (record in [*body.get("data", ()), body.get("image")])
    client = Client(server.url, verbose=False, download_files=tmp_path)
    assert client.predict(handle_file(ASTRONAUT), api_name="/recognize_image")[1]["faces"][0]["emotion"] == "happy"
    client.close()
    assert "Traceback" not in server.log.read_text()
