"""CropGeometry: crops a face so that it looks like the faces that the classifier was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from deepfer.face import Face, Point, area
from deepfer.warp import similarity, warp


@dataclass(frozen=True)
class CropGeometry:
    """Where a face lies in the square crop. Everything is relative to the crop's side, so any size works.

    Attributes:
        template: Positions of the five landmarks, ordered as in `Face.landmarks`: medians over the training images.
        margin: Side of the crop divided by the longer side of the box, for a face without landmarks.
        center: Position of the box's centre, for a face without landmarks.
    """

    template: tuple[Point, ...]
    margin: float
    center: Point

    def transform(self, face: Face, size: int) -> np.ndarray:
        """The similarity (rotation, scale, translation) from image to crop pixels, float64 `(2, 3)`.

        With landmarks it is the least-squares fit to the template (Umeyama 1991; in the plane, complex numbers give it
        in closed form). Without landmarks, or if all five coincide, it is computed from the box, without rotation.
        """
        x1, y1, x2, y2 = face.box
        landmarks = np.array([complex(*point) for point in face.landmarks])
        spread = landmarks - landmarks.mean() if len(landmarks) == len(self.template) else np.zeros(1)
        radius = float(np.abs(spread).max())
        if radius >= 1:
            target = np.array([complex(*point) for point in self.template]) * size
            a = complex((np.conj(spread) * (target - target.mean())).sum() / (np.abs(spread) ** 2).sum())
            b = complex(target.mean() - a * landmarks.mean())
        else:
            if not area(face.box):
                raise ValueError(f"cannot crop a face whose box is empty: {face.box}")
            a = complex(size / (max(x2 - x1, y2 - y1) * self.margin))
            b = complex(*self.center) * size - a * complex((x1 + x2) / 2, (y1 + y2) / 2)
        return similarity(a, b)

    def crop(self, image: np.ndarray, face: Face, size: int, channels: int = 1) -> np.ndarray:
        """Crop `face` from an RGB uint8 `(H, W, 3)` image: gray uint8 `(size, size)`, or RGB for 3 channels.

        Beyond the image, its border is repeated, as in training. Interpolation is bicubic: bilinear crops are blurrier
        than the training images, which costs two points of accuracy.
        """
        crop = warp(image, self.transform(face, size), (size, size), sharp=True)
        return crop if channels == 3 else cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)


def resize_crop(crop: np.ndarray, size: int) -> np.ndarray:
    """Resize a crop `(H, W)` or `(H, W, 3)` to a side of `size` pixels."""
    if crop.shape[:2] == (size, size):
        return crop
    shrinks = min(crop.shape[:2]) > size
    return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
