"""Measure the page's `/recognize_image` under many concurrent clients, some of which stall or leave.

    python -m benchmarks.endpoint [--clients 1 8 64] [--seconds 20]

Writes `benchmarks/endpoint.json`. Clients and server share this machine, and a `gradio_client` takes more time than the
recognition, so the server can do more than these numbers show.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
from gradio_client import Client, handle_file
from gradio_client.utils import QueueError

from benchmarks.harness.app_server import AppServer
from benchmarks.harness.webcam_page import page_served
from benchmarks.speed import measured_on, processor
from benchmarks.webcam import percentile
from deepfer.detection import load_detector
from training.report.markdown import table

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "ui" / "examples" / "astronaut.jpg"
OUT = Path(__file__).with_suffix(".json")
CLIENTS = (1, 8, 64)
AFTERWARDS_S = 60.0
AWKWARD = 50  # the number of clients that stall, and of those that leave


def load(server: AppServer, count: int, seconds: float, afterwards: float) -> dict[str, Any]:
    """Measure `count` clients, each of which sends a new request when it gets its answer."""
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    lags: list[float] = []
    memory: list[int] = []
    busy, errors = [0], list[str]()
    with tempfile.TemporaryDirectory() as folder:
        clients = [Client(server.url, verbose=False, download_files=Path(folder, str(i))) for i in range(count)]
        start = threading.Barrier(count + 1)
        end = [0.0]

        def ask(client: Client) -> None:
            start.wait()
            while (begun := time.monotonic()) < end[0]:
                try:
                    _, found = client.predict(handle_file(PHOTO), api_name="/recognize_image")
                    if found["faces"][0]["emotion"] != "happy":
                        errors.append(f"answered {found}")
                    lags.append(time.monotonic() - begun)
                except QueueError:
                    busy[0] += 1
                except Exception as error:  # counted and reported: there should be none
                    errors.append(f"{type(error).__name__}: {error}")

        threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        end[0] = began + seconds
        start.wait()
        while any(thread.is_alive() for thread in threads):
            memory.append(process.memory_info().rss)
            time.sleep(0.25)
        taken = time.monotonic() - began
        for client in clients:
            client.close()
    time.sleep(afterwards)
    return {
        "clients": count,
        "answers": len(lags),
        "answers_per_s": len(lags) / taken,
        "lag_ms": {"p50": 1000 * percentile(lags, 50), "p95": 1000 * percentile(lags, 95)},
        "busy": busy[0],
        "errors": errors,
        "memory_mb": {"before": before / 1e6, "during": max(memory) / 1e6, "after": process.memory_info().rss / 1e6},
    }


def awkward(server: AppServer, count: int = AWKWARD) -> dict[str, Any]:
    """Measure one client's wait while others stall in the middle of an upload, or leave before their answer."""
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss, process.num_fds()
    with tempfile.TemporaryDirectory() as folder:
        client = Client(server.url, verbose=False, download_files=folder)

        def typical() -> float:
            times = []
            for _ in range(5):
                begun = time.monotonic()
                client.predict(handle_file(PHOTO), api_name="/recognize_image")
                times.append(time.monotonic() - begun)
            return 1000 * statistics.median(times)

        alone = typical()
        slow = [half_an_upload(server) for _ in range(count)]
        for _ in range(count):
            ask_and_leave(server)
        beside = typical()
        client.close()
    end = time.monotonic() + 120
    while process.num_fds() > before[1] and time.monotonic() < end:
        time.sleep(0.5)
    for connection in slow:
        connection.close()
    return {
        "clients": count,
        "lag_ms": {"alone": alone, "beside": beside},
        "open_files": {"before": before[1], "after": process.num_fds()},
        "memory_mb": {"before": before[0] / 1e6, "after": process.memory_info().rss / 1e6},
    }


def half_an_upload(server: AppServer) -> socket.socket:
    """Open a connection, send half of an image, and stop."""
    address = httpx.URL(server.url)
    content = PHOTO.read_bytes()
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    connection = socket.create_connection((address.host, address.port))
    connection.sendall(
        b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        + f"Content-Length: {len(content)}\r\n\r\n".encode()
        + head
        + content[: len(content) // 2]
    )
    return connection


def ask_and_leave(server: AppServer) -> None:
    """Request an answer and leave before it comes."""
    base = f"{server.url}gradio_api/"
    with PHOTO.open("rb") as photo:
        (path,) = httpx.post(f"{base}upload", files=[("files", photo)]).json()
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}]
    event = httpx.post(f"{base}call/recognize_image", json={"data": data}).json()["event_id"]
    with contextlib.suppress(httpx.ReadTimeout):
        httpx.get(f"{base}call/recognize_image/{event}", timeout=httpx.Timeout(5, read=0.01))


def markdown(result: dict[str, Any]) -> str:
    """The tables of `endpoint.json`."""
    rows = []
    for m in result["load"]:
        lag, memory = m["lag_ms"], m["memory_mb"]
        rows.append(
            (
                m["clients"], m["answers"], f"{m['answers_per_s']:.1f}", f"{lag['p50']:.0f}", f"{lag['p95']:.0f}",
                m["busy"], len(m["errors"]), *(f"{memory[when]:.0f}" for when in ("before", "during", "after")),
            )
        )  # fmt: skip
    head = (
        "Concurrent clients", "answers", "per s", "ms, p50", "p95", "queue full", "errors", "server MB before",
        "during", f"{result['afterwards_s']:g} s after",
    )  # fmt: skip
    m = result["awkward"]
    return (
        f"{table(head, rows)}\n\nWhile {m['clients']} clients stall in the middle of an upload and {m['clients']} "
        f"others leave before their answer, another client waits {m['lag_ms']['beside']:.0f} ms instead of "
        f"{m['lag_ms']['alone']:.0f}. The server has {m['open_files']['before']} open files before and "
        f"{m['open_files']['after']} afterwards.\n\n{measured_on(result)}. Server and clients share the machine."
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--seconds", type=float, default=20, help="length of each measurement")
    parser.add_argument("--afterwards", type=float, default=AFTERWARDS_S, help="seconds until memory is measured again")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args(argv)
    with page_served() as server:
        awkward(server, 1)  # warm up
        result = {
            "processor": processor(),
            "detector": load_detector().name,
            "afterwards_s": args.afterwards,
            "load": [load(server, count, args.seconds, args.afterwards) for count in args.clients],
            "awkward": awkward(server),
        }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(markdown(result))
    if errors := [error for m in result["load"] for error in m["errors"]]:
        print(f"{len(errors)} errors, such as {errors[0]}", file=sys.stderr)


if __name__ == "__main__":
    main()
