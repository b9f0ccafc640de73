"""The video tab and its endpoint, against `python app.py` in a process of its own, by a client and in Chromium."""

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
import numpy as np
import psutil
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from test_browser import browser  # noqa: F401 (a fixture)
from waiting import within

from benchmarks.harness.app_server import AppServer, serve
from deepfer import LABELS
from deepfer.result import Person
from deepfer.video import TABLE_COLUMNS
from ui.video_tab import person_html, seconds_text

FPS = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server keeps its log, its uploads and what it works on."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(folder: Path, ffmpeg_folder: Path | None) -> Iterator[AppServer]:
    """With an ffmpeg, and without the ffprobe that Gradio would have beside it."""
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
    browser: Any,  # noqa: F811
    server: AppServer,
    leave_out: Callable[[str], NoReturn],
) -> Iterator[Any]:
    """The video tab, freshly opened on a page 390 pixels wide; no script may have failed at the end."""
    if isinstance(browser, str):
        leave_out(browser)
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.set_default_timeout(60_000)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(server.url)
    page.get_by_role("tab", name="Video").click()
    page.wait_for_selector("#clip input[type=file]", state="attached")
    yield page
    context.close()
    assert faults == []


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of one person."""
    frames = [frame for frame, _ in clips.crossing(480, 270, 2 * FPS, people=1)][: FPS // 2]
    return clips.write(tmp_path_factory.mktemp("clip") / "walk.webm", frames, FPS, "VP80")


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute, which takes long enough to be given up."""
    frames = [frame for frame, _ in clips.crossing(640, 360, 3 * FPS, people=1)]
    return clips.write(tmp_path_factory.mktemp("clip") / "long.webm", frames * 10, FPS, "VP80")


def working(folder: Path) -> list[str]:
    return [path.name for path in (folder / "uploads").glob("*/clip-*")]


def test_the_endpoint(client: Client, clip: Path, folder: Path) -> None:
    video, table, found = client.predict({"video": handle_file(clip)}["video"], api_name="/recognize_video")
    assert list(found) == [
        "width", "height", "model", "revision", "detector", "duration_s", "fps", "frames", "people", "warning", "error",
    ]  # fmt: skip
    assert (found["width"], found["height"], found["frames"], found["error"]) == (480, 270, 10, None)
    (person,) = found["people"]
    assert person["emotion"] == "happy"
    assert tuple(person["probabilities"]) == LABELS
    frames, _ = clips.read(Path(video))
    assert len(frames) == 10
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert Path(table).name == "timeline.csv"
    assert tuple(rows[0]) == TABLE_COLUMNS
    assert len(rows) == 10
    assert within(20, lambda: not working(folder))  # what is left is in Gradio's cache, which it clears


def test_the_endpoint_says_what_is_wrong(client: Client, tmp_path: Path, server: AppServer) -> None:
    (tmp_path / "words.mp4").write_text("these are words\n" * 100)
    with pytest.raises(AppError, match=r"words\.mp4: not a video of a supported format") as caught:
        client.predict(handle_file(tmp_path / "words.mp4"), api_name="/recognize_video")
    assert "/" not in str(caught.value).replace("words.mp4", "")  # nothing about where the server keeps it
    with pytest.raises(AppError, match="Send the clip as a file"):
        client.predict(None, api_name="/recognize_video")
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("meta", ['{"_type": "gradio.FileData"}', "{}"])
def test_other_files_of_the_machine_are_not_read(server: AppServer, clip: Path, meta: str) -> None:
    body = f'{{"data": [{{"path": {json.dumps(str(clip))}, "meta": {meta}}}]}}'
    call = f"{server.url}gradio_api/call/recognize_video"
    request = urllib.request.Request(call, body.encode(), {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert caught.value.code == 400
    caught.value.close()


def test_a_clip_in_the_browser(page: Any, clip: Path, tmp_path: Path) -> None:
    page.set_input_files("#clip input[type=file]", clip)
    page.wait_for_selector(".fer-person")
    assert page.locator("#clip-overview h2").inner_text() == "1 person"
    assert re.search("#1\\s+mostly happy", page.locator(".fer-person h3").inner_text())
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


def test_cancel_and_leave(page: Any, long_clip: Path, server: AppServer, folder: Path) -> None:
    page.set_input_files("#clip input[type=file]", long_clip)
    page.wait_for_selector(".fer-progress [role=progressbar]")
    page.wait_for_function("document.querySelector('.fer-progress').innerText.includes(' left')")
    assert working(folder)
    page.locator("#clip-cancel").click()
    page.wait_for_selector("#clip-overview :text('Cancelled')")
    assert within(30, lambda: not working(folder))
    assert page.locator("#annotated-clip video").count() == 0

    page.locator("#clip").get_by_label("Clear").last.click()
    page.set_input_files("#clip input[type=file]", long_clip)  # the line is free again
    page.wait_for_selector(".fer-progress [role=progressbar]")
    page.close()  # who leaves costs nothing afterwards
    assert within(30, lambda: not working(folder))
    assert within(30, lambda: psutil.Process(server.process.pid).cpu_percent(1.0) < 20)


def test_a_timeline_with_a_gap_and_a_change() -> None:
    values = np.full((20, 7), 0.02, np.float32)
    values[:8, LABELS.index("sad")] = values[12:, LABELS.index("surprise")] = 0.88
    values[8:12] = np.nan
    seconds = dict.fromkeys(LABELS, 0.0) | {"sad": 1.6, "surprise": 1.6}
    person = Person(3, 1.0, 5.0, seconds, dict.fromkeys(LABELS, 1 / 7), values, 1.0, 0.2)
    told = person_html(person, 10.0)
    assert "#3 mostly sad" in told
    assert "50% of the time · seen 3.2 s, 1.0 s to 5.0 s" in told
    strip = re.findall(r'left: ([\d.]+)%; width: ([\d.]+)%; [^"]*" title="(\w+)', told)
    assert [(float(left), float(width), label) for left, width, label in strip] == [
        (10.0, 16.0, "sad"),
        (34.0, 16.0, "surprise"),
    ]
    assert told.count("<polygon") == 14
    first = [tuple(map(float, point.split(","))) for point in re.search('points="([^"]+)"', told)[1].split()]
    assert min(x for x, _ in first) == 100
    assert max(x for x, _ in first) == 260


def test_times_as_people_read_them() -> None:
    assert [seconds_text(s) for s in (0, 8.44, 59.9, 60, 125.4)] == ["0.0 s", "8.4 s", "59.9 s", "1:00", "2:05"]
