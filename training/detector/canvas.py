"""Canvas: an image under construction that keeps track of its faces as pieces are pasted into it."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from deepfer.warp import similarity, warp
from training.detector.photos import CENTER, LANDMARKS, ROLL, SCORE, SIDES

FAINTEST = 10.0  # pixels: smaller faces are in doubt
COVERED, HIDDEN = 0.25, 0.65  # a face is in doubt if more than the first share of it is covered; removed if the second
CUT = 0.45  # a face is in doubt if more than this share is beyond the border; up to it, the teacher still finds faces
MIRRORED = [2, 3, 0, 1, 4, 5, 8, 9, 6, 7]  # the landmarks' order after a mirror: left and right are swapped


@dataclass
class Canvas:
    """An image under construction.

    Attributes:
        image: RGB uint8 `(S, S, 3)`.
        rows: float32 `(16,)` face rows as in `photos`, in the image's pixels.
    """

    image: np.ndarray
    rows: list[np.ndarray] = field(default_factory=list)

    def paste(
        self, piece: np.ndarray, faces: np.ndarray, a: complex, b: complex, mirror: bool, mask: np.ndarray
    ) -> None:
        """Draw `piece`, transformed by `z -> a z + b` (after a mirror, if `mirror`), where its mask is set.

        Faces that the piece covers are put in doubt or removed.

        Args:
            piece: RGB uint8 `(H, W, 3)`.
            faces: Rows of the faces in the piece, `(N, 16)`.
            a: Scale and rotation, as a complex number.
            b: Translation, in pixels.
            mirror: Whether the piece is mirrored first.
            mask: uint8 `(H, W)`, 255 where the piece is opaque.
        """
        side = len(self.image)
        height, width = piece.shape[:2]
        corners = [a * complex(x, y) + b for x in (0, width) for y in (0, height)]
        left, top = (max(0, math.floor(min(parts))) for parts in zip(*((z.real, z.imag) for z in corners), strict=True))
        right, bottom = (
            min(side, math.ceil(max(parts))) for parts in zip(*((z.real, z.imag) for z in corners), strict=True)
        )
        if right <= left or bottom <= top:
            return
        if mirror:
            piece, mask = piece[:, ::-1], mask[:, ::-1]
        matrix = similarity(a, b - complex(left, top))
        size = right - left, bottom - top
        drawn = warp(piece, matrix, size)
        alpha = cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR)
        self._hide(alpha, left, top)
        under = self.image[top:bottom, left:right]
        if (alpha == 255).all():
            under[:] = drawn
        else:
            weight = cv2.merge([alpha] * 3)
            over = cv2.multiply(drawn, weight, scale=1 / 255)
            under[:] = cv2.add(over, cv2.multiply(under, 255 - weight, scale=1 / 255))
        for row in faces:
            self.rows.append(moved(row, a, b, mirror, width))

    def _hide(self, alpha: np.ndarray, left: int, top: int) -> None:
        kept = []
        for row in self.rows:
            (x, y), (w, h) = row[CENTER], row[SIDES] * 0.4
            x1, x2 = max(0, int(x - w - left)), max(0, int(x + w - left) + 1)
            y1, y2 = max(0, int(y - h - top)), max(0, int(y + h - top) + 1)
            shared = alpha[y1:y2, x1:x2]
            hidden = shared.sum() / 255 / max(4 * w * h, 1e-6) if shared.size else 0.0
            if hidden < HIDDEN:
                if hidden > COVERED:
                    row[SCORE] = 0.0
                kept.append(row)
        self.rows = kept


def moved(row: np.ndarray, a: complex, b: complex, mirror: bool, width: int) -> np.ndarray:
    """A face's row after `z -> a z + b`; if `mirror`, after mirroring a piece that is `width` pixels wide."""
    row = row.copy()
    points = row[[0, 1, *range(5, 15)]].reshape(6, 2).astype(np.float64)
    if mirror:
        points[:, 0] = width - points[:, 0]
        points[1:] = points[1:].ravel()[MIRRORED].reshape(5, 2)
        row[ROLL] = -row[ROLL]
    z = a * (points[:, 0] + 1j * points[:, 1]) + b
    row[CENTER] = z[0].real, z[0].imag
    row[LANDMARKS] = np.stack([z[1:].real, z[1:].imag], axis=1).ravel()
    row[SIDES] *= abs(a)
    row[ROLL] += cmath.phase(a)
    return row


def clip_to(row: np.ndarray, cell: tuple[int, int, int, int]) -> None:
    """Put a face in doubt, or mark it for removal, by how much of it `cell` (x1, y1, x2, y2) cuts off."""
    shown = _share_inside(row, cell)
    if shown < 1 - HIDDEN:
        row[SIDES] = 0  # `visible` drops it
    elif shown < 1 - CUT:
        row[SCORE] = 0


def _share_inside(row: np.ndarray, cell: tuple[float, float, float, float]) -> float:
    """The share of a face's central part, a square of its mean side, that lies inside a rectangle."""
    half = float(np.sqrt(max(row[SIDES].prod(), 1e-6))) / 2
    x, y = row[CENTER]
    across = min(x + half, cell[2]) - max(x - half, cell[0])
    down = min(y + half, cell[3]) - max(y - half, cell[1])
    return max(across, 0.0) * max(down, 0.0) / (4 * half * half)


def visible(rows: np.ndarray, side: int) -> np.ndarray:
    """The rows of visible faces; those that are very small or cut by the border are put in doubt."""
    kept = []
    for row in rows:
        clip_to(row, (0, 0, side, side))
        if row[SIDES][1] < 3:
            continue
        if row[SIDES][1] < FAINTEST:
            row[SCORE] = 0.0
        kept.append(row)
    return np.array(kept, np.float32).reshape(-1, SCORE + 1)
