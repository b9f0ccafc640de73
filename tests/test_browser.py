"""The page's answers to a photo in a real Chromium."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hub_server import HubServer
from photo_page import ASTRONAUT, crowd, opened, overlaps, saved, settled, upload

from benchmarks.harness.app_server import AppServer, serve
from deepfer import LABELS


def test_the_astronaut_comes_out_happy_with_one_box(page: Any) -> None:
    upload(page, ASTRONAUT)
    settled(page)
    assert page.locator(".fer-card").count() == 1
    assert page.locator(".fer-card h3").inner_text().endswith("happy")
    assert page.locator(".photo-answer h2").inner_text() == "1 face"
    assert " ms" in page.locator("#overview dl").inner_text()

    image = page.locator(".photo-stage img")
    assert image.count() == 1
    assert image.get_attribute("alt").startswith("1 face: happy")
    image.evaluate("image => image.decode()")
    assert image.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [512, 512]

    bars = page.locator(".fer-card tr")
    assert [bars.nth(i).locator("th").inner_text() for i in range(bars.count())] == list(LABELS)
    widest = page.locator(".fer-card .fer-top")
    assert widest.locator("th").inner_text() == "happy"
    assert widest.locator("td").last.inner_text().endswith("%")
    meaning = page.locator(".photo-meaning").inner_text()
    assert "80%" in meaning
    assert "does not know what the person feels" in meaning


def test_the_box_lies_over_the_face(page: Any) -> None:
    upload(page, ASTRONAUT)
    settled(page)
    (face,) = json.loads(saved(page, "JSON")[1])["faces"]
    stage, box = (page.locator(name).bounding_box() for name in (".photo-stage", ".photo-box"))
    scale = stage["width"] / 512
    drawn = [box["x"] - stage["x"], box["y"] - stage["y"], box["width"], box["height"]]
    x1, y1, x2, y2 = (scale * value for value in face["box"])
    assert drawn == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=1.5)


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_first_card_and_labels_without_scrolling(page: Any, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.get_by_role("button", name="Example: group").click()
    settled(page)
    page.wait_for_function("document.querySelector('.photo-stage img').complete")
    heading = page.locator(".fer-card").first.locator("h3 + p").bounding_box()
    assert heading["y"] + heading["height"] <= size[1]
    assert page.evaluate("scrollY") == 0
    assert page.locator(".photo-label").count() >= 5
    assert overlaps(page) == []
    sizes = page.locator(".photo-label").evaluate_all(
        "all => all.map(one => parseFloat(getComputedStyle(one).fontSize))"
    )
    assert min(sizes) >= 14
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_box_and_card_highlight_each_other(page: Any) -> None:
    page.get_by_role("button", name="Example: group").click()
    settled(page)
    lit = "[...document.querySelectorAll('.is-lit')].map(one => one.dataset.face)"
    second = page.locator(".fer-card").nth(1)
    second.hover()
    assert page.evaluate(lit) == ["1-2"] * 3  # box, label and card
    page.locator("h1").hover()
    assert page.evaluate(lit) == []
    page.locator(".photo-box").nth(2).focus()
    assert page.evaluate(lit) == ["1-3"] * 3
    page.keyboard.press("Enter")
    page.locator(".fer-card").nth(2).wait_for()
    assert (
        page.locator(".fer-card")
        .nth(2)
        .evaluate("card => card.getBoundingClientRect().top < innerHeight && card.getBoundingClientRect().bottom > 0")
    )
    page.evaluate("document.activeElement.blur()")
    assert page.evaluate(lit) == ["1-3"] * 3  # it stays after a click
    page.locator(".fer-card").first.focus()
    assert page.evaluate(lit) == ["1-1"] * 3
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    assert page.evaluate(lit) == []


def test_a_crowd_gets_a_tally_and_compact_cards(page: Any, tmp_path: Path) -> None:
    upload(page, crowd(tmp_path / "crowd.png", 5, 3))
    settled(page)
    assert page.locator(".photo-answer h2").inner_text() == "15 faces"
    assert re.fullmatch(r"\d+ happy(, \d+ \w+)*", page.locator(".photo-tally").inner_text())
    heights = page.locator(".fer-card").evaluate_all("cards => cards.map(card => card.offsetHeight)")
    assert max(heights) < 50
    assert page.locator(".photo-label").first.inner_text() == "1"
    page.locator(".fer-card summary").first.press("Enter")
    assert page.locator(".fer-card").first.locator("tr").first.is_visible()


def test_eleven_labels_do_not_cover_each_other(page: Any, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    upload(page, crowd(tmp_path / "eleven.png", 11, 1))
    settled(page)
    assert page.locator(".photo-label").count() == 11
    page.wait_for_timeout(200)  # the observer of sizes
    assert overlaps(page) == []


def test_json_and_csv_can_be_saved(page: Any) -> None:
    upload(page, ASTRONAUT)
    page.wait_for_selector(".fer-card")
    name, text = saved(page, "JSON")
    result = json.loads(text)
    assert name == "astronaut.json"
    assert list(result) == ["path", "width", "height", "model", "revision", "detector", "faces", "error"]
    assert (result["path"], result["width"], result["height"], result["error"]) == ("astronaut.jpg", 512, 512, None)
    (face,) = result["faces"]
    assert face["emotion"] == "happy"

    name, text = saved(page, "CSV")
    (row,) = csv.DictReader(io.StringIO(text))
    assert name == "astronaut.csv"
    assert [int(row[key]) for key in ("faces", "face", "x1", "y1", "x2", "y2")] == [1, 1, *face["box"]]
    assert float(row["happy"]) == face["confidence"]


def test_the_annotated_photo_can_be_saved(page: Any) -> None:
    upload(page, ASTRONAUT)
    settled(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Annotated photo").click()
    assert download.value.suggested_filename == "astronaut-faces.jpg"
    from PIL import Image, ImageChops

    with Image.open(download.value.path()) as annotated, Image.open(ASTRONAUT) as photo:
        assert ImageChops.difference(annotated.convert("RGB"), photo.convert("RGB")).crop((150, 40, 300, 220)).getbbox()


def test_a_file_name_is_not_a_formula_in_the_csv(page: Any, tmp_path: Path) -> None:
    upload(page, Path(shutil.copy(ASTRONAUT, tmp_path / "-2+3.jpg")))
    page.wait_for_selector(".fer-card")
    path = json.loads(saved(page, "JSON")[1])["path"]
    assert path.startswith("-2")  # Gradio removes some characters from names, but not this one
    (row,) = csv.DictReader(io.StringIO(saved(page, "CSV")[1]))
    assert row["path"] == f"'{path}"


def test_the_activation_map_is_shown_without_a_request(page: Any) -> None:
    switch = page.get_by_label("Show what the model looked at")
    assert not switch.is_visible()
    upload(page, ASTRONAUT)
    page.wait_for_selector(".fer-card")
    page.evaluate("Promise.all([...document.querySelectorAll('.fer-crop img')].map(image => image.decode()))")
    before = page.locator(".fer-crop").screenshot()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    switch.focus()
    page.keyboard.press("Space")
    page.wait_for_function("getComputedStyle(document.querySelector('.fer-map')).opacity === '1'")
    after = page.locator(".fer-crop").screenshot()
    assert before != after
    page.keyboard.press("Space")
    page.wait_for_function("getComputedStyle(document.querySelector('.fer-map')).visibility === 'hidden'")
    assert page.locator(".fer-crop").screenshot() == before
    assert [url for url in requests if not url.startswith("data:")] == []


def test_an_image_without_a_face(page: Any, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (300, 200), "gray").save(tmp_path / "gray.png")
    upload(page, tmp_path / "gray.png")
    settled(page)
    assert page.locator(".photo-answer h2").inner_text() == "No face found"
    assert "from the front" in page.locator(".photo-answer").inner_text()
    assert json.loads(saved(page, "JSON")[1])["faces"] == []


def test_forced_colours_keep_bars_and_the_selected_tab(page: Any) -> None:
    page.emulate_media(forced_colors="active")
    upload(page, ASTRONAUT)
    settled(page)
    bar = page.locator(".fer-top .fer-track span").evaluate("bar => getComputedStyle(bar).backgroundImage")
    assert "233, 173, 17" in bar
    tab = page.get_by_role("tab", name="Photo")
    assert tab.evaluate("tab => parseFloat(getComputedStyle(tab).borderBottomWidth)") >= 2


def test_the_layout_does_not_shift_on_load(
    browser: Any, server: AppServer, leave_out: Callable[[str], NoReturn]
) -> None:
    if isinstance(browser, str):
        leave_out(browser)
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver(list => list.getEntries().forEach(one => {"
        "  if (!one.hadRecentInput) window.shift += one.value; })).observe({ type: 'layout-shift', buffered: true });"
    )
    page.goto(server.url)
    page.wait_for_selector(".picker")
    page.wait_for_timeout(1500)
    assert page.evaluate("shift") < 0.05
    page.close()


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
        assert re.search(r"Detector\s+DeepFER\b", page.locator("#overview").inner_text())
        assert not re.search("Haar|YuNet", page.content())  # no other detector is mentioned
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
