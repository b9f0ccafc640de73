"""Changes of light, colour, focus, noise and JPEG compression, as cameras and files cause them."""

from __future__ import annotations

import math

import cv2
import numpy as np


def expose(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An RGB uint8 image after random changes of light, colour, focus, noise and JPEG compression."""
    if rng.random() < 0.6:
        steps = np.arange(256, dtype=np.float32) / 255
        gamma = math.exp(rng.uniform(-0.6, 0.6))
        gain = math.exp(rng.uniform(-0.5, 0.3)) if rng.random() < 0.7 else rng.uniform(0.15, 0.5)
        lift = rng.uniform(-0.1, 0.1)
        tint = 1 + rng.uniform(-0.15, 0.15, 3) * (rng.random() < 0.5)
        curve = np.clip(255 * (gain * steps**gamma + lift), 0, 255)
        table = np.clip(curve[:, None] * tint, 0, 255).astype(np.uint8).reshape(1, 256, 3)
        image = cv2.LUT(image, table)
    if rng.random() < 0.15:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < 0.1:
        small = cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.25:
        grain = np.empty(image.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(1 << 30)))
        cv2.randn(grain, np.zeros(1), np.full(1, rng.uniform(2, 14)))
        image = cv2.add(image, grain, dtype=cv2.CV_8U)
    if rng.random() < 0.4:
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))])[1]
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return image


def relit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An RGB uint8 piece made brighter or darker, sometimes gray."""
    out = cv2.convertScaleAbs(image, alpha=math.exp(rng.uniform(-0.5, 0.35)), beta=rng.uniform(-15, 15))
    if rng.random() < 0.25:
        out = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return out
