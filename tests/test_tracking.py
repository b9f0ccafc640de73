"""Tracking and smoothing on synthetic sequences with known truth."""

import itertools
import math
import time
from collections.abc import Callable

import numpy as np
import pytest

from deepfer import LABELS
from deepfer.assignment import assign
from deepfer.face import Face, iou
from deepfer.limits import MAX_FACES
from deepfer.tracking import FaceTracker

Where = tuple[float, float]


def mostly(label: str, lead: float = 0.8) -> dict[str, float]:
    """Probabilities in which `label` leads by `lead` over "neutral" (or "happy"), the rest at 0.01."""
    second = "happy" if label == "neutral" else "neutral"
    return dict.fromkeys(LABELS, 0.01) | {label: (0.95 + lead) / 2, second: (0.95 - lead) / 2}


def face(x: float, y: float = 200, side: float = 100, probabilities: dict[str, float] | None = None) -> Face:
    """A face around a center."""
    box = round(x - side / 2), round(y - side / 2), round(x + side / 2), round(y + side / 2)
    return Face(box, 0.9, (), mostly("happy") if probabilities is None else probabilities)


def detected(faces: list[Face]) -> list[Face]:
    """Simulate a detector: of overlapping faces, it reports only the first, which is in front."""
    kept: list[Face] = []
    for one in faces:
        if all(iou(one.box, other.box) < 0.3 for other in kept):
            kept.append(one)
    return kept


def follow(
    people: list[Callable[[float], Where | None]],
    fps: float,
    length_s: float,
    *,
    jitter: float = 0.0,
    front: str = "first",
) -> list[dict[int, int]]:
    """Track people along their paths. Returns for each frame the track id of each person.

    Args:
        people: Seconds -> the middle of the face, or None while it is not there.
        jitter: Standard deviation of the boxes' middles, pixels.
        front: Of two that overlap the detector shows the "first" person, or "either" by chance.
    """
    chance = np.random.default_rng(1)
    tracker = FaceTracker()
    numbers = []
    for i in range(round(length_s * fps)):
        spots = {k: spot for k, person in enumerate(people) if (spot := person(i / fps)) is not None}
        made = {k: face(*(np.array(spot) + chance.normal(size=2) * jitter)) for k, spot in spots.items()}
        order = chance.permutation(list(made)) if front == "either" else list(made)
        seen = detected([made[k] for k in order])
        found = tracker.update(seen, i / fps)
        assert found is not None
        # Each box that came out belongs to the person whose detected box lies nearest.
        numbers.append(
            {k: min(found, key=lambda f: math.dist(f.box, one.box)).track_id for k, one in made.items() if one in seen}
        )
    return numbers


def switches(numbers: list[dict[int, int]]) -> int:
    """How often a person's number changed."""
    before: dict[int, int] = {}
    count = 0
    for frame in numbers:
        count += sum(before.get(person, number) != number for person, number in frame.items())
        before |= frame
    return count


@pytest.mark.parametrize("fps", [10, 15, 30])
@pytest.mark.parametrize("front", ["first", "either"])
@pytest.mark.parametrize("speed", [100, 250, 500])  # pixels a second, of faces of 100
def test_two_crossing_faces_keep_their_numbers(fps: int, front: str, speed: int) -> None:
    numbers = follow(
        [lambda s: (100 + speed * s, 200), lambda s: (700 - speed * s, 210)], fps, 600 / speed, jitter=2, front=front
    )
    assert numbers[0] == {0: 1, 1: 2} or numbers[0] == {0: 2, 1: 1}
    assert numbers[-1] == numbers[0]
    assert {number for frame in numbers for number in frame.values()} == {1, 2}


def test_crossing_with_only_some_of_the_frames() -> None:
    """With three frames in flight some results are dropped, so intervals are irregular."""
    people = [lambda s: (100 + 250 * s, 200), lambda s: (700 - 250 * s, 210)]
    chance = np.random.default_rng(3)
    for _ in range(20):
        tracker, first, last = FaceTracker(), None, None
        for i in sorted(chance.choice(60, 36, replace=False)):
            made = [face(*person(i / 25)) for person in people]
            found = tracker.update(
                detected(sorted(made, key=lambda one: -one.box[0])), i / 25
            )  # the right one in front
            assert found is not None
            if len(found) == 2:
                left_to_right = sorted(found, key=lambda f: math.dist(f.box, made[0].box))
                last = [one.track_id for one in left_to_right]
                first = first or last
        assert first == last


def test_three_people_walk_about_without_switches() -> None:
    people = [
        lambda s: (400 + 150 * math.sin(s), 150 + 20 * math.cos(2 * s)),
        lambda s: (420 + 180 * math.cos(0.7 * s), 330),
        lambda s: (400 + 200 * math.sin(0.5 * s + 1), 500),
    ]
    numbers = follow(people, 15, 30, jitter=2)
    assert switches(numbers) == 0
    assert {number for frame in numbers for number in frame.values()} == {1, 2, 3}


@pytest.mark.parametrize(("away_s", "same"), [(0.1, True), (0.5, True), (0.9, True), (1.0, True), (1.2, False)])
@pytest.mark.parametrize("speed", [0, 80, -80])
def test_a_face_that_returns_within_a_second_keeps_its_number(away_s: float, same: bool, speed: int) -> None:
    tracker = FaceTracker()
    for i in range(21):
        tracker.update([face(300 + speed * i / 10)], i / 10)
    (back,) = tracker.update([face(300 + speed * (2 + away_s))], 2 + away_s)
    assert back.track_id == (1 if same else 2)


def test_nearly_equal_times_are_harmless() -> None:
    tracker = FaceTracker()
    for time_s in (-1e300, 0.0, 5e-324, 1e-300, 0.1, 0.2):
        found = tracker.update([face(100 + 10 * bool(time_s), 200)], time_s)
    assert [(one.track_id, one.box) for one in found] == [(2, face(110).box)]
    assert np.isfinite(tracker._tracks[0].velocity).all()


def test_numbers_are_not_reused_until_reset() -> None:
    tracker = FaceTracker()
    given = []
    for i in range(30):
        given += [one.track_id for one in tracker.update([face(200), face(500)], 2.0 * i)]
    assert sorted(given) == list(range(1, 61))
    tracker.reset()
    assert [one.track_id for one in tracker.update([face(200)], 0.0)] == [1]


def test_another_face_far_away_is_another_person() -> None:
    tracker = FaceTracker()
    tracker.update([face(100)], 0.0)
    assert [one.track_id for one in tracker.update([face(600)], 0.1)] == [2]
    assert [one.track_id for one in tracker.update([face(600, side=30)], 0.2)] == [3]  # in the same place, but far off


def test_repeated_and_late_frames_are_ignored() -> None:
    tracker = FaceTracker()
    first = tracker.update([face(100)], 1.0)
    for late_s in (1.0, 0.9, -5.0):
        assert tracker.update([face(400, probabilities=mostly("sad"))], late_s) is None
    (again,) = tracker.update([face(100)], 1.1)
    assert again.track_id == first[0].track_id == 1
    assert again.probabilities == pytest.approx(mostly("happy"))


@pytest.mark.parametrize(
    ("faces", "time_s", "size"),
    [
        ([face(100)], math.nan, None),
        ([face(100)], math.inf, None),
        ([face(i) for i in range(60, 61 + MAX_FACES)], 1.0, None),
        ([face(100)], 1.0, (0, 100)),
        ([Face((5, 5, 5, 9))], 1.0, None),
        ([Face((5, 5, 10**400, 9))], 1.0, None),
        ([Face((math.nan, 5, 9, 9))], 1.0, None),  # type: ignore[arg-type]
        ([face(100, probabilities={"happy": 1.0})], 1.0, None),
        ([face(100, probabilities=mostly("sad") | {"fear": math.nan})], 1.0, None),
        ([face(100, probabilities=mostly("sad") | {"fear": -1})], 1.0, None),
    ],
)
def test_invalid_input_is_refused_and_changes_nothing(faces: list[Face], time_s: float, size: tuple) -> None:
    tracker = FaceTracker()
    tracker.update([face(100)], 0.0)
    with pytest.raises(ValueError, match=r"must be|at most"):
        tracker.update(faces, time_s, size=size)
    assert [one.track_id for one in tracker.update([face(102), face(400)], 0.1)] == [1, 2]


@pytest.mark.parametrize("settings", [{"smooth_s": -1}, {"max_age_s": math.nan}, {"margin": math.inf}])
def test_invalid_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        FaceTracker(**settings)


def test_no_faces_and_no_probabilities() -> None:
    tracker = FaceTracker()
    assert tracker.update([], 0.0) == []
    plain = Face((10, 10, 60, 60))
    assert tracker.update([plain], 0.1)[0].probabilities == {}
    assert tracker.update([face(35, 35, 50)], 0.2)[0].probabilities == pytest.approx(mostly("happy"))
    (kept,) = tracker.update([plain], 0.3)
    assert kept.probabilities == pytest.approx(mostly("happy"))
    assert kept.track_id == 1


def noisy(fps: float, seconds: float, noise: float) -> list[dict[str, float]]:
    """Noisy probabilities of a face between happy and neutral, frame by frame."""
    logits = np.array([{"happy": 1.0, "neutral": 1.0}.get(label, -2.0) for label in LABELS])
    logits = logits + np.random.default_rng(0).normal(size=(round(fps * seconds), 7)) * noise
    rows = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return [dict(zip(LABELS, map(float, row), strict=True)) for row in rows]


def changes(labels: list[str]) -> int:
    return sum(a != b for a, b in itertools.pairwise(labels))


@pytest.mark.parametrize(("fps", "most_a_minute"), [(10, 40), (15, 35), (30, 20)])
def test_labels_do_not_flicker(fps: int, most_a_minute: int) -> None:
    """At a tie the raw label changes in nearly every other frame."""
    tracker = FaceTracker()
    measurements = noisy(fps, 60, noise=0.5)
    shown = [tracker.update([face(200, probabilities=one)], i / fps)[0] for i, one in enumerate(measurements)]
    raw = changes([face(0, probabilities=one).emotion for one in measurements])
    assert changes([one.emotion for one in shown]) <= most_a_minute < raw / 5
    tracker = FaceTracker()  # where one leads by a tenth it stays, but for once or twice
    for one in measurements:
        one["happy"], one["neutral"] = one["happy"] + 0.1, max(0, one["neutral"] - 0.1)
    leaning = [tracker.update([face(200, probabilities=one)], i / fps)[0].emotion for i, one in enumerate(measurements)]
    assert changes(leaning) < most_a_minute
    assert leaning.count("happy") > 0.8 * len(leaning)


def test_the_shown_emotion_is_the_most_probable() -> None:
    tracker = FaceTracker(smooth_s=0.0)  # the average is the measurement
    for i, measurement in enumerate(noisy(30, 20, noise=1.0)):
        (shown,) = tracker.update([face(200, probabilities=measurement)], i / 30)
        values = shown.probabilities
        assert tuple(values) == LABELS
        assert sum(values.values()) == pytest.approx(1)
        assert min(values.values()) >= 0
        assert [label for label in LABELS if values[label] == max(values.values())] == [shown.emotion]
        assert max(abs(values[label] - measurement[label]) for label in LABELS) < 0.2


@pytest.mark.parametrize("fps", [10, 15, 30])
@pytest.mark.parametrize("lead", [0.9, 0.6, 0.4])
def test_a_real_change_shows_within_400_ms(fps: int, lead: float) -> None:
    tracker = FaceTracker()
    for i in range(3 * fps):
        tracker.update([face(200, probabilities=mostly("happy", lead))], i / fps)
    changed_s = (3 * fps - 1) / fps  # at the worst moment: just after a frame
    for i in range(3 * fps, 6 * fps):
        (shown,) = tracker.update([face(200, probabilities=mostly("sad", lead))], i / fps)
        if shown.emotion == "sad":
            assert i / fps - changed_s <= 0.4 + 1e-9
            break
    else:
        pytest.fail("it never shows")


def test_a_small_lead_shows_eventually() -> None:
    tracker = FaceTracker()
    tracker.update([face(200, probabilities=mostly("happy", 0.1))], 0.0)
    shown = [tracker.update([face(200, probabilities=mostly("neutral", 0.1))], i / 10)[0].emotion for i in range(1, 31)]
    assert shown[5] == "happy"
    assert shown[-1] == "neutral"
    assert changes(shown) == 1


def test_a_single_outlier_does_not_show() -> None:
    for fps in (10, 15, 30):
        tracker = FaceTracker()
        for i in range(4 * fps):
            odd = i == 2 * fps
            (shown,) = tracker.update([face(200, probabilities=mostly("fear" if odd else "happy"))], i / fps)
            assert shown.emotion == "happy"


def test_smoothing_depends_on_time_not_on_frames() -> None:
    after = []
    for fps in (10, 20, 50):
        tracker = FaceTracker()
        tracker.update([face(200, probabilities=mostly("happy"))], 0.0)
        for i in range(1, fps // 2 + 1):
            (shown,) = tracker.update([face(200, probabilities=mostly("sad"))], i / fps)
        after.append(shown.probabilities["sad"])
    assert after == pytest.approx([after[0]] * 3, abs=1e-9)


def test_jitter_is_smoothed_without_lag_in_motion() -> None:
    chance = np.random.default_rng(0)
    tracker, shown, raw = FaceTracker(), [], []
    for i in range(300):
        raw.append(face(*(300 + chance.normal(size=2))).box)
        shown.append(tracker.update([Face(raw[-1])], i / 30)[0].box)
    assert np.diff(shown, axis=0).std() < 0.5 * np.diff(raw, axis=0).std()
    tracker = FaceTracker()
    for i in range(60):  # three faces' widths a second
        made = face(100 + 10 * i)
        (moving,) = tracker.update([made], i / 30)
    assert np.abs(np.subtract(moving.box, made.box)).max() <= 2


def test_frames_of_different_sizes() -> None:
    tracker = FaceTracker()
    tracker.update([face(300), face(500)], 0.0, size=(640, 480))
    found = tracker.update([face(150, 100, 50), face(250, 100, 50)], 0.1, size=(320, 240))
    assert sorted((one.track_id, one.box) for one in found) == [(1, (125, 75, 175, 125)), (2, (225, 75, 275, 125))]
    (edge,) = tracker.update([Face((295, 80, 320, 120))], 0.3, size=(320, 240))
    assert 0 <= edge.box[0] < edge.box[2] <= 320


def test_faces_are_sorted_and_keep_landmarks_and_scores() -> None:
    points = tuple((float(i), float(i)) for i in range(5))
    small, large = Face((0, 0, 40, 40), 0.5, points, mostly("sad")), face(300, side=120)
    found = FaceTracker().update([small, large], 0.0)
    assert [one.box for one in found] == [large.box, small.box]
    assert (found[1].detection_score, found[1].landmarks) == (0.5, points)


def test_256_faces_are_tracked_fast_enough() -> None:
    tracker = FaceTracker()
    spots = [(50 + 90 * x, 50 + 90 * y) for x in range(16) for y in range(16)]
    spent = []
    for i in range(6):
        faces = [face(x + 3 * i, y + 2 * i, 80) for x, y in spots]
        start = time.process_time()
        found = tracker.update(faces, i / 10)
        spent.append(time.process_time() - start)
    assert sorted(one.track_id for one in found) == list(range(1, 257))
    assert min(spent[1:]) < 0.2  # about 0.03 on a quiet core
    heap = [face(400 + i % 8, 400 + i // 8) for i in range(256)]  # forged: all in one place
    start = time.process_time()
    for i in range(3):
        tracker.update(heap, 1 + i / 10)
    assert time.process_time() - start < 10


def test_the_number_of_tracks_is_bounded() -> None:
    tracker = FaceTracker()
    for i in range(12):  # faces that are never seen again
        tracker.update([face(1e5 * i + 200 * k) for k in range(256)], i / 1000)
    assert len(tracker._tracks) <= 2 * MAX_FACES


def test_the_assignment_is_optimal() -> None:
    chance = np.random.default_rng(0)
    for rows, columns in [(1, 1), (2, 2), (3, 5), (5, 3), (6, 6)]:
        for _ in range(30):
            fit = chance.random((rows, columns)) * (chance.random((rows, columns)) < 0.7)
            pairs = assign(fit)
            assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
            few, many = (fit, columns) if rows <= columns else (fit.T, rows)
            best = max(sum(few[i, c] for i, c in enumerate(p)) for p in itertools.permutations(range(many), len(few)))
            assert sum(fit[r, c] for r, c in pairs) == pytest.approx(best)
