"""Properties of any box, view, sequence of faces and logits, for which hypothesis searches counterexamples.

DEEPFER_EXAMPLES sets how many of each; which ones, does not change from run to run.
"""

import os

import cv2
import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deepfer import LABELS, EmotionClassifier, Face, FaceTracker
from deepfer.alignment import CropGeometry
from deepfer.checkpoint import resolve
from deepfer.classifier import softmax
from deepfer.face import area, clip_box, intersection, iou
from deepfer.warp import similarity, warp

settings.register_profile(
    "deepfer",
    max_examples=int(os.environ.get("DEEPFER_EXAMPLES", "50")),
    deadline=None,
    derandomize=True,
    database=None,
)
settings.load_profile("deepfer")

whole = st.integers(-10_000, 10_000)
boxes = st.tuples(whole, whole, whole, whole)
reals = st.floats(-1e4, 1e4)
sides = st.integers(1, 80)
scales = st.floats(0.05, 20)
turns = st.floats(-3.2, 3.2)
CLASSIFIER = EmotionClassifier(resolve(None))
GEOMETRY = CLASSIFIER.checkpoint.geometry


# --- boxes ---


@given(boxes, boxes)
def test_iou_is_a_share_and_the_same_both_ways(a: tuple, b: tuple) -> None:
    assert 0 <= intersection(a, b) == intersection(b, a) <= min(area(a), area(b))
    assert 0 <= iou(a, b) == iou(b, a) <= 1
    assert iou(a, a) == (area(a) > 0)


@given(boxes, boxes, whole, whole)
def test_iou_does_not_change_where_both_boxes_move(a: tuple, b: tuple, dx: int, dy: int) -> None:
    def moved(box: tuple) -> tuple:
        return box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy

    assert iou(moved(a), moved(b)) == iou(a, b)


@given(st.tuples(reals, reals, reals, reals), sides, sides)
def test_clipping_a_box_is_idempotent(box: tuple, width: int, height: int) -> None:
    clipped = clip_box(box, width, height)
    x1, y1, x2, y2 = clipped
    assert 0 <= x1 <= width
    assert 0 <= x2 <= width
    assert 0 <= y1 <= height
    assert 0 <= y2 <= height
    assert clip_box(clipped, width, height) == clipped
    assert area(clipped) == intersection(tuple(map(round, box)), (0, 0, width, height))


# --- views ---


@given(scales, turns, reals, reals, st.lists(st.tuples(reals, reals), min_size=1, max_size=5))
def test_a_similarity_moves_points_as_its_formula_says(
    scale: float, turn: float, x: float, y: float, points: list
) -> None:
    a, b = scale * np.exp(1j * turn), complex(x, y)
    moved = similarity(a, b) @ np.array([[px - 0.5, py - 0.5, 1] for px, py in points]).T  # between pixel centres
    for (px, py), (mx, my) in zip(points, moved.T, strict=True):
        assert abs(complex(mx + 0.5, my + 0.5) - (a * complex(px, py) + b)) < 1e-6 * (1 + abs(a) * 2e4)


@given(sides, sides, sides, sides, scales, turns, st.floats(-300, 300), st.floats(-300, 300), st.booleans())
def test_a_view_has_its_size_and_of_one_colour_that_colour(
    width: int, height: int, to_width: int, to_height: int, scale: float, turn: float, x: float, y: float, sharp: bool
) -> None:
    image = np.full((height, width, 3), (10, 200, 90), np.uint8)
    view = warp(image, similarity(complex(scale * np.exp(1j * turn)), complex(x, y)), (to_width, to_height), sharp)
    assert view.shape == (to_height, to_width, 3)
    assert view.dtype == np.uint8
    assert np.abs(view.astype(int) - (10, 200, 90)).max() <= 1


@given(sides, sides)
def test_the_identity_leaves_the_image_unchanged(width: int, height: int) -> None:
    image = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    assert np.array_equal(warp(image, similarity(1 + 0j, 0j), (width, height)), image)


@given(scales, turns, reals, reals)
def test_fitting_landmarks_are_mapped_to_the_template(scale: float, turn: float, x: float, y: float) -> None:
    a, size = 48 * scale * np.exp(1j * turn), 48
    points = [a * complex(*point) + complex(x, y) for point in GEOMETRY.template]
    face = Face((0, 0, 10, 10), 0.9, tuple((z.real, z.imag) for z in points))
    spread = np.abs(np.array(points) - np.mean(points)).max()
    assume(spread > 1.01)  # smaller ones are taken by their box
    matrix = GEOMETRY.transform(face, size)
    for z, (u, v) in zip(points, GEOMETRY.template, strict=True):
        found = matrix @ (z.real - 0.5, z.imag - 0.5, 1) + 0.5
        assert np.abs(found - np.array([u, v]) * size).max() < 1e-3


@given(st.integers(-500, 500), st.integers(-500, 500), st.integers(1, 900), st.integers(1, 900), sides)
def test_a_box_without_landmarks_is_mapped_to_the_center(x: int, y: int, width: int, height: int, size: int) -> None:
    matrix = GEOMETRY.transform(Face((x, y, x + width, y + height)), size)
    found = matrix @ (x + width / 2 - 0.5, y + height / 2 - 0.5, 1) + 0.5
    assert np.abs(found - np.array(GEOMETRY.center) * size).max() < 1e-6
    assert np.isclose(np.hypot(*matrix[:, 0]) * max(width, height) * GEOMETRY.margin, size)


@given(st.lists(st.tuples(reals, reals), min_size=5, max_size=5), boxes, sides, sides)
def test_any_face_gives_a_crop(points: list, corners: tuple, width: int, height: int) -> None:
    (left, right), (top, bottom) = sorted(corners[::2]), sorted(corners[1::2])
    box = left, top, right + 1, bottom + 1
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    for face in (Face(box, 0.9, tuple(points)), Face(box)):
        assert GEOMETRY.crop(image, face, 48).shape == (48, 48)
        assert GEOMETRY.crop(image, face, 48, 3).shape == (48, 48, 3)


def test_a_geometry_of_another_scale_gives_the_same_crop() -> None:
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8), (90, 90))
    face = Face((20, 20, 60, 60))
    doubled = CropGeometry(GEOMETRY.template, GEOMETRY.margin * 2, GEOMETRY.center)
    small, large = doubled.crop(image, face, 48), GEOMETRY.crop(image, Face((0, 0, 80, 80)), 48)
    assert np.abs(small.astype(int) - large).max() <= 1


# --- faces over time ---


def distribution(weights: list[float]) -> dict[str, float]:
    return dict(zip(LABELS, (weight / sum(weights) for weight in weights), strict=True))


shares = st.lists(st.floats(0.01, 1), min_size=7, max_size=7).map(distribution)
seen = st.builds(
    lambda x, y, side, probabilities: Face((x, y, x + side, y + side), 0.9, (), probabilities),
    st.integers(-50, 700), st.integers(-50, 500), st.integers(5, 200), shares,
)  # fmt: skip
films = st.lists(st.tuples(st.lists(seen, max_size=6), st.floats(-0.1, 1.5)), min_size=1, max_size=12)


@given(films)
def test_numbers_are_unique_and_probabilities_sum_to_one(film: list) -> None:
    tracker, time_s, last_seen = FaceTracker(), 0.0, dict[int, float]()
    newest = -np.inf
    for faces, step_s in film:
        time_s += step_s
        found = tracker.update(faces, time_s)
        assert (found is None) == (time_s <= newest)
        if found is None:
            continue
        newest = time_s
        numbers = [face.track_id for face in found]
        assert len(set(numbers)) == len(numbers) == len(faces)
        earlier = max(last_seen, default=0)
        for face in found:
            values = list(face.probabilities.values())
            assert tuple(face.probabilities) == LABELS
            assert min(values) >= 0
            assert abs(sum(values) - 1) < 1e-9
            assert values.count(max(values)) == 1
            if face.track_id in last_seen:  # it is never given to another later
                assert time_s - last_seen[face.track_id] <= tracker.max_age_s + 1e-6
            else:
                assert face.track_id > earlier
        last_seen |= dict.fromkeys(numbers, time_s)
        assert [area(face.box) for face in found] == sorted((area(face.box) for face in found), reverse=True)


@given(seen, st.lists(st.floats(0.01, 0.9), min_size=1, max_size=10), st.lists(shares, min_size=10, max_size=10))
def test_a_face_that_stays_keeps_its_number_and_box(face: Face, steps_s: list[float], readings: list) -> None:
    tracker, time_s = FaceTracker(), 0.0
    for step_s, reading in zip(steps_s, readings, strict=False):
        time_s += step_s
        (found,) = tracker.update([Face(face.box, 0.9, (), reading)], time_s)
        assert found.track_id == 1
        assert found.box == face.box
        most = max(max(one.values()) for one in readings)
        assert max(found.probabilities.values()) <= most + 1e-3  # smoothed: never surer than the surest reading


# --- probabilities ---

logits = st.lists(st.lists(st.floats(-60, 60), min_size=7, max_size=7), min_size=1, max_size=4)


@given(logits, st.floats(0.05, 20), st.floats(-1e3, 1e3))
def test_probabilities_sum_to_one_in_the_order_of_the_logits(
    rows: list[list[float]], temperature: float, shift: float
) -> None:
    values = np.array(rows, np.float32)
    found = softmax(values / temperature)
    assert found.dtype == np.float32
    assert np.abs(found.sum(axis=1) - 1).max() < 1e-5
    assert found.min() >= 0
    for row, probabilities in zip(values, found, strict=True):
        order = np.argsort(row)
        assert (np.diff(probabilities[order]) >= -1e-6).all()
    assert np.abs(softmax((values.astype(np.float64) + shift) / temperature) - found).max() < 1e-3


@given(logits, st.floats(0.05, 20), st.floats(1, 20))
def test_a_higher_temperature_lowers_the_confidence(rows: list[list[float]], temperature: float, times: float) -> None:
    values = np.array(rows, np.float64)
    warm, cold = softmax(values / (temperature * times)), softmax(values / temperature)
    assert (warm.max(axis=1) <= cold.max(axis=1) + 1e-6).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), sides, sides, st.booleans())
def test_a_crop_is_classified_alike_in_any_batch(seed: int, count: int, width: int, height: int, colour: bool) -> None:
    shape = (count, height, width, 3) if colour else (count, height, width)
    crops = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    together = CLASSIFIER.predict(crops)
    assert together.shape == (count, 7)
    assert np.abs(together.sum(axis=1) - 1).max() < 1e-5
    assert np.array_equal(together, np.concatenate([CLASSIFIER.predict(crop[None]) for crop in crops]))
    (warm,) = softmax(CLASSIFIER.logits(crops[:1])["served"] / CLASSIFIER.checkpoint.temperature["logits"])
    assert np.array_equal(warm, together[0])
