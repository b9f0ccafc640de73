"""Floods of webcam tokens do not shut anybody out, against `python app.py` in a process of its own."""

import base64
import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from benchmarks.harness.app_server import ROOT, AppServer, serve
from ui.frames import EVICTABLE_AFTER_S
from ui.limits import MAX_VISITORS

pytestmark = pytest.mark.slow

MAX_CLIENT_VISITORS = 2

ASTRONAUT = cv2.imread(str(ROOT / "ui" / "examples" / "astronaut.jpg"))


def jpeg(image: np.ndarray) -> str:
    return base64.b64encode(cv2.imencode(".jpg", image)[1].tobytes()).decode()


FACE = jpeg(cv2.resize(ASTRONAUT, (320, 320)))
NO_FACE = jpeg(np.full((16, 16, 3), 128, np.uint8))
INVALID_FRAMES = ["", "AAAA", FACE[:400], base64.b64encode(b"these are words").decode()]

Send = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    limit = {"DEEPFER_MAX_CLIENT_VISITORS": str(MAX_CLIENT_VISITORS)}
    with serve(tmp_path_factory.mktemp("flood"), env=limit) as running:
        yield running


@pytest.fixture
def send(server: AppServer) -> Iterator[Send]:
    """Sends a frame and returns the response."""
    with httpx.Client(base_url=server.url, timeout=60) as http:
        components = http.get("config").json()["components"]
        camera = next(one["id"] for one in components if "recognize_frame" in (one["props"].get("server_fns") or []))

        def send(token: str, frame: str, forwarded: str | None = None, time_s: float = 0.0) -> dict[str, Any]:
            data = {"token": token, "time_s": time_s, "frame": frame}
            message = {"data": data, "component_id": camera, "fn_name": "recognize_frame", "session_hash": "x"}
            headers = {"Content-Type": "application/json"} | ({"X-Forwarded-For": forwarded} if forwarded else {})
            return http.post("gradio_api/component_server/", content=json.dumps(message), headers=headers).json()

        yield send


TOKENS = (f"{number:032x}" for number in itertools.count())


def recognize(send: Send, token: str, **options: Any) -> list[dict[str, Any]]:
    """The faces in `FACE`; as the page does, it tries again for some seconds while the server is busy."""
    end = time.monotonic() + 5
    while "busy" in (answer := send(token, FACE, **options)) and time.monotonic() < end:
        time.sleep(0.05)
    return answer["faces"]


def test_a_flood_of_tokens_shuts_nobody_out(send: Send) -> None:
    person = next(TOKENS)
    for time_s, number in ((0, 1), (100, 2)):  # after a while, a tracker gives a face a new number
        (face,) = recognize(send, person, time_s=time_s)
        assert face["track_id"] == number
    for i in range(2 * MAX_VISITORS):
        assert "error" in send(next(TOKENS), INVALID_FRAMES[i % len(INVALID_FRAMES)])
    assert recognize(send, next(TOKENS))
    for _ in range(MAX_VISITORS + 10):
        send(next(TOKENS), NO_FACE)
    (face,) = recognize(send, person, time_s=100.1)
    assert face["track_id"] == 2
    assert recognize(send, next(TOKENS))


def test_one_address_cannot_take_every_place(send: Send) -> None:
    start = time.monotonic()
    for _ in range(MAX_CLIENT_VISITORS):
        assert recognize(send, next(TOKENS), forwarded="8.8.4.4")
    one_more = send(next(TOKENS), FACE, "8.8.4.4")
    assert one_more == {"busy": True} or time.monotonic() - start > EVICTABLE_AFTER_S  # on a slow machine
    assert recognize(send, next(TOKENS), forwarded="1.1.1.1")
