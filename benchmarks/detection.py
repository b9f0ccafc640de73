"""How well the detectors find faces: recall by face size, false boxes and time, on pictures with known boxes.

    python -m benchmarks.detection                     # YuNet from the Hub; writes benchmarks/detection.json
    python -m benchmarks.detection --yunet FILE.onnx   # the same, with the file at hand
    python -m benchmarks.detection --yunet FILE.onnx --pictures 2 --out /tmp/detection.json    # to see that it runs

The pictures are made from a seed, nothing is downloaded. Faces: the astronaut Eileen Collins (NASA, public domain, from
`skimage.data`), mirrored, lit, blurred and grayed in many ways, and faces drawn here: a relief of a head, shaded by a
lamp, with skin, hair, eyes and mouth of random colour and form. A face's size is its height from hairline to chin, as
YuNet boxes it. A third of the faces are turned by up to 45 degrees, a tenth hang over the border by up to a fifth.
Backgrounds, with and without faces: public-domain textures and photographs of `skimage.data`, gradients, noise, text.

A face counts as found where a box overlaps its own with IoU >= 0.4 (Haar's boxes are squares: 0.5 would judge their
form and not their finds); every other box is false, a second one on the same face too.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from skimage import data

from benchmarks.speed import processor
from deepfer.detection import HaarDetector, load_detector
from deepfer.face import Face, iou

OUT = Path(__file__).with_suffix(".json")
SEED = 20240
FACE_SIZES = (24, 32, 48, 96, 200)  # pixels from hairline to chin
PICTURE_SIZES = {"0.3": (640, 480), "1": (1152, 864), "2": (1632, 1224), "12": (4000, 3000)}  # by megapixels
FOUND_IOU = 0.4
TURNED = 15  # degrees from where on a face counts as turned
# Public domain or CC0, each by its own note in skimage.data, and part of the installed package.
TEXTURES = ("brick", "grass", "gravel", "coffee", "rocket", "hubble_deep_field", "retina", "immunohistochemistry")
FACELESS_ONLY = ("chelsea", "clock", "cell")  # a cat, the likeliest non-face of all; a clock; a round cell
Region = tuple[float, float, float, float]


@dataclass(frozen=True)
class Truth:
    """A face that was put into a picture."""

    box: Region
    size: int
    turn: float  # degrees
    over_border: bool
    drawn: bool


@dataclass(frozen=True)
class Picture:
    """A made picture and the faces in it."""

    megapixels: str
    image: np.ndarray
    faces: list[Truth]
    single_size: int | None  # of all faces; None where they differ, or where there is none


# --- faces ------------------------------------------------------------------------------------------------------------


def draw_head(rng: np.random.Generator) -> tuple[np.ndarray, Region]:
    """A drawn head on nothing: float32 RGBA `(256, 256, 4)` from 0 to 255 (alpha to 1), and its face's box."""
    side = 256
    y, x = np.mgrid[:side, :side] / side * 2 - 1
    y = y - 0.02

    def bump(cx: float, cy: float, sx: float, sy: float | None = None) -> np.ndarray:
        return np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / (sy or sx)) ** 2))

    def soft(inside: np.ndarray, width: float = 0.02) -> np.ndarray:
        return np.clip(0.5 + inside / width, 0, 1)

    half_width, half_height = rng.uniform(0.50, 0.58), rng.uniform(0.66, 0.74)
    eye_x, eye_y = rng.uniform(0.20, 0.24), rng.uniform(-0.10, -0.04)
    nose_y, mouth_y = rng.uniform(0.17, 0.23), rng.uniform(0.38, 0.43)

    # The relief: an ellipsoid with a narrower jaw, and on it nose, brows, sockets, lids, cheeks, lips and chin.
    jaw = half_width * (1 - 0.28 * np.clip((y - 0.1) / 0.6, 0, 1) ** 1.5)
    radius = (x / jaw) ** 2 + (y / half_height) ** 2
    head = np.clip((1 - radius) / 0.06, 0, 1)
    relief = 0.75 * np.sqrt(np.clip(1 - radius, 0, 1))
    relief += 0.16 * bump(0, nose_y - 0.12, 0.055, 0.13) + 0.11 * bump(0, nose_y, 0.075, 0.06)
    relief += 0.035 * bump(0, mouth_y - 0.035, 0.11, 0.028) + 0.045 * bump(0, mouth_y + 0.045, 0.10, 0.03)
    relief += 0.05 * bump(0, 0.60, 0.13, 0.07) - 0.03 * bump(0, mouth_y + 0.1, 0.13, 0.025)
    for s in (-1, 1):
        relief += 0.03 * bump(s * 0.08, nose_y + 0.02, 0.04) + 0.05 * bump(s * 0.30, 0.14, 0.13, 0.10)
        relief += 0.035 * bump(s * eye_x, eye_y, 0.065, 0.04) - 0.09 * bump(s * eye_x, eye_y, 0.11, 0.07)
        relief += 0.04 * bump(s * eye_x, eye_y - 0.13, 0.13, 0.04)
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(relief, (0, 0), side / 110), 2 / side)
    facing = 1 / np.sqrt(slope_x**2 + slope_y**2 + 1)
    lamp = np.array([math.sin(rng.uniform(-0.9, 0.9)), rng.uniform(-0.9, -0.1), 1.1])
    lamp /= np.linalg.norm(lamp)
    lit = np.clip((lamp[2] - slope_x * lamp[0] - slope_y * lamp[1]) * facing, 0, None)
    ambient = rng.uniform(0.3, 0.5)
    shade = ambient * (0.6 + 0.4 * facing) + (1 - ambient) * lit

    # The colours.
    skins = np.array([[236, 196, 172], [224, 177, 146], [198, 146, 112], [156, 105, 76], [112, 74, 54], [84, 56, 42]])
    skin = rng.choice(skins) / 255 * rng.uniform(0.92, 1.06, 3)
    hair = rng.choice([[0.08, 0.06, 0.05], [0.20, 0.13, 0.08], [0.38, 0.24, 0.12], [0.62, 0.48, 0.28], [0.5, 0.5, 0.5]])
    iris = rng.choice([[0.25, 0.16, 0.10], [0.30, 0.40, 0.45], [0.20, 0.30, 0.20]])
    flush = bump(-0.28, 0.17, 0.12) + bump(0.28, 0.17, 0.12) + bump(0, nose_y, 0.08)
    grain = cv2.GaussianBlur(rng.normal(size=(side, side)), (0, 0), 2)
    colour = skin * (1 - 0.08 * flush[..., None] * [0, 1, 1]) * (1 + 0.03 * (grain / grain.std())[..., None])

    def paint(mask: np.ndarray, paint_colour: np.ndarray | list[float]) -> None:
        colour[:] = colour * (1 - mask[..., None]) + np.asarray(paint_colour) * mask[..., None]

    gaze, opening, brow_tilt, brow_gap = rng.uniform([-0.025, 0.035, -0.12, 0.115], [0.025, 0.06, 0.15, 0.12])
    for s in (-1, 1):
        ex, ey = x - s * eye_x, y - eye_y
        arc = np.clip(1 - (ex / 0.105) ** 2, 0, 1)
        upper, lower, in_lids = -opening * arc, 0.75 * opening * arc, np.abs(ex) < 0.105
        eye = soft(np.minimum(ey - upper, lower - ey), 0.025) * in_lids
        from_iris = np.hypot(ex - gaze, ey + 0.005)
        paint(0.35 * bump(s * eye_x, eye_y - 0.02, 0.12, 0.06), skin * 0.55)
        paint(eye, [0.90, 0.88, 0.86])
        paint(eye * soft(0.05 - from_iris), iris)
        paint(eye * soft(0.024 - from_iris), [0.03, 0.03, 0.03])
        paint(soft(0.010 - np.hypot(ex - gaze - 0.015, ey + 0.02)), [1, 1, 1])
        paint(0.9 * np.exp(-0.5 * ((ey - upper) / 0.012) ** 2) * in_lids, hair * 0.4)
        paint(0.35 * np.exp(-0.5 * ((ey - lower) / 0.012) ** 2) * in_lids, skin * 0.45)
        brow = ey + brow_gap + 1.9 * ex**2 + brow_tilt * s * ex
        thickness = 0.024 - 0.10 * np.clip(np.abs(ex) - 0.06, 0, 1)
        paint(0.85 * soft(thickness - np.abs(brow), 0.03) * (np.abs(ex) < 0.14), hair * 0.7)
        paint(0.7 * bump(s * 0.045, nose_y + 0.055, 0.022, 0.014), skin * 0.25)
    paint(0.25 * bump(0, nose_y + 0.075, 0.09, 0.02), skin * 0.4)
    smile, mouth_width, gap = rng.uniform(-0.05, 0.12), rng.uniform(0.15, 0.19), max(0.0, rng.normal(0, 0.03))
    arc = np.clip(1 - (x / mouth_width) ** 2, 0, 1)
    my = y - mouth_y + smile * ((x / mouth_width) ** 2 - 0.4)
    paint(0.85 * soft(np.minimum(my + 0.05 * arc + gap, 0.06 * arc + gap - my)) * (arc > 0), skin * [0.85, 0.55, 0.55])
    if gap > 0.008:
        teeth = [0.88, 0.86, 0.82] if rng.random() < 0.6 else [0.25, 0.08, 0.08]
        paint(soft(np.minimum(my + gap * arc, gap * arc - my), 0.015) * (arc > 0), teeth)
    else:
        paint(0.8 * np.exp(-0.5 * (my / 0.010) ** 2) * (arc > 0), skin * 0.25)
    face = colour * shade[..., None] * rng.uniform(1.0, 1.25)

    # Neck, clothes and hair around it.
    neck = soft(np.minimum(0.24 - np.abs(x), y - 0.3), 0.03)
    clothes = soft(y - 0.80 - 0.35 * x**2, 0.03)
    body = skin * (0.55 + 0.2 * np.clip(1 - np.abs(x) / 0.3, 0, 1))[..., None] * (1 - clothes[..., None])
    body = body + rng.uniform(0.1, 0.8, 3) * (0.7 + 0.3 * x * lamp[0])[..., None] * clothes[..., None]
    long_hair = rng.random() < 0.4
    fringe = y + rng.uniform(0.46, 0.65) * half_height - (0.9 if long_hair else 0.6) * x**2
    fringe = fringe - 0.03 * np.sin(9 * x + rng.uniform(0, 6))
    temples = np.abs(x) - 0.93 * jaw - (0 if long_hair else np.clip(y + 0.1, 0, 1))
    skull = (x / (half_width * 1.13)) ** 2 + ((y + 0.08) / (half_height * 1.06)) ** 2
    cover = soft(1 - skull, 0.06) * soft(np.maximum(-fringe, temples), 0.05)
    if long_hair:
        strands = np.minimum(np.abs(x) - 0.90 * half_width, 1.2 * half_width - np.abs(x))
        cover = np.maximum(cover, soft(strands, 0.05) * soft(0.55 - y, 0.1) * soft(y + 0.3, 0.1))
    cover = cover * (rng.random() > 0.08)  # some are bald
    streaks = cv2.GaussianBlur(rng.normal(size=(side, side)), (0, 0), 1.2, sigmaY=9)
    strand_colour = hair * (0.75 + 0.35 * np.clip(lit, 0, 1) + 0.18 * streaks / streaks.std())[..., None]
    rgb = face * head[..., None] + body * (1 - head[..., None])
    rgb = rgb * (1 - cover[..., None]) + strand_colour * cover[..., None]
    alpha = np.maximum.reduce([head, neck, clothes, cover])
    rgb = cv2.GaussianBlur(np.clip(rgb, 0, 1), (0, 0), 0.8) * 255
    reach = 0.88 * half_width * side / 2
    return np.dstack([rgb, alpha]).astype(np.float32), (side / 2 - reach, 0.26 * side, side / 2 + reach, 0.83 * side)


def astronaut_head() -> tuple[np.ndarray, Region]:
    """The astronaut's head, cut out along an ellipse around hair and neck, in the same form."""
    x1, y1, x2, y2 = 93, 0, 353, 249
    patch = data.astronaut()[y1:y2, x1:x2].astype(np.float32)
    y, x = np.mgrid[y1:y2, x1:x2]
    ellipse = ((x - 223) / 62) ** 2 + ((y - 119) / 88) ** 2
    alpha = np.clip((1 - ellipse) / 0.15, 0, 1).astype(np.float32)
    return np.dstack([patch, alpha]), (178 - x1, 63 - y1, 268 - x1, 176 - y1)


def relight(head: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same head in another light: brighter or darker, lit from a side, sometimes gray or out of focus."""
    rgb, alpha = head[..., :3], head[..., 3]
    rgb = 255 * (rgb / 255) ** rng.uniform(0.65, 1.5)
    rgb = rgb * (1 + rng.uniform(-0.4, 0.4) * np.linspace(-1, 1, rgb.shape[1])[None, :, None])
    if rng.random() < 0.25:
        rgb = np.repeat(rgb.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < 0.25:
        rgb = cv2.GaussianBlur(rgb, (0, 0), rng.uniform(1, 3))
    return np.dstack([np.clip(rgb, 0, 255), alpha]).astype(np.float32)


def place(
    head: np.ndarray, face: Region, size: int, degrees: float, center: tuple[float, float], canvas: np.ndarray
) -> Region:
    """Paste a head with its face `size` pixels high, turned, centred at `center`; the turned face's own box."""
    scale = size / (face[3] - face[1])
    if scale < 1:  # a bilinear warp does not average: blur away what the small face cannot hold
        head = cv2.GaussianBlur(head, (0, 0), 0.4 / scale)
    middle = (face[0] + face[2]) / 2, (face[1] + face[3]) / 2
    reach = math.ceil(scale * math.hypot(*head.shape[:2])) // 2 + 2
    left, top = math.floor(center[0]) - reach, math.floor(center[1]) - reach
    matrix = cv2.getRotationMatrix2D(middle, degrees, scale)
    matrix[:, 2] += [center[0] - left - middle[0], center[1] - top - middle[1]]
    patch = cv2.warpAffine(head, matrix, (2 * reach, 2 * reach), flags=cv2.INTER_LINEAR)
    height, width = canvas.shape[:2]
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + 2 * reach, width), min(top + 2 * reach, height)
    patch = patch[y1 - top : y2 - top, x1 - left : x2 - left]
    under = canvas[y1:y2, x1:x2]
    alpha = patch[..., 3:]
    canvas[y1:y2, x1:x2] = (patch[..., :3] * alpha + under * (1 - alpha)).round().clip(0, 255).astype(np.uint8)
    half_height, half_width = size / 2, scale * (face[2] - face[0]) / 2
    angle = math.radians(degrees)  # the box around the turned ellipse of the face
    rx = math.hypot(half_width * math.cos(angle), half_height * math.sin(angle))
    ry = math.hypot(half_width * math.sin(angle), half_height * math.cos(angle))
    return max(center[0] - rx, 0), max(center[1] - ry, 0), min(center[0] + rx, width), min(center[1] + ry, height)


# --- pictures ---------------------------------------------------------------------------------------------------------


def texture(name: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """One of skimage's pictures at a random scale, mirrored on until it fills `size`."""
    image = getattr(data, name)()
    image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else np.ascontiguousarray(image[..., :3])
    scale = rng.uniform(0.6, 1.6)
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    while image.shape[1] < size[0] or image.shape[0] < size[1]:
        image = np.block([[[image], [image[:, ::-1]]], [[image[::-1]], [image[::-1, ::-1]]]])
    x, y = rng.integers(0, image.shape[1] - size[0] + 1), rng.integers(0, image.shape[0] - size[1] + 1)
    return image[y : y + size[1], x : x + size[0]].copy()


def gradient(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A smooth passage between four random colours."""
    corners = rng.uniform(0, 255, (2, 2, 3)).astype(np.float32)
    return cv2.resize(corners, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def noise(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Coloured noise of a random grain."""
    grain = rng.uniform(1, 12)
    coarse = math.ceil(size[0] / grain), math.ceil(size[1] / grain)
    values = rng.integers(0, 256, (coarse[1], coarse[0], 3), dtype=np.uint8)
    return cv2.resize(values, size, interpolation=cv2.INTER_CUBIC)


def text(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Lines of random letters, in random colours and sizes."""
    image = np.full((size[1], size[0], 3), rng.integers(0, 256, 3), np.uint8)
    fonts = cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX
    y = 0
    while y < size[1]:
        scale = rng.uniform(0.4, 2.5)
        y += round(32 * scale)
        line = "".join(chr(code) for code in rng.integers(33, 127, 400))
        colour = [int(value) for value in rng.integers(0, 256, 3)]
        cv2.putText(image, line, (0, y), fonts[rng.integers(3)], scale, colour, max(1, round(1.5 * scale)), cv2.LINE_AA)
    return image


def background(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """What stands behind the faces: mostly textures and photographs, also gradients and noise."""
    kind = rng.random()
    if kind < 0.70:
        return texture(str(rng.choice(TEXTURES)), size, rng)
    return gradient(size, rng) if kind < 0.85 else noise(size, rng)


def finish(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a camera adds: a little blur, noise, and JPEG."""
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.7))
    if rng.random() < 0.5:
        grain = np.empty(image.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(1 << 30)))
        cv2.randn(grain, 0, rng.uniform(2, 8))
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
    jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(70, 96))])[1]
    return cv2.cvtColor(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def with_faces(megapixels: str, size: int | None, rng: np.random.Generator) -> Picture:
    """A picture of one to six faces, all of `size` pixels, or of sizes of their own where it is None."""
    width, height = PICTURE_SIZES[megapixels]
    image, faces, taken = background((width, height), rng), [], []
    for _ in range(rng.integers(1, 7)):
        tall = int(size or rng.choice(FACE_SIZES))
        for _attempt in range(50):
            over_border = rng.random() < 0.1
            if over_border:  # at most a fifth of the face is cut off
                inside = rng.uniform(0.3, 0.5) * 0.8 * tall
                along_x, along_y = rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height
                sides = (inside, along_y), (width - inside, along_y), (along_x, inside), (along_x, height - inside)
                center = sides[rng.integers(4)]
            else:
                margin = min(tall, min(width, height) // 2 - 1)
                center = rng.uniform(margin, width - margin), rng.uniform(margin, height - margin)
            if all(math.dist(center, (x, y)) > 1.3 * (tall + their) for x, y, their in taken):
                break
        else:
            continue  # it is full
        drawn = bool(rng.random() < 0.5)
        head, face = draw_head(rng) if drawn else astronaut_head()
        if rng.random() < 0.5:
            head, face = head[:, ::-1], (head.shape[1] - face[2], face[1], head.shape[1] - face[0], face[3])
        turn = rng.uniform(-45, 45) if rng.random() < 1 / 3 else rng.uniform(-8, 8)
        box = place(relight(head, rng), face, tall, turn, center, image)
        faces.append(Truth(box, tall, turn, over_border, drawn))
        taken.append((*center, tall))
    return Picture(megapixels, finish(image, rng), faces, size)


def without_faces(megapixels: str, rng: np.random.Generator) -> Picture:
    """A picture of no face."""
    size = PICTURE_SIZES[megapixels]
    if rng.random() < 0.6:
        image = texture(str(rng.choice(TEXTURES + FACELESS_ONLY)), size, rng)
    else:
        image = (gradient, noise, text)[rng.integers(3)](size, rng)
    return Picture(megapixels, finish(image, rng), [], None)


def pictures(each: int, seed: int) -> Iterator[Picture]:
    """All of them: `each` for every picture size and face size, a quarter of that at 12 megapixels."""
    number = 0
    for megapixels in PICTURE_SIZES:
        count = max(1, each // 4) if megapixels == "12" else each
        for size in (*FACE_SIZES, None):  # None: of mixed sizes
            for _ in range(count):
                yield with_faces(megapixels, size, np.random.default_rng([seed, number := number + 1]))
        for _ in range(2 * count):
            yield without_faces(megapixels, np.random.default_rng([seed, number := number + 1]))


def make_folder(folder: Path, count: int, seed: int = SEED) -> tuple[Path, int]:
    """A new folder with so many pictures of 1 MP and faces of all sizes, and how many faces are in them."""
    folder.mkdir()
    faces = 0
    for number in range(count):
        picture = with_faces("1", None, np.random.default_rng([seed, number]))
        Image.fromarray(picture.image).save(folder / f"{number:05}.jpg", quality=92)
        faces += len(picture.faces)
    return folder, faces


# --- measurement ------------------------------------------------------------------------------------------------------


def match(found: list[Face], truth: list[Truth]) -> tuple[list[bool], int]:
    """Which faces were found, and how many boxes are false; every box counts for one face at most."""
    left = list(found)
    hits = []
    for face in truth:
        best = max(left, key=lambda other: iou(other.box, face.box), default=None)
        hits.append(best is not None and iou(best.box, face.box) >= FOUND_IOU)
        if hits[-1]:
            left.remove(best)
    return hits, len(left)


def measure(detectors: dict[str, Any], each: int, seed: int) -> dict[str, Any]:
    """The counts and times of every detector over all pictures."""
    # detector -> what is counted -> its outcomes
    outcomes: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in detectors}
    total = (3 * each + max(1, each // 4)) * (len(FACE_SIZES) + 3)
    for number, picture in enumerate(pictures(each, seed), 1):
        print(f"\r{number}/{total}", end="", file=sys.stderr)
        area = "12" if picture.megapixels == "12" else "up_to_2"
        for name, detector in detectors.items():
            start = time.perf_counter()
            found = detector.detect(picture.image)
            milliseconds = 1000 * (time.perf_counter() - start)
            hits, false = match(found, picture.faces)
            note = outcomes[name]
            kind = "small_faces" if picture.faces else "faceless"
            if picture.single_size == max(FACE_SIZES):
                kind = "large_faces"
            note[f"ms/{kind}/{picture.megapixels}"].append(milliseconds)
            note[f"false/{'faces' if picture.faces else 'faceless'}/{area}"].append(false)
            for face, hit in zip(picture.faces, hits, strict=True):
                note[f"recall/{face.size}/{area}"].append(hit)
                if face.size < 32:
                    continue
                note[f"recall/32_and_above/{area}"].append(hit)
                note[f"recall/{'turned' if abs(face.turn) >= TURNED else 'upright'}/{area}"].append(hit)
                note[f"recall/{'drawn' if face.drawn else 'astronaut'}/{area}"].append(hit)
                if face.over_border:
                    note[f"recall/over_border/{area}"].append(hit)
    print(file=sys.stderr)
    return {
        name: {
            key: {"n": len(values), "median" if key.startswith("ms") else "mean": _average(key, values)}
            for key, values in sorted(note.items())
        }
        for name, note in outcomes.items()
    }


def _average(key: str, values: list[float]) -> float:
    return round(statistics.median(values), 1) if key.startswith("ms") else round(statistics.fmean(values), 4)


def markdown(result: dict[str, Any]) -> str:
    """The tables of `detection.json`."""
    titles = {"yunet": "YuNet", "haar": "Haar"}
    areas = {"up_to_2": "0.3 to 2 MP", "12": "12 MP"}
    parts = [str(size) for size in FACE_SIZES] + ["32_and_above", "turned", "over_border"]
    lines = [
        "| Faces found | pictures | "
        + " | ".join(f"{size} px" for size in FACE_SIZES)
        + f" | 32 px and above | of these turned {TURNED}–45° | over the border | false boxes per picture with faces"
        " | … without |",
        "|---|---|" + "--:|" * (len(parts) + 2),
    ]
    for name, m in result["detectors"].items():
        for area, words in areas.items():
            recall = [m.get(f"recall/{part}/{area}") for part in parts]
            false = [m[f"false/{kind}/{area}"]["mean"] for kind in ("faces", "faceless")]
            cells = [f"{100 * value['mean']:.1f} %" if value else "–" for value in recall]
            lines.append(f"| {titles[name]} | {words} | {' | '.join(cells + [f'{value:.2f}' for value in false])} |")
    lines += [
        "",
        "| Median ms | faces of | " + " | ".join(f"{size} MP" for size in PICTURE_SIZES) + " |",
        "|---|---|" + "--:|" * len(PICTURE_SIZES),
    ]
    kinds = {"large_faces": f"{max(FACE_SIZES)} px", "small_faces": "mixed sizes and smaller", "faceless": "none"}
    for name, m in result["detectors"].items():
        for kind, words in kinds.items():
            cells = [f"{m[f'ms/{kind}/{size}']['median']:.0f}" for size in PICTURE_SIZES]
            lines.append(f"| {titles[name]} | {words} | {' | '.join(cells)} |")
    made = f"{result['pictures']} pictures with {result['faces']} faces, made from seed {result['seed']}"
    lines += ["", f"{made}. {result['processor']}."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--yunet", default="yunet", help="YuNet's .onnx file (default: from the Hub or its cache)")
    parser.add_argument("--pictures", type=int, default=20, help="pictures for each picture size and face size")
    parser.add_argument("--seed", type=int, default=SEED, help=f"default: {SEED}")
    parser.add_argument("--threads", type=int, default=2, help="of each detector (default: 2)")
    parser.add_argument("--out", type=Path, default=OUT, help="default: benchmarks/detection.json")
    args = parser.parse_args()
    cv2.setNumThreads(args.threads)
    detectors = {"yunet": load_detector(args.yunet), "haar": HaarDetector()}
    outcomes = measure(detectors, args.pictures, args.seed)
    counts = {key: value["n"] for key, value in outcomes["haar"].items()}
    result = {
        "seed": args.seed,
        "pictures": sum(n for key, n in counts.items() if key.startswith("ms/")),
        "faces": sum(n for key, n in counts.items() if key.split("/")[1] in map(str, FACE_SIZES)),
        "processor": f"{processor()}; OpenCV {cv2.__version__}, {args.threads} threads",
        "detectors": outcomes,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(markdown(result))


if __name__ == "__main__":
    main()
