"""Near-duplicates: the same photograph in two splits, even if shifted, cropped, mirrored, relit or watermarked.

Coarse thumbnails propose candidates: for every shift and crop tried, thumbnails of the parts that both images would
show are compared. Each candidate is then aligned, and its fine detail decides: two people in the same pose look alike
when blurred, but not in detail.

For 200 images copied from FER2013's 28,473 training images, the search finds 199 copies shifted by (4, 3) pixels, 195
shifted by (-6, 4), 179 cropped to 80% of the side, and 154 cropped to 70%. Searching the training images for 3,589
images takes 90 s on one core.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np

from deepfer.alignment import resize_crop
from training.data.split import Split

SIDE = 48  # pixels, for comparing details
HALF = SIDE // 2  # pixels, for proposing and aligning candidates
THUMBNAIL = 8  # pixels, side of the descriptor of a part
SHIFTS = (-4, -2, 0, 2, 4)  # pixels at HALF, along each axis; a thumbnail tolerates half a step more
CROPS = {0.9: 2, 0.8: 3, 0.7: 4}  # side of a crop as a share of the image's -> positions along each axis
CANDIDATES = 10  # to align per image
LOOKS_ALIKE = 0.75  # correlation of thumbnails; candidates below it are skipped
# Two images are the same photograph if the correlation of their aligned details is at least this. Almost no pair of
# FER2013 lies between 0.7 and 0.8: pairs below are two people or one person twice, pairs above the same photograph.
SAME = 0.75
CERTAIN = 0.95  # correlation at which the search stops
ALIGNS = 0.85  # ECC below which details are not compared; watermarks lower it to about this
OVERLAP = 0.4  # share of the image that must remain after alignment
BLOCK = 64  # images compared at once, so that their correlations stay in the processor's cache


class Window(NamedTuple):
    """A part of an image at `HALF`, half-open, in pixels."""

    x1: float
    y1: float
    x2: float
    y2: float


class Placement(NamedTuple):
    """The parts that two images would share if one were a shifted or cropped copy of the other."""

    window: Window
    other: Window

    @property
    def matrix(self) -> np.ndarray:
        """Map pixels of the other image to those of the first, both at `HALF`: float32 `(2, 3)`."""
        scale = (self.window.x2 - self.window.x1) / (self.other.x2 - self.other.x1)
        x, y = (
            (0.5 - other) * scale + own - 0.5 for own, other in zip(self.window[:2], self.other[:2], strict=True)
        )  # a pixel's center is half a pixel from its corner
        return np.array([[scale, 0, x], [0, scale, y]], np.float32)


def _placements() -> list[Placement]:
    found = []
    for x, y in product(SHIFTS, SHIFTS):
        parts = [Window(max(0, x), max(0, y), HALF + min(0, x), HALF + min(0, y)) for x, y in ((x, y), (-x, -y))]
        found.append(Placement(*parts))
    whole = Window(0, 0, HALF, HALF)
    for share, places in CROPS.items():
        side = share * HALF
        for left, top in product(np.linspace(0, HALF - side, places), repeat=2):
            part = Window(left, top, left + side, top + side)
            found += [Placement(whole, part), Placement(part, whole)]
    return found


PLACEMENTS = _placements()


def find(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each image, find which of the others is the same photograph.

    Args:
        images: uint8 `(N, S, S)`.
        others: uint8 `(M, S, S)`.

    Returns:
        int64 `(N,)`: the row of the best match in `others`; -1 if there is none.
    """
    if not len(images) or not len(others):
        return np.full(len(images), -1, np.int64)
    images, others = (np.stack([resize_crop(image, SIDE) for image in group]) for group in (images, others))
    views = (images, np.ascontiguousarray(images[:, :, ::-1]))
    rows, alike = _propose(views, others)

    def nearest(row: int) -> int:
        best, twin, tried = SAME, -1, set[tuple[int, int]]()
        for i in np.argsort(-alike[:, row]):
            view, placement = divmod(int(i), len(PLACEMENTS))
            other = int(rows[i, row])
            if alike[i, row] < LOOKS_ALIKE or best >= CERTAIN or len(tried) == CANDIDATES:
                break
            if (view, other) in tried:
                continue
            tried.add((view, other))
            if (score := detail_correlation(views[view][row], others[other], PLACEMENTS[placement])) >= best:
                best, twin = score, other
        return twin

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # OpenCV releases Python's lock
        return np.array(list(pool.map(nearest, range(len(images)))), np.int64)


def between(splits: Mapping[str, Split]) -> dict[tuple[str, str], np.ndarray]:
    """For each pair of splits (evaluated, trained on), run `find` on the images of the first."""
    order = [name for name in ("test", "validation", "train") if name in splits]
    return {
        (name, other): find(splits[name].images, splits[other].images)
        for i, name in enumerate(order)
        for other in reversed(order[i + 1 :])
    }


def detail_correlation(image: np.ndarray, other: np.ndarray, placement: Placement) -> float:
    """Align `image` to `other`, uint8 `(SIDE, SIDE)`, and return the correlation of their details, -1 to 1.

    The alignment is affine, by ECC (Evangelidis & Psarakis 2008) at half the size, starting from `placement`.
    """
    small, small_other = (
        cv2.resize(p, (HALF, HALF), interpolation=cv2.INTER_AREA).astype(np.float32) for p in (image, other)
    )
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 1e-3)
    everywhere = np.ones((HALF, HALF), np.uint8)
    try:
        fit, matrix = cv2.findTransformECC(
            small_other, small, placement.matrix, cv2.MOTION_AFFINE, criteria, everywhere, 3
        )  # fmt: skip
    except cv2.error:  # it does not converge
        return -1.0
    if fit < ALIGNS:
        return -1.0
    # From half to full resolution; pixel centers are offset by half a pixel.
    matrix[:, 2] = 2 * matrix[:, 2] + matrix[:, :2].sum(axis=1) / 2 - 0.5
    visible = cv2.warpAffine(
        np.ones((SIDE, SIDE), np.uint8), matrix, (SIDE, SIDE), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    ).astype(bool)
    if visible.mean() < OVERLAP:
        return -1.0
    moved = cv2.warpAffine(_detail(image), matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)[visible]
    still = _detail(other)[visible]
    moved, still = moved - moved.mean(), still - still.mean()
    power = float((moved * moved).sum() * (still * still).sum())
    return float((moved * still).sum()) / power**0.5 if power > 0 else -1.0


def _detail(image: np.ndarray) -> np.ndarray:
    """Subtract an image's blur, float32."""
    whole = image.astype(np.float32)
    return whole - cv2.blur(whole, (9, 9))


def _propose(views: tuple[np.ndarray, ...], others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the other image with the most similar thumbnail, for each view and placement.

    Returns:
        Rows of `others`, int64 `(len(views) * len(PLACEMENTS), N)`, view by view, and the thumbnails' correlations.
    """
    small, small_others = [_halved(view) for view in views], _halved(others)
    shape = (len(views), len(PLACEMENTS), len(views[0]))
    rows, alike = np.empty(shape, np.int64), np.empty(shape, np.float32)
    for p, placement in enumerate(PLACEMENTS):
        known = _thumbnails(small_others, placement.other)
        for v, view in enumerate(small):
            wanted = _thumbnails(view, placement.window)
            for start in range(0, len(wanted), BLOCK):
                block = slice(start, start + BLOCK)
                correlations = wanted[block] @ known.T
                best = correlations.argmax(axis=1)
                rows[v, p, block], alike[v, p, block] = best, correlations[np.arange(len(best)), best]
    return rows.reshape(-1, shape[2]), alike.reshape(-1, shape[2])


def _halved(images: np.ndarray) -> np.ndarray:
    """Halve the images' size, one per row: float32 `(N, HALF²)`."""
    return images.reshape(-1, HALF, 2, HALF, 2).mean(axis=(2, 4), dtype=np.float32).reshape(len(images), -1)


def _thumbnails(small: np.ndarray, window: Window) -> np.ndarray:
    """Make thumbnails of a part of each image, float32 `(N, THUMBNAIL²)`, with mean 0 and norm 1; 0 if it is flat."""
    averages = np.kron(_cells(window.y1, window.y2), _cells(window.x1, window.x2))
    flat = small @ (averages - averages.mean(axis=0)).T
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-3)


def _cells(start: float, end: float) -> np.ndarray:
    """Build the matrix that averages `HALF` pixels in `THUMBNAIL` cells from `start` to `end`: `(THUMBNAIL, HALF)`."""
    edges, pixels = np.linspace(start, end, THUMBNAIL + 1), np.arange(HALF)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.maximum(covered, 0) / (edges[1] - edges[0])).astype(np.float32)
