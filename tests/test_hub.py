"""Checkpoints from the Hub, through the real client and the loopback Hub."""

import json
import os
import pty
import re
import resource
import select
import shutil
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from hub_server import READ_TOKEN, TOKEN, HubServer, black_hole

from deepfer import CheckpointError, DetectorError, EmotionRecognizer, HubError, load_detector
from deepfer.checkpoint import CONFIG, DEFAULT, EMBEDDED, MODEL, resolve
from deepfer.detection import YUNET_FILE, YUNET_REPO
from deepfer.hub import download
from deepfer.limits import MAX_MODEL_BYTES

REPO = "user/faces"
RESOLVE = f"from deepfer.checkpoint import resolve; print(resolve({REPO!r}).revision)"
MODEL_BYTES = (EMBEDDED / DEFAULT / MODEL).read_bytes()


def files() -> dict[str, bytes]:
    served = {name: (EMBEDDED / DEFAULT / name).read_bytes() for name in (CONFIG, MODEL)}
    return {**served, "README.md": b"a card", "model.keras": bytes(1000)}


def python(code: str, **environment: str) -> list[str]:
    """The output of `code` in a separate Python."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def error_of(code: str, **environment: str) -> str:
    """The one-line message of the `DeepFERError` that `code` raises in a separate Python."""
    caught = f"import deepfer\ntry:\n    {code}\nexcept deepfer.DeepFERError as error:\n    print(error)"
    (line,) = python(caught, **environment)
    return line


def in_cache() -> list[Path]:
    """All cached files."""
    return sorted(Path(os.environ["HF_HOME"], "hub").glob("models--*/snapshots/*/*"))


def unfinished(folder: Path) -> int:
    """The size of the largest incomplete file."""
    sizes = [0]
    for path in folder.glob("*.incomplete"):
        with suppress(FileNotFoundError):  # it has just been completed
            sizes.append(path.stat().st_size)
    return max(sizes)


@pytest.fixture
def impatient(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A shorter timeout, to save time."""
    monkeypatch.setattr("deepfer.hub.HUB_TIMEOUT_S", 1.5)
    yield
    hub.reset()
    for thread in threading.enumerate():
        if thread.name == "deepfer-hub":  # abandoned, it ends once the Hub answers again
            thread.join(60)


# --- what is there ----------------------------------------------------------------------------------------------------


def test_only_served_files_are_downloaded_at_a_known_commit(hub: HubServer, astronaut: np.ndarray) -> None:
    commit = hub.commit(REPO, files())
    recognizer = EmotionRecognizer.from_pretrained(REPO)
    assert (recognizer.model_name, recognizer.revision) == (REPO, commit)
    folder = recognizer.classifier.checkpoint.folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: files()[name] for name in (CONFIG, MODEL)
    }
    assert recognizer.recognize(astronaut)[0].emotion == "happy"


def test_a_cached_pinned_commit_needs_no_network(hub: HubServer) -> None:
    commit = hub.commit(REPO, files())
    first = resolve(REPO)
    hub.requests.clear()
    again = resolve(REPO, revision=commit)
    assert again.folder == first.folder
    assert resolve(REPO, local_files_only=True).folder == first.folder
    assert python(RESOLVE, HF_HUB_OFFLINE="1") == [commit]
    assert hub.requests == []


def test_branches_tags_and_older_commits(hub: HubServer) -> None:
    old = hub.commit(REPO, files())
    new = hub.commit(REPO, {**files(), "more": b"1"})
    side = hub.commit(REPO, {**files(), "more": b"2"}, "feature/x")
    hub.repos[REPO].tags["v1.0"] = old
    assert resolve(REPO).revision == new
    for revision, commit in {old: old, "v1.0": old, "main": new, "feature/x": side}.items():
        assert resolve(REPO, revision=revision).revision == commit
        assert resolve(REPO, revision=revision, local_files_only=True).revision == commit


def test_both_files_come_from_one_commit_though_main_moves(hub: HubServer) -> None:
    commit = hub.commit(REPO, files())
    hub.fail(f"GET.*{CONFIG}", before=lambda: hub.commit(REPO, {CONFIG: b"{}", MODEL: b"another"}))
    assert resolve(REPO).revision == commit
    assert hub.repos[REPO].refs["main"] != commit


def test_a_private_repo_opens_with_a_token(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.reset({REPO: files()}, private=[REPO])
    with pytest.raises(HubError, match=r"no model repo user/faces.*private.*hf auth login"):
        resolve(REPO)
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    with pytest.raises(HubError, match=r"does not accept the token.*hf auth login"):
        resolve(REPO)
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    assert resolve(REPO).revision in hub.repos[REPO].commits


def test_the_token_of_hf_auth_login_is_used(hub: HubServer, tmp_path: Path) -> None:
    hub.reset({REPO: files()}, private=[REPO])
    home = {"HF_HOME": str(tmp_path)}
    client = Path(sys.executable).with_name("hf")
    subprocess.run(
        [client, "auth", "login", "--token", TOKEN], env={**os.environ, **home}, check=True, capture_output=True
    )
    assert python(RESOLVE, **home) == [hub.repos[REPO].refs["main"]]


def test_embedded_models_do_not_load_the_client() -> None:
    code = (
        "import sys, deepfer; deepfer.EmotionRecognizer.from_pretrained()\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'huggingface_hub', 'httpx2', 'tqdm'}))"
    )
    assert python(code) == ["[]"]


def test_the_command_line_prints_the_commit(hub: HubServer) -> None:
    commit = hub.commit(REPO, files())
    done = subprocess.run(
        [sys.executable, "-m", "deepfer", "--model", REPO, "ui/examples/astronaut.jpg"],
        capture_output=True, text=True, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0
    assert f"{REPO} at commit {commit}" in done.stderr
    assert "Traceback" not in done.stderr
    assert "%|" not in done.stderr  # a bar is for a terminal


def on_a_terminal(code: str, **environment: str) -> tuple[int, str]:
    """Run `code` in a separate Python on a terminal; returns its exit status and output."""
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    everything = {**os.environ, **environment}
    del everything["HF_HUB_DISABLE_PROGRESS_BARS"]
    process = subprocess.Popen([sys.executable, "-c", code], env=everything, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = b""
    while select.select([screen], [], [], 60)[0]:
        try:
            shown += os.read(screen, 65536)
        except OSError:  # the program has ended
            break
    os.close(screen)
    return process.wait(60), shown.decode()


def test_a_terminal_shows_a_progress_bar(hub: HubServer) -> None:
    hub.commit(REPO, files())
    hub.fail(f"GET.*{MODEL}", then="trickle", after=200_000)
    status, shown = on_a_terminal(RESOLVE)
    assert status == 0, shown
    shares = {int(share) for share in re.findall(rf"{MODEL}: +(\d+)%\|", shown)}
    assert 100 in shares
    assert len(shares) > 2


def test_messages_start_on_a_new_line_after_the_bar(hub: HubServer) -> None:
    hub.commit(REPO, files())
    hub.fail(f"GET.*{MODEL}", then="stall", after=800_000)
    code = f"import deepfer.checkpoint as c\ntry: c.resolve({REPO!r})\nexcept c.CheckpointError.__base__ as e: print(e)"
    status, shown = on_a_terminal(code, HF_HUB_ETAG_TIMEOUT="2")
    assert status == 0, shown
    assert re.search(rf"{MODEL}: +\d+%\|[^\n]*\nthe Hub at {hub.url} does not answer: no data for 2 s", shown)


# --- what is not there ------------------------------------------------------------------------------------------------


def test_missing_repos_and_files_are_reported_in_one_line(hub: HubServer) -> None:
    with pytest.raises(HubError, match=r"no model repo user/nothing.*hf auth login"):
        resolve("user/nothing")
    commit = hub.commit(REPO, files())
    with pytest.raises(HubError, match=r"no revision 'v9'"):
        resolve(REPO, revision="v9")
    with pytest.raises(HubError, match=r"not in the local cache.*allow"):
        resolve(REPO, local_files_only=True)
    with pytest.raises(HubError, match=f"{REPO}@{commit[:8]} contains no another.file"):
        download(REPO, [CONFIG, "another.file"])
    assert "HF_HUB_OFFLINE is set" in error_of(RESOLVE, HF_HUB_OFFLINE="1")
    hub.repos[REPO].gated = True
    with pytest.raises(HubError, match=r"gated: ask for access"):
        resolve(REPO)
    with pytest.raises(HubError, match=r"not a valid repo name"):
        resolve("user/a..b")
    assert in_cache() == []


@pytest.mark.parametrize("names", [("model.keras",), ("model.h5", CONFIG), ("model.pkl", "pytorch_model.bin")])
def test_a_repo_without_a_litert_file_is_refused_with_advice(hub: HubServer, names: tuple[str, ...]) -> None:
    hub.commit(REPO, {name: b"code may hide in here" for name in names})
    with pytest.raises(HubError, match=rf"no (config.json and no )?{MODEL}.*your own.*training.export --keras"):
        resolve(REPO)
    assert not [request for request in hub.requests if "resolve" in request]
    assert in_cache() == []


def test_a_newer_format_is_reported_before_its_fields(hub: HubServer) -> None:
    hub.commit(REPO, {**files(), CONFIG: b'{"format_version": 2}'})
    with pytest.raises(CheckpointError, match=r"format_version 2.*update deepfer"):
        resolve(REPO)


# --- what goes wrong on the way ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "times"), [("cut", 2), ("reset", 1)])
def test_an_interrupted_download_is_continued(hub: HubServer, how: str, times: int) -> None:
    hub.commit(REPO, files())
    hub.fail(f"GET.*{MODEL}", then=how, after=400_000, times=times)
    assert resolve(REPO).model_file.read_bytes() == MODEL_BYTES
    assert len([request for request in hub.requests if request.startswith("GET") and MODEL in request]) == times + 1


@pytest.mark.usefixtures("impatient")
def test_a_download_that_never_succeeds_leaves_no_files(hub: HubServer) -> None:
    hub.commit(REPO, files())
    hub.fail(f"GET.*{MODEL}", then="cut", times=99)
    with pytest.raises(HubError, match=r"no data for 1.5 s"):
        resolve(REPO)
    assert [path.name for path in in_cache()] == [CONFIG]


def test_a_killed_download_leaves_no_partial_file(hub: HubServer) -> None:
    hub.commit(REPO, files())
    hub.fail(f"GET.*{MODEL}", then="stall", after=800_000)
    process = subprocess.Popen([sys.executable, "-c", RESOLVE], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    blobs, deadline = Path(os.environ["HF_HOME"], "hub", "models--user--faces", "blobs"), time.monotonic() + 60
    while unfinished(blobs) <= 500_000:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert [path.name for path in in_cache()] == [CONFIG]
    assert resolve(REPO).model_file.read_bytes() == MODEL_BYTES


@pytest.mark.slow
@pytest.mark.alone
def test_an_unreachable_hub_is_reported_within_15_seconds(hub: HubServer, tmp_path: Path) -> None:
    """A closed port, one that answers no packet, a server that never responds, and one that stops during a download."""
    hub.commit(REPO, files())
    hub.fail(f"GET.*{MODEL}", then="stall", after=300_000, times=99)
    code = (
        "import deepfer, deepfer.checkpoint\n"
        f"try: deepfer.checkpoint.resolve({REPO!r})\n"
        "except deepfer.HubError as error: print(error)"
    )
    with ExitStack() as stack:
        mute = stack.enter_context(HubServer())
        mute.silent.set()
        endpoints = ["http://127.0.0.1:9", stack.enter_context(black_hole()), mute.url, hub.url]
        start = time.monotonic()
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", code],
                # Each with a cache of its own: a file that another is fetching would be a sign of life.
                env={**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / str(number))},
                stdout=subprocess.PIPE,
            )
            for number, endpoint in enumerate(endpoints)
        ]
        said = [process.communicate(timeout=60)[0].decode().splitlines() for process in processes]
        assert time.monotonic() - start < 15
    refused, *others = said
    assert len(refused) == 1
    assert "cannot reach the Hub at http://127.0.0.1:9" in refused[0]
    for lines, endpoint in zip(others, endpoints[1:], strict=True):
        assert len(lines) == 1
        assert f"the Hub at {endpoint} does not answer: no data for 8 s; check the connection" in lines[0]


@pytest.mark.usefixtures("impatient")
def test_a_slow_download_is_not_a_stall(hub: HubServer) -> None:
    hub.commit(REPO, files())
    hub.fail(f"GET.*{MODEL}", then="trickle", after=0)
    start = time.monotonic()
    assert resolve(REPO).model_file.read_bytes() == MODEL_BYTES
    assert time.monotonic() - start > 1.25  # 26 steps of 50 ms


@pytest.mark.usefixtures("impatient")
def test_without_the_hub_the_cache_is_suggested_not_used(hub: HubServer) -> None:
    hub.commit(REPO, files())
    resolve(REPO)
    hub.fail("/api/models", status=503, times=1)
    with pytest.raises(HubError, match=r"internal error \(503\).*local_files_only=True.*copy in the cache"):
        resolve(REPO)
    hub.silent.set()
    with pytest.raises(HubError, match="does not answer"):
        resolve(REPO)


def test_a_long_rate_limit_is_reported_at_once(hub: HubServer) -> None:
    commit = hub.commit(REPO, files())
    for request in ("/api/models", f"HEAD.*{CONFIG}"):
        hub.fail(request, status=429, headers={"Retry-After": "290"})
        start = time.monotonic()
        with pytest.raises(HubError, match=r"rate limit.*wait 290 s.*hf auth login"):
            resolve(REPO)
        assert time.monotonic() - start < 5
    hub.fail(f"GET.*{MODEL}", status=429, headers={"Retry-After": "0"})
    assert resolve(REPO).revision == commit


def test_a_server_that_is_not_a_hub_is_reported(hub: HubServer) -> None:
    hub.commit(REPO, files())
    hub.fail("/api/models", body=b"<html>Welcome to our hotel! Please log in.</html>")
    with pytest.raises(HubError, match=r"does not answer like a Hub: check HF_ENDPOINT"):
        resolve(REPO)


def test_a_damaged_model_is_downloaded_again(hub: HubServer) -> None:
    commit = hub.commit(REPO, files())
    hub.fail(f"GET.*{MODEL}", body=bytes(len(MODEL_BYTES)))
    assert resolve(REPO).model_file.read_bytes() == MODEL_BYTES
    kept = resolve(REPO, revision=commit).model_file
    kept.resolve().write_bytes(MODEL_BYTES[:-1] + b"?")
    with pytest.raises(CheckpointError, match="sha256 differs"):
        resolve(REPO, revision=commit, local_files_only=True)
    assert resolve(REPO, revision=commit).model_file.read_bytes() == MODEL_BYTES


def test_a_model_that_its_config_does_not_name_is_refused(hub: HubServer) -> None:
    hub.commit(REPO, {**files(), MODEL: MODEL_BYTES[:-1] + b"?"})
    with pytest.raises(CheckpointError, match="sha256 differs"):
        resolve(REPO)


def test_reordered_labels_on_the_hub_are_refused(hub: HubServer) -> None:
    config = json.loads(files()[CONFIG])
    config["labels"].reverse()
    hub.commit(REPO, {**files(), CONFIG: json.dumps(config).encode()})
    with pytest.raises(CheckpointError, match=rf"{CONFIG} was changed after it was written"):
        resolve(REPO)


def test_a_damaged_config_is_downloaded_again(hub: HubServer) -> None:
    commit = hub.commit(REPO, files())
    cached = resolve(REPO).folder / CONFIG
    cached.resolve().write_bytes(cached.read_bytes().replace(b'"margin": 1.038', b'"margin": 1.938'))
    with pytest.raises(CheckpointError, match=rf"{CONFIG} was changed"):
        resolve(REPO, revision=commit, local_files_only=True)
    assert resolve(REPO, revision=commit).geometry.margin == 1.038
    assert cached.read_bytes() == files()[CONFIG]


def test_a_file_past_the_limit_is_refused_before_it_is_fetched(hub: HubServer) -> None:
    hub.commit(REPO, files())
    hub.fail(f"HEAD.*{MODEL}", headers={"X-Linked-Size": "10000000000"})
    with pytest.raises(HubError, match=rf"{MODEL} is larger than the limit of {MAX_MODEL_BYTES // 1_000_000} MB"):
        resolve(REPO)
    assert not [request for request in hub.requests if request.startswith("GET") and MODEL in request]


def test_an_endless_download_is_abandoned(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.commit(REPO, files())
    monkeypatch.setattr("deepfer.hub.MAX_MODEL_BYTES", 2_000_000)
    hub.fail(f"GET.*{MODEL}", body=bytes(9_500_000))
    with pytest.raises(HubError, match="larger than the limit of 2 MB"):
        resolve(REPO)
    assert [path.name for path in in_cache()] == [CONFIG]


@contextmanager
def small_disk(folder: Path) -> Iterator[tuple[Path, int]]:
    """A folder with room for a megabyte (a small disk, or a limit on file sizes), and the largest file that fits."""
    mounted = (
        shutil.which("mount")
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True
        ).returncode
    )
    try:
        yield folder, resource.RLIM_INFINITY if mounted else 1_000_000
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("fills", ["before", "meanwhile"])
def test_a_full_disk_is_reported_and_no_partial_file_is_kept(hub: HubServer, tmp_path: Path, fills: str) -> None:
    hub.commit(REPO, files())
    if fills == "meanwhile":  # the space seems to suffice at first
        hub.fail(f"HEAD.*{MODEL}", headers={"X-Linked-Size": "100"}, times=9)
        hub.fail(f"GET.*{MODEL}", body=MODEL_BYTES)
    with small_disk(tmp_path) as (folder, limit):
        code = (
            f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
            f"import deepfer, deepfer.checkpoint\ntry: deepfer.checkpoint.resolve({REPO!r})\n"
            "except deepfer.HubError as error: print(error)"
        )
        (line,) = python(code, HF_HOME=str(folder))
        assert line.startswith("the disk is full: free space in")
        assert [path.name for path in folder.glob("hub/models--*/snapshots/*/*")] == [CONFIG]
        assert list(folder.glob("hub/models--*/blobs/*.incomplete")) == []


def test_an_unwritable_cache_is_reported(hub: HubServer, tmp_path: Path) -> None:
    hub.commit(REPO, files())
    (tmp_path / "file").write_text("not a folder")
    line = error_of(
        "import deepfer.checkpoint; deepfer.checkpoint.resolve('user/faces')", HF_HOME=str(tmp_path / "file/x")
    )
    assert "cannot be written (Not a directory): set HF_HOME" in line


def test_a_xet_error_is_reported(hub: HubServer) -> None:
    hub.commit(REPO, files())
    xet = {"X-Xet-Hash": "a" * 64, "X-Xet-Refresh-Route": f"{hub.url}/xet-token"}
    hub.fail(f"HEAD.*{MODEL}", headers=xet, times=9)
    # The redirect leads to a missing file.
    store = {"X-Xet-Cas-Url": hub.url, "X-Xet-Access-Token": "t", "X-Xet-Token-Expiration": "9999999999"}
    hub.fail("GET /xet-token", status=200, body=b"{}", headers=store)
    line = error_of("import deepfer.checkpoint; deepfer.checkpoint.resolve('user/faces')", HF_HUB_DISABLE_XET="0")
    assert f"{MODEL} could not be downloaded" in line
    assert "HF_HUB_DISABLE_XET=1" in line
    assert [request for request in hub.requests if "/reconstructions/" in request]


def test_a_damaged_yunet_is_downloaded_again(hub: HubServer, yunet_file: Path) -> None:
    hub.commit(YUNET_REPO, {YUNET_FILE: yunet_file.read_bytes()})
    load_detector("yunet")
    (kept,) = in_cache()
    kept.resolve().write_bytes(b"half a file")
    with pytest.raises(DetectorError, match="is not the pinned"):
        load_detector("yunet", local_files_only=True)
    assert load_detector("yunet").name == "yunet"
    assert kept.read_bytes() == yunet_file.read_bytes()


def test_two_at_once_get_the_same(hub: HubServer) -> None:
    commit = hub.commit(REPO, files())
    found: list[str | None] = []
    threads = [threading.Thread(target=lambda: found.append(resolve(REPO).revision)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [commit] * 4


@pytest.mark.usefixtures("impatient")
def test_waiting_for_another_download_is_not_a_stall(hub: HubServer) -> None:
    hub.commit(REPO, {"large.bin": bytes(5_000_000)})
    hub.fail("GET.*large.bin", then="trickle")  # four seconds, where 1.5 of silence are too much
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(download(REPO, ["large.bin"])[1])) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [hub.repos[REPO].refs["main"]] * 2
    assert len([request for request in hub.requests if request.startswith("GET") and "large.bin" in request]) == 1


def test_the_loopback_hub_speaks_to_the_hf_client(hub: HubServer, tmp_path: Path) -> None:
    """Without this, the tests above would prove little."""
    client, environment = Path(sys.executable).with_name("hf"), {**os.environ, "HF_TOKEN": TOKEN}
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "notes.txt").write_text("hello")
    (tmp_path / "up" / "weights.bin").write_bytes(bytes(range(256)) * 100)
    for command in (["upload", REPO, str(tmp_path / "up")], ["download", REPO, "--local-dir", str(tmp_path / "down")]):
        done = subprocess.run([client, *command], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    for name in ("notes.txt", "weights.bin"):
        assert (tmp_path / "down" / name).read_bytes() == (tmp_path / "up" / name).read_bytes()
    assert sorted(hub.files(REPO)) == [".gitattributes", "notes.txt", "weights.bin"]
