"""warp: a picture seen through a similarity (turn, scale, shift); how faces are cut out, and looked at more closely."""

from __future__ import annotations

import cv2
import numpy as np

AREA_FROM = 1.5  # times that a picture shrinks, from where on pixels are averaged and not skipped
SHARP = 1.5  # how many times finer than the view a sharp one is averaged, before it is drawn


def warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], sharp: bool = False) -> np.ndarray:
    """Draw `image` through `matrix` into a view of `size`; what lies beyond the picture repeats its border.

    Args:
        image: uint8 `(H, W)` or `(H, W, C)`.
        matrix: The similarity from picture to view, float64 `(2, 3)`, between pixel centres as OpenCV counts them.
        size: `(width, height)` of the view.
        sharp: Keep fine detail, at some cost in time: bicubic, and averaged less before.

    Returns:
        uint8 `(height, width)` or `(height, width, C)`.
    """
    height, width = image.shape[:2]
    if size == (width, height) and np.array_equal(matrix, np.eye(2, 3)):
        return image
    ends = np.array([-0.5, size[0] - 0.5]), np.array([-0.5, size[1] - 0.5])
    corners = np.stack([*map(np.ravel, np.meshgrid(*ends)), np.ones(4)])
    seen = cv2.invertAffineTransform(matrix) @ corners
    low = np.clip(np.floor(seen.min(axis=1)).astype(int) - 1, 0, [width - 1, height - 1])
    high = np.clip(np.ceil(seen.max(axis=1)).astype(int) + 2, low + 1, [width, height])
    patch = image[low[1] : high[1], low[0] : high[0]]
    matrix = matrix.astype(np.float64, copy=True)
    matrix[:, 2] += matrix[:, :2] @ low
    # A warp looks at a few pixels only: shrink by area first, as far as whole pixels of the view allow.
    shrink = 1 / float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if shrink > AREA_FROM:
        finer = (SHARP if sharp else 1) / shrink
        reduced = max(1, round(patch.shape[1] * finer)), max(1, round(patch.shape[0] * finer))
        factor = np.array([patch.shape[1] / reduced[0], patch.shape[0] / reduced[1]])
        matrix[:, 2] += matrix[:, :2] @ (factor / 2 - 0.5)
        matrix[:, :2] *= factor
        while not sharp and min(factor) >= 2 and not any(side % 2 for side in patch.shape[:2]):
            patch = cv2.resize(patch, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)  # which is far faster
            factor = factor / 2
        patch = cv2.resize(patch, reduced, interpolation=cv2.INTER_AREA)
        if reduced == size and np.allclose(matrix, np.eye(2, 3), atol=1e-6):
            return patch
    return cv2.warpAffine(
        patch, matrix, size, flags=cv2.INTER_CUBIC if sharp else cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def similarity(a: complex, b: complex) -> np.ndarray:
    """The matrix for `warp` of `z -> a z + b` between continuous coordinates, where the first pixel ends at 1."""
    b += a * complex(0.5, 0.5) - complex(0.5, 0.5)
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
