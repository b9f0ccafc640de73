"""The page's image endpoint, its arguments and its errors, against `python app.py` in a process of its own."""

import json
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from benchmarks.harness.app_server import ROOT, AppServer, serve
from deepfer import LABELS, Face
from deepfer.result import Result
from ui.components import Download, render
from ui.photo_view import PhotoView, results_html

ASTRONAUT = ROOT / "ui" / "examples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    with serve(tmp_path_factory.mktemp("app")) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: AppServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with_files = tmp_path_factory.mktemp("client")
    client = Client(server.url, verbose=False, download_files=with_files)
    yield client
    client.close()


def recognize(client: Client, path: Path) -> tuple[str, dict]:
    return client.predict(handle_file(path), api_name="/recognize_image")


def call_endpoint(server: AppServer, endpoint: str, record: dict[str, Any]) -> str:
    """The endpoint's response to a record of a file, which may be forged."""
    call = f"{server.url}gradio_api/call/{endpoint}"
    body = json.dumps({"data": [record]}).encode()
    with urllib.request.urlopen(
        urllib.request.Request(call, body, {"Content-Type": "application/json"}), timeout=10
    ) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{call}/{event}", timeout=20) as answer:
        return answer.read().decode()


def listening(server: AppServer) -> set[str]:
    connections = psutil.Process(server.process.pid).net_connections("inet")
    return {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}


def test_the_endpoint_finds_the_astronaut_happy(client: Client) -> None:
    annotated, result = recognize(client, ASTRONAUT)
    assert list(result) == ["width", "height", "model", "revision", "detector", "faces", "error"]
    assert [result[key] for key in ("width", "height", "model", "revision", "error")] == [512, 512, "cnn", None, None]
    (face,) = result["faces"]
    assert face["emotion"] == "happy"
    assert tuple(face["probabilities"]) == LABELS
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    x1, y1, x2, y2 = face["box"]
    assert 150 < x1 < 200 < x2 < 300
    assert 40 < y1 < 100 < y2 < 220

    drawn, photo = cv2.imread(annotated), cv2.imread(str(ASTRONAUT))
    assert drawn.shape == photo.shape
    difference = np.abs(drawn.astype(int) - photo).max(axis=2)
    assert (difference[y1:y2, x1 - 2 : x1 + 3].max(axis=1) > 60).mean() > 0.8  # the left side of the box
    assert difference[300:].mean() < 5  # and nothing far from it


def test_an_image_without_a_face(client: Client, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "gray.png"), np.full((120, 160, 3), 128, np.uint8))
    _, result = recognize(client, tmp_path / "gray.png")
    assert (result["faces"], result["width"], result["height"]) == ([], 160, 120)


def test_a_large_image_is_shrunk_but_boxes_are_in_its_own_pixels(client: Client, tmp_path: Path) -> None:
    wide = cv2.copyMakeBorder(cv2.imread(str(ASTRONAUT)), 0, 0, 2000, 500, cv2.BORDER_CONSTANT, value=(90, 90, 90))
    cv2.imwrite(str(tmp_path / "wide.png"), wide)
    annotated, result = recognize(client, tmp_path / "wide.png")
    assert (result["width"], result["height"]) == (3012, 512)
    assert cv2.imread(annotated).shape[1] == 2048
    assert 2150 < result["faces"][0]["box"][0] < 2200


def bomb() -> bytes:
    """A PNG whose header promises 3.6 gigapixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("notes.jpg", b"these are words\n", "not an image"),
        ("empty.png", b"", "empty"),
        ("cut.jpg", ASTRONAUT.read_bytes()[:20_000], "truncated"),
        ("bomb.png", bomb(), "megapixels"),
    ],
    ids=["text", "empty", "cut", "bomb"],
)
def test_a_file_that_is_not_an_image_gets_one_message(
    client: Client, server: AppServer, tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AppError) as caught:
        recognize(client, tmp_path / name)
    message = str(caught.value)
    assert message.startswith(f"{name}: ")  # the file's name, and not where the server keeps it
    assert reason in message
    assert "\n" not in message
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("meta", ['{"_type": "gradio.FileData"}', "{}"])
def test_other_files_of_the_machine_are_not_read(server: AppServer, meta: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        call_endpoint(server, "recognize_image", {"path": str(ASTRONAUT), "meta": json.loads(meta)})
    assert caught.value.code == 400
    caught.value.close()


def test_an_upload_that_was_deleted_meanwhile_gets_a_message(server: AppServer) -> None:
    (folder,) = Path(server.log.parent, "uploads").glob("*/files")
    data = {"path": str(folder / "gone.jpg"), "meta": {"_type": "gradio.FileData"}}
    for endpoint in ("recognize_image", "recognize_video"):
        assert "This file is no longer on the server" in call_endpoint(server, endpoint, data)


def test_the_api_page_names_the_endpoints_and_describes_them(server: AppServer) -> None:
    with urllib.request.urlopen(f"{server.url}gradio_api/info", timeout=10) as answer:
        endpoints = json.load(answer)["named_endpoints"]
    assert sorted(endpoints) == ["/recognize_image", "/recognize_video"]
    assert [each["parameter_name"] for each in endpoints["/recognize_image"]["parameters"]] == ["image"]
    assert "emotion" in endpoints["/recognize_image"]["description"]
    assert [each["parameter_name"] for each in endpoints["/recognize_video"]["parameters"]] == ["clip"]
    assert "timeline.csv" in endpoints["/recognize_video"]["description"]


def test_by_default_it_listens_on_this_machine_alone(server: AppServer) -> None:
    assert listening(server) == {"127.0.0.1"}


def test_environment_settings_and_a_missing_model(tmp_path: Path) -> None:
    env = {"GRADIO_SERVER_NAME": "0.0.0.0", "DEEPFER_MODEL": "overruled", "DEEPFER_REVISION": ""}
    with serve(tmp_path, "--model", "nonsense", env=env) as server:
        assert listening(server) == {"0.0.0.0"}
        with urllib.request.urlopen(server.url, timeout=10) as answer:
            page = answer.read().decode()
        assert "Using the built-in model." in page
        assert "nonsense" in page
        assert "nonsense" in server.log.read_text()
        client = Client(server.url, verbose=False, download_files=tmp_path)
        _, result = recognize(client, ASTRONAUT)
        client.close()
    assert (result["model"], result["faces"][0]["emotion"]) == ("cnn", "happy")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "99999"], "must be an integer from 1 to 65535, got '99999'"),
        (["--port", "0"], "must be an integer from 1 to 65535, got '0'"),
        (["--port", "TAKEN"], "error: the page cannot be served: "),
        (["--host", "host.invalid"], "error: the page cannot be served: "),
        (["GRADIO_SERVER_PORT=99999"], "must be an integer from 1 to 65535, got '99999'"),
        (["GRADIO_SERVER_PORT=none"], "error: a GRADIO_ environment variable is invalid: "),
    ],
)
def test_a_port_or_host_it_cannot_listen_on_is_one_error_line(arguments: list[str], message: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        arguments = [str(taken.getsockname()[1]) if argument == "TAKEN" else argument for argument in arguments]
        variables = [argument for argument in arguments if "=" in argument]
        command = ["env", *variables, sys.executable, "app.py", *arguments[len(variables) :]]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_names_are_shown_as_text_not_as_html() -> None:
    page = render("error.html", title="Error", message="<img src=x onerror=alert(1)>.jpg: damaged")
    assert "<img" not in page
    assert "&lt;img" in page
    download = Download.of("CSV", '"><script>.csv', "text/csv", "a,b\n")
    face = Face((0, 0, 9, 9), probabilities=dict.fromkeys(LABELS, 1 / 7))
    photo = PhotoView(Result("<script>.jpg", "<b>", None, "haar", 9, 9, [face]), annotated=download)
    page = results_html([photo, photo])
    assert "<script" not in page
    assert 'download="&#34;&gt;&lt;script&gt;.csv"' in page


def test_an_unclear_face_is_called_so_everywhere() -> None:
    box = dict.fromkeys(("left", "top", "width", "height"), 0)
    shares = dict.fromkeys(LABELS, 0.02) | {"neutral": 0.46, "angry": 0.44}
    unclear, clear = (
        Face((0, 0, 9, 9), probabilities=shares),
        Face((0, 0, 9, 9), probabilities={"sad": 0.9, "fear": 0.1}),
    )
    cards = [{"face": face, "box": box, "crop_uri": "", "map_uri": None} for face in (unclear, clear)]
    for repeat in (1, 8):
        faces, items = [unclear, clear] * repeat, cards * repeat
        photo = PhotoView(Result("a.jpg", "cnn", None, "deepfer", 9, 9, faces), cards=items)
        page = results_html([photo])
        # In its card and the box's name, and in its label unless that is only a number.
        assert page.count("Unclear: neutral or angry?") == repeat * (3 if repeat == 1 else 2)
        assert page.count("fer-unclear") == 3 * repeat
    assert photo.tally == "8 sad, 8 unclear"
    assert "8 sad, 8 unclear" in page
