"""Images of any size with any number of copies of the astronaut's face."""

from __future__ import annotations

import math

import cv2
import numpy as np
from skimage.data import astronaut


def portrait(size: tuple[int, int] = (640, 480)) -> np.ndarray:
    """One face: NASA's astronaut in an image of `(width, height)`."""
    return crowd(1, size, head=astronaut())


def crowd(faces: int, size: tuple[int, int], cells: int | None = None, head: np.ndarray | None = None) -> np.ndarray:
    """RGB uint8 image of `(width, height)` with `faces` copies of the astronaut's head.

    They fill a grid of `cells` rows and columns. Images with the same size and grid have faces of the same size.
    """
    width, height = size
    cells = cells or math.ceil(math.sqrt(faces))
    image = np.full((height, width, 3), 90, np.uint8)
    side = min(width, height) // cells
    head = astronaut()[:220, 113:333] if head is None else head
    shrinks = side < len(head)
    head = cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    for number in range(faces):
        row, column = divmod(number, cells)
        left = column * width // cells + (width // cells - side) // 2
        top = row * height // cells + (height // cells - side) // 2
        image[top : top + side, left : left + side] = head
    return image
