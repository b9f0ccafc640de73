"""Composer: training images for the detector, made from photos, cut-out heads and scenes; every face's place is known.

Four kinds of image: a photo at a random scale and roll, a mosaic of photos, heads on a scene, and a crowd. Edges of
pasted pieces appear around faces and around pieces without any, so an edge says nothing about a face.
"""

from __future__ import annotations

import cmath
import itertools
import math
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from deepfer.warp import similarity, warp
from training.detector.photos import CENTER, LANDMARKS, ROLL, SCORE, SIDES, SURE, Photos

SMALLEST, LARGEST = 9.0, 260.0  # pixels of a pasted face's height
FAINTEST = 10.0  # pixels: smaller faces are in doubt
COVERED, HIDDEN = 0.25, 0.65  # shares of a face that may be covered: more puts it in doubt, and more still removes it
CUT = 0.45  # share that may lie beyond the border: there the teacher still finds faces
MIRRORED = [2, 3, 0, 1, 4, 5, 8, 9, 6, 7]  # the landmarks' order in a mirror: right and left change places

NO_FACES = np.empty((0, SCORE + 1), np.float32)


@dataclass
class Canvas:
    """An image in the making.

    Attributes:
        image: RGB uint8 `(S, S, 3)`.
        rows: float32 `(16,)` face rows as in `photos`, in the image's pixels.
    """

    image: np.ndarray
    rows: list[np.ndarray] = field(default_factory=list)

    def paste(
        self, piece: np.ndarray, faces: np.ndarray, a: complex, b: complex, mirror: bool, mask: np.ndarray
    ) -> None:
        """Draw `piece` through `z -> a z + b` (mirrored first, if so) where its uint8 `mask` `(H, W)` is set.

        What lies below is hidden, faces too; `faces` are the piece's own rows.
        """
        side = len(self.image)
        height, width = piece.shape[:2]
        corners = [a * complex(x, y) + b for x in (0, width) for y in (0, height)]
        left, top = (max(0, math.floor(min(parts))) for parts in zip(*((z.real, z.imag) for z in corners), strict=True))
        right, bottom = (
            min(side, math.ceil(max(parts))) for parts in zip(*((z.real, z.imag) for z in corners), strict=True)
        )
        if right <= left or bottom <= top:
            return
        if mirror:
            piece, mask = piece[:, ::-1], mask[:, ::-1]
        matrix = similarity(a, b - complex(left, top))
        size = right - left, bottom - top
        drawn = warp(piece, matrix, size)
        alpha = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR)
        self._hide(alpha, left, top)
        under = self.image[top:bottom, left:right]
        if (alpha == 255).all():
            under[:] = drawn
        else:
            weight = cv2.merge([alpha] * 3)
            over = cv2.multiply(drawn, weight, scale=1 / 255)
            under[:] = cv2.add(over, cv2.multiply(under, 255 - weight, scale=1 / 255))
        for row in faces:
            self.rows.append(moved(row, a, b, mirror, width))

    def _hide(self, alpha: np.ndarray, left: int, top: int) -> None:
        kept = []
        for row in self.rows:
            (x, y), (w, h) = row[CENTER], row[SIDES] * 0.4
            x1, x2 = max(0, int(x - w - left)), max(0, int(x + w - left) + 1)
            y1, y2 = max(0, int(y - h - top)), max(0, int(y + h - top) + 1)
            shared = alpha[y1:y2, x1:x2]
            hidden = shared.sum() / 255 / max(4 * w * h, 1e-6) if shared.size else 0.0
            if hidden < HIDDEN:
                if hidden > COVERED:
                    row[SCORE] = 0.0
                kept.append(row)
        self.rows = kept


def moved(row: np.ndarray, a: complex, b: complex, mirror: bool, width: int) -> np.ndarray:
    """A face's row seen through `z -> a z + b`, after a mirror of a piece `width` pixels wide, if so."""
    row = row.copy()
    points = row[[0, 1, *range(5, 15)]].reshape(6, 2).astype(np.float64)
    if mirror:
        points[:, 0] = width - points[:, 0]
        points[1:] = points[1:].ravel()[MIRRORED].reshape(5, 2)
        row[ROLL] = -row[ROLL]
    z = a * (points[:, 0] + 1j * points[:, 1]) + b
    row[CENTER] = z[0].real, z[0].imag
    row[LANDMARKS] = np.stack([z[1:].real, z[1:].imag], axis=1).ravel()
    row[SIDES] *= abs(a)
    row[ROLL] += cmath.phase(a)
    return row


@dataclass(frozen=True)
class Composer:
    """Makes images from a seed.

    Attributes:
        people: Photos with a large face each, others in the background.
        varied: Photos of everything, with and without faces.
        scenes: Photos without faces.
        crops: Tight face crops (FER2013).
        heads: Drawn heads: RGBA float32 `(256, 256, 4)` and their rows.
        side: Pixels of an image.
    """

    people: Photos
    varied: Photos
    scenes: Photos
    crops: Photos
    heads: list[tuple[np.ndarray, np.ndarray]]
    side: int = 256

    def __call__(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """An RGB uint8 `(S, S, 3)` image and its faces' rows, float32 `(N, 16)`."""
        kind = rng.random()
        if kind < 0.25:
            canvas = self._photo(rng)
        elif kind < 0.45:
            canvas = self._mosaic(rng)
        elif kind < 0.75:
            canvas = self._scene_with_heads(rng)
        else:
            canvas = self._varied_photo(rng)
        if rng.random() < 0.15:
            self._cover(canvas, rng)
        image = expose(canvas.image, rng)
        rows = np.array(canvas.rows, np.float32).reshape(-1, SCORE + 1)
        return image, _visible(rows, self.side)

    @cached_property
    def _groups(self) -> np.ndarray:
        """Indices of the photos of people in which the teacher is sure of two faces or more; all if there is none."""
        groups = [index for index, rows in enumerate(self.people.faces) if (rows[:, SCORE] >= SURE).sum() > 1]
        return np.array(groups or range(len(self.people)))

    def _fill(
        self, canvas: Canvas, photos: Photos, index: int, rng: np.random.Generator, scale: float, roll: float
    ) -> None:
        """Draw a whole photo so that it covers the canvas, as far as its size allows, at a random place."""
        image, side = photos.images[index], self.side
        height, width = image.shape[:2]
        room_x, room_y = max(0.0, width * scale - side), max(0.0, height * scale - side)
        middle = complex(
            width / 2 + rng.uniform(-0.5, 0.5) * room_x / scale, height / 2 + rng.uniform(-0.5, 0.5) * room_y / scale
        )
        a = cmath.rect(scale, roll)
        b = complex(side, side) / 2 - a * middle
        canvas.paste(image, photos.faces[index], a, b, rng.random() < 0.5, np.full((height, width), 255, np.uint8))

    def _background(self, rng: np.random.Generator) -> Canvas:
        """A part of a scene that covers the canvas, or noise, or one colour."""
        canvas = Canvas(np.empty((self.side, self.side, 3), np.uint8))
        kind = rng.random()
        if kind < 0.85:
            image = self.scenes.images[rng.integers(len(self.scenes))]
            fit = self.side / min(image.shape[:2])
            scale = fit * math.exp(rng.uniform(0, 1.1))
            cut = self.side / scale
            x = rng.uniform(0, image.shape[1] - cut)
            y = rng.uniform(0, image.shape[0] - cut)
            canvas.image[:] = warp(image, similarity(complex(scale), -scale * complex(x, y)), (self.side, self.side))
            if rng.random() < 0.5:
                canvas.image[:] = np.rot90(canvas.image, int(rng.integers(4)))
        elif kind < 0.93:
            corners = rng.uniform(0, 255, (2, 2, 3)).astype(np.float32)
            canvas.image[:] = cv2.resize(corners, (self.side, self.side)).astype(np.uint8)
        else:
            grain = int(rng.integers(2, 64))
            noise = rng.integers(0, 256, (grain, grain, 3), dtype=np.uint8)
            canvas.image[:] = cv2.resize(noise, (self.side, self.side), interpolation=cv2.INTER_CUBIC)
        return canvas

    def _photo(self, rng: np.random.Generator) -> Canvas:
        """A photo of a person at a random scale and roll, on a scene."""
        canvas = self._background(rng)
        index = int(rng.integers(len(self.people)))
        if rng.random() < 0.5:  # faces in the background are blurred, cut and turned away: the hardest, and the fewest
            index = int(rng.choice(self._groups))
        tall = max((row[SIDES][1] for row in self.people.faces[index]), default=110.0)
        scale = _size(rng, 24, LARGEST) / tall
        self._fill(canvas, self.people, index, rng, scale, _roll(rng))
        return canvas

    def _varied_photo(self, rng: np.random.Generator) -> Canvas:
        """Part of a photo of everything, mostly upright, near its own size."""
        canvas = self._background(rng)
        index = int(rng.integers(len(self.varied)))
        scale = math.exp(rng.uniform(math.log(0.45), math.log(1.6)))
        roll = _roll(rng) if rng.random() < 0.35 else math.radians(rng.normal(0, 4))
        self._fill(canvas, self.varied, index, rng, scale, roll)
        return canvas

    def _mosaic(self, rng: np.random.Generator) -> Canvas:
        """Photos side by side, of people and without any, each in its own scale and roll."""
        canvas = self._background(rng)
        across = int(rng.integers(2, 5))
        lines_x = _lines(rng, across, self.side)
        lines_y = _lines(rng, int(rng.integers(2, 5)), self.side)
        for top, bottom in itertools.pairwise(lines_y):
            for left, right in itertools.pairwise(lines_x):
                if rng.random() < 0.15:
                    continue
                photos = (self.people, self.people, self.varied, self.scenes)[rng.integers(4)]
                index = int(rng.integers(len(photos)))
                image, faces = photos.images[index], photos.faces[index]
                cell = max(right - left, bottom - top)
                scale = cell / min(image.shape[:2]) * math.exp(rng.uniform(0.0, 1.0))
                roll = _roll(rng)
                a = cmath.rect(scale, roll)
                focus = complex(image.shape[1], image.shape[0]) / 2
                if len(faces) and rng.random() < 0.8:
                    row = faces[rng.integers(len(faces))]
                    shift = rng.uniform(-0.6, 0.6, 2) * row[SIDES]
                    focus = complex(row[0] + shift[0], row[1] + shift[1])
                mirror = bool(rng.random() < 0.5)
                if mirror:
                    focus = complex(image.shape[1] - focus.real, focus.imag)
                part = Canvas(canvas.image[top:bottom, left:right])
                self._paste_cell(canvas, part, image, faces, a, focus, mirror, (left, top, right, bottom))
        return canvas

    def _paste_cell(
        self,
        canvas: Canvas,
        part: Canvas,
        image: np.ndarray,
        faces: np.ndarray,
        a: complex,
        focus: complex,
        mirror: bool,
        cell: tuple[int, int, int, int],
    ) -> None:
        left, top, right, bottom = cell
        b = complex(left + right, top + bottom) / 2 - a * focus
        shown = image[:, ::-1] if mirror else image
        part.image[:] = warp(shown, similarity(a, b - complex(left, top)), (right - left, bottom - top))
        for row in faces:
            row = moved(row, a, b, mirror, image.shape[1])
            _clip_to(row, cell)
            canvas.rows.append(row)

    def _scene_with_heads(self, rng: np.random.Generator) -> Canvas:
        """Heads with soft edges on a scene, and pieces of scenes cut out the same way."""
        canvas = self._background(rng)
        crowd = rng.random() < 0.25
        common = _size(rng, SMALLEST + 3, 60)
        for _ in range(int(rng.integers(10, 28) if crowd else rng.integers(1, 8))):
            tall = common * math.exp(rng.uniform(-0.2, 0.2)) if crowd else _size(rng, SMALLEST, LARGEST * 0.8)
            kind = rng.random()
            if kind < 0.28:
                self._decoy(canvas, tall, rng)
                continue
            if kind < 0.62:
                photos: Photos = self.people
            elif kind < 0.86:
                photos = self.crops
            else:
                self._drawn_head(canvas, tall, rng)
                continue
            index = int(rng.integers(len(photos)))
            sure = photos.faces[index][photos.faces[index][:, SCORE] >= SURE]
            if len(sure) == 0:
                continue
            row = sure[np.argmax(sure[:, SIDES].prod(axis=1))]
            if photos is self.crops and rng.random() < 0.5:  # the whole crop, as a small picture in a picture
                piece = photos.images[index]
                mask = np.full(piece.shape[:2], 255, np.uint8)
            else:
                piece, mask, row = _cut_out(photos.images[index], row, rng, tight=photos is self.crops)
            self._place(canvas, piece, row[None], row, tall, mask, rng)
        return canvas

    def _drawn_head(self, canvas: Canvas, tall: float, rng: np.random.Generator) -> None:
        head, row = self.heads[rng.integers(len(self.heads))]
        mask = (head[..., 3] * 255).astype(np.uint8)
        self._place(canvas, head[..., :3].astype(np.uint8), row[None], row, tall, mask, rng)

    def _decoy(self, canvas: Canvas, tall: float, rng: np.random.Generator) -> None:
        """A piece of a scene, or of a person below the face, cut out as heads are."""
        photos = self.scenes if rng.random() < 0.7 else self.people
        index = int(rng.integers(len(photos)))
        image, faces = photos.images[index], photos.faces[index]
        height, width = image.shape[:2]
        h = rng.uniform(0.15, 0.4) * height
        row = np.zeros(SCORE + 1, np.float32)
        row[SIDES] = 0.8 * h, h
        row[CENTER] = rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height
        around = 1.2 * h
        if any(abs(f[0] - row[0]) < around + f[2] and abs(f[1] - row[1]) < around + f[3] for f in faces):
            return
        piece, mask, row = _cut_out(image, row, rng)
        self._place(canvas, piece, NO_FACES, row, tall, mask, rng)

    def _place(
        self,
        canvas: Canvas,
        image: np.ndarray,
        faces: np.ndarray,
        row: np.ndarray,
        tall: float,
        mask: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        """Paste what `mask` cuts out, `row` being `tall` pixels high, anywhere: a little may hang over the border."""
        a = cmath.rect(tall / row[SIDES][1], _roll(rng) - float(row[ROLL]))
        mirror = bool(rng.random() < 0.5)
        x = image.shape[1] - row[0] if mirror else row[0]
        inset = 0.3 * tall
        target = complex(*rng.uniform(min(inset, self.side / 2), max(self.side - inset, self.side / 2), 2))
        if rng.random() < 0.4:
            image = _relit(image, rng)
        canvas.paste(image, faces, a, target - a * complex(float(x), float(row[1])), mirror, mask)

    def _cover(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Cover part of some faces with one colour or a piece of a scene: hands, masks and glasses do."""
        for row in list(canvas.rows):
            if rng.random() < 0.5:
                w, h = row[SIDES] * rng.uniform(0.2, 0.7, 2)
                x, y = row[CENTER] + rng.uniform(-0.5, 0.5, 2) * row[SIDES]
                size = max(1, int(w)), max(1, int(h))
                if rng.random() < 0.5:
                    patch = np.full((1, 1, 3), rng.integers(0, 256, 3), np.uint8)
                else:
                    patch = self.scenes.images[rng.integers(len(self.scenes))][:64, :64]
                piece = np.asarray(cv2.resize(patch, size))
                mask = np.full(piece.shape[:2], 255, np.uint8)
                roll = cmath.rect(1, rng.uniform(-math.pi, math.pi))
                middle = complex(*size) / 2
                canvas.paste(piece, NO_FACES, roll, complex(float(x), float(y)) - roll * middle, False, mask)


def expose(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a camera and a file do to an RGB uint8 image: light, colour, focus, grain, JPEG."""
    if rng.random() < 0.6:
        steps = np.arange(256, dtype=np.float32) / 255
        gamma = math.exp(rng.uniform(-0.6, 0.6))
        gain = math.exp(rng.uniform(-0.5, 0.3)) if rng.random() < 0.7 else rng.uniform(0.15, 0.5)
        lift = rng.uniform(-0.1, 0.1)
        tint = 1 + rng.uniform(-0.15, 0.15, 3) * (rng.random() < 0.5)
        curve = np.clip(255 * (gain * steps**gamma + lift), 0, 255)
        table = np.clip(curve[:, None] * tint, 0, 255).astype(np.uint8).reshape(1, 256, 3)
        image = cv2.LUT(image, table)
    if rng.random() < 0.15:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < 0.1:
        small = cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.25:
        grain = np.empty(image.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(1 << 30)))
        cv2.randn(grain, np.zeros(1), np.full(1, rng.uniform(2, 14)))
        image = cv2.add(image, grain, dtype=cv2.CV_8U)
    if rng.random() < 0.4:
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))])[1]
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return image


def _relit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A piece in another light: brighter or darker, sometimes gray."""
    out = cv2.convertScaleAbs(image, alpha=math.exp(rng.uniform(-0.5, 0.35)), beta=rng.uniform(-15, 15))
    if rng.random() < 0.25:
        out = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return out


def _cut_out(image: np.ndarray, row: np.ndarray, rng: np.random.Generator, tight: bool = False) -> tuple:
    """A head, hair and all, or the face alone: the piece of the image around it, its soft mask, and its moved row."""
    height, width = image.shape[:2]
    (x, y), (w, h) = row[CENTER], row[SIDES]
    low, high = (0.42, 0.55) if tight else (0.55, 0.95)
    rx, ry = w * rng.uniform(low, high), h * rng.uniform(low + 0.03, high)
    left, right = max(0, int(x - rx)), min(width, int(x + rx) + 1)
    top, bottom = max(0, int(y - ry)), min(height, int(y + ry) + 1)
    if rng.random() < 0.12 and not tight:  # a rectangle, as badly cut out
        mask = np.full((bottom - top, right - left), 255, np.uint8)
    else:
        across = ((np.arange(left, right, dtype=np.float32) - x) / rx) ** 2
        down = ((np.arange(top, bottom, dtype=np.float32) - y) / ry) ** 2
        softness = 255 / rng.uniform(0.05, 0.5)
        mask = np.clip((1 - down[:, None] - across) * softness, 0, 255).astype(np.uint8)
    row = row.copy()
    row[CENTER] -= left, top
    row[LANDMARKS] -= np.tile(np.array([left, top], np.float32), 5)
    return image[top:bottom, left:right], mask, row


def _size(rng: np.random.Generator, low: float, high: float) -> float:
    """A face's height in pixels: small sizes are as likely as large ones on a logarithmic scale."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _roll(rng: np.random.Generator) -> float:
    """Radians: half of the faces are nearly upright, a quarter lean, a quarter have any roll."""
    kind = rng.random()
    if kind < 0.5:
        return math.radians(rng.normal(0, 6))
    return math.radians(rng.uniform(-60, 60)) if kind < 0.75 else rng.uniform(-math.pi, math.pi)


def _lines(rng: np.random.Generator, count: int, side: int) -> list[int]:
    """Where `count` cells along `side` begin and end."""
    shares = np.cumsum(rng.uniform(0.6, 1.4, count))
    return [0, *np.round(shares / shares[-1] * side).astype(int).tolist()]


def _clip_to(row: np.ndarray, cell: tuple[int, int, int, int]) -> None:
    """Put a face in doubt, or out of the way, as far as its cell cuts it off."""
    shown = _share_inside(row, cell)
    if shown < 1 - HIDDEN:
        row[SIDES] = 0  # `_visible` drops it
    elif shown < 1 - CUT:
        row[SCORE] = 0


def _share_inside(row: np.ndarray, cell: tuple[float, float, float, float]) -> float:
    """The share of a face's central part, a square of its mean side, that lies inside a rectangle."""
    half = float(np.sqrt(max(row[SIDES].prod(), 1e-6))) / 2
    x, y = row[CENTER]
    across = min(x + half, cell[2]) - max(x - half, cell[0])
    down = min(y + half, cell[3]) - max(y - half, cell[1])
    return max(across, 0.0) * max(down, 0.0) / (4 * half * half)


def _visible(rows: np.ndarray, side: int) -> np.ndarray:
    """Rows of faces that can be seen; those that are too small or too far over the border are put in doubt."""
    kept = []
    for row in rows:
        _clip_to(row, (0, 0, side, side))
        if row[SIDES][1] < 3:
            continue
        if row[SIDES][1] < FAINTEST:
            row[SCORE] = 0.0
        kept.append(row)
    return np.array(kept, np.float32).reshape(-1, SCORE + 1)
