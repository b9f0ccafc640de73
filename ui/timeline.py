"""Timeline: a person's emotions over a video, as areas, strip parts and ticks that `video_people.html` draws."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from deepfer import LABELS, Face
from deepfer.result import Person

MAX_STEPS = 240  # about as many as a timeline has pixels for
MAX_TICKS = 6  # their labels fit beside each other on a phone
TICK_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)


Value = TypeVar("Value")


class Area(NamedTuple):
    """One emotion's area in the stacked chart; `points` is an SVG polygon in a box of 1000 x 100."""

    label: str
    points: str


class StripPart(NamedTuple):
    """A time in which one emotion is shown; `start` and `width` are shares of the video's duration."""

    label: str
    start: float
    width: float
    unclear: bool


class Timeline(NamedTuple):
    """The stacked probabilities of one person, and the most probable emotion over time."""

    areas: list[Area]
    strip: list[StripPart]


def build_timeline(person: Person, duration_s: float) -> Timeline:
    """Lay out a person's timeline in a video of `duration_s` seconds."""
    count = len(person.timeline)
    bins = max(1, round(count / MAX_STEPS))  # drawn as one step
    times = [person.timeline_s + i * person.bin_s for i in (*range(0, count, bins), count)]
    edges = [min(1.0, time / duration_s) for time in times]
    means = [_mean(person.timeline[i : i + bins]) for i in range(0, count, bins)]

    areas: list[Area] = []
    for _, first, last in _runs([mean is not None for mean in means]):
        areas += _stacked_areas(np.array(means[first:last]), edges[first : last + 1])
    strip = [
        StripPart(shown[0], edges[first], edges[last] - edges[first], shown[1])
        for shown, first, last in _runs([_shown(mean) for mean in means])
    ]
    return Timeline(areas, strip)


def ticks(duration_s: float) -> list[int]:
    """The whole seconds to mark on a time axis: round numbers, at most `MAX_TICKS`, without the very end."""
    step = next((step for step in TICK_S if duration_s / step <= MAX_TICKS), TICK_S[-1])
    return list(range(0, max(1, math.ceil(duration_s - step / 4)), step))


def _mean(rows: np.ndarray) -> np.ndarray | None:
    """The mean of the rows (N, 7) in which the person is on screen; None if there are none."""
    rows = rows[~np.isnan(rows[:, 0])]
    return rows.mean(axis=0) if len(rows) else None


def _shown(mean: np.ndarray | None) -> tuple[str, bool] | None:
    """The emotion that a step shows, and whether it is unclear; None if the person is not on screen."""
    if mean is None:
        return None
    face = Face((0, 0, 0, 0), probabilities=dict(zip(LABELS, map(float, mean), strict=True)))
    return face.emotion or "", face.unclear


def _runs(values: Sequence[Value | None]) -> Iterator[tuple[Value, int, int]]:
    """Each run of equal values as (value, start, end), without runs of None or False."""
    start = 0
    for value, group in itertools.groupby(values):
        end = start + len(list(group))
        if value:
            yield value, start, end
        start = end


def _stacked_areas(values: np.ndarray, edges: list[float]) -> list[Area]:
    """The seven stacked areas of probabilities (N, 7) between N + 1 edges from 0 to 1."""
    xs = 1000 * np.array(edges)
    tops = np.vstack([np.zeros(len(xs)), np.cumsum(np.vstack([values, values[-1:]]), axis=1).T])  # (8, N + 1)
    areas = []
    for label, low, high in zip(LABELS, tops, tops[1:], strict=False):
        if (high - low).max() >= 0.005:  # less could not be seen
            outline = zip((*xs, *xs[::-1]), (*high, *low[::-1]), strict=True)
            areas.append(Area(label, " ".join(f"{x:.1f},{100 - 100 * y:.1f}" for x, y in outline)))
    return areas
