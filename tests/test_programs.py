"""Programs that call the page: those in docs/programs.md and on Gradio's page "Use via API" run as they are printed."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from benchmarks.harness.app_server import ROOT, AppServer, serve

pytestmark = pytest.mark.slow

DOC = (ROOT / "docs" / "programs.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:7860"
PRINTED = re.compile(r"```(python|js|sh)\n(.*?)```(?:\n\n```\n(.*?)```)?", re.DOTALL)
PROGRAMS = [found for found in PRINTED.findall(DOC) if ADDRESS in found[1]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    with serve(tmp_path_factory.mktemp("app")) as running:
        yield running


@pytest.fixture
def run(tmp_path: Path, leave_out: Callable[[str], NoReturn]) -> Callable[[str, str], str]:
    """Run a program in a language and return what it prints."""

    def output(language: str, program: str) -> str:
        file = tmp_path / {"python": "program.py", "js": "program.mjs", "sh": "program.sh"}[language]
        file.write_text(program, encoding="utf-8")
        command: list[Any] = [{"python": sys.executable, "js": shutil.which("node"), "sh": "sh"}[language], file.name]
        if language == "js":
            modules = ROOT / "node_modules"
            if not command[0] or not (modules / "@gradio" / "client").is_dir():
                leave_out("the programs in JavaScript: need Node.js 20 and `npm ci`")
            (tmp_path / "node_modules").symlink_to(modules)
        if language == "sh" and not shutil.which("curl"):
            leave_out("the programs with curl: install curl")
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return output


@pytest.mark.parametrize(("language", "program", "prints"), PROGRAMS, ids=[program[0] for program in PROGRAMS])
def test_the_documented_programs_run_as_printed(
    server: AppServer, run: Callable[[str, str], str], language: str, program: str, prints: str
) -> None:
    output = run(language, program.replace(ADDRESS, server.url.rstrip("/")))
    if prints:
        assert output == prints
    elif language == "python":  # the video
        assert "s done\n" in output
        assert output.splitlines()[-1] == "2 happy 8 s"
    else:
        assert "event: complete\ndata: [" in output
        assert '"emotion": "happy"' in output


def test_every_language_has_a_program() -> None:
    assert {language for language, _, _ in PROGRAMS} == {"python", "js", "sh"}
    assert "`2 happy 8 s`" in DOC


def test_the_api_page_shows_programs_that_run(page: Any, server: AppServer, run: Callable[[str, str], str]) -> None:
    """In the browser, whatever address the visitor used. `server` is that of the page here."""
    page.get_by_role("button", name="Use via API").click()
    for name, language in (("Python", "python"), ("JavaScript", "js"), ("cURL", "sh")):
        page.locator(".api-docs .snippet").filter(has_text=name).first.click()
        shown = page.locator(".api-docs pre:visible", has_text="recognize_image").first
        shown.wait_for()
        program = shown.inner_text()
        assert f"{server.url}examples/astronaut.jpg" in program
        assert "github" not in "".join(page.locator(".api-docs pre:visible").all_inner_texts())
        # Node.js prints nested objects as [Object].
        assert "happy" in run(language, program.replace("log(result.data)", "log(result.data[1].faces)"))
    shown = page.locator(".api-docs pre:visible", has_text="recognize_video").first
    assert f"{server.url}examples/drawn.mp4" in shown.inner_text()


def test_only_urls_of_this_page_are_taken(server: AppServer) -> None:
    """As the path of the file that they name, without a request. Nothing else is read."""
    client = Client(server.url, verbose=False)

    def send(url: str) -> str:
        return client.predict(handle_file(url), api_name="/recognize_image")[1]["faces"][0]["emotion"]

    photo = (ROOT / "ui" / "examples" / "astronaut.jpg").read_bytes()
    files = {"files": ("a b%20é.jpg", photo)}
    (path,) = httpx.post(f"{server.url}gradio_api/upload", files=files, timeout=60).json()
    assert send(f"{server.url}examples/astronaut.jpg") == "happy"
    assert send(f"{server.url}gradio_api/file={quote(path)}") == "happy"
    elsewhere = server.url.replace("127.0.0.1", "127.0.0.2")
    for url in (
        f"{elsewhere}examples/astronaut.jpg",
        f"{elsewhere}gradio_api/file={path}",
        f"{server.url}examples/group.jpg",
        f"{server.url}examples/../../LICENSE",
        f"{server.url}gradio_api/file=/etc/hostname",
        f"{server.url}gradio_api/file={Path(path).parent}/../../../../../etc/hostname",
        f"{server.url}gradio_api/file=%2Fetc%2Fhostname",
        f"{server.url}favicon.ico",
    ):
        with pytest.raises((AppError, httpx.HTTPStatusError, ValueError)):
            send(url)
    client.close()
    assert "Traceback" not in server.log.read_text()
