"""The webcam tab in Chromium with a fake camera, and forged messages to its server function."""

import base64
import csv
import io
import json
import re
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
import psutil
import pytest
from slow_pictures import jpeg_with_scans

from benchmarks.harness.app_server import AppServer, serve
from benchmarks.harness.camera import CALM, FPS, HEIGHT, WIDTH, Place, Scene, film, write
from benchmarks.harness.chromium import chromium, playing
from deepfer import LABELS
from deepfer.drawing import STYLES
from deepfer.video import TABLE_COLUMNS
from ui.webcam_tab import PEOPLE

pytestmark = pytest.mark.slow

FAKE = "--use-fake-device-for-media-stream"
ELSEWHERE = (
    "--host-resolver-rules=MAP elsewhere.test 127.0.0.1"  # browsers allow no camera there: neither https nor localhost
)
PATIENCE_MS = 40_000
TOKEN = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    with playing() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    with serve(tmp_path_factory.mktemp("webcam"), env={"DEEPFER_HOSTS": "elsewhere.test"}) as running:
        yield running


@pytest.fixture(scope="module")
def with_camera(playwright: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser whose camera films one face moving from side to side; the page still needs permission to use it."""
    path = tmp_path_factory.mktemp("camera") / "calm.mjpeg"
    write(path, film(CALM))
    with chromium(playwright, FAKE, f"--use-file-for-fake-video-capture={path}", ELSEWHERE) as browser:
        yield browser


@pytest.fixture
def page(with_camera: Any, server: AppServer, leave_out: Callable[[str], NoReturn]) -> Iterator[Any]:
    with opened(with_camera, server.url, leave_out) as page:
        page.context.grant_permissions(["camera"])
        yield page


@contextmanager
def filmed(playwright: Any, folder: Path, scene: Scene) -> Iterator[Any]:
    """A browser whose camera films a scene, and which needs no permission."""
    write(folder / "camera.mjpeg", film(scene))
    film_flag = f"--use-file-for-fake-video-capture={folder / 'camera.mjpeg'}"
    with chromium(playwright, FAKE, film_flag, "--use-fake-ui-for-media-stream") as browser:
        yield browser


@contextmanager
def opened(browser: Any, url: str, leave_out: Callable[[str], NoReturn]) -> Iterator[Any]:
    """Open the webcam tab; at the end, check that no script failed."""
    if isinstance(browser, str):
        leave_out(browser)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(url)
    page.get_by_role("tab", name="Webcam").click()
    until(page, "idle")
    yield page
    context.close()
    assert faults == []


def until(page: Any, state: str) -> None:
    page.wait_for_selector(f"#webcam[data-state={state}]")


def data(page: Any) -> dict[str, str]:
    return page.eval_on_selector("#webcam", "root => ({...root.dataset})")


def start(page: Any) -> None:
    page.get_by_role("button", name="Start camera").click()
    until(page, "live")
    page.wait_for_selector("#webcam[data-faces='1']")


def more_results(page: Any, count: int = 3) -> None:
    """Wait until `count` more frames were sent, recognized and shown."""
    page.wait_for_function("frame => +document.querySelector('#webcam').dataset.frame > frame", arg=frame(page) + count)


def frame(page: Any) -> int:
    return int(data(page).get("frame", 0))


def canvas(page: Any, name: str) -> np.ndarray:
    """A canvas of the page: RGBA uint8 (H, W, 4)."""
    uri = page.eval_on_selector(f"#webcam .cam-{name}", "canvas => canvas.toDataURL('image/png')")
    pixels = np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8)
    return cv2.cvtColor(cv2.imdecode(pixels, cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)


def drawn_box(page: Any) -> list[float]:
    """The box in the first person's colour that is drawn over the video: 130 high, in pixels of the camera.

    The number above the box's left edge has the same colour.
    """
    colour = [int(PEOPLE[0][i : i + 2], 16) for i in (1, 3, 5)]
    end = time.monotonic() + PATIENCE_MS / 1000
    while True:  # a slow machine may show no box between two results
        drawn = canvas(page, "boxes")
        rows, columns = np.nonzero((drawn[..., :3] == colour).all(axis=2) & (drawn[..., 3] > 200))
        if rows.size or time.monotonic() > end:
            break
    scale = WIDTH / drawn.shape[1]
    return [columns.min() * scale, rows.max() * scale - 130, columns.max() * scale, rows.max() * scale]


def saved(page: Any, link: str) -> tuple[str, list[dict[str, str]]]:
    with page.expect_download() as download:
        page.get_by_role("link", name=link).click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    return download.value.suggested_filename, list(csv.DictReader(io.StringIO(text)))


def near_truth(box: list[float]) -> bool:
    """Whether a box, in the camera's pixels, is within an eighth of the face of its true place in some frame."""
    height = 130
    return any(
        max(abs(a - b) for a, b in zip(box, CALM.truth(number)["first"], strict=True)) < height / 8
        for number in range(round(CALM.seconds * FPS))
    )


def test_from_start_to_the_summary(page: Any) -> None:
    start(page)
    more_results(page, 10)
    live = data(page)
    assert live["emotion"] == "happy"
    assert float(live["fps"]) > 0
    assert 0 < float(live["latencyMs"]) < PATIENCE_MS
    left, top, right, bottom = drawn_box(page)
    assert near_truth([WIDTH - right, top, WIDTH - left, bottom])  # mirrored
    assert "matrix(-1," in page.eval_on_selector("#webcam video", "video => getComputedStyle(video).transform")

    rows = page.locator("#webcam .cam-bars tr")
    assert [text.split()[-1] for text in rows.locator("th").all_inner_texts()] == list(LABELS)
    assert page.locator("#webcam .cam-bars .cam-top th").inner_text().endswith("happy")
    assert page.locator("#webcam .cam-main").inner_text() == "Face 1"
    assert page.locator("#webcam .cam-emotion").inner_text() == "Happy"
    assert page.locator("#webcam .cam-choose").is_hidden()  # there is nothing to choose
    assert page.locator("#webcam .cam-fps").inner_text().endswith(" fps")
    assert page.locator("#webcam .cam-lag").inner_text().endswith(" ms")
    assert (canvas(page, "timeline")[..., :3] == STYLES["happy"].colour).all(axis=2).sum() > 100

    page.wait_for_function("document.querySelector('#webcam .cam-spoken').textContent === 'happy'")
    page.get_by_role("button", name="Stop camera").press("Enter")
    until(page, "idle")
    assert data(page)["faces"] == "0"
    assert not page.evaluate("document.querySelector('#webcam video').srcObject")
    assert "1 face tracked in" in page.locator("#webcam .cam-title").inner_text()
    assert page.locator("#webcam .cam-words").inner_text() == "Camera off"
    card = page.locator("#webcam .cam-people > li")
    assert card.count() == 1
    assert card.locator("h3").inner_text().startswith("1 Face 1")
    assert "happy" in card.locator("li").first.inner_text()

    name, timeline = saved(page, "Timeline (CSV)")
    assert re.fullmatch(r"webcam-timeline-\d{4}-\d\d-\d\d-\d{6}\.csv", name)
    assert tuple(timeline[0]) == TABLE_COLUMNS
    assert {row["track_id"] for row in timeline} == {"1"}
    times = [float(row["time_s"]) for row in timeline]
    assert times == sorted(times)
    assert sum(near_truth([float(row[key]) for key in ("x1", "y1", "x2", "y2")]) for row in timeline) >= 0.8 * len(
        times
    )
    assert all(abs(sum(float(row[label]) for label in LABELS) - 1) < 0.01 for row in timeline)
    _, (person,) = saved(page, "Summary (CSV)")
    assert abs(float(person["seconds"]) - sum(float(person[f"{label}_s"]) for label in LABELS)) < 0.1
    assert float(person["happy_s"]) > 0.8 * float(person["seconds"]) > 0


def test_a_snapshot_opens_in_the_image_tab(page: Any) -> None:
    start(page)
    page.wait_for_timeout(1500)  # a face in view for less than a second gets no card below
    more_results(page)
    page.get_by_role("button", name="Snapshot").click()
    page.wait_for_selector(".fer-card")
    assert page.locator(".fer-card h3").inner_text().endswith("happy")
    assert page.get_by_role("tab", name="Photo").get_attribute("aria-selected") == "true"
    assert page.locator("#overview dl").inner_text().endswith(f"{WIDTH} \N{MULTIPLICATION SIGN} {HEIGHT}")

    # Another tab is open now, so the camera is switched off.
    page.wait_for_function("!document.querySelector('#webcam video').srcObject")
    assert data(page)["state"] == "idle"
    page.get_by_role("tab", name="Webcam").click()
    assert page.locator("#webcam .cam-words").inner_text() == "Camera off"
    assert "because you left" in page.locator("#webcam .cam-hint").inner_text()
    assert page.locator("#webcam .cam-title").inner_text().startswith("1 face tracked")
    start(page)


def test_camera_permission_denied_then_granted(with_camera: Any, server: AppServer, leave_out: Any) -> None:
    with opened(with_camera, server.url, leave_out) as page:
        page.get_by_role("button", name="Start camera").click()
        until(page, "error")
        assert "Camera access is blocked" in page.locator("#webcam .cam-cover").inner_text()
        assert "Camera access is blocked" in page.locator("#webcam .cam-spoken").inner_text()
        page.context.grant_permissions(["camera"])
        until(page, "live")


def test_insecure_address(with_camera: Any, server: AppServer, leave_out: Any) -> None:
    with opened(with_camera, server.url.replace("127.0.0.1", "elsewhere.test"), leave_out) as page:
        page.get_by_role("button", name="Start camera").click()
        until(page, "error")
        assert "https://" in page.locator("#webcam .cam-cover").inner_text()


def test_no_camera(playwright: Any, server: AppServer, leave_out: Any) -> None:
    with (
        chromium(playwright, f"{FAKE}=device-count=0", "--use-fake-ui-for-media-stream") as browser,
        opened(browser, server.url, leave_out) as page,
    ):
        page.get_by_role("button", name="Start camera").click()
        until(page, "error")
        assert "No camera was found" in page.locator("#webcam .cam-cover").inner_text()


def test_flip_opens_the_next_camera(playwright: Any, server: AppServer, leave_out: Any) -> None:
    with (
        chromium(playwright, f"{FAKE}=device-count=2", "--use-fake-ui-for-media-stream") as browser,
        opened(browser, server.url, leave_out) as page,
    ):
        page.get_by_role("button", name="Start camera").click()
        until(page, "live")
        camera = "document.querySelector('#webcam video').srcObject?.getVideoTracks()[0].label"
        first = page.evaluate(camera)
        page.get_by_role("button", name="Switch camera").click()
        page.wait_for_function(f"first => {camera} && {camera} !== first", arg=first)
        until(page, "live")
        assert page.locator("#webcam .cam-words").inner_text() == ""


def test_a_back_camera_is_not_mirrored(page: Any) -> None:
    """Chromium's fake cameras have no facing mode, unlike a phone's, so the test adds one."""
    page.evaluate(
        """() => {
            const settings = MediaStreamTrack.prototype.getSettings;
            MediaStreamTrack.prototype.getSettings = function () {
                return { ...settings.call(this), facingMode: "environment" };
            };
        }"""
    )
    start(page)
    assert near_truth(drawn_box(page))
    assert page.eval_on_selector("#webcam video", "video => getComputedStyle(video).transform") == "none"


def test_camera_in_use_by_another_program(page: Any) -> None:
    """A fake camera is never in use, so the test makes the browser refuse it once."""
    page.evaluate(
        """() => {
            const devices = navigator.mediaDevices;
            const ask = devices.getUserMedia.bind(devices);
            devices.getUserMedia = () => {
                devices.getUserMedia = ask;
                return Promise.reject(new DOMException("Could not start video source", "NotReadableError"));
            };
        }"""
    )
    page.get_by_role("button", name="Start camera").click()
    until(page, "error")
    assert "using the camera" in page.locator("#webcam .cam-cover").inner_text()
    until(page, "live")


def test_camera_unplugged_and_plugged_in_again(page: Any) -> None:
    """Chromium's fake cameras cannot be unplugged, so the test sends the two events."""
    start(page)
    more_results(page)
    page.evaluate(
        "document.querySelector('#webcam video').srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'))"
    )
    until(page, "error")
    assert "The camera was disconnected" in page.locator("#webcam .cam-cover").inner_text()
    assert page.locator("#webcam .cam-people > li, #webcam .cam-title").count() >= 1
    page.evaluate("navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
    until(page, "live")


def test_a_server_that_restarts_and_a_network_that_goes(page: Any, server: AppServer) -> None:
    page.evaluate("window.loaded = true")
    start(page)
    server.stop()
    until(page, "reconnecting")
    assert "the server isn't responding" in page.locator("#webcam .cam-note").inner_text()
    page.wait_for_selector("#webcam[data-faces='0']")  # stale boxes are removed
    server.restart()
    until(page, "live")
    more_results(page)
    assert page.locator("#webcam .cam-note").is_hidden()

    page.context.set_offline(True)
    until(page, "reconnecting")
    page.wait_for_function("document.querySelector('#webcam .cam-note').textContent.includes('offline')")
    page.wait_for_timeout(10_000)
    page.context.set_offline(False)
    until(page, "live")
    more_results(page)
    assert page.evaluate("window.loaded")  # the page was not reloaded


def test_nothing_is_sent_while_the_tab_is_hidden(page: Any) -> None:
    start(page)
    page.get_by_role("tab", name="Photo").click()
    page.wait_for_timeout(700)  # for the frames in flight
    before = frame(page)
    page.wait_for_timeout(1300)
    assert frame(page) == before  # nobody sees the boxes
    page.get_by_role("tab", name="Webcam").click()
    more_results(page)
    assert data(page)["state"] == "live"


def test_start_moves_nothing(page: Any) -> None:
    page.evaluate(
        """() => {
            window.shift = 0;
            const add = (list) => list.getEntries().forEach((entry) => (window.shift += entry.value));
            new PerformanceObserver(add).observe({ type: "layout-shift" });
        }"""
    )
    places = """['stage', 'bar', 'side'].map(name => {
        const box = document.querySelector(`#webcam .cam-${name}`).getBoundingClientRect();
        return [box.x, box.y, box.width, box.height].map(Math.round);
    })"""
    before = page.evaluate(places)
    start(page)
    more_results(page)
    assert page.evaluate(places) == before
    assert page.evaluate("window.shift") < 0.02


def test_one_of_several_faces_is_followed(playwright: Any, server: AppServer, tmp_path: Path, leave_out: Any) -> None:
    two = Scene(2, lambda _: {"first": Place(200, 240), "second": Place(450, 240, mirrored=True)})
    with filmed(playwright, tmp_path, two) as browser, opened(browser, server.url, leave_out) as page:
        page.get_by_role("button", name="Start camera").click()
        page.wait_for_selector("#webcam[data-faces='2']")
        followed = page.locator("#webcam .cam-choose [aria-pressed=true]").inner_text()
        other = page.locator("#webcam .cam-choose [aria-pressed=false]")
        number = other.inner_text()
        assert number != followed
        other.click()
        page.wait_for_selector(f"#webcam .cam-main:text('Face {number}')")
        assert page.locator("#webcam figcaption").inner_text() == f"Last 30 seconds · Face {number}"
        chosen = set()
        box = page.locator("#webcam .cam-boxes").bounding_box()
        for x in (200, 450):  # a click on each face, in the mirrored video
            page.wait_for_selector("#webcam[data-faces='2']")
            page.mouse.click(box["x"] + box["width"] * (1 - x / WIDTH), box["y"] + box["height"] / 2)
            chosen.add(page.locator("#webcam .cam-main").inner_text())
        assert len(chosen) == 2


def test_advice_when_there_is_no_face(playwright: Any, server: AppServer, tmp_path: Path, leave_out: Any) -> None:
    nobody = Scene(1, lambda _: {})
    with filmed(playwright, tmp_path, nobody) as browser, opened(browser, server.url, leave_out) as page:
        page.get_by_role("button", name="Start camera").click()
        page.wait_for_selector("#webcam .cam-note:text('No face found')")


def test_no_camera_image_is_sent_twice(page: Any) -> None:
    start(page)
    more_results(page)
    page.eval_on_selector("#webcam video", "video => video.pause()")
    page.wait_for_timeout(1000)  # for the frames in flight
    still = frame(page)
    page.wait_for_timeout(1000)
    assert frame(page) == still
    page.eval_on_selector("#webcam video", "video => video.play()")
    more_results(page)


def test_a_slow_network_gets_smaller_frames(page: Any) -> None:
    start(page)
    session = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 600, "downloadThroughput": -1, "uploadThroughput": -1}
    session.send("Network.emulateNetworkConditions", slow)
    page.wait_for_selector("#webcam[data-width='320']")
    with page.expect_request("**/component_server/") as request:
        more_results(page)
    sent = np.frombuffer(base64.b64decode(request.value.post_data_json["data"]["frame"]), np.uint8)
    assert cv2.imdecode(sent, cv2.IMREAD_COLOR).shape == (240, 320, 3)
    assert data(page)["state"] == "live"
    assert data(page)["emotion"] == "happy"


def test_nothing_of_a_frame_is_written(page: Any, server: AppServer) -> None:
    """The server is kept from writing to any file; if it had to write frames, they would fail."""
    process = psutil.Process(server.process.pid)
    if not hasattr(process, "rlimit"):
        pytest.skip("this system cannot keep a process from writing files")
    before = server.log.read_bytes()
    limits = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (0, limits[1]))
    try:
        start(page)
        more_results(page, 10)
        assert data(page)["state"] == "live"
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, limits)
    assert server.log.read_bytes() == before


def test_narrow_page_and_dark_page(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(reduced_motion="reduce")
    start(page)
    assert page.eval_on_selector(".cam-meter", "bar => getComputedStyle(bar, '::before').transitionDuration") == "0s"
    page.wait_for_timeout(1000)  # the time between two drawings of the timeline
    assert (canvas(page, "timeline")[..., :3] == STYLES["happy"].colour).all(axis=2).any()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="Stop camera").click()
    until(page, "idle")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    colour = "getComputedStyle(document.querySelector('#webcam')).color"
    light = page.evaluate(colour)
    page.evaluate("document.body.classList.add('dark')")
    assert page.evaluate(colour) != light


# ---- Messages that anyone may post


def component(server: AppServer) -> int:
    with urllib.request.urlopen(f"{server.url}config") as answer:
        config = json.load(answer)
    return next(
        one["id"] for one in config["components"] if "recognize_frame" in (one["props"].get("server_fns") or [])
    )


def post(server: AppServer, data: Any, kind: str = "application/json", body: bytes | None = None) -> tuple[int, Any]:
    message = {"data": data, "component_id": component(server), "fn_name": "recognize_frame", "session_hash": "x"}
    request = urllib.request.Request(
        f"{server.url}gradio_api/component_server/",
        body if body is not None else json.dumps(message).encode(),
        {"Content-Type": kind},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def jpeg(width: int, height: int) -> str:
    return base64.b64encode(cv2.imencode(".jpg", np.full((height, width, 3), 128, np.uint8))[1].tobytes()).decode()


def message(**changes: Any) -> dict[str, Any]:
    return {"token": TOKEN, "time_s": time.monotonic(), "frame": jpeg(320, 240)} | changes


def multipart(fields: dict[str, str], file: bytes) -> bytes:
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    head = '--b\r\nContent-Disposition: form-data; name="frame"; filename="f.jpg"\r\n\r\n'
    return "".join(parts).encode() + head.encode() + file + b"\r\n--b--\r\n"


BOMB = base64.b64encode(  # a PNG whose header says 30,000 x 30,000
    b"\x89PNG\r\n\x1a\n"
    + b"\0\0\0\rIHDR\0\0\x75\x30\0\0\x75\x30\x08\x02\0\0\0"
    + zlib.crc32(b"IHDR\0\0\x75\x30\0\0\x75\x30\x08\x02\0\0\0").to_bytes(4, "big")
).decode()
FORGED: dict[str, Any] = {
    "null": None,
    "a list": [1, 2],
    "a string": "frame",
    "an empty object": {},
    "no token": message(token=None),
    "a short token": message(token="abc"),
    "a long token": message(token=TOKEN * 1000),
    "a path as a token": message(token="../../../../etc/passwd/0000000000"),
    "a token that ends in a newline": message(token=TOKEN[:-1] + "\n"),
    "a token and a newline": message(token=TOKEN + "\n"),
    "no time": message(time_s=None),
    "true as a time": message(time_s=True),
    "a string as a time": message(time_s="1"),
    "a negative time": message(time_s=-1),
    "an infinite time": message(time_s=float("inf")),
    "NaN as a time": message(time_s=float("nan")),
    "a time of 400 digits": message(time_s=10**400),
    "no frame": message(frame=None),
    "a list as a frame": message(frame=[255, 216]),
    "a file as a frame": message(frame={"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}),
    "not base64": message(frame="§§§§"),
    "incomplete base64": message(frame="abc"),
    "an empty frame": message(frame=""),
    "a text as a frame": message(frame=base64.b64encode(b"these are words").decode()),
    "half an image": message(frame=jpeg(320, 240)[: 4 * 60]),
    "more than 400 KB": message(frame="A" * 540_000),
    "an image too wide": message(frame=jpeg(1284, 8)),
    "an image too high": message(frame=jpeg(8, 1284)),
    "a decompression bomb": message(frame=BOMB),
    "3,000 scans": message(frame=base64.b64encode(jpeg_with_scans(1280, 3_000)).decode()),
}


def test_forged_frames_get_one_message_and_leave_no_trace(server: AppServer) -> None:
    while b"share=True" not in server.log.read_bytes():  # Gradio's last line at start-up, printed after it serves
        assert server.process.poll() is None
        time.sleep(0.05)
    before = server.log.read_bytes()
    for name, data in FORGED.items():
        status, answer = post(server, data)
        assert (status, list(answer)) in ((200, ["error"]), (400, ["detail"])), name  # 400: it is not JSON
        (reason,) = answer.values()
        assert len(reason) < 200, name
        assert "\n" not in reason, name
        assert "/" not in reason.replace("Python/C", ""), name  # no path on the server
    fields = {"component_id": str(component(server)), "fn_name": "recognize_frame", "session_hash": "x", "token": TOKEN}
    status, answer = post(
        server, None, "multipart/form-data; boundary=b", multipart(fields, base64.b64decode(jpeg(8, 8)))
    )
    assert (status, list(answer)) == (415, ["detail"])
    assert server.log.read_bytes() == before
    assert post(server, message()) == (200, {"faces": []})


def test_older_frames_are_late_and_visitors_do_not_share_a_tracker(server: AppServer) -> None:
    other = TOKEN[::-1]
    later, earlier = time.monotonic() + 100, time.monotonic() + 99
    assert post(server, message(time_s=later)) == (200, {"faces": []})
    assert post(server, message(time_s=earlier)) == (200, {"late": True})
    assert post(server, message(time_s=later)) == (200, {"late": True})
    assert post(server, message(time_s=earlier, token=other)) == (200, {"faces": []})
    assert post(server, message(time_s=later + 1)) == (200, {"faces": []})
