"""Measure the webcam tab: one visitor in Chromium with a fake camera, and the server with many visitors.

    python -m benchmarks.webcam                             # all but the soak: about ten minutes
    python -m benchmarks.webcam --soak 15                   # only the soak, of 15 minutes
    python -m benchmarks.webcam --only browser|load         # only this part; the others keep their figures

Writes `benchmarks/webcam.json`. Browser, visitors and server share this machine; a server on a machine of its own does
better.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import math
import statistics
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import httpx
import psutil

from benchmarks.harness.app_server import AppServer
from benchmarks.harness.camera import FPS, HEIGHT, LIVELY, WIDTH, film
from benchmarks.harness.webcam_page import camera_on, page_served
from benchmarks.speed import processor
from deepfer.detection import load_detector
from deepfer.face import iou
from ui.limits import VISITOR_SILENCE_S

OUT = Path(__file__).with_suffix(".json")
NETWORKS: dict[str, dict[str, float] | None] = {  # round trip in ms, up and down in Mbps
    "localhost": None,
    "80 ms, 5/30 Mbps": {"latency": 80, "up": 5, "down": 30},
}
VISITORS = (1, 4, 16)
SENT_WIDTH, QUALITY = 480, 70  # width and JPEG quality of the frames that the page sends
NEAR = 0.3  # a box belongs to a face from this IoU on
AFTERWARDS_S = VISITOR_SILENCE_S  # time after the load until memory is measured again


def in_browser(server: AppServer, network: dict[str, float] | None, seconds: float) -> dict[str, Any]:
    """Measure one visitor: results shown per second, their delay and their accuracy."""
    with camera_on(server, film(LIVELY), network, watch=True) as page:
        page.wait_for_timeout(5000)  # until the frame size is stable
        page.evaluate("[seen.shown.length, seen.camera] = [0, 0]")
        start = time.perf_counter()
        page.wait_for_timeout(1000 * seconds)
        seen = page.evaluate("({ shown: seen.shown, camera: seen.camera })")
        taken = time.perf_counter() - start
    shown = seen["shown"]
    lags = [one["lag"] for one in shown if math.isfinite(one["lag"])]  # the recorder misses some frames
    return {
        "results_per_s": len(shown) / taken,
        "camera_per_s": seen["camera"] / taken,
        "lag_ms": {"p50": percentile(lags, 50), "p95": percentile(lags, 95)},
        "sent_width": statistics.median(one["width"] for one in shown),
        **faithful(shown),
    }


def faithful(shown: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How far the boxes are from the true boxes, and how often a face in view gets a new number."""
    off: list[float] = []
    there, found, switches = 0, 0, 0
    numbers: dict[str, int] = {}
    before = 0
    for one in shown:
        if one["code"] < before:
            numbers.pop("second", None)  # the scene starts over, and this face was away for too long to be remembered
        before = one["code"]
        truth = LIVELY.truth(one["code"])
        height = one["width"] * HEIGHT / WIDTH
        boxes = [tuple(round(v * HEIGHT / height) for v in face["box"]) for face in one["faces"]]
        for name, exact in truth.items():
            there += 1
            box = tuple(map(round, exact))
            best = max(range(len(boxes)), key=lambda i: iou(box, boxes[i]), default=None)
            if best is None or iou(box, boxes[best]) < NEAR:
                continue
            if sum(iou(tuple(map(round, other)), boxes[best]) > NEAR for other in truth.values()) > 1:
                continue  # while the faces cross, one box is near both
            found += 1
            off.append(max(abs(a - b) for a, b in zip(_middle(exact), _middle(boxes[best]), strict=True)))
            number = one["faces"][best]["track_id"]
            switches += numbers.get(name, number) != number
            numbers[name] = number
    return {
        "faces_in_sight": there,
        "found": found,
        "off_px": {"p50": percentile(off, 50), "p95": percentile(off, 95)},
        "number_changes": switches,
    }


def _middle(box: Sequence[float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


@dataclass
class Tally:
    """What the visitors received."""

    results: Counter[int] = field(default_factory=Counter)
    busy: int = 0
    lags: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


@cache
def frames() -> list[str]:
    """The scene's frames as the page sends them: JPEG in base64."""
    size = (SENT_WIDTH, SENT_WIDTH * HEIGHT // WIDTH)
    small = (cv2.resize(LIVELY.draw(frame), size, interpolation=cv2.INTER_AREA) for frame in range(0, 240, 4))
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    coded = (cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), options)[1] for frame in small)
    return [base64.b64encode(frame.tobytes()).decode() for frame in coded]


async def visit(client: httpx.AsyncClient, address: dict[str, Any], number: int, end: float, tally: Tally) -> None:
    """Act as one page until `end`: at the camera's rate, two frames in flight, or one while the server is busy."""
    sent = frames()
    token = f"{number:032x}"
    cautious_until = 0.0

    async def slot(second: bool) -> None:
        nonlocal cautious_until
        await asyncio.sleep(second / FPS)
        while (now := time.monotonic()) < end:
            if second and now < cautious_until:
                await asyncio.sleep(cautious_until - now)
                continue
            data = {"token": token, "time_s": now, "frame": sent[int(now * FPS / 4) % len(sent)]}
            reply = (await client.post("", json={**address, "data": data, "session_hash": token})).json()
            taken = time.monotonic() - now
            if reply.get("busy"):
                tally.busy += 1
                cautious_until = time.monotonic() + 1
                await asyncio.sleep(0.08)
            else:
                assert "error" not in reply, reply
                tally.results[number] += "faces" in reply
                tally.lags.append(taken)
                await asyncio.sleep(max(0.0, 2 / FPS - taken))

    await asyncio.gather(slot(False), slot(True))


async def load(server: AppServer, visitors: int, seconds: float) -> dict[str, Any]:
    """Measure the server with this many visitors at once."""
    with urllib.request.urlopen(f"{server.url}config") as answer:
        parts = json.load(answer)["components"]
    number = next(part["id"] for part in parts if "recognize_frame" in (part["props"].get("server_fns") or []))
    address = {"component_id": number, "fn_name": "recognize_frame"}
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    tally = Tally()
    limits = httpx.Limits(max_connections=2 * visitors, max_keepalive_connections=2 * visitors)
    url = f"{server.url}gradio_api/component_server/"
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
        end = time.monotonic() + seconds

        async def watch_memory() -> None:
            while time.monotonic() < end:
                tally.memory.append(process.memory_info().rss)
                await asyncio.sleep(0.5)

        await asyncio.gather(watch_memory(), *(visit(client, address, i, end, tally) for i in range(visitors)))
    shares = [tally.results[i] / seconds for i in range(visitors)]
    await asyncio.sleep(AFTERWARDS_S)
    return {
        "visitors": visitors,
        "results_per_s": sum(shares),
        "per_visitor_per_s": {"least": min(shares), "most": max(shares)},
        "busy_share": tally.busy / max(1, tally.busy + len(tally.lags)),
        "lag_ms": {"p50": 1000 * percentile(tally.lags, 50), "p95": 1000 * percentile(tally.lags, 95)},
        "memory_mb": {
            "before": before / 1e6, "during": max(tally.memory) / 1e6, "after": process.memory_info().rss / 1e6,
        },
    }  # fmt: skip


def soak(server: AppServer, minutes: float) -> dict[str, Any]:
    """Measure memory at the start and the end of one long visit."""
    process = psutil.Process(server.process.pid)
    rows: list[dict[str, float]] = []
    with camera_on(server, film(LIVELY)) as page:
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        page.wait_for_timeout(30_000)  # until everything that is created once exists
        start = time.monotonic()
        while time.monotonic() - start < 60 * minutes:
            page.wait_for_timeout(10_000)
            session.send("HeapProfiler.collectGarbage")
            metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
            state = page.eval_on_selector("#webcam", "root => root.dataset.state")
            assert state == "live", state
            rows.append({"server": process.memory_info().rss / 1e6, "page": metrics["JSHeapUsedSize"] / 1e6})
    ends = rows[: max(1, len(rows) // 10)], rows[-max(1, len(rows) // 10) :]
    first, last = ({key: statistics.mean(row[key] for row in part) for key in ("server", "page")} for part in ends)
    return {
        "minutes": minutes,
        "server_mb": {"first": first["server"], "last": last["server"]},
        "page_heap_mb": {"first": first["page"], "last": last["page"]},
        "server_growth": last["server"] / first["server"] - 1,
    }


def percentile(values: Sequence[float], percent: int) -> float:
    """A percentile of the values; 0 if there are none."""
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)] if values else 0.0


def markdown(result: dict[str, Any]) -> str:
    """`webcam.json` as tables."""
    titles = {"deepfer": "DeepFER's own", "yunet": "YuNet", "haar": "Haar"}
    lines = []
    if "browser" in result:
        lines += [
            "| One visitor | results/s | lag ms, p50 | p95 | sent width | boxes off px, p50 | p95 | number changes |",
            "|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for detector, networks in result["browser"].items():
            for network, m in networks.items():
                off, lag = m["off_px"], m["lag_ms"]
                lines.append(
                    f"| {titles[detector]}, {network} | {m['results_per_s']:.1f} | {lag['p50']:.0f} |"
                    f" {lag['p95']:.0f} | {m['sent_width']:.0f} | {off['p50']:.1f} | {off['p95']:.1f} |"
                    f" {m['number_changes']} |"
                )
        lines.append("")
    if "load" in result:
        lines += [
            "| Visitors at once | results/s in all | each, least to most | answered busy | round trip ms, p50 | p95 |"
            " server MB before | during | 60 s after |",
            "|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for m in result["load"]:
            share, memory, lag = m["per_visitor_per_s"], m["memory_mb"], m["lag_ms"]
            lines.append(
                f"| {m['visitors']} | {m['results_per_s']:.1f} | {share['least']:.1f}–{share['most']:.1f} |"
                f" {100 * m['busy_share']:.0f}% | {lag['p50']:.0f} | {lag['p95']:.0f} |"
                f" {memory['before']:.0f} | {memory['during']:.0f} | {memory['after']:.0f} |"
            )
        lines.append("")
    if "soak" in result:
        m = result["soak"]
        server, page = m["server_mb"], m["page_heap_mb"]
        lines += [
            f"In {m['minutes']:.0f} minutes with one visitor, the server's memory went from {server['first']:.0f} to"
            f" {server['last']:.0f} MB and the page's heap from {page['first']:.0f} to {page['last']:.0f} MB.",
            "",
        ]
    return "\n".join([*lines, f"{result['processor']}, shared by server, browser and visitors."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40, help="length of each measurement; the scene takes 20")
    parser.add_argument("--visitors", type=int, nargs="+", default=VISITORS)
    parser.add_argument("--only", choices=("browser", "load"), help="measure only this part")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="run only the soak")
    args = parser.parse_args()
    result: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() else {}
    result["processor"] = processor()
    if args.soak:
        with page_served() as server:
            result["soak"] = soak(server, args.soak)
    elif args.only != "load":
        with page_served() as server:
            shown = {name: in_browser(server, network, args.seconds) for name, network in NETWORKS.items()}
        result["browser"] = {load_detector().name: shown}
    if not args.soak and args.only != "browser":
        with page_served() as server:
            result["load"] = [asyncio.run(load(server, count, args.seconds)) for count in args.visitors]
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    print(markdown(result))


if __name__ == "__main__":
    main()
