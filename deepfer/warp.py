"""warp: an image transformed by a similarity (rotation, scale, translation), for crops of faces and closer views."""

from __future__ import annotations

import math

import cv2
import numpy as np

AREA_FROM = 1.5  # at this downscaling factor and above, pixels are averaged instead of skipped
SHARP = 1.5  # a sharp view is averaged to a resolution this many times finer than the result


def warp(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], sharp: bool = False) -> np.ndarray:
    """Transform `image` by `matrix` to a view of `size`. Beyond the image, its border is repeated.

    Args:
        image: uint8 `(H, W)` or `(H, W, C)`.
        matrix: The similarity from image to view, float64 `(2, 3)`, between pixel centres as in OpenCV.
        size: `(width, height)` of the view.
        sharp: Keep fine detail, which takes longer: bicubic, with less averaging.

    Returns:
        uint8 `(height, width)` or `(height, width, C)`.
    """
    height, width = image.shape[:2]
    # Plain numbers, because for small views NumPy's overhead would exceed the time for the pixels.
    (a, b, x), (c, d, y) = matrix.tolist()
    if size == (width, height) and (a, b, x, c, d, y) == (1, 0, 0, 0, 1, 0):
        return image
    determinant = a * d - b * c
    corners = [(u - x, v - y) for u in (-0.5, size[0] - 0.5) for v in (-0.5, size[1] - 0.5)]
    left, right = _span([(d * u - b * v) / determinant for u, v in corners], width)
    top, bottom = _span([(a * v - c * u) / determinant for u, v in corners], height)
    patch = image[top:bottom, left:right]
    x, y = x + a * left + b * top, y + c * left + d * top
    # warpAffine samples only a few pixels, so shrink the patch by averaging first, to a whole number of pixels.
    shrink = 1 / math.hypot(a, c)
    while not sharp and shrink >= 2:  # halving is much faster and nearly the same as one step
        patch = patch[: max(1, len(patch) // 2 * 2), : max(1, patch.shape[1] // 2 * 2)]
        patch, (a, b, x, c, d, y) = _reduced(patch, 0.5, (a, b, x, c, d, y))
        shrink /= 2
    if shrink > AREA_FROM:
        patch, (a, b, x, c, d, y) = _reduced(patch, (SHARP if sharp else 1) / shrink, (a, b, x, c, d, y))
    remainder = max(abs(a - 1), abs(b), abs(x), abs(c), abs(d - 1), abs(y))
    if patch.shape[1::-1] == size and remainder < 1e-6:
        return patch
    matrix = np.array([[a, b, x], [c, d, y]])
    return cv2.warpAffine(
        patch, matrix, size, flags=cv2.INTER_CUBIC if sharp else cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _span(ends: list[float], side: int) -> tuple[int, int]:
    """The pixels along one side of an image that a view with these corners needs, plus one at each end."""
    low = min(max(math.floor(min(ends)) - 1, 0), side - 1)
    return low, min(max(math.ceil(max(ends)) + 2, low + 1), side)


def _reduced(image: np.ndarray, scale: float, matrix: tuple[float, ...]) -> tuple[np.ndarray, tuple[float, ...]]:
    """An image downscaled by averaging, and the similarity that remains to be applied."""
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    by_x, by_y = width / size[0], height / size[1]
    a, b, x, c, d, y = matrix
    x, y = x + a * (by_x / 2 - 0.5) + b * (by_y / 2 - 0.5), y + c * (by_x / 2 - 0.5) + d * (by_y / 2 - 0.5)
    shrunk = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return shrunk, (a * by_x, b * by_y, x, c * by_x, d * by_y, y)


def similarity(a: complex, b: complex) -> np.ndarray:
    """The matrix for `warp` of `z -> a z + b` in continuous coordinates, where the first pixel spans 0 to 1."""
    b += a * complex(0.5, 0.5) - complex(0.5, 0.5)
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
