"""CropGeometry: how a face is cut out of its picture, so that it looks like the faces the classifier was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from deepfer.face import Face, Point, area
from deepfer.warp import similarity, warp


@dataclass(frozen=True)
class CropGeometry:
    """Where a face sits in the square crop; everything as a share of the crop's side, so that any size will do.

    Attributes:
        template: Where the five landmarks go (order as in `Face.landmarks`), medians over the training images.
        margin: Side of the crop over the longer side of the box, for a face without landmarks.
        center: Where the centre of such a box goes.
    """

    template: tuple[Point, ...]
    margin: float
    center: Point

    def transform(self, face: Face, size: int) -> np.ndarray:
        """The similarity (turn, scale, shift) from picture to crop pixels, float64 `(2, 3)`.

        With landmarks it is the least-squares fit to the template (Umeyama 1991; in the plane, complex numbers give
        it in closed form); a face without them, or with all five in one place, is taken by its box, upright.
        """
        x1, y1, x2, y2 = face.box
        landmarks = np.array([complex(*point) for point in face.landmarks])
        spread = landmarks - landmarks.mean() if len(landmarks) == len(self.template) else np.zeros(1)
        scale_of_face = float(np.abs(spread).max())
        if scale_of_face >= 1:
            target = np.array([complex(*point) for point in self.template]) * size
            a = complex((np.conj(spread) * (target - target.mean())).sum() / (np.abs(spread) ** 2).sum())
            b = complex(target.mean() - a * landmarks.mean())
        else:
            if not area(face.box):
                raise ValueError(f"there is nothing to cut out: the box {face.box} is empty")
            a = complex(size / (max(x2 - x1, y2 - y1) * self.margin))
            b = complex(*self.center) * size - a * complex((x1 + x2) / 2, (y1 + y2) / 2)
        return similarity(a, b)

    def crop(self, image: np.ndarray, face: Face, size: int, channels: int = 1) -> np.ndarray:
        """Cut `face` out of an RGB uint8 `(H, W, 3)` image: gray uint8 `(size, size)`, or RGB for 3 channels.

        What lies beyond the picture repeats its border, as in training; and it is sharp, as the training pictures are,
        which a bilinear cut is not: that loses two points of accuracy.
        """
        cut = warp(image, self.transform(face, size), (size, size), sharp=True)
        return cut if channels == 3 else cv2.cvtColor(cut, cv2.COLOR_RGB2GRAY)
