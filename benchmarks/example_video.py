"""Draw the page's example video: two faces whose emotions change.

    python -m benchmarks.example_video

Writes `ui/examples/drawn.mp4`, which needs ffmpeg with H.264.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import cv2
import numpy as np

from deepfer.video_writer import VideoWriter, video_suffix

PATH = Path(__file__).parents[1] / "ui" / "examples" / "drawn.mp4"
WIDTH, HEIGHT, FPS = 640, 360, 15
ZOOM = 2  # each frame is drawn at this scale and shrunk, for smooth edges
CHANGE_S = 0.5  # from one expression to the next

Colour = tuple[int, int, int]
Point = tuple[float, float]

WHITE, DARK = (250, 250, 248), (40, 30, 25)


@dataclass(frozen=True)
class Expression:
    """The moving parts of a face, in hundredths of its width; a bend is how far a curve's middle is below its ends."""

    brow_height: float  # above its normal place
    brow_slant: float  # of the inner end above the outer one
    eye_opening: float
    mouth_width: float
    mouth_bend: float
    mouth_opening: float

    def towards(self, other: Expression, share: float) -> Expression:
        """The expression at `share` of the way to another one."""
        return Expression(*(a + share * (b - a) for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Look:
    """The colours of a person, RGB."""

    skin: Colour
    hair: Colour
    shirt: Colour


EXPRESSIONS = {
    "neutral": Expression(-1, 0, 7, 26, 0, 0),
    "happy": Expression(1, 0, 6, 40, 12, 10),
    "sad": Expression(1, 5, 6, 24, -7, 0),
    "surprise": Expression(7, 0, 13, 16, 0, 20),
}
LOOKS = Look((228, 190, 160), (120, 72, 30), (60, 110, 150)), Look((140, 92, 62), (30, 24, 22), (170, 90, 60))
# Each person's expressions, with the time in seconds at which they begin.
STORIES = (
    ((0.0, "neutral"), (1.0, "happy"), (5.2, "surprise"), (6.8, "happy"), (9.0, "happy")),
    ((0.0, "happy"), (2.5, "neutral"), (4.2, "surprise"), (6.5, "sad"), (9.0, "sad")),
)
DURATION_S = 9.0


class _Pen:
    """Draws onto RGB uint8 `(H, W, 3)`, in hundredths of a face's width from its centre at (x, y)."""

    def __init__(self, canvas: np.ndarray, x: float, y: float, width: float) -> None:
        self._canvas, self._x, self._y, self._unit = canvas, x, y, width / 100

    def _at(self, points: list[Point]) -> np.ndarray:
        return np.rint(np.array(points) * self._unit + (self._x, self._y)).astype(np.int32)

    def ellipse(self, centre: Point, size: Point, colour: Colour, start: float = 0, end: float = 360) -> None:
        axes = max(1, round(size[0] * self._unit)), max(1, round(size[1] * self._unit))
        (place,) = self._at([centre]).tolist()
        cv2.ellipse(self._canvas, place, axes, 0, start, end, colour, -1, cv2.LINE_AA)

    def line(self, points: list[Point], colour: Colour, thickness: float) -> None:
        width = max(1, round(thickness * self._unit))
        cv2.polylines(self._canvas, [self._at(points)], False, colour, width, cv2.LINE_AA)

    def fill(self, points: list[Point], colour: Colour) -> None:
        cv2.fillPoly(self._canvas, [self._at(points)], colour, cv2.LINE_AA)


def draw_face(canvas: np.ndarray, x: float, y: float, width: float, look: Look, expression: Expression) -> None:
    """Draw a head with its centre at (x, y) and a face `width` pixels wide onto RGB uint8 `(H, W, 3)`."""
    pen, shade = _Pen(canvas, x, y, width), _shade(look.skin, 0.82)
    pen.ellipse((0, 118), (92, 48), look.shirt)
    pen.ellipse((0, 72), (20, 34), shade)
    for side in (-1, 1):
        pen.ellipse((side * 49, 4), (8, 13), shade)
    pen.ellipse((0, -8), (54, 64), look.hair)
    pen.ellipse((0, 6), (47, 60), look.skin)
    pen.ellipse((0, -36), (46, 30), look.hair, 180, 360)
    for side in (-1, 1):
        _draw_eye(pen, side, look, expression)
    pen.line([(-3, 2), (-6, 20), (0, 23), (6, 20)], _shade(look.skin, 0.65), 2)
    _draw_mouth(pen, look, expression)


def _draw_eye(pen: _Pen, side: int, look: Look, expression: Expression) -> None:
    """An eye and its brow; `side` is -1 for those at the left of the image and 1 for the others."""
    opening = 0.75 * expression.eye_opening
    pen.ellipse((side * 20, -4), (10, opening), WHITE)
    pen.ellipse((side * 20, -4), (4.6, min(4.6, opening)), DARK)
    lid = [(10, -3.0), (15, -3 - opening), (20, -4 - opening), (25, -3 - opening), (31, -3.0)]
    pen.line([(side * x, y) for x, y in lid], DARK, 2)
    height = -18 - expression.brow_height
    brow = [(9, height - expression.brow_slant), (20, height - 3), (32, height + 2)]
    pen.line([(side * x, y) for x, y in brow], _shade(look.hair, 0.8), 4)


def _draw_mouth(pen: _Pen, look: Look, expression: Expression) -> None:
    half, bend, opening = expression.mouth_width / 2, expression.mouth_bend, expression.mouth_opening
    arc = [(half * step, 1 - step * step) for step in np.linspace(-1, 1, 15)]
    upper = [(x, 40 - bend / 2 + (bend - opening / 2) * share) for x, share in arc]
    lower = [(x, 40 - bend / 2 + (bend + opening / 2) * share) for x, share in arc]
    lips = _shade((190, 70, 70), 0.75 if sum(look.skin) < 400 else 0.95)
    if opening > 1:
        pen.fill(upper + lower[::-1], WHITE if bend > 5 else (110, 30, 35))  # teeth in a smile
        pen.line(lower, lips, 3)
    pen.line(upper, lips, 3)


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (round(value * factor) for value in colour)
    return red, green, blue


def expression_at(story: tuple[tuple[float, str], ...], time_s: float) -> Expression:
    """The expression at a time, blended over `CHANGE_S` from one to the next."""
    shown = EXPRESSIONS[story[0][1]]
    for begins_s, name in story[1:]:
        share = min(max((time_s - begins_s) / CHANGE_S, 0.0), 1.0)
        shown = shown.towards(EXPRESSIONS[name], share * share * (3 - 2 * share))
    return shown


def frames() -> Iterator[tuple[float, np.ndarray]]:
    """The video's frames with their times: RGB uint8 `(HEIGHT, WIDTH, 3)`."""
    rows = np.linspace(1.0, 0.86, HEIGHT * ZOOM)[:, None, None]
    wall = np.broadcast_to(rows * np.array([206, 212, 214]), (HEIGHT * ZOOM, WIDTH * ZOOM, 3)).astype(np.uint8)
    for number in range(round(DURATION_S * FPS)):
        time_s = number / FPS
        canvas = wall.copy()
        for k, (look, story) in enumerate(zip(LOOKS, STORIES, strict=True)):
            sway = 10 * np.sin(2 * np.pi * time_s / 4 + 2 * k)
            x, y = (190 + 260 * k + sway) * ZOOM, (165 + 10 * k + sway / 4) * ZOOM
            draw_face(canvas, x, y, (150 - 20 * k) * ZOOM, look, expression_at(story, time_s))
        yield time_s, cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def main() -> None:
    """Write the video."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if video_suffix() != PATH.suffix:
        raise SystemExit("error: ffmpeg with H.264 is missing")
    with tempfile.NamedTemporaryFile() as silent, VideoWriter(PATH, (WIDTH, HEIGHT), FPS) as writer:
        for time_s, rgb in frames():
            writer.write(time_s, rgb)
        writer.finish(DURATION_S, silent.name)
    print(f"{PATH}: {PATH.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
