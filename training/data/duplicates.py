"""Near-duplicates: one photograph in two splits, though shifted, cropped, mirrored, lit or watermarked differently.

Coarse thumbnails propose candidates: for every shift and crop that is tried, they are of the parts that both pictures
would show. Each candidate is then aligned, and its fine detail decides: two people in one pose look alike when they are
blurred, but not in detail.

Of copies of 200 of FER2013's 28,473 training pictures, it finds 199 that are shifted by (4, 3) pixels, 195 by (-6, 4),
179 that are crops of 80% of the side, and 154 of 70%. Looking for 3,589 pictures among them takes 90 s of one core.
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

SIDE = 48  # pixels at which pictures are compared
HALF = SIDE // 2  # pixels at which candidates are looked for, and aligned
THUMBNAIL = 8  # pixels of the descriptor of a part
SHIFTS = (-4, -2, 0, 2, 4)  # of pictures at HALF, along each axis; a thumbnail tolerates half a step more
CROPS = {0.9: 2, 0.8: 3, 0.7: 4}  # the side of a crop, as a share of the picture's, and its places along each axis
CANDIDATES = 10  # per picture that are aligned
LOOKS_ALIKE = 0.75  # correlation of the thumbnails below which no candidate is looked at
# Correlation of the aligned details from which on two pictures are one photograph. Between FER2013's splits hardly a
# pair lies between 0.7 and 0.8; those below are two people, or one person twice, those above one photograph.
SAME = 0.75
CERTAIN = 0.95  # at which no further candidate is looked at
ALIGNS = 0.85  # ECC below which the details are not looked at: watermarks bring it down to about that
OVERLAP = 0.4  # share of the picture that must be left after alignment
BLOCK = 64  # pictures whose thumbnails are compared at once: their correlations stay in the processor's cache


class Window(NamedTuple):
    """A part of a picture at `HALF`, half-open, in pixels."""

    x1: float
    y1: float
    x2: float
    y2: float


class Placement(NamedTuple):
    """What one picture and another would both show if one were the other, shifted or cropped."""

    window: Window
    other: Window

    @property
    def matrix(self) -> np.ndarray:
        """From pixels of the other picture to those of the first, both at `HALF`: float32 `(2, 3)`."""
        scale = (self.window.x2 - self.window.x1) / (self.other.x2 - self.other.x1)
        x, y = (
            (0.5 - other) * scale + own - 0.5 for own, other in zip(self.window[:2], self.other[:2], strict=True)
        )  # a pixel's centre lies half a pixel beside its corner
        return np.array([[scale, 0, x], [0, scale, y]], np.float32)


def _placements() -> list[Placement]:
    found = []
    for x, y in product(SHIFTS, SHIFTS):
        parts = [Window(max(0, x), max(0, y), HALF + min(0, x), HALF + min(0, y)) for x, y in ((x, y), (-x, -y))]
        found.append(Placement(*parts))
    whole = Window(0, 0, HALF, HALF)
    for share, places in CROPS.items():
        side = share * HALF
        for x, y in product(np.linspace(0, HALF - side, places), repeat=2):
            part = Window(x, y, x + side, y + side)
            found += [Placement(whole, part), Placement(part, whole)]
    return found


PLACEMENTS = _placements()


def find(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each picture, which of the others is the same photograph.

    Args:
        images: uint8 `(N, S, S)`.
        others: uint8 `(M, S, S)`.

    Returns:
        int64 `(N,)`: the row of the nearest twin in `others`; -1 where there is none.
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

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # OpenCV lets go of the interpreter's lock
        return np.array(list(pool.map(nearest, range(len(images)))), np.int64)


def between(splits: Mapping[str, Split]) -> dict[tuple[str, str], np.ndarray]:
    """For each two splits, (evaluated, trained on), what `find` says of the first's pictures."""
    order = [name for name in ("test", "validation", "train") if name in splits]
    return {
        (name, other): find(splits[name].images, splits[other].images)
        for i, name in enumerate(order)
        for other in reversed(order[i + 1 :])
    }


def detail_correlation(image: np.ndarray, other: np.ndarray, placement: Placement) -> float:
    """Correlation, -1 to 1, of the detail of two uint8 `(SIDE, SIDE)` pictures, after `image` was aligned to `other`.

    The alignment is affine, by ECC (Evangelidis & Psarakis 2008) at half the size, from `placement` on.
    """
    small, small_other = (
        cv2.resize(p, (HALF, HALF), interpolation=cv2.INTER_AREA).astype(np.float32) for p in (image, other)
    )
    enough = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 1e-3)
    everywhere = np.ones((HALF, HALF), np.uint8)
    try:
        fit, matrix = cv2.findTransformECC(
            small_other, small, placement.matrix, cv2.MOTION_AFFINE, enough, everywhere, 3
        )  # fmt: skip
    except cv2.error:  # it does not converge: there is nothing to align
        return -1.0
    if fit < ALIGNS:
        return -1.0
    # From pixels of half the size to whole ones, whose centres lie half a pixel beside the double.
    matrix[:, 2] = 2 * matrix[:, 2] + matrix[:, :2].sum(axis=1) / 2 - 0.5
    seen = cv2.warpAffine(
        np.ones((SIDE, SIDE), np.uint8), matrix, (SIDE, SIDE), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    ).astype(bool)
    if seen.mean() < OVERLAP:
        return -1.0
    moved = cv2.warpAffine(_detail(image), matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)[seen]
    still = _detail(other)[seen]
    moved, still = moved - moved.mean(), still - still.mean()
    power = float((moved * moved).sum() * (still * still).sum())
    return float((moved * still).sum()) / power**0.5 if power > 0 else -1.0


def _detail(image: np.ndarray) -> np.ndarray:
    """What is left of a picture, float32, without its blur."""
    whole = image.astype(np.float32)
    return whole - cv2.blur(whole, (9, 9))


def _propose(views: tuple[np.ndarray, ...], others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The other picture whose thumbnail is the most similar, for each view and placement.

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
    """Pictures at half their size, one a row: float32 `(N, HALF²)`."""
    return images.reshape(-1, HALF, 2, HALF, 2).mean(axis=(2, 4), dtype=np.float32).reshape(len(images), -1)


def _thumbnails(small: np.ndarray, window: Window) -> np.ndarray:
    """Thumbnails of a part of each picture, float32 `(N, THUMBNAIL²)`, of mean 0 and length 1; zeros for a flat one."""
    averages = np.kron(_cells(window.y1, window.y2), _cells(window.x1, window.x2))
    flat = small @ (averages - averages.mean(axis=0)).T
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-3)


def _cells(start: float, end: float) -> np.ndarray:
    """What takes the mean of `HALF` pixels in each of `THUMBNAIL` cells between two places: `(THUMBNAIL, HALF)`."""
    edges, pixels = np.linspace(start, end, THUMBNAIL + 1), np.arange(HALF)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.maximum(covered, 0) / (edges[1] - edges[0])).astype(np.float32)
