"""Composer: makes training images for the detector from photos, cut-out heads and scenes.

An image is a photo at a random scale and roll, a mosaic of photos, or heads pasted on a scene. Pieces without a face
are pasted too, so the network cannot learn that an edge means a face.
"""

from __future__ import annotations

import cmath
import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from deepfer.warp import similarity, warp
from training.detector.canvas import Canvas, clip_to, moved, visible
from training.detector.exposure import expose, relit
from training.detector.photos import CENTER, LANDMARKS, ROLL, SCORE, SIDES, SURE, Photos

SMALLEST, LARGEST = 9.0, 260.0  # pixels of a pasted face's height
NO_FACES = np.empty((0, SCORE + 1), np.float32)


@dataclass(frozen=True)
class Composer:
    """Makes training images; the same random generator gives the same image.

    Attributes:
        people: Photos of people: one large face, sometimes smaller ones behind it.
        varied: Photos of anything, with and without faces.
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
        return image, visible(rows, self.side)

    @cached_property
    def _groups(self) -> np.ndarray:
        """Indices of the photos of people with at least two sure faces; all photos if there are none."""
        groups = [index for index, rows in enumerate(self.people.faces) if (rows[:, SCORE] >= SURE).sum() > 1]
        return np.array(groups or range(len(self.people)))

    def _fill(
        self, canvas: Canvas, photos: Photos, index: int, rng: np.random.Generator, scale: float, roll: float
    ) -> None:
        """Draw a photo at a random place, covering as much of the canvas as its size allows."""
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
        """A part of a scene, a smooth gradient or noise, covering the canvas."""
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
        if rng.random() < 0.5:  # faces in the background are the hardest, and the rarest
            index = int(rng.choice(self._groups))
        tall = max((row[SIDES][1] for row in self.people.faces[index]), default=110.0)
        scale = _size(rng, 24, LARGEST) / tall
        self._fill(canvas, self.people, index, rng, scale, _roll(rng))
        return canvas

    def _varied_photo(self, rng: np.random.Generator) -> Canvas:
        """Part of a varied photo, mostly upright, at about its own size."""
        canvas = self._background(rng)
        index = int(rng.integers(len(self.varied)))
        scale = math.exp(rng.uniform(math.log(0.45), math.log(1.6)))
        roll = _roll(rng) if rng.random() < 0.35 else math.radians(rng.normal(0, 4))
        self._fill(canvas, self.varied, index, rng, scale, roll)
        return canvas

    def _mosaic(self, rng: np.random.Generator) -> Canvas:
        """Photos with and without people side by side, each at its own scale and roll."""
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
            clip_to(row, cell)
            canvas.rows.append(row)

    def _scene_with_heads(self, rng: np.random.Generator) -> Canvas:
        """Heads pasted on a scene, and pieces of scenes cut out the same way."""
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
            if photos is self.crops and rng.random() < 0.5:  # the whole crop, edges and all
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
        """Paste a piece of a scene, or of a photo of people away from any face, cut out as heads are."""
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
        """Paste what `mask` cuts out, scaled so that `row` is `tall` pixels high, at a random place.

        It may extend beyond the border.
        """
        a = cmath.rect(tall / row[SIDES][1], _roll(rng) - float(row[ROLL]))
        mirror = bool(rng.random() < 0.5)
        x = image.shape[1] - row[0] if mirror else row[0]
        inset = 0.3 * tall
        target = complex(*rng.uniform(min(inset, self.side / 2), max(self.side - inset, self.side / 2), 2))
        if rng.random() < 0.4:
            image = relit(image, rng)
        canvas.paste(image, faces, a, target - a * complex(float(x), float(row[1])), mirror, mask)

    def _cover(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Cover part of some faces with a colour or a piece of a scene, as hands, masks and glasses do."""
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


def _cut_out(image: np.ndarray, row: np.ndarray, rng: np.random.Generator, tight: bool = False) -> tuple:
    """The piece of the image around a head (if `tight`, around the face), its soft mask, and the row in the piece."""
    height, width = image.shape[:2]
    (x, y), (w, h) = row[CENTER], row[SIDES]
    low, high = (0.42, 0.55) if tight else (0.55, 0.95)
    rx, ry = w * rng.uniform(low, high), h * rng.uniform(low + 0.03, high)
    left, right = max(0, int(x - rx)), min(width, int(x + rx) + 1)
    top, bottom = max(0, int(y - ry)), min(height, int(y + ry) + 1)
    if rng.random() < 0.12 and not tight:  # a rectangle, as in a careless cut-out
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
    """A face's height in pixels, uniform on a logarithmic scale."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _roll(rng: np.random.Generator) -> float:
    """A roll in radians: half of the faces are nearly upright, a quarter within 60 degrees, a quarter anywhere."""
    kind = rng.random()
    if kind < 0.5:
        return math.radians(rng.normal(0, 6))
    return math.radians(rng.uniform(-60, 60)) if kind < 0.75 else rng.uniform(-math.pi, math.pi)


def _lines(rng: np.random.Generator, count: int, side: int) -> list[int]:
    """The borders of `count` random cells along `side`, from 0 to `side`."""
    shares = np.cumsum(rng.uniform(0.6, 1.4, count))
    return [0, *np.round(shares / shares[-1] * side).astype(int).tolist()]
