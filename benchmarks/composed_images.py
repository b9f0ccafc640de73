"""Composed images with faces whose boxes are known, made from a seed; nothing is downloaded.

The faces are the astronaut Eileen Collins (NASA, public domain, from `skimage.data`), mirrored, lit, blurred and grayed
in many ways, and heads from `training.data.synthetic_heads`. A face's size is its height from hairline to chin, as in
YuNet's boxes. A third of the faces are turned by up to 45 degrees, and a tenth lie up to a fifth beyond the border. In
separate images, all faces are turned by 46 to 180 degrees. The backgrounds, with and without faces, are public-domain
textures and photographs from `skimage.data`, gradients, noise and text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage import data

from training.data.synthetic_heads import Region, draw_head

SEED = 20240
FACE_SIZES = (24, 32, 48, 96, 200)  # pixels from hairline to chin
IMAGE_SIZES = {"0.3": (640, 480), "1": (1152, 864), "2": (1632, 1224), "12": (4000, 3000)}  # by megapixels
ROLLED_SIZES = (32, 48, 96, 200)
# Public domain or CC0, each by its own note in skimage.data, and part of the installed package.
TEXTURES = ("brick", "grass", "gravel", "coffee", "rocket", "hubble_deep_field", "retina", "immunohistochemistry")
FACELESS_ONLY = ("chelsea", "clock", "cell")  # a cat, the non-face most like a face; a clock; a round cell
ROLLED = 46  # degrees from which a face counts as turned far


@dataclass(frozen=True)
class PlacedFace:
    """A face that was placed in an image."""

    box: Region
    size: int
    turn: float  # degrees
    over_border: bool
    drawn: bool


@dataclass(frozen=True)
class ComposedImage:
    """A composed image and the faces in it."""

    megapixels: str
    image: np.ndarray
    faces: list[PlacedFace]
    single_size: int | None  # the size of all faces; None if sizes differ or there is no face


def astronaut_head() -> tuple[np.ndarray, Region]:
    """The astronaut's head, cut out along an ellipse around hair and neck, as RGBA, and its face's box."""
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
    """Paste a head, turned, with its face `size` pixels high and centred at `center`. Returns the turned face's box."""
    scale = size / (face[3] - face[1])
    if scale < 1:  # a bilinear warp does not average, so blur away detail that is too fine for the small face
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


def texture(name: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """One of skimage's images at a random scale, repeated as in a mirror until it fills `size`."""
    image = getattr(data, name)()
    image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else np.ascontiguousarray(image[..., :3])
    scale = rng.uniform(0.6, 1.6)
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    while image.shape[1] < size[0] or image.shape[0] < size[1]:
        image = np.block([[[image], [image[:, ::-1]]], [[image[::-1]], [image[::-1, ::-1]]]])
    x, y = rng.integers(0, image.shape[1] - size[0] + 1), rng.integers(0, image.shape[0] - size[1] + 1)
    return image[y : y + size[1], x : x + size[0]].copy()


def gradient(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A smooth gradient between four random colours."""
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
    """A background for faces: mostly textures and photographs, also gradients and noise."""
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


def with_faces(megapixels: str, size: int | None, rng: np.random.Generator, rolled: bool = False) -> ComposedImage:
    """An image with one to six faces, all of `size` pixels, or of mixed sizes if None; turned far if `rolled`."""
    width, height = IMAGE_SIZES[megapixels]
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
            continue  # the image is full
        drawn = bool(rng.random() < 0.5)
        head, face = draw_head(rng)[:2] if drawn else astronaut_head()
        if rng.random() < 0.5:
            head, face = head[:, ::-1], (head.shape[1] - face[2], face[1], head.shape[1] - face[0], face[3])
        if rolled:
            turn = rng.choice((-1, 1)) * rng.uniform(ROLLED, 180)
        else:
            turn = rng.uniform(-45, 45) if rng.random() < 1 / 3 else rng.uniform(-8, 8)
        box = place(relight(head, rng), face, tall, turn, center, image)
        faces.append(PlacedFace(box, tall, turn, over_border, drawn))
        taken.append((*center, tall))
    return ComposedImage(megapixels, finish(image, rng), faces, size)


def without_faces(megapixels: str, rng: np.random.Generator) -> ComposedImage:
    """An image without a face."""
    size = IMAGE_SIZES[megapixels]
    if rng.random() < 0.6:
        image = texture(str(rng.choice(TEXTURES + FACELESS_ONLY)), size, rng)
    else:
        image = (gradient, noise, text)[rng.integers(3)](size, rng)
    return ComposedImage(megapixels, finish(image, rng), [], None)


def compose(each: int, seed: int) -> Iterator[ComposedImage]:
    """`each` images of every image and face size, a quarter of that at 12 MP, and `each` with faces turned far."""
    number = 0
    for megapixels in IMAGE_SIZES:
        count = max(1, each // 4) if megapixels == "12" else each
        for size in (*FACE_SIZES, None):  # None: of mixed sizes
            for _ in range(count):
                yield with_faces(megapixels, size, np.random.default_rng([seed, number := number + 1]))
        for _ in range(2 * count):
            yield without_faces(megapixels, np.random.default_rng([seed, number := number + 1]))
    for size in ROLLED_SIZES:
        for _ in range(each):
            yield with_faces("1", size, np.random.default_rng([seed, number := number + 1]), rolled=True)


def make_folder(folder: Path, count: int, seed: int = SEED) -> tuple[Path, int]:
    """A new folder with `count` images of 1 MP and faces of all sizes, and how many faces are in them."""
    folder.mkdir()
    faces = 0
    for number in range(count):
        composed = with_faces("1", None, np.random.default_rng([seed, number]))
        Image.fromarray(composed.image).save(folder / f"{number:05}.jpg", quality=92)
        faces += len(composed.faces)
    return folder, faces
