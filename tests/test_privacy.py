"""Nothing is left of a visit, and the page contacts no other machine."""

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import clips
import psutil
import pytest
from test_faults import works
from waiting import within

from benchmarks.harness.app_server import ROOT, AppServer, serve
from benchmarks.harness.camera import CALM, film, write
from benchmarks.harness.chromium import FLAGS, INSTALL, NAMES, playing

pytestmark = pytest.mark.slow

ASTRONAUT = ROOT / "ui" / "examples" / "astronaut.jpg"
KEPT_S = 8
FAKE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
SIGNATURES = {  # of images and videos, searched for anywhere in a file
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "WebP": b"WEBPVP8",
    "MP4": b"ftypisom",
    "WebM": b"\x1a\x45\xdf\xa3",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parent of all folders that the server may write to."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[AppServer]:
    places = ("HOME", "TMPDIR", "GRADIO_TEMP_DIR", "XDG_CACHE_HOME", "HF_HOME", "MPLCONFIGDIR")
    for name in places:
        (home / name).mkdir()
    env = {name: str(home / name) for name in places} | {"DEEPFER_UPLOAD_AGE_S": str(KEPT_S)}
    with serve(home, env=env) as running:
        yield running


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


def media_files(folder: Path) -> dict[Path, bytes]:
    """The files that hold an image or a video, or a part of one."""
    return {
        path: content
        for path, content in files(folder).items()
        if any(signature in content for signature in SIGNATURES.values())
    }


@pytest.fixture(scope="module")
def visit(server: AppServer, home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A browser with a profile on disk visits three tabs: the files before and during, what it sent and received."""
    folder = tmp_path_factory.mktemp("visit")
    profile = folder / "profile"
    photo = folder / "somebody.jpg"
    shutil.copy(ASTRONAUT, photo)
    photo.write_bytes(photo.read_bytes() + b"and something that the example does not have")
    clip = clips.write(folder / "walk.webm", [f for f, _ in clips.crossing(480, 270, 40, people=1)][:10], 20, "VP80")
    write(folder / "camera.mjpeg", film(CALM))
    before = media_files(home)
    with playing() as playwright:
        path = next(filter(None, map(shutil.which, NAMES)), None)
        if isinstance(playwright, str) or path is None:
            return {"missing": playwright if isinstance(playwright, str) else f"Chromium is missing; {INSTALL}"}
        flags = [*FLAGS, *FAKE, f"--use-file-for-fake-video-capture={folder / 'camera.mjpeg'}"]
        context = playwright.chromium.launch_persistent_context(profile, executable_path=path, args=flags)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(server.url)
        page.set_input_files("#picture input[type=file]", photo)
        page.wait_for_selector(".fer-card")
        page.wait_for_selector(".photo-stage img")
        page.get_by_role("tab", name="Webcam").click()
        page.get_by_role("button", name="Start camera").click()
        page.wait_for_selector("#webcam[data-state=live][data-faces='1']")
        page.get_by_role("button", name="Stop camera").click()
        page.get_by_role("tab", name="Video").click()
        page.set_input_files("#clip input[type=file]", clip)
        page.wait_for_selector("#clip-overview section, #clip-overview [role=alert]")
        assert page.locator(".fer-person").count(), page.locator("#clip-overview").inner_text()
        page.wait_for_selector("#annotated-clip video")
        during = media_files(home)
        shown = [
            page.locator(tag).evaluate("element => element.src")
            for tag in (".photo-stage img", "#annotated-clip video")
        ]
        received = [context.request.get(address).body() for address in shown]
        stored = page.evaluate(
            """async () => ({
                local: JSON.stringify(localStorage), session: JSON.stringify(sessionStorage),
                databases: (await indexedDB.databases()).map(one => one.name),
                caches: self.caches ? await caches.keys() : [], cookies: document.cookie,
            })"""
        )
        page.wait_for_timeout(500)
        context.close()
    sent = [photo.read_bytes(), clip.read_bytes()]
    return {
        "before": before,
        "during": during,
        "sent": sent,
        "received": received,
        "stored": stored,
        "profile": profile,
    }


@pytest.fixture
def seen(visit: dict[str, Any], leave_out: Callable[[str], NoReturn]) -> dict[str, Any]:
    if "missing" in visit:
        leave_out(visit["missing"])
    return visit


def test_nothing_of_a_visit_stays_on_the_server(seen: dict[str, Any], server: AppServer, home: Path) -> None:
    assert len(set(seen["during"]) - set(seen["before"])) >= 4  # photo and clip, and both annotated
    assert within(3 * KEPT_S, lambda: set(media_files(home)) == set(seen["before"]))
    assert [path for path, content in files(home).items() if any(sent[-44:] in content for sent in seen["sent"])] == []
    log = server.log.read_text()
    assert "somebody" not in log
    assert "walk" not in log


def test_the_examples_stay(seen: dict[str, Any], server: AppServer, home: Path) -> None:
    assert [path.name for path in seen["before"] if path.suffix == ".jpg"] != []
    assert media_files(home) == seen["before"]


def test_nothing_of_a_visit_stays_in_the_browser(seen: dict[str, Any]) -> None:
    """The page stores nothing, and the browser must not cache what it receives."""
    assert len(seen["received"]) == 2
    slices = [whole[len(whole) // 2 :][:64] for whole in (*seen["received"], *seen["sent"])]
    assert all(len(part) == 64 for part in slices)
    cached = files(seen["profile"])
    assert len(cached) > 20
    assert [path for path, content in cached.items() if any(part in content for part in slices)] == []
    stored = seen["stored"]
    assert (stored["databases"], stored["caches"], stored["cookies"]) == ([], [], "")
    assert "data:image" not in stored["local"] + stored["session"]
    assert "somebody" not in stored["local"] + stored["session"]


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_nothing_is_left_when_the_server_ends(tmp_path: Path, end: str) -> None:
    """A page that ends deletes its files; the files of a killed page are deleted by the next one."""
    env = {"DEEPFER_UPLOAD_AGE_S": "1"} if end == "kill" else {}
    with serve(tmp_path, env=env) as server:
        before = media_files(tmp_path)
        with half_sent(server, ASTRONAUT.read_bytes()):  # it would be deleted as soon as the visitor leaves
            assert within(10, lambda: len(media_files(tmp_path)) > len(before))
            if end == "kill":
                server.process.kill()
                server.process.wait()
                assert len(media_files(tmp_path)) > len(before)
        if end == "kill":
            server.restart()
            assert within(40, lambda: {path.name for path in media_files(tmp_path)} == {path.name for path in before})
    assert files(tmp_path / "uploads") == {}


@contextmanager
def half_sent(server: AppServer, content: bytes) -> Iterator[None]:
    """An upload that stops after `content`."""
    port = int(server.url.rstrip("/").rsplit(":", 1)[1])
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + head + content
        )
        yield


VISIT = """
import json, sys
from pathlib import Path
from benchmarks.harness.app_server import serve
from gradio_client import Client, handle_file
if sys.argv[2] == "alone":  # bring up the loopback interface in the new network namespace
    import fcntl, socket, struct
    with socket.socket() as probe:
        fcntl.ioctl(probe, 0x8914, struct.pack("16sh22x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running
with serve(Path(sys.argv[1])) as server:
    client = Client(server.url, verbose=False, download_files=sys.argv[1])
    print(json.dumps(client.predict(handle_file("ui/examples/astronaut.jpg"), api_name="/recognize_image")[1]))
    client.close()
"""

WATCH = f"""
import os, sys
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        where = args[1] if event != "socket.getaddrinfo" else args[:2]
        name = where[0] if isinstance(where, tuple) else where
        with open({{log!r}}, "a") as log:
            print(event, name, file=log)
        if name not in (None, "", "127.0.0.1", "::1", "localhost", b"localhost", b"127.0.0.1", "0.0.0.0"):
            raise OSError({errno.ENETUNREACH}, "Network is unreachable")
sys.addaudithook(watch)
"""


def test_the_page_contacts_no_other_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs every connection of server and client, without a network if a network namespace can be created."""
    log = tmp_path / "connections"
    (tmp_path / "sitecustomize.py").write_text(WATCH.format(log=str(log)))
    alone = works("unshare", "-n", "true")
    env = dict(os.environ) | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    for name in ("HF_HUB_OFFLINE", "HF_ENDPOINT"):
        env.pop(name, None)  # nothing keeps it from trying
    done = subprocess.run(
        [*(("unshare", "-n") if alone else ()), sys.executable, "-c", VISIT, tmp_path, "alone" if alone else ""],
        capture_output=True, text=True, cwd=ROOT, env=env, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["faces"][0]["emotion"] == "happy"
    contacted = {line.split(" ", 1)[1] for line in log.read_text().splitlines()}
    assert contacted <= {"127.0.0.1", "localhost", "None", "", "0.0.0.0"}, contacted
    assert "127.0.0.1" in contacted  # the log works


def test_the_server_has_no_connection_but_its_visitors(server: AppServer, seen: dict[str, Any]) -> None:
    port = int(server.url.rstrip("/").rsplit(":", 1)[1])
    connections = psutil.Process(server.process.pid).net_connections("inet")
    assert [c for c in connections if c.laddr.port != port] == []
