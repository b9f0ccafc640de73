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
    """Chromium, or a line that says how to install it."""
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
    """The page, freshly opened; fails if it requested anything from another machine or if a script raised an error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(20_000)
    requests: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    page.wait_for_selector("#picture input[type=file]", state="attached")
    yield page
    context.close()
    assert len(requests) > 10
    assert [other for other in requests if not other.startswith((url, "data:", "blob:"))] == []
    assert errors == []


@pytest.fixture
def page(browser: Any, server: AppServer, leave_out: Callable[[str], NoReturn]) -> Iterator[Any]:
    if isinstance(browser, str):
        leave_out(browser)
    with opened(browser, server.url) as page:
        yield page


def upload(page: Any, path: Path) -> None:
    page.set_input_files("#picture input[type=file]", path)


def drop(page: Any, names_and_types: list[tuple[str, str, bytes]], onto: str) -> None:
    """Drop files onto an element, as from the visitor's desktop."""
    files = [[name, kind, base64.b64encode(content).decode()] for name, kind, content in names_and_types]
    page.evaluate(
        """([files, onto]) => {
            const data = new DataTransfer();
            for (const [name, type, content] of files) {
                const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
                data.items.add(new File([bytes], name, { type }));
            }
            const options = { dataTransfer: data, bubbles: true, cancelable: true };
            document.querySelector(onto).dispatchEvent(new DragEvent("drop", options));
        }""",
        [files, onto],
    )


def paste(page: Any, name: str, content: bytes) -> None:
    """Press Ctrl+V with a JPEG on the clipboard, with nothing focused."""
    page.evaluate(
        """([name, content]) => {
            const data = new DataTransfer();
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            data.items.add(new File([bytes], name, { type: "image/jpeg" }));
            const options = { clipboardData: data, bubbles: true, cancelable: true };
            document.body.dispatchEvent(new ClipboardEvent("paste", options));
        }""",
        [name, base64.b64encode(content).decode()],
    )


def settled(page: Any, state: str = "done") -> None:
    page.wait_for_selector(f".picker[data-state={state}]")


def crowd(path: Path, columns: int, rows: int) -> Path:
    """Write a photo with a grid of the astronaut's face."""
    from PIL import Image

    head = Image.open(ASTRONAUT).crop((130, 20, 320, 270)).resize((114, 150))
    sheet = Image.new("RGB", (114 * columns, 150 * rows), "gray")
    for index in range(columns * rows):
        sheet.paste(head, (index % columns * 114, index // columns * 150))
    sheet.save(path)
    return path


def overlaps(page: Any) -> list[str]:
    """The pairs of labels on the photo that cover each other."""
    return page.evaluate(
        """() => {
            const shown = [...document.querySelectorAll(".photo:not([hidden]) .photo-label")];
            const rects = shown.map((label) => [label.innerText, label.getBoundingClientRect()]);
            const apart = (a, b) => a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 1
                || b.bottom <= a.top + 1;
            return rects.flatMap(([one, a], i) => rects.slice(i + 1).filter(([, b]) => !apart(a, b))
                .map(([other]) => `${one} / ${other}`));
        }"""
    )


def saved(page: Any, link: str) -> tuple[str, str]:
    """The (name, text) of the file that a link saves."""
    with page.expect_download() as download:
        page.get_by_role("link", name=link).click()
    return download.value.suggested_filename, Path(download.value.path()).read_text(encoding="utf-8")


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


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("notes.txt", "text/plain", "not an image"),
        ("paper.pdf", "application/pdf", "not an image"),
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
    assert "astronaut.jpg could not be sent" in page.locator(".picker-notice").inner_text()


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
