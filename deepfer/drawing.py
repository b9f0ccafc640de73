"""Draws faces onto an image, and defines the colour and emoji of each emotion."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from deepfer.face import Box, Face, area, clip_box
from deepfer.image_io import check_image
from deepfer.text import format_percent

Colour = tuple[int, int, int]


class Style(NamedTuple):
    """How an emotion is shown, here and on the page."""

    colour: Colour  # RGB
    emoji: str

    @property
    def hex(self) -> str:
        """The colour in CSS, such as "#e9ad11"."""
        return "#{:02x}{:02x}{:02x}".format(*self.colour)


# The Okabe-Ito palette, optimized so that the two most similar of the seven colours differ as much as possible in
# normal vision and in each kind of colour blindness (CIEDE2000 >= 15.5; the original has 6), with a contrast of at
# least 2:1 to white and 3:1 to a dark page. tests/test_drawing.py checks this.
STYLES: dict[str, Style] = {
    "angry": Style((217, 83, 19), "😠"),  # vermilion
    "disgust": Style((10, 157, 101), "🤢"),  # green
    "fear": Style((182, 120, 161), "😨"),  # mauve
    "happy": Style((233, 173, 17), "😄"),  # amber
    "neutral": Style((182, 182, 177), "😐"),  # gray
    "sad": Style((1, 101, 187), "😢"),  # blue
    "surprise": Style((77, 194, 247), "😮"),  # sky blue
}
UNCLASSIFIED: Colour = (255, 255, 255)  # a face without probabilities
DARK: Colour = (16, 16, 20)  # outlines, and text on light colours

MIN_TEXT = 11  # pixels: smaller text is hard to read
HIDES = 0.2  # share of a face: a tag that would cover more of it is drawn outside if possible
CROWDED = 0.7  # where there is no room, text shrinks to this share of its size
SUBPIXEL_BITS = 4  # points are passed to OpenCV in sixteenths of a pixel


def draw_faces(rgb: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
    """Draw a box around each face and, if it is classified, a tag such as "happy 93%".

    With a track id, the tag is "#1 happy 93%". An unclear face has a dashed box in a paler colour and a tag such as
    "unclear: neutral or angry? 41%", shortened where that would cover another face or tag. Line width and text size
    grow with the image and the face. A tag is placed above its face, or below or inside if it would leave the image or
    cover another face or tag. It is omitted if the image is too small.

    Args:
        rgb: RGB, `uint8 (H, W, 3)`.
        faces: Their boxes are in pixels of `rgb` and are clipped to it.

    Returns:
        A copy: RGB, `uint8 (H, W, 3)`.

    Raises:
        ValueError: `rgb` is not an image.
    """
    check_image(rgb)
    canvas = np.array(rgb, order="C")  # the layout that OpenCV draws into
    height, width = canvas.shape[:2]
    scale = (height * width) ** 0.5  # the side of a square of the same area
    boxes = [clip_box(face.box, width, height) for face in faces]
    for face, box in zip(faces, boxes, strict=True):
        if area(box):
            _draw_box(canvas, box, _colour(face), scale, dashed=face.unclear)
    tags: list[Box] = []
    # Unclear faces last: their long tags make do with the room that is left.
    for face, box in sorted(zip(faces, boxes, strict=True), key=lambda drawn: drawn[0].unclear):
        if not area(box) or face.emotion is None or face.confidence is None:
            continue
        size = max(round(min(max((box[2] - box[0]) / 8, scale / 46), scale / 20)), MIN_TEXT)
        others = [*tags, *(other for other in boxes if other != box)]
        if tag := _fitting_tag(_tag_words(face), size, box, others, (height, width)):
            _draw_tag(canvas, *tag, _colour(face))
            tags.append(tag[1])
    return canvas


def _fitting_tag(
    words: list[str], size: int, box: Box, others: list[Box], image: tuple[int, int]
) -> tuple[np.ndarray, Box] | None:
    """The first of `words` that fit next to `box` without covering `others`, at `size` or smaller; else the best fit.

    Returns:
        The text, as `_text` returns it, and its place; None if the image, of (height, width), is too small.
    """
    best, least = None, float("inf")
    for pixels in dict.fromkeys((size, max(round(size * CROWDED), MIN_TEXT))):
        for option in words:
            text = _text(option, pixels)
            if text.shape[0] > image[0] or text.shape[1] > image[1]:
                continue
            hides_face = text.size > HIDES * area(box)
            place, covered = _free_place(text.shape, box, [*others, box] if hides_face else others, image)
            if not covered:
                return text, place
            if covered < least:
                best, least = (text, place), covered
    return best


def _tag_words(face: Face) -> list[str]:
    """What a face's tag may say, the longest first."""
    number = "" if face.track_id is None else f"#{face.track_id} "
    percent = format_percent(face.confidence)
    if not face.unclear:
        return [f"{number}{face.label} {percent}"]
    either = f"{face.emotion} or {face.runner_up}?"
    return [f"{number}{words}" for words in (f"{face.label} {percent}", face.label, either, "unclear")]


def _colour(face: Face) -> Colour:
    """The emotion's colour, mixed half and half with white if it is unclear."""
    colour = STYLES[face.emotion].colour if face.emotion else UNCLASSIFIED
    if not face.unclear:
        return colour
    red, green, blue = ((value + 256) // 2 for value in colour)
    return red, green, blue


def _darker(colour: Colour) -> Colour:
    """A darker shade, for outlines."""
    red, green, blue = (round(value * 0.35) for value in colour)
    return red, green, blue


def _draw_box(canvas: np.ndarray, box: Box, colour: Colour, scale: float, *, dashed: bool) -> None:
    """A line inside `box`, between two thin darker ones that keep it visible on any background."""
    side = min(box[2] - box[0], box[3] - box[1])
    line = max(1, round(min(max(side / 50, scale / 320), scale / 130)))
    outline = max(1, line // 3)
    # One more pixel because OpenCV's antialiased lines are that much wider.
    points = _rounded(box, inset=min(line / 2 + outline + 1, side / 2), radius=side * 0.07)
    lines = _dashes(points, 7 * (line + outline) << SUBPIXEL_BITS) if dashed else [points]
    for shade, width in ((_darker(colour), line + 2 * outline), (colour, line)):
        cv2.polylines(canvas, lines, not dashed, shade, width, cv2.LINE_AA, SUBPIXEL_BITS)


def _draw_tag(canvas: np.ndarray, text: np.ndarray, place: Box, colour: Colour) -> None:
    x1, y1, x2, y2 = place
    radius = (y2 - y1) * 0.22
    cv2.fillPoly(canvas, [_rounded(place, 0, radius)], _darker(colour), cv2.LINE_AA, SUBPIXEL_BITS)
    cv2.fillPoly(canvas, [_rounded(place, max(1, (y2 - y1) / 24), radius)], colour, cv2.LINE_AA, SUBPIXEL_BITS)
    background = canvas[y1:y2, x1:x2]
    text_rgb = np.array(text_colour(colour), np.float32)
    background[:] = np.rint(background + text[:, :, None] * (text_rgb - background))


def text_colour(background: Colour) -> Colour:
    """White or near-black, whichever has the higher contrast to the background (WCAG)."""
    channels = np.array(background) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    return DARK if luminance > 0.19 else UNCLASSIFIED  # the luminance at which both have the same contrast


def _rounded(box: Box, inset: float, radius: float) -> np.ndarray:
    """A rounded rectangle, `inset` pixels inside `box`, as an OpenCV contour: int32 (N, 1, 2)."""
    x1, y1, x2, y2 = box[0] + inset, box[1] + inset, box[2] - inset, box[3] - inset
    radius = min(radius, (x2 - x1) / 2, (y2 - y1) / 2)
    angles = np.radians(np.arange(0, 360, 90)[:, None] + np.arange(0, 91, 15))  # 7 points along the arc of each corner
    centres = [(x2 - radius, y2 - radius), (x1 + radius, y2 - radius), (x1 + radius, y1 + radius)]
    centres.append((x2 - radius, y1 + radius))
    points = np.array(centres)[:, None] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=2)
    # A box counts from pixel edges, OpenCV from pixel centres.
    return np.rint((points.reshape(-1, 1, 2) - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32)


def _dashes(contour: np.ndarray, period: int) -> list[np.ndarray]:
    """Dashes along a closed contour `(N, 1, 2)`, one about every `period` units, as open contours: int32 (M, 1, 2)."""
    closed = np.concatenate([contour[:, 0], contour[:1, 0]]).astype(np.float64)
    along = np.concatenate([[0.0], np.linalg.norm(np.diff(closed, axis=0), axis=1).cumsum()])
    step = along[-1] / max(4, round(along[-1] / period))
    starts = np.arange(0, along[-1] - step / 2, step)
    at = starts[:, None] + np.linspace(0, 0.5 * step, 5)  # 5 points follow a corner's arc
    points = np.stack([np.interp(at, along, closed[:, axis]) for axis in (0, 1)], axis=2)
    return list(np.rint(points)[:, :, None].astype(np.int32))


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _text(text: str, size: int) -> np.ndarray:
    """The coverage of each pixel of a tag by its text: float32 (H, W), 0 to 1, with a margin."""
    font = _font(size)
    width = round(font.getlength(text) + size * 0.9)
    height = round(size * 1.6)
    image = Image.new("L", (width, height))
    # Anchored at the baseline, so that all tags have it at the same height.
    ImageDraw.Draw(image).text((width / 2, height / 2 + size * 0.36), text, 255, font, anchor="ms")
    return np.asarray(image, dtype=np.float32) / 255


def _free_place(tag: tuple[int, ...], box: Box, others: list[Box], image: tuple[int, int]) -> tuple[Box, int]:
    """The place next to `box` where a tag of (height, width) covers the fewest pixels of `others`, and how many."""
    tag_height, tag_width = tag
    x1, y1, x2, y2 = box
    places: list[Box] = []
    for y in (y1 - tag_height, y2, y1, y2 - tag_height):  # above, below, inside at the top, inside at the bottom
        if 0 <= y <= image[0] - tag_height:
            for x in (x1, x2 - tag_width):
                left = min(max(x, 0), image[1] - tag_width)
                places.append((left, y, left + tag_width, y + tag_height))
    if not places:  # no place is inside the image: the face is at an edge and lower than its tag
        top = min(max(y1, 0), image[0] - tag_height)
        left = min(x1, image[1] - tag_width)
        places.append((left, top, left + tag_width, top + tag_height))
    low = np.maximum(np.array(places)[:, None, :2], np.array(others).reshape(-1, 4)[:, :2])
    high = np.minimum(np.array(places)[:, None, 2:], np.array(others).reshape(-1, 4)[:, 2:])
    covered = np.clip(high - low, 0, None).prod(axis=2).sum(axis=1)
    best = int(covered.argmin())  # the first of equals
    return places[best], int(covered[best])
