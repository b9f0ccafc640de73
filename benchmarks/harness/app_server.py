"""Run `python app.py` in a separate process on a free port."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60  # on an idle machine, the start takes about four


@dataclass
class AppServer:
    """A running page: its address, its process, the file with its output, and what starts it."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    start: Callable[[], subprocess.Popen[bytes]]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def restart(self) -> None:
        """Start again at the same address, after `stop`."""
        self.process = self.start()
        wait(self)


def free_port() -> int:
    """A port that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serve(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None, root: Path = ROOT
) -> Iterator[AppServer]:
    """Serve the page of the checkout `root` until the block ends; its log and uploads go to `folder`."""
    port, log = free_port(), folder / "app.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRADIO_")}
    environment |= {"GRADIO_TEMP_DIR": str(folder / "uploads"), "GRADIO_SERVER_PORT": str(port)} | dict(env or {})

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "app.py", *arguments], cwd=root, env=environment, stdout=output, stderr=output
            )

    server = AppServer(f"http://127.0.0.1:{port}/", start(), log, start)
    try:
        wait(server)
        yield server
    finally:
        server.stop()


def wait(server: AppServer) -> None:
    """Return once the page answers.

    Raises:
        RuntimeError: The server has exited, or does not answer in time.
    """
    end = time.monotonic() + PATIENCE_S
    while server.process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(server.url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise RuntimeError(f"app.py did not start; its output:\n{server.log.read_text(errors='replace')}")
