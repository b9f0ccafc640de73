"""Timeline: a person's emotions over a video, as areas and strip parts that `video_people.html` draws."""

import itertools
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Timeline:
    """What is drawn for one person.

    Attributes:
        step_s: Seconds that one step of the areas stands for.
        areas: The stacked probabilities, one set of areas for each time that the person is on screen.
        strip: The most probable emotion over time.
    """

    step_s: float
    areas: list[Area]
    strip: list[StripPart]


def build_timeline(person: Person, duration_s: float) -> Timeline:
    """Lay out a person's timeline.

    Args:
        person: The person.
        duration_s: The video's duration in seconds.
    """
    count = len(person.timeline)
    bins = max(1, round(count / MAX_STEPS))  # drawn as one step
    times = [person.timeline_s + i * person.bin_s for i in (*range(0, count, bins), count)]
    edges = [min(1.0, time / duration_s) for time in times]
    means = [_mean(person.timeline[i : i + bins]) for i in range(0, count, bins)]

    areas: list[Area] = []
    strip: list[StripPart] = []
    for first, last in _runs([mean is not None for mean in means]):
        areas += _stacked_areas(np.array(means[first:last]), edges[first : last + 1])
    emotions = [None if mean is None else LABELS[int(mean.argmax())] for mean in means]
    for first, last in _runs(emotions):
        strip.append(StripPart(str(emotions[first]), edges[first], edges[last] - edges[first]))
    return Timeline(person.bin_s * bins, areas, strip)


def _mean(rows: np.ndarray) -> np.ndarray | None:
    """The mean of the rows (N, 7) in which the person is on screen; None if there are none."""
    rows = rows[~np.isnan(rows[:, 0])]
    return rows.mean(axis=0) if len(rows) else None


def _runs(values: list[bool] | list[str | None]) -> list[tuple[int, int]]:
    """The half-open ranges of equal values, without those of False and None."""
    runs, start = [], 0
    for value, group in itertools.groupby(values):
        end = start + len(list(group))
        if value:
            runs.append((start, end))
        start = end
    return runs


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
