"""Training targets for each cell of the grids, and the loss."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from deepfer.detector_network import UNIT
from deepfer.grid_network import STRIDES
from training.detector.photos import LANDMARKS, SCORE, SIDES, SURE, boxes

REACH = {8: (0.0, 46.0), 16: (34.0, 110.0), 32: (80.0, 1e9)}  # face heights, in pixels, that each grid must find
NEAR = {8: (0.0, 64.0), 16: (24.0, 150.0), 32: (58.0, 1e9)}  # a wider range, which the grid may find but need not
CORE, RING = 0.16, 0.38  # radius, in face heights, of the cells that must find a face, and of those that may
GAMMA = 2.0  # of the focal loss (Lin et al. 2017)
ALPHA = 0.5  # weight of cells with a face against those without in the focal loss
SCORES_WEIGHT = 3.0  # with 1, as in the embedded detector's first stages, landmarks make up most of the loss
SIDES_WEIGHT = 0.5  # of errors in the logarithms of the box's sides, relative to errors in face heights
# Columns of a target: 0 is the score, 1 its weight, 2 the place's weight, 3 the stride divided by the face's height.
PLACE = slice(4, 18)


def cells(side: int) -> int:
    """The number of cells in all grids together, for a square image of `side` pixels."""
    return sum((side // stride) ** 2 for stride in STRIDES)


def targets(rows: np.ndarray, side: int) -> np.ndarray:
    """Targets of all cells, float32 `(cells, 18)`, for face rows `(N, 16)` in a square image of `side` pixels."""
    return np.concatenate([_grid(rows, side, stride) for stride in STRIDES])


def _grid(rows: np.ndarray, side: int, stride: int) -> np.ndarray:
    count = side // stride
    found = np.zeros((count * count, PLACE.stop), np.float32)
    found[:, 1] = 1
    if not len(rows):
        return found
    place = (np.arange(count, dtype=np.float32) + 0.5) * stride
    x, y = (part.ravel() for part in np.meshgrid(place, place))
    around = boxes(rows)
    center, sides = (around[:, :2] + around[:, 2:]) / 2, around[:, 2:] - around[:, :2]
    tall = np.sqrt(rows[:, SIDES].prod(axis=1)) * 1.15  # about the height of an upright face, whatever its roll
    distance = np.hypot(x[:, None] - center[:, 0], y[:, None] - center[:, 1])  # (cells, N)
    sure = rows[:, SCORE] >= SURE
    fits = sure & (tall >= REACH[stride][0]) & (tall < REACH[stride][1])
    may = ~sure | ((tall >= NEAR[stride][0]) & (tall < NEAR[stride][1]))
    ring = np.where(sure, np.maximum(RING * tall, 0.9 * stride), np.maximum(0.5 * tall, stride))
    found[((distance < ring) & may).any(axis=1), 1] = 0
    core = np.maximum(CORE * tall, 0.5 * stride)
    inside = (distance < core) & fits
    nearest = distance.argmin(axis=0)
    within = distance[nearest, np.arange(len(rows))] < stride
    inside[nearest[fits & within], np.flatnonzero(fits & within)] = True
    share = np.where(inside, distance / tall, np.inf)
    face = share.argmin(axis=1)
    own = np.isfinite(share[np.arange(len(found)), face])
    face, cell = face[own], np.flatnonzero(own)
    found[cell, 0] = found[cell, 1] = found[cell, 2] = 1
    found[cell, 3] = stride / tall[face]
    at = np.stack([x[cell], y[cell]], axis=1)
    found[cell, 4:6] = (center[face] - at) / stride
    found[cell, 6:8] = np.log(np.maximum(sides[face], 1) / (UNIT * stride))
    found[cell, 8:18] = (rows[face][:, LANDMARKS] - np.tile(at, 5)) / stride
    return found


def loss(wanted: keras.KerasTensor, answered: keras.KerasTensor) -> keras.KerasTensor:
    """Focal loss of the scores plus L1 distances of boxes and landmarks, in face heights, per face cell.

    Args:
        wanted: `(N, cells, 18)` of `targets`.
        answered: `(N, cells, 15)`, the concatenated grids of the network.
    """
    face, weight, placed, shrink = (wanted[..., index] for index in range(4))
    logit = answered[..., 0]
    probability = ops.sigmoid(logit)
    miss = ops.abs(face - probability)
    entropy = ops.maximum(logit, 0.0) - logit * face + ops.log1p(ops.exp(-ops.abs(logit)))
    balance = ALPHA * face + (1 - ALPHA) * (1 - face)
    scores = SCORES_WEIGHT * ops.sum(balance * weight * miss**GAMMA * entropy)
    apart = ops.abs(answered[..., 1:] - wanted[..., PLACE])
    center = ops.sum(apart[..., :2], axis=-1) * shrink
    sides = ops.sum(apart[..., 2:4], axis=-1) * SIDES_WEIGHT
    landmarks = ops.sum(apart[..., 4:], axis=-1) * shrink
    places = ops.sum(placed * (center + sides + landmarks))
    return 2.0 * (scores + places) / (ops.sum(placed) + 1.0)
