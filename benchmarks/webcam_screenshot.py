"""Take the README's screenshot of the webcam tab, with the astronaut as the camera.

    python -m benchmarks.webcam_screenshot

Writes `docs/webcam.png`. Needs a font with colour emoji, such as Noto Color Emoji.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from PIL import Image

from benchmarks.harness import camera
from benchmarks.harness.webcam_page import camera_on, page_served

OUT = Path(__file__).parents[1] / "docs" / "webcam.png"
SECONDS = 12  # shown in the timeline
COLOURS = 256  # in the PNG's palette: true colour would make it four times as large


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    film = [camera.portrait(number) for number in range(camera.PORTRAIT_FRAMES)]
    with page_served() as server, camera_on(server, film) as page:
        page.set_viewport_size({"width": 1060, "height": 660})
        page.wait_for_timeout(1000 * SECONDS)
        shot = Image.open(io.BytesIO(page.locator("#webcam").screenshot()))
    shot.convert("RGB").quantize(COLOURS, Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE).save(
        OUT, optimize=True
    )
    print(f"{OUT.name}: {OUT.stat().st_size // 1000} KB, {shot.width}x{shot.height}")


if __name__ == "__main__":
    main()
