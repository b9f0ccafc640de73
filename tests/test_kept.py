"""Visitors' files: their size, number and age, and who can read or delete them."""

import os
import signal
import socket
import stat
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from waiting import within

from benchmarks.harness.app_server import ROOT, AppServer, serve
from ui import folder as module
from ui.folder import clean, entries
from ui.usage import BLOCK_BYTES, StorageFull, Usage

pytestmark = pytest.mark.slow

ASTRONAUT = ROOT / "ui" / "examples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    with serve(tmp_path_factory.mktemp("app"), env={"DEEPFER_MAX_KEPT_FILES": "1000000"}) as running:
        yield running


@pytest.fixture
def files(server: AppServer) -> Path:
    """The folder that the server writes uploads to."""
    return folder_of(server.log.parent / "uploads") / "files"


def upload(server: AppServer, *contents: bytes, **fields: str) -> httpx.Response:
    parts = [("files", (f"{i}.jpg", content)) for i, content in enumerate(contents)]
    return httpx.post(f"{server.url}gradio_api/upload", files=parts, data=fields, timeout=60)


def folder_of(parent: Path) -> Path:
    (folder,) = parent.glob("deepfer-page-*")
    return folder


def used(folder: Path) -> tuple[int, int]:
    """Bytes on the disk, and the number of files and folders."""
    paths = list(folder.rglob("*"))
    return sum(512 * path.lstat().st_blocks for path in paths), len(paths)


def test_small_files_count_as_whole_blocks(tmp_path: Path) -> None:
    """Each file of 12 bytes takes a block, and its folder another."""
    with serve(tmp_path, env={"DEEPFER_MAX_KEPT_BYTES": "2000000"}) as server:
        statuses = [upload(server, b"%012d" % i).status_code for i in range(300)]
        assert set(statuses) == {200, 507}
        assert statuses.index(507) > 100
        # The folder around them grows, too; that counts from the next measurement on.
        assert used(folder_of(tmp_path / "uploads"))[0] <= 2_000_000 + 3 * BLOCK_BYTES
        assert "storage is full" in upload(server, b"one more").text
        assert "Traceback" not in server.log.read_text()


def test_results_and_uploads_are_limited_in_number(tmp_path: Path) -> None:
    """One upload can be recognized many times, and each result is a file."""
    with serve(tmp_path, env={"DEEPFER_MAX_KEPT_FILES": "40"}) as server:
        client = Client(server.url, verbose=False, download_files=tmp_path / "client")
        path = upload(server, ASTRONAUT.read_bytes()).json()[0]
        photo = {"path": path, "meta": {"_type": "gradio.FileData"}}
        # Either the upload or the result reaches the limit first.
        with pytest.raises((AppError, httpx.HTTPStatusError), match=r"storage is full|507"):  # noqa: PT012
            for _ in range(40):
                client.predict(photo, api_name="/recognize_image")
        client.close()
        assert upload(server, b"one more").status_code == 507
        # A file that is sent again counts twice until the folder is measured, a few seconds later.
        assert 15 < used(folder_of(tmp_path / "uploads"))[1] <= 40


def test_a_request_has_a_few_files_and_nothing_else(server: AppServer, files: Path) -> None:
    before = used(files)
    assert upload(server, *(b"%d" % i for i in range(9))).status_code == 400
    assert upload(server, b"a file", field="x" * 1_000_000).status_code == 400
    assert used(files) == before
    assert upload(server, *(b"%d" % i for i in range(8))).status_code == 200


def test_an_interrupted_upload_is_deleted_at_once(server: AppServer, files: Path) -> None:
    before = used(files)
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port)) as connection:
        connection.sendall(
            b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + head + b"x" * 100_000
        )
        assert within(5, lambda: used(files)[1] > before[1])
    assert within(5, lambda: used(files) == before)


def test_an_upload_does_not_walk_the_folder(server: AppServer, files: Path) -> None:
    for i in range(100):
        (files / str(i)).mkdir()
        for j in range(100):
            (files / str(i) / str(j)).touch()
    start = time.perf_counter()
    assert used(files)[1] > 10_000
    walk_s = time.perf_counter() - start
    times = [upload(server, b"%d" % i).elapsed.total_seconds() for i in range(15)]
    assert statistics.median(times) < walk_s / 3


def test_a_recreated_folder_is_private(server: AppServer, files: Path) -> None:
    """The system may clean up its temporary folder; then Gradio creates the page's folder again."""
    folder = files.parent
    os.rename(folder, server.log.parent / "gone")
    assert upload(server, b"a photo").status_code == 200
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, files)} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in folder.rglob("*")} == {0}


def test_the_total_follows_what_is_added_and_measured() -> None:
    usage = Usage(max_bytes=10 * BLOCK_BYTES, max_files=6)
    usage.add(BLOCK_BYTES, files=1)
    before = usage.added
    usage.add(2 * BLOCK_BYTES)  # while the measurement runs
    usage.measure(BLOCK_BYTES, 1, before)
    assert (usage.measured, usage.added) == ((BLOCK_BYTES, 1), (2 * BLOCK_BYTES, 0))
    usage.add(3 * BLOCK_BYTES, files=2)
    with pytest.raises(StorageFull):
        usage.add(1)
    with pytest.raises(StorageFull):
        usage.add(files=1)
    usage.measure(0, 6, usage.added)
    usage.add()  # creates no file
    with pytest.raises(StorageFull):
        usage.add(files=1)


def test_a_crowded_folder_loses_its_oldest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CROWDED_AGE_S", 0.3)

    def write(names: str) -> None:
        for name in names:
            (tmp_path / name).mkdir()
            (tmp_path / name / "file").write_bytes(b"x")
            time.sleep(0.02)

    def left() -> str:
        return "".join(sorted(path.parent.name for path in tmp_path.glob("*/file")))

    usage = Usage(max_files=20)
    write("sabcd")
    spared = {str(tmp_path / "s"), str(tmp_path / "s" / "file")}
    time.sleep(0.4)
    clean(tmp_path, spared, usage)
    assert left() == "abcds"  # 10 of 20 is not crowded
    write("efg")
    clean(tmp_path, spared, usage)
    assert left() == "defgs"
    assert usage.measured[1] == 10 == len(list(entries(tmp_path)))
    write("hijk")
    clean(tmp_path, spared, usage)
    assert left() == "efghijks"  # the others are too young
    monkeypatch.setattr(module, "UPLOAD_AGE_S", 0.0)
    time.sleep(0.1)
    clean(tmp_path, spared, usage)
    assert left() == "s"


def recognizes(server: AppServer, downloads: Path) -> bool:
    """Whether the page finds the astronaut's face; a connection that is reset while it wakes up does not count."""
    try:
        client = Client(server.url, verbose=False, download_files=downloads)
    except httpx.TransportError:
        return False
    faces = client.predict(handle_file(ASTRONAUT), api_name="/recognize_image")[1]["faces"]
    client.close()
    return bool(faces)


def test_a_page_that_sleeps_keeps_its_folder(tmp_path: Path) -> None:
    """A stopped process stands for a sleeping machine. Only a killed page loses its folder."""
    env = {"GRADIO_TEMP_DIR": str(tmp_path / "both"), "DEEPFER_UPLOAD_AGE_S": "8"}
    for name in ("asleep", "awake"):
        (tmp_path / name).mkdir()
    with serve(tmp_path / "asleep", env=env) as asleep:
        folder = folder_of(tmp_path / "both")
        asleep.process.send_signal(signal.SIGSTOP)
        with serve(tmp_path / "awake", env=env):
            time.sleep(18)  # it cleans up every 5 s; this is enough for two passes after the files are old
            assert folder.is_dir()
            asleep.process.send_signal(signal.SIGCONT)
            assert within(90, lambda: recognizes(asleep, tmp_path / "client")), asleep.log.read_text()
            asleep.process.kill()
            asleep.process.wait()
            assert within(15, lambda: not folder.exists())


def test_another_users_gradio_folder_is_not_needed(tmp_path: Path) -> None:
    (tmp_path / "gradio").touch()  # nobody, not even root, can make a folder here
    env: dict[str, Any] = {"TMPDIR": str(tmp_path), "GRADIO_TEMP_DIR": ""}
    with serve(tmp_path, env=env) as server:
        assert upload(server, b"a photo").status_code == 200
        assert folder_of(tmp_path).is_dir()
