import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from deepfer.workers import Killed, in_order


def sleeper() -> Callable[[float], float]:
    def sleep(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    return sleep


def dying(folder: Path, deaths: int) -> Callable[[int], int]:
    """Of every ten tasks, the first kills its worker, so many times."""

    def do(task: int) -> int:
        for number in range(deaths):
            if task % 10 == 0 and not (mark := folder / f"{task}.{number}").exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return -task

    return do


def raising() -> Callable[[int], float]:
    return lambda task: 1 / task


def leaving() -> Callable[[int], None]:
    return os._exit


def test_results_come_in_the_order_of_the_tasks() -> None:
    waits = [0.3, 0.0, 0.0, 0.1, 0.0]
    assert list(in_order(2, sleeper, waits)) == waits
    assert list(in_order(2, sleeper, [])) == []


def test_a_killed_worker_costs_nothing_but_time(tmp_path: Path) -> None:
    assert list(in_order(2, partial(dying, tmp_path, 1), range(12))) == [-task for task in range(12)]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_task_that_kills_whoever_has_it_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    answers = list(in_order(2, partial(dying, tmp_path, 9), range(3)))
    assert answers == [Killed("Killed"), -1, -2]


def test_what_a_task_raises_is_raised_here_with_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        list(in_order(2, raising, [4, 2, 0, 1]))
    assert "return lambda task: 1 / task" in "".join(caught.value.__notes__)


def test_a_worker_that_leaves_is_a_bug() -> None:
    with pytest.raises(RuntimeError, match="by itself, with status 3"):
        list(in_order(2, leaving, [3, 3]))


def test_workers_go_when_nobody_reads_on() -> None:
    with closing(in_order(2, sleeper, [0.0] * 1000)) as answers:
        assert next(answers) == 0.0
        assert len(multiprocessing.active_children()) == 2
    assert not multiprocessing.active_children()
