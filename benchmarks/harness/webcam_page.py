"""Opens the webcam tab in Chromium, with a fake camera and optionally a slower network."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.app_server import AppServer, serve
from benchmarks.harness.camera import BITS, BLOCK_HEIGHT, WIDTH, write
from benchmarks.harness.chromium import chromium, playing


def watch_script() -> str:
    """`watch.js`, called with the sizes of the camera's barcode."""
    code = Path(__file__).with_name("watch.js").read_text(encoding="utf-8")
    sizes = json.dumps({"bits": BITS, "blockHeight": BLOCK_HEIGHT, "cameraWidth": WIDTH})
    return f"({code.rstrip().removesuffix(';')})({sizes});"


@contextmanager
def page_served() -> Iterator[AppServer]:
    """Serve the page, without requests to the Hub."""
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder), env={"HF_HUB_OFFLINE": "1"}) as server:
        yield server


@contextmanager
def camera_on(
    server: AppServer, frames: Iterable[np.ndarray], network: dict[str, float] | None = None, watch: bool = False
) -> Iterator[Any]:
    """Open the webcam tab and start the camera.

    Args:
        server: The page.
        frames: What the camera films, over and over: RGB uint8 (H, W, 3).
        network: Round trip in ms ("latency"), and Mbps "up" and "down"; None for the machine's own.
        watch: Record what `watch.js` records, as `window.seen`.

    Yields:
        Playwright's page, once the first result is shown.
    """
    with tempfile.TemporaryDirectory() as folder, playing() as playwright:
        path = Path(folder, "camera.mjpeg")
        write(path, frames)
        flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
        with chromium(playwright, *flags, f"--use-file-for-fake-video-capture={path}") as browser:
            if isinstance(browser, str):
                sys.exit(browser)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(120_000)
            if watch:
                page.add_init_script(watch_script())
            page.goto(server.url)
            page.get_by_role("tab", name="Webcam").click()
            if network:
                session = page.context.new_cdp_session(page)
                speeds = {f"{way}loadThroughput": network[way] * 1e6 / 8 for way in ("up", "down")}
                limits = {"offline": False, "latency": network["latency"], **speeds}
                session.send("Network.emulateNetworkConditions", limits)
            page.get_by_role("button", name="Start camera").click()
            page.wait_for_selector("#webcam[data-state=live]")
            if watch:
                page.evaluate("watchCamera()")
            yield page
