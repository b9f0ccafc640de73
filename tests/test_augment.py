from dataclasses import replace

import numpy as np
import pytest

from training.model.augment import Augmentation, mix

NOTHING = Augmentation(flip=False, rotation=0, zoom=(1, 1), shift=0, brightness=0, contrast=0, erase=0)


@pytest.fixture
def images() -> np.ndarray:
    y, x = np.indices((48, 48))
    return np.stack([(x * 2 + y + 20 + n % 7) % 200 for n in range(64)]).astype(np.uint8)


def augmented(settings: Augmentation, images: np.ndarray, seed: int = 0) -> np.ndarray:
    return settings(images, np.random.default_rng(seed))


def test_shape_range_and_the_same_for_the_same_seed(images: np.ndarray) -> None:
    before = images.copy()
    out = augmented(Augmentation(), images)
    assert out.shape == images.shape
    assert out.dtype == np.float32
    assert out.min() >= 0
    assert out.max() <= 255
    assert np.array_equal(images, before)
    assert np.array_equal(out, augmented(Augmentation(), images))
    assert not np.array_equal(out, augmented(Augmentation(), images, seed=1))


def test_no_augmentation_changes_nothing(images: np.ndarray) -> None:
    assert augmented(NOTHING, images) == pytest.approx(images.astype(np.float32), abs=1e-3)


def test_flip_mirrors_about_half(images: np.ndarray) -> None:
    out = augmented(replace(NOTHING, flip=True), images)
    mirrored = [np.allclose(o, i[:, ::-1], atol=1e-3) for o, i in zip(out, images, strict=True)]
    kept = [np.allclose(o, i, atol=1e-3) for o, i in zip(out, images, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert 16 < sum(mirrored) < 48


def disc(size: int = 48, radius: float = 8) -> np.ndarray:
    y, x = np.indices((size, size)) - (size - 1) / 2
    return np.repeat((255 * (np.hypot(x, y) < radius)).astype(np.uint8)[None], 200, axis=0)


def test_zoom_and_shift_stay_within_limits() -> None:
    areas = augmented(replace(NOTHING, zoom=(0.5, 2.0)), disc()).sum(axis=(1, 2)) / disc().sum(axis=(1, 2))
    scale = np.sqrt(areas)
    assert 0.45 < scale.min() < 0.6
    assert 1.7 < scale.max() < 2.1
    out = augmented(replace(NOTHING, shift=0.1), disc())
    weight = out / out.sum(axis=(1, 2), keepdims=True)
    for axis in (1, 2):
        position = (weight.sum(axis=3 - axis) * np.arange(48)).sum(axis=1) - 23.5
        assert 4 < np.abs(position).max() <= 4.9


def test_rotation_is_about_the_center() -> None:
    bar = np.zeros((200, 48, 48), np.uint8)
    bar[:, 22:26, 8:40] = 255
    out = augmented(replace(NOTHING, rotation=30), bar)
    y, x = np.indices((48, 48)) - 23.5
    angle = np.degrees(0.5 * np.arctan2(2 * (out * x * y).sum((1, 2)), (out * (x * x - y * y)).sum((1, 2))))
    assert np.abs(angle).max() == pytest.approx(30, abs=2)
    assert angle.min() < -20 < 20 < angle.max()


def test_light(images: np.ndarray) -> None:
    brighter = augmented(replace(NOTHING, brightness=0.1), images).mean(axis=(1, 2)) - images.mean(axis=(1, 2))
    assert 15 < np.abs(brighter).max() <= 25.6
    contrast = augmented(replace(NOTHING, contrast=0.2), images).std(axis=(1, 2)) / images.std(axis=(1, 2))
    assert 0.79 < contrast.min() < 0.9 < 1.1 < contrast.max() < 1.21


def test_erasing_changes_some_images(images: np.ndarray) -> None:
    out = augmented(replace(NOTHING, erase=0.5, erase_area=(0.1, 0.1)), images)
    changed = (np.abs(out - images) > 1e-3).mean(axis=(1, 2))
    assert 0.3 < np.mean(changed > 0) < 0.7
    assert changed[changed > 0] == pytest.approx(np.full((changed > 0).sum(), 0.1), abs=0.03)


def test_blur_keeps_the_brightness(images: np.ndarray) -> None:
    settings = replace(NOTHING, blur=0.5, blur_sigma=0.05)
    out = augmented(settings, images)
    detail = np.abs(np.diff(out, axis=2)).mean(axis=(1, 2)) / np.abs(np.diff(images.astype(int), axis=2)).mean(
        axis=(1, 2)
    )
    assert 0.3 < np.mean(detail < 0.99) < 0.7
    assert detail.max() == pytest.approx(1, abs=1e-3)
    assert out.mean(axis=(1, 2)) == pytest.approx(images.mean(axis=(1, 2)), abs=5)


def test_noise_strength(images: np.ndarray) -> None:
    gray = np.full_like(images, 128)
    deviation = augmented(replace(NOTHING, noise=0.5, noise_sigma=20), gray).std(axis=(1, 2))
    assert 0.3 < np.mean(deviation > 0) < 0.7
    assert 10 < deviation.max() < 21
    assert augmented(replace(NOTHING, noise=1), gray).mean() == pytest.approx(128, abs=0.5)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0)])
def test_images_and_targets_are_mixed_alike(mixup: float, cutmix: float) -> None:
    """Images that are all of one value each, so that every pixel tells how much of which image it has."""
    values = np.arange(0, 160, 10, dtype=np.float32)
    images = np.repeat(values, 48 * 48).reshape(16, 48, 48)
    targets = np.eye(16, dtype=np.float32)
    for seed in range(20):
        mixed, shares = images.copy(), targets.copy()
        mix(mixed, [shares], np.random.default_rng(seed), mixup, cutmix)
        assert shares.sum(axis=1) == pytest.approx(1, abs=1e-5)
        assert mixed.mean(axis=(1, 2)) == pytest.approx(shares @ values, abs=0.01)
        if cutmix:
            assert set(np.unique(mixed)) <= set(values)


def test_no_mixing_by_default(images: np.ndarray) -> None:
    mixed = images.astype(np.float32)
    mix(mixed, [], np.random.default_rng(0))
    assert np.array_equal(mixed, images)
