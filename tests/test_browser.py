"""The page in a real Chromium, as a visitor uses it."""

import base64
import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hub_server import HubServer

from benchmarks.harness.app_server import ROOT, AppServer, serve
from benchmarks.harness.chromium import chromium, playing
from deepfer import LABELS

ASTRONAUT = ROOT / "ui" / "examples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; where there is none, a line that says so and how to have it."""
    with playing() as playwright, chromium(playwright) as browser:
        yield browser


@pytest.fixture(scope="module")
def server(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer | None]:
    if isinstance(browser, str):
        yield None
        return
    with serve(tmp_path_factory.mktemp("browser")) as running:
        yield running


@contextmanager
def opened(browser: Any, url: str) -> Iterator[Any]:
    """The page, freshly opened; at the end, nothing may have been asked of any other machine, and no script failed."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(20_000)
    asked: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(url)
    page.wait_for_selector("#picture input[type=file]", state="attached")
    yield page
    context.close()
    assert len(asked) > 10
    assert [other for other in asked if not other.startswith((url, "data:", "blob:"))] == []
    assert faults == []


@pytest.fixture
def page(browser: Any, server: AppServer, leave_out: Callable[[str], NoReturn]) -> Iterator[Any]:
    if isinstance(browser, str):
        leave_out(browser)
    with opened(browser, server.url) as page:
        yield page


def upload(page: Any, path: Path) -> None:
    page.set_input_files("#picture input[type=file]", path)


def saved(page: Any, link: str) -> tuple[str, str]:
    """(name, text) of the file that a link saves."""
    with page.expect_download() as download:
        page.get_by_role("link", name=link).click()
    return download.value.suggested_filename, Path(download.value.path()).read_text(encoding="utf-8")


def test_the_astronaut_comes_out_happy_with_one_box(page: Any) -> None:
    upload(page, ASTRONAUT)
    page.wait_for_selector(".fer-card")
    assert page.locator(".fer-card").count() == 1
    assert page.locator(".fer-card h3").inner_text().endswith("happy")
    assert page.locator("#overview h2").inner_text() == "1 face"
    assert " ms" in page.locator("#overview dl").inner_text()

    picture = page.locator("#annotated img")
    assert picture.get_attribute("alt").startswith("1 face: happy")
    picture.evaluate("image => image.decode()")
    assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [512, 512]

    bars = page.locator(".fer-card tr")
    assert [bars.nth(i).locator("th").inner_text() for i in range(bars.count())] == list(LABELS)
    widest = page.locator(".fer-card .fer-top")
    assert widest.locator("th").inner_text() == "happy"
    assert widest.locator("td").last.inner_text().endswith(" %")


def test_json_and_csv_to_save(page: Any) -> None:
    upload(page, ASTRONAUT)
    page.wait_for_selector(".fer-card")
    name, text = saved(page, "JSON")
    found = json.loads(text)
    assert name == "astronaut.json"
    assert list(found) == ["path", "width", "height", "model", "revision", "detector", "faces", "error"]
    assert (found["path"], found["width"], found["height"], found["error"]) == ("astronaut.jpg", 512, 512, None)
    (face,) = found["faces"]
    assert face["emotion"] == "happy"

    name, text = saved(page, "CSV")
    (row,) = csv.DictReader(io.StringIO(text))
    assert name == "astronaut.csv"
    assert [int(row[key]) for key in ("faces", "face", "x1", "y1", "x2", "y2")] == [1, 1, *face["box"]]
    assert float(row["happy"]) == face["confidence"]


def test_a_name_is_no_formula_in_the_csv(page: Any, tmp_path: Path) -> None:
    upload(page, Path(shutil.copy(ASTRONAUT, tmp_path / "-2+3.jpg")))
    page.wait_for_selector(".fer-card")
    path = json.loads(saved(page, "JSON")[1])["path"]
    assert path.startswith("-2")  # Gradio leaves out some characters of a name, and not this one
    (row,) = csv.DictReader(io.StringIO(saved(page, "CSV")[1]))
    assert row["path"] == f"'{path}"


def test_why_shows_the_map_on_the_crop_without_asking_the_server(page: Any) -> None:
    assert not page.get_by_label("Why?").is_visible()
    upload(page, ASTRONAUT)
    page.wait_for_selector(".fer-card")
    page.evaluate("Promise.all([...document.querySelectorAll('.fer-crop img')].map(image => image.decode()))")
    before = page.locator(".fer-crop").screenshot()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_label("Why?").focus()
    page.keyboard.press("Space")
    page.wait_for_function("getComputedStyle(document.querySelector('.fer-map')).opacity === '1'")
    after = page.locator(".fer-crop").screenshot()
    assert before != after
    page.keyboard.press("Space")
    page.wait_for_function("getComputedStyle(document.querySelector('.fer-map')).visibility === 'hidden'")
    assert page.locator(".fer-crop").screenshot() == before
    assert [url for url in asked if not url.startswith("data:")] == []


def test_a_text_named_jpg_is_told_and_takes_the_last_answer_away(page: Any, tmp_path: Path) -> None:
    upload(page, ASTRONAUT)
    page.wait_for_selector(".fer-card")
    page.get_by_label("Remove Image").click()
    page.wait_for_selector("#overview .fer-note")
    assert page.locator(".fer-card").count() == 0
    (tmp_path / "notes.jpg").write_text("these are words\n")
    upload(page, tmp_path / "notes.jpg")
    page.wait_for_selector("#overview [role=alert]")
    assert "notes.jpg: not an image" in page.locator("#overview").inner_text()
    assert page.locator("#annotated img").count() == 0


def test_an_example_without_a_mouse_and_no_face_in_words(page: Any, tmp_path: Path) -> None:
    page.get_by_role("button", name="Example: portraits").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.fer-card').length >= 3")
    areas = page.locator(".fer-card p").all_inner_texts()
    assert [text.split(" · ")[1] for text in areas] == [f"face {i + 1}" for i in range(len(areas))]
    page.get_by_label("Remove Image").click()
    page.wait_for_selector("#overview .fer-note")

    from PIL import Image

    Image.new("RGB", (300, 200), "gray").save(tmp_path / "gray.png")
    upload(page, tmp_path / "gray.png")
    page.wait_for_selector("#overview .fer-bar")
    assert page.locator("#overview h2").inner_text() == "No face found"
    assert "from the front" in page.locator("#overview").inner_text()
    assert json.loads(saved(page, "JSON")[1])["faces"] == []


def test_a_picture_is_pasted(page: Any) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(
        """async photo => {
            const jpeg = await (await fetch(photo)).blob();
            const bitmap = await createImageBitmap(jpeg);
            const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
            canvas.getContext("2d").drawImage(bitmap, 0, 0);
            const png = await canvas.convertToBlob();
            await navigator.clipboard.write([new ClipboardItem({"image/png": png})]);
        }""",
        "data:image/jpeg;base64," + base64.b64encode(ASTRONAUT.read_bytes()).decode(),
    )
    page.get_by_label("Paste from clipboard").click()
    page.wait_for_selector(".fer-card")
    assert page.locator(".fer-card h3").inner_text().endswith("happy")
    page.locator("#annotated img").evaluate("image => image.decode()")


def test_our_own_detector_finds_a_leaning_face(
    browser: Any, hub: HubServer, tmp_path: Path, leave_out: Callable[[str], NoReturn]
) -> None:
    if isinstance(browser, str):
        leave_out(browser)
    from PIL import Image

    Image.open(ASTRONAUT).rotate(40, fillcolor="gray").save(tmp_path / "leaning.png")
    with serve(tmp_path) as server, opened(browser, server.url) as page:
        upload(page, tmp_path / "leaning.png")
        page.wait_for_selector(".fer-card")
        assert page.locator(".fer-card").count() == 1
        assert "DeepFER's own" in page.locator("#overview").inner_text()
        assert not re.search("Haar|YuNet", page.content())  # nobody is told to fetch anything
    assert hub.requests == []


def test_a_narrow_page_does_not_scroll_sideways(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    wide = "document.documentElement.scrollWidth"
    assert page.evaluate(wide) <= 390
    upload(page, ASTRONAUT)
    page.wait_for_selector(".fer-card")
    assert page.evaluate(wide) <= 390
    card = page.locator(".fer-card").bounding_box()
    assert card["x"] >= 0
    assert card["x"] + card["width"] <= 390
