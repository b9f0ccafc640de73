"""The page's languages: which one a visitor gets, and that nothing on the page stays in English."""

import pickle
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NoReturn

import httpx
import numpy as np
import pytest
from photo_page import upload

from benchmarks.harness.app_server import AppServer
from deepfer import LABELS, Face, ImageError, LimitError, read_image
from deepfer.errors import DeepFERError, VideoError
from deepfer.result import Person, Result, VideoResult
from deepfer.text import Message
from deepfer.video import Progress
from ui.catalogues import TRANSLATED, collect, forms, messages, read
from ui.comparison import Answer, comparison_html
from ui.language import LANGUAGES, _, chosen, explain, ngettext, percent, speaking, steps_in
from ui.photo_view import PhotoView, results_html
from ui.video_tab import Waiting, overview_html, people_html, progress_html, state_html

PLACEHOLDER = re.compile(r"%\(\w+\)[.\d]*[a-z]|%%|\{\w+\}")
# Names, units and formats that are the same in every language.
LATIN = re.compile(
    r"DeepFER|Gradio|NASA|MCP|Eileen Collins|Custom CNN|cnn|ResNet50V2|FER2013|FER\+|fer2013|MIT|JSON|CSV|API|GB|MB|KB|"
    r"MP4|MOV|WebM|MKV|AVI|JPEG|\bms\b|metrics\.json|CI|https?://\w*|Ctrl\+V|\bfps\b|[\w-]+\.(jpg|webm|txt|mp4)"
)
SPOKEN = ("aria-label", "alt", "title", "placeholder", "data-label")  # attributes that people hear or read
# What Gradio says in English in every language.
GRADIOS = {
    "Capture from camera",
    "Empty value",
    "File upload",
    "Gradio footer navigation",
    "More tabs",
    "Stop Recording",
    "Upload file",
    "Use via API or MCP",
}
SIX = [language for language in TRANSLATED if language not in ("ja", "zh-CN")]  # that have plurals


@pytest.mark.parametrize(
    ("asked", "accepted", "language"),
    [
        (None, None, "en"),
        (None, "", "en"),
        (None, "de", "de"),
        (None, "de-AT,de;q=0.9,en;q=0.8", "de"),
        (None, "en-US,en;q=0.9,de;q=0.8", "en"),
        (None, "de;q=0.5, fr;q=0.9", "fr"),
        (None, "nl,sv;q=0.9,es-419;q=0.3", "es"),
        (None, "nl", "en"),
        (None, "PT", "pt-BR"),
        (None, "pt-PT,en;q=0.1", "pt-BR"),
        (None, "zh-Hans-CN", "zh-CN"),
        (None, "zh", "zh-CN"),
        (None, "zh-TW,zh;q=0.9", "zh-CN"),  # they would rather read this than English
        (None, "zh-Hant-HK", "en"),
        (None, "de;q=0", "en"),
        (None, "de;q=0,en", "en"),
        (None, "*", "en"),
        (None, "ja ; q = 0.7 , en;q=0.5", "ja"),
        ("fr", "de", "fr"),
        ("en", "de", "en"),
        ("xx", "de", "de"),
        ("../de", None, "en"),
        ("DE", None, "en"),
    ],
)
def test_the_visitor_gets_a_language_that_was_asked_for(asked: str | None, accepted: str | None, language: str) -> None:
    assert chosen(asked, accepted) == language


@pytest.mark.parametrize(
    "accepted",
    [
        "de;q=nan",
        "de;q=1e9",
        "de;q=-1",
        "de;q=2",
        "de;q=0.1234",
        "../../de",
        "de\0",
        "d e",
        "de_DE",
        "<script>",
        ";q=1",
        "de;q",
        "x" * 100_000,
        ",".join(["nl"] * 20_000) + ",de",
        "-".join(["a"] * 50_000),
    ],
    ids=lambda text: text[:12],
)
def test_a_hostile_header_is_english(accepted: str) -> None:
    start = time.monotonic()
    assert chosen(accepted, accepted) == "en"
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("language", TRANSLATED)
def test_each_catalogue_has_every_message_and_no_other(language: str) -> None:
    sources = {message.id for message in messages(collect())}
    catalogue = read(language)
    found = {message.id: message for message in messages(catalogue)}
    assert len(sources) > 250
    assert sources - found.keys() == set(), "python -m ui.catalogues adds them"
    assert found.keys() - sources == set(), "python -m ui.catalogues removes them"
    for message in found.values():
        assert all(forms(message)), f"not translated: {message.id}"
        assert not message.fuzzy, message.id
        assert len(forms(message)) == (catalogue.num_plurals if message.pluralizable else 1)


@pytest.mark.parametrize("language", TRANSLATED)
def test_each_translation_has_the_placeholders_of_the_message(language: str) -> None:
    for message in messages(read(language)):
        english = [message.id] if isinstance(message.id, str) else message.id
        wanted = [Counter(PLACEHOLDER.findall(form)) for form in english]
        for form in forms(message):
            assert Counter(PLACEHOLDER.findall(form)) in wanted, form


def test_a_catalogue_lists_where_each_script_message_is_from() -> None:
    """The page sends these messages to the browser."""
    places = {message.id: {file for file, _line in message.locations} for message in messages(collect())}
    for language in TRANSLATED:
        for message in messages(read(language)):
            assert {file for file, _line in message.locations} == places[message.id], message.id


def test_numbers_have_the_form_of_the_language() -> None:
    shown = {}
    for language in LANGUAGES:
        with speaking(language):
            shown[language] = (
                ngettext("%(num)s face tracked", "%(num)s faces tracked", 1),
                ngettext("%(num)s face tracked", "%(num)s faces tracked", 3),
                percent(0.834),
                percent(0.001),
                percent(0.8342, 1),
            )
    assert shown["en"] == ("1 face tracked", "3 faces tracked", "83%", "<1%", "83.4%")
    assert shown["de"] == ("1 Gesicht erfasst", "3 Gesichter erfasst", "83\xa0%", "<1\xa0%", "83,4\xa0%")
    assert shown["pt-BR"][:2] == ("1 rosto acompanhado", "3 rostos acompanhados")
    assert shown["ja"][:2] == ("1 人の顔を追跡", "3 人の顔を追跡")
    for language in SIX:
        assert shown[language][0] != shown[language][1].replace("3", "1")


def test_an_error_is_explained_in_the_language_and_raised_in_english(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("100% not an image")
    with pytest.raises(ImageError, match=r"not an image of a supported format \(JPEG") as caught:
        read_image(tmp_path / "notes.txt")
    assert explain(caught.value) == str(caught.value)
    with speaking("de"):
        assert explain(caught.value).endswith("kein Bild in einem unterstützten Format (JPEG, PNG, WEBP, AVIF, GIF, "
                                              "BMP, DIB, TIFF, PPM, JPEG2000, HEIC) oder unvollständig")  # fmt: skip
        assert explain(LimitError("100% unknown")) == "100% unknown"
        cut = VideoError("truncated or damaged: %(read).1f of %(length).1f s could be read", read=1.27, length=9)
        assert explain(cut) == "unvollständig oder beschädigt: 1,3 von 9,0 s waren lesbar"
        assert explain(DeepFERError()) == ""
        assert explain("plain") == "plain"


def test_a_message_with_values_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(ImageError("%(name)s: the file is empty", name="100%.jpg")))
    assert str(error) == "100%.jpg: the file is empty"
    assert error.args[0].values == {"name": "100%.jpg"}


def test_each_step_of_a_handler_speaks_its_visitors_language() -> None:
    closed = []

    def steps() -> Iterator[str]:
        try:
            while True:
                yield _("Cancel")
        finally:
            closed.append(True)

    german, french = steps_in("de", steps()), steps_in("fr", steps())
    assert [next(german), next(french), next(german), _("Cancel")] == ["Abbrechen", "Annuler", "Abbrechen", "Cancel"]
    german.close()
    assert closed == [True]


class Words(HTMLParser):
    """The texts of a page and what screen readers say, without parts in another language."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.found.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in SPOKEN]


def latin(texts: list[str]) -> list[str]:
    """The texts that have Latin words, other than names and units, in a language of another script."""
    return [text.strip() for text in texts if re.search("[A-Za-z]{2,}", LATIN.sub("", text))]


def faces() -> list[Face]:
    unclear = dict.fromkeys(LABELS, 0.02) | {"neutral": 0.46, "angry": 0.44}
    return [Face((0, 0, 9, 9), probabilities=unclear), Face((0, 0, 9, 9), probabilities={"sad": 0.9, "fear": 0.1})]


def photo(name: str, found: list[Face]) -> PhotoView:
    box = dict.fromkeys(("left", "top", "width", "height"), 0)
    cards = [{"face": face, "box": box, "crop_uri": "", "map_uri": "data:"} for face in found]
    return PhotoView(Result(name, "cnn", None, "deepfer", 9, 9, found), cards=cards)


def person(**seconds: float) -> Person:
    shares = {label: seconds.get(label, 0.0) for label in LABELS}
    values = np.tile(np.array([list(shares.values())], np.float32) / sum(shares.values()), (10, 1))
    return Person(1, 0.0, 10.0, shares, dict(zip(LABELS, map(float, values[0]), strict=True)), values, 0.0, 1.0)


@pytest.mark.parametrize("language", ["hi", "ja", "zh-CN"])
def test_no_part_of_a_result_is_left_in_english(language: str, astronaut: np.ndarray) -> None:
    error = Message("%(name)s: the file is empty", name="a.txt")
    failed = PhotoView(Result("a.txt", "cnn", None, "deepfer", error=error))
    warnings = (Message("its sound could not be kept"),)
    people = [person(happy=9.0, sad=1.0), person(happy=5.0, sad=5.0), person(neutral=10.0)]
    video = VideoResult("walk.webm", "cnn", None, "deepfer", 480, 270, 10.0, 20.0, 200, people, warnings)
    empty = VideoResult("walk.webm", "cnn", None, "deepfer", 480, 270, 10.0, 20.0, 200, [])
    answers = [Answer(faces()[:1], 0.01), Answer(faces()[1:], 0.01)]
    with speaking(language):
        pages = [
            results_html([photo("a.jpg", faces())]),
            results_html([photo("a.jpg", faces() * 8)]),
            results_html([photo("a.jpg", [])]),
            results_html([failed]),
            results_html([failed, photo("a.jpg", faces()), photo("b.jpg", [])]),
            overview_html(video, "walk.webm") + people_html(video),
            overview_html(empty, "walk.webm"),
            progress_html(Progress(1.0, 10.0, 5.0)),
            progress_html(Progress(1.0, None)),
            state_html(Waiting(2)),
            comparison_html(astronaut, answers, ["cnn", "ResNet50V2"]),
            comparison_html(astronaut, [Answer([], 0.0)], ["cnn"]),
        ]
    for page in pages:
        texts = Words(page).found
        assert len(texts) > 1
        assert latin(texts) == []


def test_files_and_columns_stay_english() -> None:
    plain = results_html([photo("a.jpg", faces())])
    with speaking("de"):
        german = results_html([photo("a.jpg", faces())])
    links = r'href="(data:(?:application/json|text/csv)[^"]+)" download="([^"]+)"'
    assert re.findall(links, german) == re.findall(links, plain)
    assert len(re.findall(links, plain)) == 2


def test_the_served_page_is_in_the_language(server: AppServer | None, leave_out: Callable[[str], NoReturn]) -> None:
    if server is None:
        leave_out("Chromium")
    for language in LANGUAGES:
        page = httpx.get(server.url, headers={"accept-language": language}).text
        assert f'lang="{language}"' in page[:60]
        with speaking(language):
            assert f'content="{_("%(title)s: emotions in faces", title="DeepFER")}"' in page
        assert httpx.get(f"{server.url}?lang={language}").text == page
    for other in ("nl", "x" * 300, "de;q=nan"):
        assert 'lang="en"' in httpx.get(server.url, headers={"accept-language": other}).text[:60]
    assert "Accept-Language" in httpx.get(server.url).headers["vary"]  # so that caches keep the languages apart
    config = httpx.get(f"{server.url}config", headers={"accept-language": "de"}).json()
    assert {"Photo", "Webcam", "Video", "Model"} <= {c["props"].get("label") for c in config["components"]}
    info = httpx.get(f"{server.url}gradio_api/info", headers={"accept-language": "de"}).json()
    assert "Your photo" in str(info)


SHOWN = """() => {
    const own = (node) => node.closest("[lang]") === document.documentElement;
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const { parentElement: parent, data } = walker.currentNode;
        if (data.trim() && !parent.closest("script, style") && own(parent)) found.push(data.trim());
    }
    for (const name of ["aria-label", "alt", "title", "placeholder"])
        for (const element of document.querySelectorAll(`body [${name}]`))
            if (own(element)) found.push(element.getAttribute(name).trim());
    return found.filter(Boolean);
}"""


@contextmanager
def visiting(
    browser: Any, server: AppServer | None, leave_out: Callable[[str], NoReturn], locale: str
) -> Iterator[Any]:
    """The page as a browser of a language shows it."""
    if isinstance(browser, str):
        leave_out(browser)
    assert server
    context = browser.new_context(viewport={"width": 320, "height": 844}, locale=locale)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.goto(server.url)
    page.wait_for_selector("html[data-settled]")
    yield page
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize("language", TRANSLATED)
def test_the_whole_page_is_in_the_language(
    browser: Any, server: AppServer | None, leave_out: Callable[[str], NoReturn], language: str
) -> None:
    with visiting(browser, server, leave_out, language) as page:
        english = {message.id for message in messages(read(language)) if {message.id} != set(forms(message))}
        for tab, content in {"image": "results", "webcam": "webcam", "video": "clip", "model": "compared"}.items():
            page.click(f'[role=tab][data-tab-id="{tab}"]')
            page.wait_for_selector(f'[role=tab][data-tab-id="{tab}"][aria-selected=true]')
            page.wait_for_selector(f"#{content}")
            shown = [text for text in page.evaluate(SHOWN) if text not in GRADIOS]
            assert len(shown) > 30
            assert [text for text in shown if text in english] == []
            if language in ("hi", "ja", "zh-CN"):
                assert latin(shown) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= 320
        assert page.evaluate("document.documentElement.lang") == language
        assert page.locator(".fer-languages [aria-current]").inner_text() == LANGUAGES[language]


def test_a_visitor_changes_the_language_and_keeps_the_tab(
    browser: Any, server: AppServer | None, leave_out: Callable[[str], NoReturn], tmp_path: Path
) -> None:
    with visiting(browser, server, leave_out, "nl-NL") as page:
        assert page.evaluate("document.documentElement.lang") == "en"
        page.get_by_role("tab", name="Video").click()
        page.get_by_role("navigation", name="Language").get_by_role("link", name="Deutsch").click()
        page.wait_for_selector("html[lang=de]")
        assert page.url.endswith("?lang=de#video")
        page.wait_for_selector("[role=tab][aria-selected=true]:text('Video')")
        page.get_by_role("button", name="Beispiel: gezeichnet").click()
        page.wait_for_selector("#clip-overview h2:text('2 Gesichter erfasst')", timeout=60_000)
        assert page.locator("#clip label").first.inner_text() == "Ihr Video"
        assert not page.context.cookies()
        # What the server answers and what the scripts say is in that language, too.
        page.get_by_role("tab", name="Foto").click()
        (tmp_path / "notes.jpg").write_text("not an image")
        upload(page, tmp_path / "notes.jpg")
        page.wait_for_selector("#results h2:text('Dieses Foto konnte nicht verarbeitet werden')")
        page.get_by_role("button", name="Beispiel: Gruppe").click()
        page.wait_for_selector("#results h2:text('Gesichter')")
        (tmp_path / "notes.txt").write_text("not an image")
        upload(page, tmp_path / "notes.txt")
        page.wait_for_selector(".picker-notice:has-text('nicht als Foto öffnen')")
