"""The ways to send photos to the page, and what it says when that fails, in a real Chromium."""

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from photo_page import ASTRONAUT, crowd, drop, overlaps, paste, saved, settled, upload

from deepfer import LABELS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("notes.txt", "text/plain", "can't open"),
        ("paper.pdf", "application/pdf", "can't open"),
        ("walk.mp4", "video/mp4", "Video tab"),
        ("unknown", "", "not an image"),
        ("notes.jpg", "image/jpeg", "not an image"),
        ("empty.png", "image/png", "empty"),
    ],
)
def test_a_wrong_file_gets_words_that_name_it(page: Any, name: str, kind: str, words: str) -> None:
    content = b"" if name.startswith("empty") else b"these are words"
    drop(page, [(name, kind, content)], ".picker-drop")
    alert = page.locator("[role=alert]:visible")
    alert.wait_for()
    assert name in alert.inner_text()
    assert words in alert.inner_text()
    assert page.locator("#results img").count() == 0


def test_an_unreadable_photo_replaces_the_last_result(page: Any, tmp_path: Path) -> None:
    upload(page, ASTRONAUT)
    settled(page)
    (tmp_path / "notes.jpg").write_text("these are words\n")
    upload(page, tmp_path / "notes.jpg")
    page.wait_for_selector("#results [role=alert]")
    assert "notes.jpg: not an image" in page.locator("#results").inner_text()
    assert page.locator("#results img").count() == 0


def test_clear_empties_the_tab(page: Any) -> None:
    upload(page, ASTRONAUT)
    settled(page)
    page.get_by_role("button", name="Clear").click()
    page.wait_for_selector("#results .fer-note")
    assert page.locator(".fer-card").count() == 0
    assert page.locator(".picker").get_attribute("data-state") == "empty"
    upload(page, ASTRONAUT)  # the same photo again
    page.wait_for_selector(".fer-card")
    settled(page)


def test_the_last_result_is_dimmed_at_once(page: Any, tmp_path: Path) -> None:
    upload(page, ASTRONAUT)
    settled(page)
    page.route("**/gradio_api/upload*", lambda route: page.wait_for_timeout(500) or route.continue_())
    page.evaluate("document.querySelector('.picker input').addEventListener('change', () => window.sent = true)")
    upload(page, crowd(tmp_path / "three.png", 3, 1))
    settled(page, "busy")
    assert page.locator("#results").evaluate("results => getComputedStyle(results).opacity") == "0.3"
    assert "three.png" in page.locator(".picker-status").inner_text()
    settled(page)
    assert page.locator("#results").evaluate("results => getComputedStyle(results).opacity") == "1"
    assert page.locator(".fer-card").count() == 3
    assert page.locator(".picker-status").inner_text() == ""


def test_the_last_of_two_choices_is_shown(page: Any, tmp_path: Path) -> None:
    page.get_by_role("button", name="Example: group").click()
    upload(page, ASTRONAUT)
    settled(page)
    page.wait_for_function("document.querySelectorAll('.fer-card').length === 1")
    page.wait_for_timeout(500)
    assert page.locator(".fer-card").count() == 1
    assert page.locator("[aria-pressed=true]").count() == 0


def test_a_lost_connection_is_a_message(page: Any) -> None:
    page.route("**/gradio_api/upload*", lambda route: route.abort())
    upload(page, ASTRONAUT)
    settled(page, "failed")
    assert "astronaut.jpg could not be uploaded" in page.locator(".picker-notice").inner_text()


def test_a_photo_dropped_on_the_one_shown_replaces_it(page: Any, tmp_path: Path) -> None:
    upload(page, ASTRONAUT)
    settled(page)
    two = crowd(tmp_path / "two.png", 2, 1)
    drop(page, [("two.png", "image/png", two.read_bytes())], ".photo-stage img")
    page.wait_for_function("document.querySelectorAll('.fer-card').length === 2")


def test_an_image_can_be_pasted_from_another_tab(page: Any) -> None:
    page.get_by_role("tab", name="Model").click()
    paste(page, "image.png", ASTRONAUT.read_bytes())
    page.wait_for_selector(".fer-card")
    assert page.get_by_role("tab", name="Photo").get_attribute("aria-selected") == "true"
    assert page.locator(".fer-card h3").inner_text().endswith("happy")


def test_an_image_can_be_pasted_with_the_button(page: Any) -> None:
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
    page.get_by_role("button", name="Paste").click()
    page.wait_for_selector(".fer-card")
    assert page.locator(".fer-card h3").inner_text().endswith("happy")


def test_several_photos_share_one_table(page: Any, tmp_path: Path) -> None:
    two = crowd(tmp_path / "two.png", 2, 1)
    (tmp_path / "broken.jpg").write_bytes(ASTRONAUT.read_bytes()[:9000])
    page.set_input_files("#picture input[type=file]", [ASTRONAUT, two, tmp_path / "broken.jpg"])
    settled(page)
    assert page.locator(".photo-gallery button").count() == 3
    assert page.locator(".photo:visible").count() == 1
    page.locator(".photo-gallery button").nth(1).click()
    assert page.locator(".photo:visible .fer-card").count() == 2
    assert overlaps(page) == []
    assert page.locator(".photo-table tbody tr").count() == 4
    assert "broken.jpg" in page.locator(".photo-table").inner_text()
    name, text = saved(page, "JSON")
    assert name == "photos.json"
    assert [(each["path"], len(each["faces"])) for each in json.loads(text)] == [
        ("astronaut.jpg", 1),
        ("two.png", 2),
        ("broken.jpg", 0),
    ]
    rows = list(csv.DictReader(io.StringIO(saved(page, "CSV")[1])))
    assert [row["path"] for row in rows] == ["astronaut.jpg", "two.png", "two.png", "broken.jpg"]
    assert rows[-1]["error"]


def test_photos_over_the_limit_are_named(page: Any) -> None:
    photo = ASTRONAUT.read_bytes()
    files = [(f"photo{i}.jpg", "image/jpeg", photo) for i in range(14)]
    drop(page, [*files, ("notes.txt", "text/plain", b"words")], "#results")
    settled(page)
    assert page.locator(".photo-gallery button").count() == 12
    notice = page.locator(".picker-notice").inner_text()
    assert "photo12.jpg, photo13.jpg" in notice
    assert "notes.txt" in notice


@pytest.mark.parametrize("emotion", LABELS)
def test_each_example_shows_its_emotion(page: Any, emotion: str) -> None:
    page.get_by_role("button", name=f"Example: {emotion}").focus()
    page.keyboard.press("Enter")
    settled(page)
    assert page.locator(".fer-card h3").all_inner_texts()[0].endswith(emotion)
    assert page.locator(".fer-card").count() == 1
    pressed = page.locator(".picker-examples [aria-pressed=true]")
    assert pressed.get_attribute("aria-label") == f"Example: {emotion}"
