"""The command line where something is missing or scarce: it gives the usual answer, or one line that says why not."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hub_server import HubServer
from PIL import Image

from deepfer.detection import YUNET_FILE, YUNET_REPO

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "ui/examples/astronaut.jpg"
MEMORY = 512_000_000


def deepfer(
    *arguments: object,
    before: tuple[str, ...] = (),
    setup: Callable[[], object] | None = None,
    without: tuple[str, ...] = (),
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run the command line in its own process; `before` is the command that starts it, `setup` is called in it."""
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return subprocess.run(
        [*before, sys.executable, "-m", "deepfer", *map(str, arguments)],
        capture_output=True, encoding="utf-8", cwd=ROOT, preexec_fn=setup, env=kept | environment, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def expected() -> list[dict[str, Any]]:
    (face,) = faces(deepfer(PHOTO, "--json"))
    assert face["emotion"] == "happy"
    return [face]


def faces(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["faces"]


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The last line of the output of a run that must have failed."""
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def works(*command: str) -> bool:
    with suppress(OSError):
        return subprocess.run(command, capture_output=True).returncode == 0
    return False


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """A read-only home, and the command prefix that enforces it, because root may write anywhere."""
    home = tmp_path / "home"
    home.mkdir()
    if os.geteuid():
        home.chmod(0o555)
        yield home, ()
        home.chmod(0o755)
    elif works("unshare", "-m", "true"):
        mount = 'mount -t tmpfs -o ro,size=1m tmpfs "$0" && exec "$@"'
        yield home, ("unshare", "-m", "sh", "-c", mount, str(home))
    else:  # under a file, nobody can make anything
        (tmp_path / "file").touch()
        yield tmp_path / "file" / "home", ()


OWN = ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME")


def test_a_home_that_cannot_be_written(
    sealed: tuple[Path, tuple[str, ...]], hub: HubServer, expected: list[dict[str, Any]]
) -> None:
    home, before = sealed
    given = {"before": before, "without": OWN, "HOME": str(home)}
    assert faces(deepfer(PHOTO, "--json", **given)) == expected
    hub.commit(YUNET_REPO, {YUNET_FILE: b"never written"})
    assert "cannot be written" in error_of(deepfer(PHOTO, "--detector", "yunet", **given))
    line = error_of(deepfer(PHOTO, "--output", home / "out.jsonl", **given))
    assert line.startswith(f"deepfer: {home / 'out.jsonl'} cannot be written: ")


def test_no_home_and_no_cache(tmp_path: Path, expected: list[dict[str, Any]]) -> None:
    for missing in ({"without": ("HOME", "USER", "LOGNAME", *OWN)}, {"HF_HOME": str(tmp_path / "no" / "cache")}):
        assert faces(deepfer(PHOTO, "--json", **missing)) == expected
    assert list(tmp_path.iterdir()) == []


def test_no_network_at_all(expected: list[dict[str, Any]], tmp_path: Path) -> None:
    before: tuple[str, ...] = ("unshare", "-n") if works("unshare", "-n", "true") else ()
    if not before:  # then make every connection fail as it would without a network
        (tmp_path / "sitecustomize.py").write_text(
            "import sys\n"
            "def refuse(event, args):\n"
            "    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.sendto'):\n"
            f"        raise OSError({errno.ENETUNREACH}, 'Network is unreachable')\n"
            "sys.addaudithook(refuse)\n"
        )
    given = {"before": before, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    assert faces(deepfer(PHOTO, "--json", **given)) == expected
    line = error_of(deepfer(PHOTO, "--model", "user/faces", **given))
    assert f"cannot reach the Hub at {os.environ['HF_ENDPOINT']}" in line


def test_the_plainest_locale_and_the_oddest_path(tmp_path: Path, expected: list[dict[str, Any]]) -> None:
    folder = tmp_path / "a b 'c' \"d\" 🙂 größe"
    folder.mkdir()
    photo = shutil.copy(PHOTO, folder / PHOTO.name)
    for utf8 in ("0", "1"):
        plain = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": utf8, "PYTHONCOERCECLOCALE": "0"}
        done = deepfer(photo, "--json", "--save", folder / "out", **plain)
        assert faces(done) == expected
        assert os.fsencode(json.loads(done.stdout)["path"]) == os.fsencode(photo)
        assert (folder / "out" / PHOTO.name).exists()
        shutil.rmtree(folder / "out")
        assert PHOTO.name in deepfer(photo, **plain).stdout
    assert "No such file" in error_of(deepfer(folder / "missing.jpg", **plain))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to a core")
def test_one_core(expected: list[dict[str, Any]]) -> None:
    core = min(os.sched_getaffinity(0))
    assert faces(deepfer(PHOTO, "--json", setup=lambda: os.sched_setaffinity(0, {core}))) == expected


@contextmanager
def little_memory() -> Iterator[Callable[[], object]]:
    """A function that limits its process to `MEMORY` bytes, by a control group if possible, else by RLIMIT_DATA."""
    for top, limit in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = top / f"deepfer-{os.getpid()}"
        with suppress(OSError):
            group.mkdir()
            try:
                (group / limit).write_text(str(MEMORY))
                yield lambda group=group: (group / "cgroup.procs").write_text(str(os.getpid()))
            finally:
                group.rmdir()
            return
    yield limit_data


def limit_data() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def limit_data_further() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY * 5 // 8, MEMORY * 5 // 8))


def test_512_mb_of_memory(expected: list[dict[str, Any]], tmp_path: Path) -> None:
    Image.new("RGB", (3_000, 4_000), "gray").save(tmp_path / "12 megapixels.png")
    with little_memory() as setup:
        assert faces(deepfer(PHOTO, "--json", setup=setup)) == expected
        assert faces(deepfer(tmp_path / "12 megapixels.png", "--json", setup=setup)) == []


def test_too_little_memory_is_reported(tmp_path: Path) -> None:
    Image.new("RGB", (7_400, 7_400), "gray").save(tmp_path / "large.png", compress_level=1)
    line = error_of(deepfer(tmp_path / "large.png", setup=limit_data_further, OPENBLAS_NUM_THREADS="1"))
    assert line == "deepfer: out of memory"
