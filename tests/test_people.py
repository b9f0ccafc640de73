"""The people of a video and the memory that counting them takes."""

import numpy as np
import pytest

from deepfer import LABELS, Face
from deepfer.people import PeopleCounter

BOX = (10, 10, 50, 50)


def face(number: int, emotion: str = "happy") -> Face:
    chances = {label: 0.7 if label == emotion else 0.05 for label in LABELS}
    return Face(BOX, 0.9, (), chances, number)


def test_faces_that_come_and_go_take_little_memory() -> None:
    people = PeopleCounter()
    most = 0
    for frame in range(600):  # a minute of 20 new faces every 0.1 s, beside one who stays
        faces = [face(1), *(face(2 + 20 * frame + i) for i in range(20))]
        people.add(frame / 10, faces, (frame + 1) / 10)
        most = max(most, len(people))
    assert most < 400
    (stays,), warning = people.summary(60.0)
    assert (stays.track_id, stays.first_s, stays.last_s) == (1, 0.0, 60.0)
    assert stays.seen_s == pytest.approx(60)
    assert stays.timeline.shape == (300, 7)
    assert warning is None


def test_the_people_visible_for_longest_are_kept() -> None:
    people = PeopleCounter(limit=5)
    most = 0
    for number in range(1, 101):  # each alone, for 1 + number / 10 seconds
        start_s, tenths = 20.0 * number, 10 + number
        for i in range(tenths):
            people.add(start_s + i / 10, [face(number)], start_s + (i + 1) / 10)
            most = max(most, len(people))
    assert most <= 12
    shown, warning = people.summary(2_100.0)
    assert [person.track_id for person in shown] == [96, 97, 98, 99, 100]
    assert warning == "only the 5 faces that are on screen longest are listed"


def test_a_person_who_soon_returns_is_counted_once() -> None:
    people = PeopleCounter()
    for time_s in (0.0, 0.1, 0.2, 1.2, 1.3, 1.4):  # away for 0.9 s
        people.add(time_s, [face(1, "sad" if time_s > 1 else "happy")], time_s + 0.1)
    people.add(5.0, [], 5.1)
    (person,), _ = people.summary(5.1)
    assert person.seconds == pytest.approx({label: 0.3 if label in ("happy", "sad") else 0 for label in LABELS})
    assert (person.first_s, person.last_s) == pytest.approx((0, 1.5))
    assert np.isnan(person.timeline[3:5, 0]).all()  # from 0.6 to 1 s


def steady(first: tuple[str, float], second: tuple[str, float]) -> dict[str, float]:
    rest = (1 - first[1] - second[1]) / (len(LABELS) - 2)
    return dict.fromkeys(LABELS, rest) | dict([first, second])


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        ([(("happy", 0.8), ("neutral", 0.1))], "mostly happy (100%)"),
        ([(("happy", 0.45), ("neutral", 0.2))], "unclear: happy or neutral? (45% and 20% on average)"),
        (
            [(("happy", 0.9), ("sad", 0.05)), (("sad", 0.86), ("happy", 0.1))],
            "unclear: happy or sad? (50% and 46% on average)",
        ),
        ([(("happy", 0.9), ("sad", 0.05))] * 3 + [(("sad", 0.9), ("happy", 0.05))], "mostly happy (75%)"),
        # Neutral for longest, but happy on average.
        (
            [(("neutral", 0.5), ("happy", 0.45))] * 3 + [(("happy", 0.98), ("sad", 0.01))] * 2,
            "unclear: happy or neutral? (66% and 30% on average)",
        ),
    ],
)
def test_a_person_without_a_main_emotion_is_unclear(shown: list, line: str) -> None:
    people = PeopleCounter()
    for i, probabilities in enumerate(shown):
        people.add(float(i), [Face(BOX, 0.9, (), steady(*probabilities), 1)], i + 1.0)
    (person,), _ = people.summary(float(len(shown)))
    assert person.line() == f"#1 seen {len(shown)}.0 s, {line}"
    assert person.to_dict()["unclear"] == person.unclear == line.startswith("unclear")


def test_a_short_video_lists_people_seen_for_half_of_it() -> None:
    people = PeopleCounter()
    people.add(0.0, [face(1), face(2)], 0.1)
    people.add(0.1, [face(1)], 0.3)
    shown, _ = people.summary(0.3)
    assert [person.track_id for person in shown] == [1]
