"""Annotating on Ray, which is installed in a separate environment: the same rows, whatever is killed."""

import hashlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import psutil
import pytest
from annotated import each_once, rows_of
from photo_server import PhotoServer
from PIL import Image
from waiting import within

from deepfer.annotate import annotate

pytestmark = [pytest.mark.slow, pytest.mark.alone]  # Ray does not start on a busy machine

ROOT = Path(__file__).parents[1]
REQUIRED = ROOT / "deepfer/annotate/requirements-ray.txt"
# A busy machine takes longer to start Ray than Ray would wait. The token keeps others out of the nodes.
RAY = {
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_worker_niceness": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}


@pytest.fixture(scope="module")
def ray_python(request: pytest.FixtureRequest) -> Path | str:
    """The interpreter of an environment with Ray and everything installed here, made once; or why there is none."""
    key = hashlib.sha256(f"{sys.version} {sys.prefix} {REQUIRED.read_text()}".encode()).hexdigest()[:16]
    folder = Path(request.config.cache.mkdir(f"ray-{key}"))
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        venv.create(folder, clear=True, with_pip=True)
        (site,) = folder.glob("lib/*/site-packages")
        (site / "shared.pth").write_text(sysconfig.get_path("purelib"))
        # Compiled, since each of Ray's many processes would do it again, and Ray gives them 15 seconds.
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIRED]
        done = subprocess.run(install, capture_output=True, text=True)
        if done.returncode:
            return f"Ray: pip could not install it: {done.stderr.strip().splitlines()[-1]}"
        ready.touch()
    return python


@pytest.fixture
def start(ray_python: Path | str, leave_out: Callable[[str], NoReturn]) -> Callable[..., subprocess.Popen]:
    """Start a program in the environment with Ray."""
    if isinstance(ray_python, str):
        leave_out(ray_python)
    environment = os.environ | RAY | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}

    def start(*words: object) -> subprocess.Popen:
        command = [str(ray_python), *map(str, words)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    return start


@pytest.fixture
def photos(tmp_path: Path, photo: Path) -> Path:
    """Ten photos with a face, one without, and a broken file."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(10):
        shutil.copy(photo, folder / f"{number}.png")
    Image.new("L", (40, 30), 90).save(folder / "gray.png")
    (folder / "broken.jpg").write_text("no image")
    return folder


@contextmanager
def all_gone(process: subprocess.Popen) -> Iterator[list[psutil.Process]]:
    """Check that a program leaves no processes behind. Yields the list for those that are seen."""
    seen: list[psutil.Process] = []
    try:
        yield seen
        assert within(30, lambda: not [one for one in seen if alive(one)]), seen
    finally:
        for one in [process, *seen]:
            if isinstance(one, subprocess.Popen) or one.is_running():
                one.kill()
        process.communicate()


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_both_engines_give_the_same_rows(photos: Path, tmp_path: Path, start: Callable[..., subprocess.Popen]) -> None:
    out = tmp_path / "ray"
    command = ["-m", "deepfer.annotate", photos, out, "--engine", "ray", "--workers", 2, "--chunk", 2]
    process = start(*command)
    with all_gone(process) as seen:
        assert within(300, lambda: len(list(out.glob("data/train-*"))) >= 2 or process.poll() is not None, 0.02)
        seen += psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        _, noted = process.communicate(timeout=400)
        assert process.returncode == 1, noted  # for the broken one
    assert noted.endswith(f"deepfer: 12 inputs, 10 faces, 1 failed: {out}\n")
    lines = [line for line in noted.splitlines() if line.strip()]
    assert all(re.match(r" *\d+%\|.*\| \d+/12 \[.* inputs.*\]$", line) for line in lines[:-1]), noted
    assert "12/12" in lines[-2]
    annotate(photos, tmp_path / "local", workers=1, chunk=2)
    assert rows_of(out) == rows_of(tmp_path / "local")
    ids = [f"{number}.png" for number in range(10)] + ["broken.jpg", "gray.png"]
    assert each_once(out, ids)


def test_a_killed_actor_and_a_killed_driver_lose_nothing(
    photos: Path, tmp_path: Path, start: Callable[..., subprocess.Popen]
) -> None:
    for number in range(10, 150):
        (photos / f"{number}.png").symlink_to("0.png")
    out = tmp_path / "ray"
    process = start("-m", "deepfer.annotate", photos, out, "--engine", "ray", "--workers", 2, "--chunk", 3)
    with all_gone(process) as seen:
        assert within(300, lambda: len(list(out.glob("data/train-*"))) >= 3 or process.poll() is not None, 0.02)
        assert process.poll() is None
        seen += psutil.Process(process.pid).children(recursive=True)
        (actor, *_) = [one for one in seen if one.name().startswith("ray::MapWorker")]
        count = len(list(out.glob("data/train-*")))
        actor.kill()
        assert within(120, lambda: len(list(out.glob("data/train-*"))) >= count + 8, 0.02)
        seen += psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
        agents = [one for one in seen if one.is_running() and one.name().endswith("Agent")]
        seen[:] = [one for one in seen if one not in agents]
    for agent in agents:  # Ray ends these itself, after a minute
        agent.kill()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("data/train-*")}
    assert len(kept) < 51
    annotate(photos, out, workers=1, chunk=3)  # the other engine continues
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    names = sorted(path.name for path in photos.iterdir())
    assert each_once(out, names)
    assert [row["path"] for row in rows_of(out) if row["error"]] == ["broken.jpg"]


def test_what_goes_wrong_in_an_actor(photo: Path, tmp_path: Path, start: Callable[..., subprocess.Popen]) -> None:
    process = start(ROOT / "tests/ray_run.py", photo, tmp_path / "out")
    with all_gone(process):
        told, noted = process.communicate(timeout=400)
    message = "an actor failed: a node's model or detector file differs from the driver's: install the same deepfer"
    assert told == f"[4, 4]\n{message}\n", noted
    assert each_once(tmp_path / "out", [f"{number}.png" for number in range(8)])
    errors = {row["path"]: row["error"] for row in rows_of(tmp_path / "out") if row["error"]}
    assert errors == {"3.png": "3.png: the process reading it was killed (Killed)"}


def recognizing(node: psutil.Process) -> list[psutil.Process]:
    """The processes of a node's actors that recognize faces."""
    return [one for one in node.children(recursive=True) if "spawn_main" in " ".join(one.cmdline())]


@contextmanager
def ray_node(start: Callable[..., subprocess.Popen], *options: object) -> Iterator[psutil.Process]:
    """A node of one core on the loopback interface. Yields its raylet, once it runs."""
    limits = ("--num-cpus", 1, "--object-store-memory", 100_000_000, "--disable-usage-stats", "--block")
    process = start("-m", "ray.scripts.scripts", "start", *limits, *options)
    whole = psutil.Process(process.pid)
    raylets: list[psutil.Process] = []

    def found() -> bool:
        raylets[:] = [one for one in whole.children(recursive=True) if one.name() == "raylet"]
        return bool(raylets) or process.poll() is not None

    try:
        assert within(300, found)
        assert raylets, process.communicate()
        yield raylets[0]
    finally:
        for one in [*whole.children(recursive=True), whole] if process.poll() is None else []:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.communicate()


def shards(out: Path) -> dict[Path, int]:
    """Each finished shard with the time of its last change."""
    return {path: path.stat().st_mtime_ns for path in out.glob("data/train-*")}


def test_a_killed_node_loses_nothing(photo: Path, tmp_path: Path, start: Callable[..., subprocess.Popen]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, out, chunk = f"127.0.0.1:{port}", tmp_path / "out", 4
    own = ("--node-ip-address", "127.0.0.1", "--include-dashboard", "false")
    with (
        PhotoServer(photo) as server,
        tempfile.TemporaryDirectory(prefix="ray-") as folder,  # a short path: it holds sockets
        ray_node(start, "--head", "--port", port, "--temp-dir", folder, *own) as head,
        ray_node(start, "--address", address, "--node-ip-address", "127.0.0.2") as node,
    ):
        urls = [f"{server.url}/{number:03}.png" for number in range(240)]
        (tmp_path / "urls.txt").write_text("\n".join(urls))
        command = ["-m", "deepfer.annotate", tmp_path / "urls.txt", out, "--engine", "ray", "--address", address]
        command += ["--workers", 2, "--chunk", chunk]
        process = start(*command)
        with all_gone(process) as seen:
            assert within(300, lambda: process.poll() is not None or len(shards(out)) >= 4, 0.02)
            assert within(120, lambda: process.poll() is not None or all(map(recognizing, (head, node))), 0.02)
            assert process.poll() is None
            seen += [*recognizing(head), *node.children(recursive=True)]
            node.kill()
            count = len(shards(out))
            assert within(120, lambda: len(shards(out)) >= count + 6, 0.02)
            recognizing(head)[0].kill()
            count = len(shards(out))
            assert within(120, lambda: len(shards(out)) >= count + 6, 0.02)
            process.kill()
        kept = shards(out)
        assert len(kept) < 60
        process = start(*command)  # with one node for two workers
        with all_gone(process):
            _, noted = process.communicate(timeout=400)
            assert process.returncode == 0, noted
        assert kept.items() <= shards(out).items()
        assert each_once(out, urls)
        assert all(row["faces"] == 1 for row in rows_of(out))
        again = {int(name[1:4]) // chunk for name, count in server.asked.items() if count > 1}
        # A chunk of the node, a photo of the worker, and a chunk of each of the two actors.
        assert 1 <= len(again) <= 1 + 1 + 2
