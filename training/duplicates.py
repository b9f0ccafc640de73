"""Near-duplicates: one photograph in two splits, though cut, stretched, lit or mirrored otherwise, or watermarked.

A coarse thumbnail proposes candidates; each is aligned, and the fine detail of both decides: two faces in one pose are
alike when they are blurred, but not in their detail.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from training.data import Split, resize

SIDE = 48  # pixels at which pictures are compared
THUMBNAIL = 12  # pixels of the descriptor
CANDIDATES = 3  # per picture, and per mirrored picture: 98 % of FER2013's twins are among the first three
LOOKS_ALIKE = 0.75  # correlation of the thumbnails below which no candidate is looked at
# Correlation of the aligned details from which on two pictures are one photograph. Between FER2013's splits hardly a
# pair lies between 0.7 and 0.8; those below are two people, or one person twice, those above one photograph.
SAME = 0.75
CERTAIN = 0.95  # at which no further candidate is looked at
ALIGNS = 0.85  # ECC below which the details are not looked at: watermarks bring it down to about that
OVERLAP = 0.5  # share of the picture that must be left after alignment


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
    images, others = (np.stack([resize(image, SIDE) for image in group]) for group in (images, others))
    known = _thumbnails(others)
    proposed = [
        (view, _propose(_thumbnails(view), known)) for view in (images, np.ascontiguousarray(images[:, :, ::-1]))
    ]

    def nearest(row: int) -> int:
        best, twin = SAME, -1
        pairs = ((alike[row, i], view, rows[row, i]) for view, (rows, alike) in proposed for i in range(rows.shape[1]))
        for alike, view, other in sorted(pairs, key=lambda pair: -pair[0]):
            if alike < LOOKS_ALIKE or best >= CERTAIN:
                break
            if (score := detail_correlation(view[row], others[other])) >= best:
                best, twin = score, int(other)
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


def detail_correlation(image: np.ndarray, other: np.ndarray) -> float:
    """Correlation, -1 to 1, of the detail of two uint8 `(SIDE, SIDE)` pictures, after `image` was aligned to `other`.

    The alignment is affine, by ECC (Evangelidis & Psarakis 2008) at half the size.
    """
    half = SIDE // 2
    small, small_other = (
        cv2.resize(p, (half, half), interpolation=cv2.INTER_AREA).astype(np.float32) for p in (image, other)
    )
    matrix: np.ndarray = np.eye(2, 3, dtype=np.float32)
    enough = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 1e-3)
    everywhere = np.ones((half, half), np.uint8)
    try:
        fit, matrix = cv2.findTransformECC(small_other, small, matrix, cv2.MOTION_AFFINE, enough, everywhere, 3)
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


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """float32 `(N, THUMBNAIL²)`, of mean 0 and length 1; zeros for a flat picture."""
    small = [cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA) for image in images]
    flat = np.stack(small).reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _propose(thumbnails: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the most similar thumbnails `(N, CANDIDATES)`, and their correlations."""
    rows = np.empty((len(thumbnails), min(CANDIDATES, len(known))), np.int64)
    for start in range(0, len(thumbnails), 512):  # bounds the memory
        alike = thumbnails[start : start + 512] @ known.T
        for column in rows[start : start + 512].T:
            column[:] = alike.argmax(axis=1)
            np.put_along_axis(alike, column[:, None], -np.inf, axis=1)
    return rows, np.einsum("nd,ncd->nc", thumbnails, known[rows])
