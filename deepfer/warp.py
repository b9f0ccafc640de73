"""warp: a picture seen through a similarity (turn, scale, shift); how faces are cut out, and looked at more closely."""

from __future__ import annotations

import math

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
    # In plain numbers: for views as small as a face, NumPy's calls would take longer than the pixels.
    (a, b, x), (c, d, y) = matrix.tolist()
    if size == (width, height) and (a, b, x, c, d, y) == (1, 0, 0, 0, 1, 0):
        return image
    determinant = a * d - b * c
    corners = [(u - x, v - y) for u in (-0.5, size[0] - 0.5) for v in (-0.5, size[1] - 0.5)]
    left, right = _span([(d * u - b * v) / determinant for u, v in corners], width)
    top, bottom = _span([(a * v - c * u) / determinant for u, v in corners], height)
    patch = image[top:bottom, left:right]
    x, y = x + a * left + b * top, y + c * left + d * top
    # A warp looks at a few pixels only: shrink by area first, as far as whole pixels of the view allow.
    shrink = 1 / math.hypot(a, c)
    while not sharp and shrink >= 2:  # in halves: far faster, if not quite the same as in one step
        patch = patch[: max(1, len(patch) // 2 * 2), : max(1, patch.shape[1] // 2 * 2)]
        patch, (a, b, x, c, d, y) = _reduced(patch, 0.5, (a, b, x, c, d, y))
        shrink /= 2
    if shrink > AREA_FROM:
        patch, (a, b, x, c, d, y) = _reduced(patch, (SHARP if sharp else 1) / shrink, (a, b, x, c, d, y))
    left_to_do = max(abs(a - 1), abs(b), abs(x), abs(c), abs(d - 1), abs(y))
    if patch.shape[1::-1] == size and left_to_do < 1e-6:
        return patch
    matrix = np.array([[a, b, x], [c, d, y]])
    return cv2.warpAffine(
        patch, matrix, size, flags=cv2.INTER_CUBIC if sharp else cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _span(ends: list[float], side: int) -> tuple[int, int]:
    """The pixels of a picture's side that a view with these corners needs, and one more either way; at least one."""
    low = min(max(math.floor(min(ends)) - 1, 0), side - 1)
    return low, min(max(math.ceil(max(ends)) + 2, low + 1), side)


def _reduced(image: np.ndarray, scale: float, matrix: tuple[float, ...]) -> tuple[np.ndarray, tuple[float, ...]]:
    """A picture shrunk by area to whole pixels, and a similarity of it for what is left."""
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    by_x, by_y = width / size[0], height / size[1]
    a, b, x, c, d, y = matrix
    x, y = x + a * (by_x / 2 - 0.5) + b * (by_y / 2 - 0.5), y + c * (by_x / 2 - 0.5) + d * (by_y / 2 - 0.5)
    shrunk = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return shrunk, (a * by_x, b * by_y, x, c * by_x, d * by_y, y)


def similarity(a: complex, b: complex) -> np.ndarray:
    """The matrix for `warp` of `z -> a z + b` between continuous coordinates, where the first pixel ends at 1."""
    b += a * complex(0.5, 0.5) - complex(0.5, 0.5)
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
