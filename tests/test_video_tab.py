"""The video tab and its endpoint, against `python app.py` in a process of its own, with a client and in Chromium."""

import csv
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import clips
import httpx
import numpy as np
import psutil
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from waiting import within

from benchmarks.harness.app_server import AppServer, serve
from deepfer import LABELS
from deepfer.result import Person, VideoResult
from deepfer.video import TABLE_COLUMNS
from ui.components import format_time
from ui.person_card import PersonCard
from ui.timeline import ticks
from ui.video_tab import people_html

FPS = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for the server's log, uploads and working files."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(folder: Path, ffmpeg_folder: Path | None) -> Iterator[AppServer]:
    """With ffmpeg, but without ffprobe, which Gradio would expect beside it."""
    path = f"{ffmpeg_folder}{os.pathsep}{os.environ['PATH']}" if ffmpeg_folder else os.environ["PATH"]
    with serve(folder, env={"PATH": path}) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: AppServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    client = Client(server.url, verbose=False, download_files=tmp_path_factory.mktemp("client"))
    yield client
    client.close()


@pytest.fixture
def page(
    browser: Any,
    server: AppServer,
    leave_out: Callable[[str], NoReturn],
) -> Iterator[Any]:
    """The video tab, freshly opened on a page 390 pixels wide; fails if a script raised an error."""
    if isinstance(browser, str):
        leave_out(browser)
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.set_default_timeout(60_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(server.url)
    page.get_by_role("tab", name="Video").click()
    page.wait_for_selector("#clip input[type=file]", state="attached")
    yield page
    context.close()
    assert errors == []


@pytest.fixture(scope="module")
def video_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of one person."""
    frames = [frame for frame, _ in clips.crossing(480, 270, 2 * FPS, people=1)][: FPS // 2]
    return clips.write(tmp_path_factory.mktemp("clip") / "walk.webm", frames, FPS, "VP80")


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute in 1080p, which takes long enough to be cancelled or waited for, even while the machine is busy."""
    frames = [frame for frame, _ in clips.crossing(1920, 1080, FPS, people=1)]
    return clips.write(tmp_path_factory.mktemp("clip") / "long.avi", frames * 60, FPS, "MJPG")


def uploads(folder: Path, name: str) -> list[Path]:
    return list((folder / "uploads").glob(f"*/files/*/{name}"))


def working(folder: Path) -> list[str]:
    return [path.name for path in (folder / "uploads").glob("*/clip-*")]


def test_the_endpoint_follows_a_person(client: Client, video_file: Path, folder: Path) -> None:
    annotated, table, result = client.predict(handle_file(video_file), api_name="/recognize_video")
    assert list(result) == [
        "width", "height", "model", "revision", "detector", "duration_s", "fps", "frames", "people", "warning", "error",
    ]  # fmt: skip
    assert (result["width"], result["height"], result["frames"], result["error"]) == (480, 270, 10, None)
    (person,) = result["people"]
    assert person["emotion"] == "happy"
    assert tuple(person["probabilities"]) == LABELS
    frames, _ = clips.read(Path(annotated))
    assert len(frames) == 10
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert Path(table).name == "timeline.csv"
    assert tuple(rows[0]) == TABLE_COLUMNS
    assert len(rows) == 10
    assert within(20, lambda: not working(folder))  # only Gradio's cache is left, which is cleared later


def test_the_endpoint_says_what_is_wrong(client: Client, tmp_path: Path, server: AppServer) -> None:
    (tmp_path / "words.mp4").write_text("these are words\n" * 100)
    with pytest.raises(AppError, match=r"words\.mp4: not a video of a supported format") as caught:
        client.predict(handle_file(tmp_path / "words.mp4"), api_name="/recognize_video")
    assert "/" not in str(caught.value).replace("words.mp4", "")  # without the server's folder
    with pytest.raises(AppError, match="Send the video as a file"):
        client.predict(None, api_name="/recognize_video")
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("meta", ['{"_type": "gradio.FileData"}', "{}"])
def test_other_files_of_the_machine_are_not_read(server: AppServer, video_file: Path, meta: str) -> None:
    body = f'{{"data": [{{"path": {json.dumps(str(video_file))}, "meta": {meta}}}]}}'
    call = f"{server.url}gradio_api/call/recognize_video"
    request = urllib.request.Request(call, body.encode(), {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert caught.value.code == 400
    caught.value.close()


def test_a_video_in_the_browser(page: Any, video_file: Path, tmp_path: Path) -> None:
    page.set_input_files("#clip input[type=file]", video_file)
    page.wait_for_selector(".fer-person")
    assert page.locator("#clip-overview h2").inner_text() == "1 face tracked"
    assert "Face 1 · happy most often" in page.locator(".fer-person h3").inner_text()
    assert page.locator(".fer-crop img").evaluate("image => image.naturalWidth") == 112
    assert [row.inner_text() for row in page.locator(".fer-person th").all()] == list(LABELS)
    assert page.locator(".fer-timeline polygon").count() >= 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not page.locator("#clip-cancel").is_visible()

    page.wait_for_selector("#annotated-clip video")
    played = page.locator("#annotated-clip video").evaluate(
        """async video => {
            video.muted = true;
            await video.play();
            await new Promise(done => video.addEventListener("ended", done));
            return [video.duration, video.videoWidth, video.getVideoPlaybackQuality().totalVideoFrames];
        }"""
    )
    assert played[0] == pytest.approx(0.5, abs=0.1)
    assert played[1] == 480
    assert played[2] >= 5
    timeline = page.get_by_role("slider", name="Position in the video")
    assert timeline.evaluate("timeline => timeline.style.getPropertyValue('--at')") == "1.0000"
    timeline.scroll_into_view_if_needed()
    box = timeline.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 10)
    now = "document.querySelector('#annotated-clip video').currentTime"
    assert page.evaluate(now) == pytest.approx(0.25, abs=0.02)
    assert timeline.get_attribute("aria-valuetext") == "0:00, happy"
    timeline.press("Home")
    assert page.evaluate(now) == 0

    with page.expect_download() as download:
        page.locator("#clip-table").click()
    assert download.value.suggested_filename == "timeline.csv"
    assert Path(download.value.path()).read_text().startswith(",".join(TABLE_COLUMNS))
    with page.expect_download() as download:
        page.locator("#clip-overview").get_by_role("link", name="JSON").click()
    assert json.loads(Path(download.value.path()).read_text())["path"] == "walk.webm"

    (tmp_path / "words.mp4").write_text("these are words\n")
    page.locator("#clip").get_by_label("Clear").last.click()
    page.set_input_files("#clip input[type=file]", tmp_path / "words.mp4")
    page.wait_for_selector("#clip-overview [role=alert]")
    assert "words.mp4: not a video" in page.locator("#clip-overview").inner_text()
    assert page.locator(".fer-person").count() == 0


@pytest.mark.slow
def test_cancelling_and_leaving_stop_the_work(page: Any, long_video: Path, server: AppServer, folder: Path) -> None:
    page.set_input_files("#clip input[type=file]", long_video)
    page.wait_for_selector(".fer-progress [role=progressbar]")
    page.wait_for_function("document.querySelector('.fer-progress').innerText.includes(' left')")
    assert working(folder)
    assert uploads(folder, "long.avi")
    page.locator("#clip-cancel").click()
    page.wait_for_selector("#clip-overview :text('Cancelled. Your video was deleted')")
    assert within(30, lambda: not working(folder))
    assert uploads(folder, "long.avi") == []
    assert page.locator("#annotated-clip video").count() == 0
    page.wait_for_function("document.activeElement.closest('#clip')")

    page.set_input_files("#clip input[type=file]", long_video)  # the queue is free again
    page.wait_for_selector(".fer-progress [role=progressbar]")
    page.close()  # after a visitor leaves, nothing runs on
    assert within(30, lambda: not working(folder))
    assert within(30, lambda: psutil.Process(server.process.pid).cpu_percent(1.0) < 20)


@pytest.mark.slow
def test_waiting_visitors_see_their_place_and_can_cancel(
    page: Any,
    long_video: Path,
    video_file: Path,
    folder: Path,
    server: AppServer,
) -> None:
    with page.context.browser.new_context() as context:
        second = context.new_page()  # before the first video keeps the machine busy
        second.set_default_timeout(60_000)
        second.goto(server.url)
        second.get_by_role("tab", name="Video").click()
        second.wait_for_selector("#clip input[type=file]", state="attached")
        page.set_input_files("#clip input[type=file]", long_video)
        page.wait_for_selector(".fer-progress [role=progressbar]")
        second.set_input_files("#clip input[type=file]", video_file)
        second.wait_for_selector("#clip-overview [role=status] h2:text('1 video ahead of yours')")
        second.locator("#clip-cancel").click()
        second.wait_for_selector("#clip-overview :text('Your video was deleted')")
        assert uploads(folder, video_file.name) == []
        page.locator("#clip-cancel").click()
        second.set_input_files("#clip input[type=file]", video_file)
        second.wait_for_selector(".fer-person")


def test_a_video_without_a_preview_is_no_error(page: Any, tmp_path: Path) -> None:
    frames = [frame for frame, _ in clips.crossing(480, 270, 2 * FPS, people=1)][: FPS // 2]
    page.set_input_files("#clip input[type=file]", clips.write(tmp_path / "walk.avi", frames, FPS, "MJPG"))
    page.wait_for_selector(".fer-person")
    page.wait_for_selector("#clip[data-hint*='play this video']")
    page.wait_for_function("document.querySelector('#annotated-clip video').readyState >= 2")  # it plays
    assert page.locator(".toast-body").count() == 0


def test_a_file_that_is_no_video_is_named(page: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("these are words\n")
    page.set_input_files("#clip input[type=file]", tmp_path / "notes.txt")
    page.wait_for_selector("#clip-alert [role=alert]:text('open notes.txt as a video')")
    drop = """([name, type]) => {
        const data = new DataTransfer();
        data.items.add(new File(["words"], name, { type }));
        const event = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
        document.querySelector("#clip button").dispatchEvent(event);
    }"""
    page.evaluate(drop, ["letter.pdf", "application/pdf"])
    page.wait_for_selector("#clip-alert [role=alert]:text('open letter.pdf as a video')")
    assert page.locator(".toast-body").count() == 0


def test_the_example_shows_two_faces_that_change(page: Any) -> None:
    page.get_by_role("button", name="Example: drawn").click()
    page.wait_for_selector(".fer-person >> nth=1")
    assert page.locator("#clip-overview h2").inner_text() == "2 faces tracked"
    shown = {part.get_attribute("data-label") for part in page.locator(".fer-strip span").all()}
    assert {"happy", "neutral", "surprise", "sad"} <= shown


def test_a_timeline_with_a_gap_and_a_change() -> None:
    values = np.full((20, 7), 0.02, np.float32)
    values[:8, LABELS.index("sad")] = values[12:, LABELS.index("surprise")] = 0.88
    values[8:12] = np.nan
    seconds = dict.fromkeys(LABELS, 0.0) | {"sad": 1.6, "surprise": 1.6}
    person = Person(3, 1.0, 5.0, seconds, dict.fromkeys(LABELS, 1 / 7), values, 1.0, 0.2)
    result = VideoResult("walk.webm", "cnn", None, "deepfer", 480, 270, 10.0, 20.0, 200, [person])
    html = " ".join(people_html(result).split())
    assert "Face 3 · mixed: sad and surprise" in html
    assert "share of the time: sad 50%, surprise 50% · on screen for 3.2 s between 0:01 and 0:05" in html
    assert re.findall(r">(\d:\d\d)</span>", html) == ["0:00", "0:02", "0:04", "0:06", "0:08"]
    strip = re.findall(r'left: ([\d.]+)%; width: ([\d.]+)%; [^"]*" data-start="[\d.]+" data-label="(\w+)', html)
    assert [(float(left), float(width), label) for left, width, label in strip] == [
        (10.0, 16.0, "sad"),
        (34.0, 16.0, "surprise"),
    ]
    assert html.count("<polygon") == 14
    first = [tuple(map(float, point.split(","))) for point in re.search('points="([^"]+)"', html)[1].split()]
    assert min(x for x, _ in first) == 100
    assert max(x for x, _ in first) == 260


def card(**shares: float) -> PersonCard:
    """The card of a person who shows emotions for these shares of the time, with these mean probabilities."""
    probabilities = {label: shares.get(label, 0.0) for label in LABELS}
    seconds = {label: 10 * share for label, share in probabilities.items()}
    return PersonCard.of(Person(1, 0, 10, seconds, probabilities, np.full((1, 7), 1 / 7, np.float32), 0, 10), 10)


def test_an_emotion_that_does_not_stand_out_is_mixed() -> None:
    assert card(happy=0.8, sad=0.2)[2:5] == ("happy most often", "80% of the time", False)
    assert card(happy=0.52, sad=0.48)[2:5] == ("mixed: happy and sad", "share of the time: happy 52%, sad 48%", True)


def test_ticks_are_whole_seconds_that_fit() -> None:
    assert ticks(0.5) == [0]
    assert ticks(6) == [0, 1, 2, 3, 4, 5]
    assert ticks(9) == [0, 2, 4, 6, 8]
    assert ticks(600) == [0, 120, 240, 360, 480]


def test_only_uploads_can_be_deleted(server: AppServer, folder: Path) -> None:
    (example,) = uploads(folder, "drawn.mp4")
    with httpx.Client(base_url=server.url) as http:
        config = http.get("config").json()
        (cancel,) = [fn["id"] for fn in config["dependencies"] if fn["api_name"] == "cancel"]

        def delete(path: Path) -> int:
            record = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
            body = {"data": [record], "fn_index": cancel, "session_hash": "x"}
            return http.post("gradio_api/run/cancel", json=body).status_code

        assert delete(Path(__file__)) == 400
        assert delete(example) == 200
        assert delete(example.parent / ".." / example.parent.name / example.name) == 200
        assert delete(example.parent) == 200
    assert example.exists()


def test_times_as_people_read_them() -> None:
    assert [format_time(s) for s in (0, 8.44, 59.9, 60, 125.4)] == ["0.0 s", "8.4 s", "59.9 s", "1:00", "2:05"]
