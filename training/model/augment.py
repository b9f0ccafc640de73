"""Augmentation: randomly warps, blurs, relights and erases each image of a batch, and adds noise.

It uses NumPy and OpenCV on the CPU, so it is the same with every Keras backend and never part of a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """How strongly images are changed; every parameter is sampled uniformly and independently.

    Attributes:
        flip: Mirror half of the images.
        rotation: Largest rotation either way, degrees.
        zoom: Smallest and largest scale; below 1 zooms out and repeats the border.
        shift: Largest shift either way along each axis, share of the side.
        brightness: Largest change of the mean, share of full scale.
        contrast: Largest change of the contrast, as a factor either way (0.3 is 0.7 to 1.3).
        erase: Probability that a rectangle is replaced by noise (Random Erasing; Zhong et al. 2017).
        erase_area: Smallest and largest share of the image that the rectangle covers.
        blur: Probability of a Gaussian blur of up to `blur_sigma`.
        blur_sigma: Largest standard deviation of the blur, share of the side.
        noise: Probability of Gaussian noise of up to `noise_sigma` in each pixel.
        noise_sigma: Largest standard deviation of the noise, gray levels.
    """

    flip: bool = True
    rotation: float = 15.0
    zoom: tuple[float, float] = (0.85, 1.2)
    shift: float = 0.1
    brightness: float = 0.15
    contrast: float = 0.3
    erase: float = 0.4
    erase_area: tuple[float, float] = (0.02, 0.2)
    blur: float = 0.0
    blur_sigma: float = 0.04
    noise: float = 0.0
    noise_sigma: float = 25.0

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Augment uint8 `(N, S, S)` into a new float32 `(N, S, S)`, 0 to 255."""
        out = self.warp(images, rng)
        self.blur_some(out, rng)
        self.light(out, rng)
        self.add_noise(out, rng)
        self.erase_rectangles(out, rng)
        return np.clip(out, 0, 255, out=out)

    def warp(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Rotate, zoom, shift and mirror, in one interpolation."""
        count, size = images.shape[:2]
        angle = np.radians(rng.uniform(-self.rotation, self.rotation, count))
        scale = np.exp(rng.uniform(np.log(self.zoom[0]), np.log(self.zoom[1]), count))
        move = rng.uniform(-self.shift, self.shift, (count, 2)) * size
        mirror = np.where(self.flip & (rng.random(count) < 0.5), -1.0, 1.0)
        centre = (size - 1) / 2
        matrices = np.empty((count, 2, 3))
        matrices[:, 0, 0] = mirror * scale * np.cos(angle)
        matrices[:, 0, 1] = -scale * np.sin(angle)
        matrices[:, 1, 0] = mirror * scale * np.sin(angle)
        matrices[:, 1, 1] = scale * np.cos(angle)
        matrices[:, :, 2] = centre + move - matrices[:, :, :2].sum(axis=2) * centre
        out = np.empty(images.shape, np.float32)
        for image, matrix, target in zip(images, matrices, out, strict=True):
            target[:] = cv2.warpAffine(
                image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        return out

    def light(self, images: np.ndarray, rng: np.random.Generator) -> None:
        """Change the contrast around each image's mean, and the brightness, in place."""
        count = len(images)
        factor = rng.uniform(1 - self.contrast, 1 + self.contrast, (count, 1, 1)).astype(np.float32)
        offset = 255 * rng.uniform(-self.brightness, self.brightness, (count, 1, 1)).astype(np.float32)
        mean = images.mean(axis=(1, 2), keepdims=True)
        images -= mean
        images *= factor
        images += mean + offset

    def blur_some(self, images: np.ndarray, rng: np.random.Generator) -> None:
        """Blur some images, in place."""
        if not self.blur:
            return
        chosen = np.flatnonzero(rng.random(len(images)) < self.blur)
        for index, sigma in zip(chosen, rng.uniform(0.005, self.blur_sigma, len(chosen)), strict=True):
            images[index] = cv2.GaussianBlur(images[index], (0, 0), sigma * images.shape[1])

    def add_noise(self, images: np.ndarray, rng: np.random.Generator) -> None:
        """Add noise to some images, in place."""
        if not self.noise:
            return
        chosen = np.flatnonzero(rng.random(len(images)) < self.noise)
        for index, sigma in zip(chosen, rng.uniform(0, self.noise_sigma, len(chosen)), strict=True):
            images[index] += rng.normal(0, sigma, images.shape[1:])

    def erase_rectangles(self, images: np.ndarray, rng: np.random.Generator) -> None:
        """Replace a rectangle of some images by noise, in place."""
        size = images.shape[1]
        chosen = np.flatnonzero(rng.random(len(images)) < self.erase)
        covered = rng.uniform(*self.erase_area, len(chosen)) * size * size
        aspect = np.exp(rng.uniform(np.log(0.4), np.log(2.5), len(chosen)))
        heights = np.clip(np.sqrt(covered * aspect), 1, size).astype(int)
        widths = np.clip(np.sqrt(covered / aspect), 1, size).astype(int)
        for index, height, width in zip(chosen, heights, widths, strict=True):
            top, left = rng.integers(0, size - height + 1), rng.integers(0, size - width + 1)
            images[index, top : top + height, left : left + width] = rng.uniform(0, 255, (height, width))


def mix(
    images: np.ndarray, targets: Sequence[np.ndarray], rng: np.random.Generator, mixup: float = 0.0, cutmix: float = 0.0
) -> None:
    """Mix each image and its targets with another of the batch, in place.

    Args:
        images: float32 `(N, S, S)`.
        targets: Arrays `(N, …)`, mixed in the same proportions.
        rng: The random generator.
        mixup: Parameter of the Beta distribution of the mixing proportion (Zhang et al. 2018); 0 for none.
        cutmix: The same for pasting a rectangle of the other image (Yun et al. 2019). If both are given, each batch
            gets one of them at random.
    """
    chosen = [kind for kind, alpha in (("mixup", mixup), ("cutmix", cutmix)) if alpha > 0]
    if not chosen:
        return
    kind = chosen[rng.integers(len(chosen))]
    order = rng.permutation(len(images))
    if kind == "mixup":
        share = rng.beta(mixup, mixup)
        share = max(share, 1 - share)
        images += (1 - share) * (images[order] - images)
    else:
        size = images.shape[1]
        side = size * np.sqrt(1 - rng.beta(cutmix, cutmix))
        y, x = rng.integers(0, size, 2)
        top, left = (max(0, round(c - side / 2)) for c in (y, x))
        bottom, right = (min(size, round(c + side / 2)) for c in (y, x))
        images[:, top:bottom, left:right] = images[order, top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / size**2
    for target in targets:
        target += ((1 - share) * (target[order] - target)).astype(target.dtype)
