"""What a visitor does in the photo tab, in a real Chromium."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness.app_server import ROOT

ASTRONAUT = ROOT / "ui" / "examples" / "astronaut.jpg"


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
