"""Timeline: a person's emotions over a video, as areas and strip parts that `video_people.html` draws."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from deepfer import LABELS
from deepfer.result import Person

MAX_STEPS = 240  # about as many as a timeline has pixels for


class Area(NamedTuple):
    """One emotion's area in the stacked chart; `points` is an SVG polygon in a box of 1000 x 100."""

    label: str
    points: str


class StripPart(NamedTuple):
    """A time in which one emotion is shown; `start` and `width` are shares of the video's duration."""

    label: str
    start: float
    width: float


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
    for _, first, last in _runs(["on screen" if mean is not None else "" for mean in means]):
        areas += _stacked_areas(np.array(means[first:last]), edges[first : last + 1])
    emotions = [LABELS[int(mean.argmax())] if mean is not None else "" for mean in means]
    strip = [StripPart(label, edges[first], edges[last] - edges[first]) for label, first, last in _runs(emotions)]
    return Timeline(areas, strip)


def _mean(rows: np.ndarray) -> np.ndarray | None:
    """The mean of the rows (N, 7) in which the person is on screen; None if there are none."""
    rows = rows[~np.isnan(rows[:, 0])]
    return rows.mean(axis=0) if len(rows) else None


def _runs(values: list[str]) -> Iterator[tuple[str, int, int]]:
    """Each run of equal values as (value, start, end), without those of ""."""
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
