"""The page in axe-core, which looks for barriers to people with disabilities, in each tab's main states."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from photo_page import ASTRONAUT, upload

from benchmarks.harness.app_server import ROOT, AppServer

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
# Of Gradio's own elements, which we cannot change: rule to the start of the element's HTML.
GRADIOS = {
    "aria-prohibited-attr": '<div aria-label="Empty value" class="empty',  # an image component without an image
}

pytestmark = pytest.mark.slow


@pytest.fixture(params=[("light", 1440), ("dark", 1440), ("light", 390), ("dark", 390)], ids="{0[0]}-{0[1]}".format)
def page(
    request: pytest.FixtureRequest,
    browser: Any,
    server: AppServer,
    leave_out: Callable[[str], NoReturn],
) -> Iterator[Any]:
    if isinstance(browser, str):
        leave_out(browser)
    if not AXE.is_file():
        leave_out("axe-core: `npm ci` installs it")
    scheme, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.goto(server.url)
    page.wait_for_selector("#picture input[type=file]", state="attached")
    page.evaluate("script => { (0, eval)(script); }", AXE.read_text(encoding="utf-8"))
    yield page
    context.close()


def violations(page: Any) -> list[str]:
    """What axe-core finds wrong with what is visible now, as "rule: element"."""
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [
        f"{rule['id']}: {node['html'][:200]}"
        for rule in found
        for node in rule["nodes"]
        if not (rule["id"] in GRADIOS and node["html"].startswith(GRADIOS[rule["id"]]))
    ]


def opened(page: Any, tab: str) -> None:
    page.get_by_role("tab", name=tab).click()
    page.wait_for_timeout(300)


def test_axe_finds_a_barrier_where_there_is_one(page: Any) -> None:
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"icon-192.png\">')")
    assert [each for each in violations(page) if each.startswith("image-alt")]


def test_no_barrier_on_the_photo_tab(page: Any, tmp_path: Path) -> None:
    assert violations(page) == []
    upload(page, ASTRONAUT)
    page.wait_for_selector(".fer-card")
    assert violations(page) == []


def test_no_barrier_on_the_other_tabs(page: Any) -> None:
    for tab in ("Webcam", "Video"):
        opened(page, tab)
        assert violations(page) == [], tab


def test_no_barrier_on_the_model_tab(page: Any) -> None:
    opened(page, "Model")
    page.get_by_role("button", name="Use the astronaut example").click()
    page.wait_for_selector(".fer-compared")
    page.get_by_role("button", name="Custom CNN: model card").click()
    page.get_by_text("48x48 grayscale image").wait_for()
    assert violations(page) == []
