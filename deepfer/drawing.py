"""Faces drawn onto a picture, and the one table of each emotion's colour and emoji."""

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
    """How an emotion looks, everywhere."""

    colour: Colour  # RGB
    emoji: str

    @property
    def hex(self) -> str:
        """The colour as CSS writes it, such as "#e9ad11"."""
        return "#{:02x}{:02x}{:02x}".format(*self.colour)


# The Okabe-Ito palette, moved by search until the two most alike of the seven are as far apart as they can be for
# normal and for each kind of colour-blind sight (CIEDE2000 at least 15.5 where Okabe-Ito's own have 6), while every one
# keeps a contrast of 2:1 or more to white and 3:1 or more to a dark page. tests/test_drawing.py holds it to that.
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

MIN_TEXT = 9  # pixels: smaller letters cannot be read
SUBPIXEL_BITS = 4  # OpenCV takes points in sixteenths of a pixel


def draw_faces(rgb: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
    """A copy of a picture with a box around each face and, where it is classified, a tag such as "happy 93 %".

    Where a face has a track's number, that goes first: "#1 happy 93 %".

    Lines and letters grow with the picture and the face. A tag lies above its face or, where it would leave the picture
    or cover another face or tag, below or inside; in a picture too small for letters it is left out.

    Args:
        rgb: RGB, `uint8 (H, W, 3)`.
        faces: Their boxes are in pixels of `rgb`; what lies outside it is not drawn.

    Returns:
        RGB, `uint8 (H, W, 3)`.

    Raises:
        ValueError: `rgb` is no image.
    """
    check_image(rgb)
    canvas = np.array(rgb, order="C")  # as OpenCV draws into it
    height, width = canvas.shape[:2]
    scale = (height * width) ** 0.5  # the side of a square of this size: what "large" means in this picture
    boxes = [clip_box(face.box, width, height) for face in faces]
    for face, box in zip(faces, boxes, strict=True):
        if area(box):
            _draw_box(canvas, box, _colour(face), scale)
    tags: list[Box] = []
    for face, box in zip(faces, boxes, strict=True):
        if not area(box) or face.emotion is None or face.confidence is None:
            continue
        size = round(min(max((box[2] - box[0]) / 8, scale / 46), scale / 20))
        number = "" if face.track_id is None else f"#{face.track_id} "
        text = _text(f"{number}{face.emotion} {format_percent(face.confidence)}", max(size, MIN_TEXT))
        if text.shape[0] > height or text.shape[1] > width:
            continue
        spot = _free_spot(text.shape, box, [*tags, *(other for other in boxes if other != box)], (height, width))
        _draw_tag(canvas, text, spot, _colour(face))
        tags.append(spot)
    return canvas


def _colour(face: Face) -> Colour:
    return STYLES[face.emotion].colour if face.emotion else UNCLASSIFIED


def _rim(colour: Colour) -> Colour:
    """A darker shade, for the edge of what is drawn in a colour."""
    red, green, blue = (round(value * 0.35) for value in colour)
    return red, green, blue


def _draw_box(canvas: np.ndarray, box: Box, colour: Colour, scale: float) -> None:
    """A line inside the edges of `box`, between two thin darker ones that keep it visible on any ground."""
    side = min(box[2] - box[0], box[3] - box[1])
    line = max(1, round(min(max(side / 50, scale / 320), scale / 130)))
    rim = max(1, line // 3)
    # One pixel more, as OpenCV draws its smooth lines that much wider.
    points = _rounded(box, inset=min(line / 2 + rim + 1, side / 2), radius=side * 0.07)
    cv2.polylines(canvas, [points], True, _rim(colour), line + 2 * rim, cv2.LINE_AA, SUBPIXEL_BITS)
    cv2.polylines(canvas, [points], True, colour, line, cv2.LINE_AA, SUBPIXEL_BITS)


def _draw_tag(canvas: np.ndarray, text: np.ndarray, spot: Box, colour: Colour) -> None:
    x1, y1, x2, y2 = spot
    radius = (y2 - y1) * 0.22
    cv2.fillPoly(canvas, [_rounded(spot, 0, radius)], _rim(colour), cv2.LINE_AA, SUBPIXEL_BITS)
    cv2.fillPoly(canvas, [_rounded(spot, max(1, (y2 - y1) / 24), radius)], colour, cv2.LINE_AA, SUBPIXEL_BITS)
    ground = canvas[y1:y2, x1:x2]
    ground[:] = np.rint(ground + text[:, :, None] * (np.array(text_colour(colour), np.float32) - ground))


def text_colour(ground: Colour) -> Colour:
    """White or near-black, whichever is easier to read on a colour (WCAG contrast)."""
    channels = np.array(ground) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    return DARK if luminance > 0.19 else UNCLASSIFIED  # where both have the same contrast


def _rounded(box: Box, inset: float, radius: float) -> np.ndarray:
    """The outline of a rounded rectangle, `inset` pixels inside `box`, as OpenCV takes it: int32 (N, 1, 2)."""
    x1, y1, x2, y2 = box[0] + inset, box[1] + inset, box[2] - inset, box[3] - inset
    radius = min(radius, (x2 - x1) / 2, (y2 - y1) / 2)
    angles = np.radians(np.arange(0, 360, 90)[:, None] + np.arange(0, 91, 15))  # of each corner, 7 along its arc
    centres = [(x2 - radius, y2 - radius), (x1 + radius, y2 - radius), (x1 + radius, y1 + radius)]
    centres.append((x2 - radius, y1 + radius))
    points = np.array(centres)[:, None] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=2)
    # A box's numbers are pixels' edges; OpenCV's are pixels' centres.
    return np.rint((points.reshape(-1, 1, 2) - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32)


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _text(words: str, size: int) -> np.ndarray:
    """How much of each pixel of a tag the letters cover: float32 (H, W), 0 to 1, with a margin around them."""
    font = _font(size)
    width = round(font.getlength(words) + size * 0.9)
    height = round(size * 1.6)
    image = Image.new("L", (width, height))
    # Anchored at the baseline, which is then at the same height for every word.
    ImageDraw.Draw(image).text((width / 2, height / 2 + size * 0.36), words, 255, font, anchor="ms")
    return np.asarray(image, dtype=np.float32) / 255


def _free_spot(tag: tuple[int, ...], box: Box, others: list[Box], picture: tuple[int, int]) -> Box:
    """Where a tag of (height, width) goes: inside the picture, by its box, over as little of `others` as can be."""
    tag_height, tag_width = tag
    x1, y1, x2, y2 = box
    spots: list[Box] = []
    for y in (y1 - tag_height, y2, y1, y2 - tag_height):  # above, below, inside at the top, inside at the bottom
        if 0 <= y <= picture[0] - tag_height:
            for x in (x1, x2 - tag_width):
                left = min(max(x, 0), picture[1] - tag_width)
                spots.append((left, y, left + tag_width, y + tag_height))
    if not spots:  # a face lower than its tag, at an edge
        top = min(max(y1, 0), picture[0] - tag_height)
        left = min(x1, picture[1] - tag_width)
        return left, top, left + tag_width, top + tag_height
    low = np.maximum(np.array(spots)[:, None, :2], np.array(others).reshape(-1, 4)[:, :2])
    high = np.minimum(np.array(spots)[:, None, 2:], np.array(others).reshape(-1, 4)[:, 2:])
    covered = np.clip(high - low, 0, None).prod(axis=2).sum(axis=1)
    return spots[int(covered.argmin())]  # the first of equals
