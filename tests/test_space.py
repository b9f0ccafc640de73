"""The page as a Space: pushed to the loopback Hub, taken from it into an empty folder, and run there."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from hub_server import TOKEN, HubServer

from benchmarks.harness.app_server import ROOT, serve
from deepfer.checkpoint import CONFIG, DEFAULT, EMBEDDED, MODEL
from training import space
from training.publish import CARD, PublishError

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # as in test_publish

REPO = "user/page"


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def test_a_space_runs_on_what_was_pushed_and_serves_a_published_checkpoint(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert space.main(["--repo", REPO]) == 0
    checkpoint = {name: (EMBEDDED / DEFAULT / name).read_bytes() for name in (CONFIG, MODEL)}
    pinned = hub.commit("user/faces", checkpoint)
    hub.commit("user/faces", {**checkpoint, CONFIG: b"what came later"})

    folder = tmp_path / "space"
    client = Path(sys.executable).with_name("hf")
    subprocess.run(
        [client, "download", REPO, "--repo-type", "space", "--local-dir", folder], check=True, capture_output=True
    )
    where = subprocess.run(
        [sys.executable, "-c", "import deepfer; print(deepfer.__file__)"], cwd=folder, capture_output=True, text=True
    )
    assert Path(where.stdout.strip()).is_relative_to(folder), where.stderr
    settings = {"DEEPFER_MODEL": "user/faces", "DEEPFER_REVISION": pinned}
    monkeypatch.setattr("benchmarks.harness.app_server.ROOT", folder)
    with serve(tmp_path, env=settings) as server:
        page = Client(server.url, verbose=False, download_files=tmp_path)
        _, found = page.predict(
            handle_file(folder / "ui" / "examples" / "astronaut.jpg"), api_name="/recognize_image"
        )  # fmt: skip
        page.close()
    assert (found["model"], found["revision"]) == ("user/faces", pinned)
    assert [face["emotion"] for face in found["faces"]] == ["happy"]


def test_it_holds_what_a_space_needs_and_nothing_else(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert space.main(["--repo", REPO, "--private"]) == 0
    assert hub.repos[f"spaces/{REPO}"].private
    held = hub.files(f"spaces/{REPO}")
    tops = {name.split("/")[0] for name in held}
    assert tops == {".gitattributes", "app.py", "ui", "deepfer", "requirements.txt", CARD, "LICENSE", "docs"}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    if tracked:
        assert not {name for name in held if name != ".gitattributes"} - {*tracked, *untracked()}
    assert not [name for name in held if "__pycache__" in name]
    assert {name for name in held if name.startswith("docs/")} == {
        name for name in space.PICTURE.findall((ROOT / CARD).read_text())
    }
    commit = hub.repos[f"spaces/{REPO}"].refs["main"]
    said = capsys.readouterr().out
    assert f"{hub.url}/spaces/{REPO}\ncommit {commit}" in said
    assert "DEEPFER_MODEL" in said

    hub.commit(f"spaces/{REPO}", {**held, "ui/old_tab.py": b"", "notes.md": b"added on the Hub"})
    assert space.main(["--repo", REPO]) == 0
    assert set(hub.files(f"spaces/{REPO}")) == {*held, "notes.md"}
    commit = hub.repos[f"spaces/{REPO}"].refs["main"]
    assert space.main(["--repo", REPO]) == 0
    assert hub.repos[f"spaces/{REPO}"].refs["main"] == commit


def untracked() -> list[str]:
    """What is new in this checkout and not ignored."""
    asked = ["git", "ls-files", "--others", "--exclude-standard"]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()


def test_a_dry_run_asks_nobody(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert space.main(["--repo", REPO, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "  app.py " in said
    assert "sdk: gradio" in said
    assert hub.requests == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda h: h.update(colour="red"), "a Space knows no 'colour'"),
        (lambda h: h.update(colorFrom="orange"), "colorFrom: 'orange' is none of red"),
        (lambda h: h.update(short_description="x" * 61), "short_description: .* has over 60 characters"),
        (lambda h: h.update(sdk_version="6.30.0"), "sdk_version: '6.30.0' is not the gradio here"),
        (lambda h: h.update(sdk_version="5.0.0"), "sdk_version: '5.0.0' is not what requirements.txt asks for"),
        (lambda h: h.update(python_version=3.1), "python_version: 3.1 should be the text"),
        (lambda h: h.update(app_file="main.py"), "app_file: 'main.py' is none of the files"),
        (lambda h: h.update(suggested_hardware="t4-small"), "suggested_hardware: 't4-small' is not the free"),
        (lambda h: h.pop("license"), "license: None is missing"),
        (lambda h: h.update(sdk="static"), "sdk: 'static' should be gradio"),
    ],
)
def test_a_header_that_a_space_would_not_take_is_told(change: Callable[[dict[str, Any]], Any], said: str) -> None:
    header = space.front_matter((ROOT / CARD).read_text())
    requirements = (ROOT / space.REQUIREMENTS).read_text()
    assert space.faults(header, requirements, {"app.py": b""}) == []
    change(header)
    found = space.faults(header, requirements, {"app.py": b""})
    assert any(re.search(said, fault) for fault in found), found


@pytest.mark.parametrize("readme", ["# No header", "---\na: [\n---\n", "---\n- a list\n---\n"])
def test_a_readme_without_a_header_is_told(readme: str) -> None:
    with pytest.raises(PublishError, match="header"):
        space.front_matter(readme)
