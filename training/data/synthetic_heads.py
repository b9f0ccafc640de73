"""Synthetic heads: shaded reliefs with random shapes and random colours of skin, hair, eyes and mouth.

The face detector trains on a few of them besides photos, and `benchmarks.detection` places others in its images.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import ArrayLike

SIDE = 256  # pixels
SHIFT = 0.02  # how far below the middle a head is drawn, as a share of half the side
Region = tuple[float, float, float, float]


def draw_head(rng: np.random.Generator) -> tuple[np.ndarray, Region, np.ndarray]:
    """Draw a head with random features on a transparent background.

    Returns:
        The head, float32 RGBA `(256, 256, 4)` (alpha 0 to 1); its face's box from hairline to chin, in pixels;
        its landmarks, float32 `(5, 2)`, in the order of `deepfer.face.Face`.
    """
    side = SIDE
    y, x = np.mgrid[:side, :side] / side * 2 - 1
    y = y - SHIFT

    def bump(cx: float, cy: float, sx: float, sy: float | None = None) -> np.ndarray:
        return np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / (sy or sx)) ** 2))

    def soft(inside: np.ndarray, width: float = 0.02) -> np.ndarray:
        return np.clip(0.5 + inside / width, 0, 1)

    half_width, half_height = rng.uniform(0.50, 0.58), rng.uniform(0.66, 0.74)
    eye_x, eye_y = rng.uniform(0.20, 0.24), rng.uniform(-0.10, -0.04)
    nose_y, mouth_y = rng.uniform(0.17, 0.23), rng.uniform(0.38, 0.43)

    # The relief: an ellipsoid with a narrower jaw, nose, brows, eye sockets, lids, cheeks, lips and chin.
    jaw = half_width * (1 - 0.28 * np.clip((y - 0.1) / 0.6, 0, 1) ** 1.5)
    radius = (x / jaw) ** 2 + (y / half_height) ** 2
    head = np.clip((1 - radius) / 0.06, 0, 1)
    relief = 0.75 * np.sqrt(np.clip(1 - radius, 0, 1))
    relief += 0.16 * bump(0, nose_y - 0.12, 0.055, 0.13) + 0.11 * bump(0, nose_y, 0.075, 0.06)
    relief += 0.035 * bump(0, mouth_y - 0.035, 0.11, 0.028) + 0.045 * bump(0, mouth_y + 0.045, 0.10, 0.03)
    relief += 0.05 * bump(0, 0.60, 0.13, 0.07) - 0.03 * bump(0, mouth_y + 0.1, 0.13, 0.025)
    for s in (-1, 1):
        relief += 0.03 * bump(s * 0.08, nose_y + 0.02, 0.04) + 0.05 * bump(s * 0.30, 0.14, 0.13, 0.10)
        relief += 0.035 * bump(s * eye_x, eye_y, 0.065, 0.04) - 0.09 * bump(s * eye_x, eye_y, 0.11, 0.07)
        relief += 0.04 * bump(s * eye_x, eye_y - 0.13, 0.13, 0.04)
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(relief, (0, 0), side / 110), 2 / side)
    facing = 1 / np.sqrt(slope_x**2 + slope_y**2 + 1)
    lamp = np.array([math.sin(rng.uniform(-0.9, 0.9)), rng.uniform(-0.9, -0.1), 1.1])
    lamp /= np.linalg.norm(lamp)
    lit = np.clip((lamp[2] - slope_x * lamp[0] - slope_y * lamp[1]) * facing, 0, None)
    ambient = rng.uniform(0.3, 0.5)
    shade = ambient * (0.6 + 0.4 * facing) + (1 - ambient) * lit

    # The colours.
    skins = np.array([[236, 196, 172], [224, 177, 146], [198, 146, 112], [156, 105, 76], [112, 74, 54], [84, 56, 42]])
    skin = rng.choice(skins) / 255 * rng.uniform(0.92, 1.06, 3)
    hair = rng.choice([[0.08, 0.06, 0.05], [0.20, 0.13, 0.08], [0.38, 0.24, 0.12], [0.62, 0.48, 0.28], [0.5, 0.5, 0.5]])
    iris = rng.choice([[0.25, 0.16, 0.10], [0.30, 0.40, 0.45], [0.20, 0.30, 0.20]])
    flush = bump(-0.28, 0.17, 0.12) + bump(0.28, 0.17, 0.12) + bump(0, nose_y, 0.08)
    grain = cv2.GaussianBlur(rng.normal(size=(side, side)), (0, 0), 2)
    colour = skin * (1 - 0.08 * flush[..., None] * [0, 1, 1]) * (1 + 0.03 * (grain / grain.std())[..., None])

    def paint(mask: np.ndarray, paint_colour: ArrayLike) -> None:
        colour[:] = colour * (1 - mask[..., None]) + np.asarray(paint_colour) * mask[..., None]

    gaze, opening, brow_tilt, brow_gap = rng.uniform([-0.025, 0.035, -0.12, 0.115], [0.025, 0.06, 0.15, 0.12])
    for s in (-1, 1):
        ex, ey = x - s * eye_x, y - eye_y
        arc = np.clip(1 - (ex / 0.105) ** 2, 0, 1)
        upper, lower, in_lids = -opening * arc, 0.75 * opening * arc, np.abs(ex) < 0.105
        eye = soft(np.minimum(ey - upper, lower - ey), 0.025) * in_lids
        from_iris = np.hypot(ex - gaze, ey + 0.005)
        paint(0.35 * bump(s * eye_x, eye_y - 0.02, 0.12, 0.06), skin * 0.55)
        paint(eye, [0.90, 0.88, 0.86])
        paint(eye * soft(0.05 - from_iris), iris)
        paint(eye * soft(0.024 - from_iris), [0.03, 0.03, 0.03])
        paint(soft(0.010 - np.hypot(ex - gaze - 0.015, ey + 0.02)), [1, 1, 1])
        paint(0.9 * np.exp(-0.5 * ((ey - upper) / 0.012) ** 2) * in_lids, hair * 0.4)
        paint(0.35 * np.exp(-0.5 * ((ey - lower) / 0.012) ** 2) * in_lids, skin * 0.45)
        brow = ey + brow_gap + 1.9 * ex**2 + brow_tilt * s * ex
        thickness = 0.024 - 0.10 * np.clip(np.abs(ex) - 0.06, 0, 1)
        paint(0.85 * soft(thickness - np.abs(brow), 0.03) * (np.abs(ex) < 0.14), hair * 0.7)
        paint(0.7 * bump(s * 0.045, nose_y + 0.055, 0.022, 0.014), skin * 0.25)
    paint(0.25 * bump(0, nose_y + 0.075, 0.09, 0.02), skin * 0.4)
    smile, mouth_width, gap = rng.uniform(-0.05, 0.12), rng.uniform(0.15, 0.19), max(0.0, rng.normal(0, 0.03))
    arc = np.clip(1 - (x / mouth_width) ** 2, 0, 1)
    my = y - mouth_y + smile * ((x / mouth_width) ** 2 - 0.4)
    paint(0.85 * soft(np.minimum(my + 0.05 * arc + gap, 0.06 * arc + gap - my)) * (arc > 0), skin * [0.85, 0.55, 0.55])
    if gap > 0.008:
        teeth = [0.88, 0.86, 0.82] if rng.random() < 0.6 else [0.25, 0.08, 0.08]
        paint(soft(np.minimum(my + gap * arc, gap * arc - my), 0.015) * (arc > 0), teeth)
    else:
        paint(0.8 * np.exp(-0.5 * (my / 0.010) ** 2) * (arc > 0), skin * 0.25)
    face = colour * shade[..., None] * rng.uniform(1.0, 1.25)

    # Neck, clothes and hair around it.
    neck = soft(np.minimum(0.24 - np.abs(x), y - 0.3), 0.03)
    clothes = soft(y - 0.80 - 0.35 * x**2, 0.03)
    body = skin * (0.55 + 0.2 * np.clip(1 - np.abs(x) / 0.3, 0, 1))[..., None] * (1 - clothes[..., None])
    body = body + rng.uniform(0.1, 0.8, 3) * (0.7 + 0.3 * x * lamp[0])[..., None] * clothes[..., None]
    long_hair = rng.random() < 0.4
    fringe = y + rng.uniform(0.46, 0.65) * half_height - (0.9 if long_hair else 0.6) * x**2
    fringe = fringe - 0.03 * np.sin(9 * x + rng.uniform(0, 6))
    temples = np.abs(x) - 0.93 * jaw - (0 if long_hair else np.clip(y + 0.1, 0, 1))
    skull = (x / (half_width * 1.13)) ** 2 + ((y + 0.08) / (half_height * 1.06)) ** 2
    cover = soft(1 - skull, 0.06) * soft(np.maximum(-fringe, temples), 0.05)
    if long_hair:
        strands = np.minimum(np.abs(x) - 0.90 * half_width, 1.2 * half_width - np.abs(x))
        cover = np.maximum(cover, soft(strands, 0.05) * soft(0.55 - y, 0.1) * soft(y + 0.3, 0.1))
    cover = cover * (rng.random() > 0.08)  # some are bald
    streaks = cv2.GaussianBlur(rng.normal(size=(side, side)), (0, 0), 1.2, sigmaY=9)
    strand_colour = hair * (0.75 + 0.35 * np.clip(lit, 0, 1) + 0.18 * streaks / streaks.std())[..., None]
    rgb = face * head[..., None] + body * (1 - head[..., None])
    rgb = rgb * (1 - cover[..., None]) + strand_colour * cover[..., None]
    alpha = np.maximum.reduce([head, neck, clothes, cover])
    rgb = cv2.GaussianBlur(np.clip(rgb, 0, 1), (0, 0), 0.8) * 255
    reach = 0.88 * half_width * side / 2
    box = side / 2 - reach, 0.26 * side, side / 2 + reach, 0.83 * side
    corner_y = mouth_y - 0.6 * smile
    places = [(-eye_x, eye_y), (eye_x, eye_y), (0, nose_y), (-mouth_width, corner_y), (mouth_width, corner_y)]
    landmarks = (np.array(places, np.float32) + np.array([1, 1 + SHIFT], np.float32)) * side / 2
    return np.dstack([rgb, alpha]).astype(np.float32), box, landmarks
