"""Pictures with as many faces as a measurement wants, of any size: the astronaut, many times over."""

from __future__ import annotations

import math

import cv2
import numpy as np
from skimage.data import astronaut


def portrait(size: tuple[int, int] = (640, 480)) -> np.ndarray:
    """NASA's astronaut in a frame of `(width, height)`: one face."""
    return crowd(1, size, head=astronaut())


def crowd(faces: int, size: tuple[int, int], cells: int | None = None, head: np.ndarray | None = None) -> np.ndarray:
    """So many astronauts' heads in a picture of `(width, height)`, RGB uint8.

    They fill a grid of `cells` rows and columns from its first cell on: with the same grid, faces have the same size.
    """
    width, height = size
    cells = cells or math.ceil(math.sqrt(faces))
    picture = np.full((height, width, 3), 90, np.uint8)
    side = min(width, height) // cells
    head = astronaut()[:220, 113:333] if head is None else head
    shrinks = side < len(head)
    head = cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    for number in range(faces):
        row, column = divmod(number, cells)
        left = column * width // cells + (width // cells - side) // 2
        top = row * height // cells + (height // cells - side) // 2
        picture[top : top + side, left : left + side] = head
    return picture
