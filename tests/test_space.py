"""The page as a Space: pushed to the loopback Hub, taken from it into an empty folder, and run there."""

import subprocess
import sys
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from hub_server import TOKEN, HubServer

from benchmarks.harness.app_server import ROOT, serve
from deepfer.checkpoint import CONFIG, DEFAULT, EMBEDDED, MODEL
from training import space
from training.exceptions import PublishError
from training.hub.push import CARD

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # as in test_publish
]

REPO = "user/page"


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def test_a_space_serves_a_published_checkpoint(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_space_has_only_the_files_it_needs(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
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
        name for name in space.IMAGE.findall((ROOT / CARD).read_text())
    }
    address = space.front_matter(held[CARD].decode())["thumbnail"]
    assert address == f"{hub.url}/spaces/{REPO}/resolve/main/{space.THUMBNAIL}"
    assert held[space.THUMBNAIL] == (ROOT / space.THUMBNAIL).read_bytes()
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


def test_a_dry_run_sends_nothing(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert space.main(["--repo", REPO, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "  app.py " in said
    assert "sdk: gradio" in said
    assert hub.requests == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"sdk": "static"}, "sdk: 'static' should be gradio"),
        ({"sdk_version": "5.0.0"}, "sdk_version: '5.0.0' is not the installed gradio"),
        ({"app_file": "main.py"}, "app_file: 'main.py' is not one of the files"),
    ],
)
def test_headers_that_do_not_fit_a_space_are_refused(change: dict[str, str], fault: str) -> None:
    header = space.front_matter((ROOT / CARD).read_text())
    assert space.faults(header, {"app.py": b""}) == []
    (found,) = space.faults({**header, **change}, {"app.py": b""})
    assert found.startswith(fault)


@pytest.mark.parametrize("readme", ["# No header", "---\na: [\n---\n", "---\n- a list\n---\n"])
def test_a_readme_without_a_header_is_refused(readme: str) -> None:
    with pytest.raises(PublishError, match="header"):
        space.front_matter(readme)
