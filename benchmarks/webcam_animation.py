"""Record the README's animation: the webcam tab, with a moving portrait of an astronaut as the camera.

    python -m benchmarks.webcam_animation

Writes `docs/webcam.webp`. Install a font with colour emoji first, such as Noto Color Emoji.
"""

from __future__ import annotations

import argparse
import base64
import io
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from skimage.data import astronaut

from benchmarks.harness.camera import FPS, HEIGHT, WIDTH
from benchmarks.harness.webcam_page import camera_on, page_served

OUT = Path(__file__).parents[1] / "docs" / "webcam.webp"
VIEWPORT = {"width": 1060, "height": 760}
SHOWN_WIDTH = 760  # pixels
LOOP_S = 8.0  # period of the portrait's movement, and the animation's length
WARM_UP_S = 8.0  # the timeline then has something to show
INTERVAL_S = 0.1  # minimum time between frames
FACE_X = 222  # the middle of the face in the photo, pixels
QUALITY = 60


def portrait(frame: int) -> np.ndarray:
    """The astronaut, moving sideways and towards the camera; RGB uint8 (HEIGHT, WIDTH, 3)."""
    phase = 2 * np.pi * frame / (LOOP_S * FPS)
    scale, x = 1.6 + 0.15 * np.sin(phase), 271 + 48 * np.sin(phase + 1)  # the photo always fills the frame
    matrix = np.array([[scale, 0, x - scale * FACE_X], [0, scale, 0]])
    return cv2.warpAffine(astronaut(), matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)


def main() -> None:
    """Record and write."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    film = (portrait(frame) for frame in range(round(LOOP_S * FPS)))
    shots: list[tuple[float, Image.Image]] = []  # (time in seconds, image)
    with page_served() as server, camera_on(server, film) as page:
        page.set_viewport_size(VIEWPORT)
        page.wait_for_timeout(1000 * WARM_UP_S)
        left, top, width, height = page.locator("#webcam").bounding_box().values()
        session = page.context.new_cdp_session(page)
        painted: list[dict[str, Any]] = []
        session.on("Page.screencastFrame", lambda event: painted.append(event))
        session.send("Page.startScreencast", {"format": "jpeg", "quality": 95})
        end = time.monotonic() + LOOP_S
        while time.monotonic() < end:
            page.wait_for_timeout(20)
            while painted:
                frame = painted.pop(0)
                session.send("Page.screencastFrameAck", {"sessionId": frame["sessionId"]})
                at = frame["metadata"]["timestamp"]
                if not shots or at >= shots[-1][0] + INTERVAL_S:
                    shot = Image.open(io.BytesIO(base64.b64decode(frame["data"])))
                    shots.append((at, shot.crop((left, top, left + width, top + height))))
        session.send("Page.stopScreencast")
    size = SHOWN_WIDTH, round(SHOWN_WIDTH * height / width)
    first, *rest = [shot.resize(size, Image.Resampling.LANCZOS) for _, shot in shots]
    durations = [round(1000 * (after - before)) for (before, _), (after, _) in pairwise(shots)]
    durations.append(round(1000 * INTERVAL_S))
    first.save(OUT, save_all=True, append_images=rest, duration=durations, loop=0, quality=QUALITY, method=4)
    print(f"{OUT.name}: {len(shots)} frames, {OUT.stat().st_size // 1000} kB, {size[0]}x{size[1]}")


if __name__ == "__main__":
    main()
