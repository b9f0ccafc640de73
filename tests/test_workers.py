import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from deepfer.workers import WorkerKilled, process_map


def sleeper() -> Callable[[float], float]:
    def sleep(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    return sleep


def dying(folder: Path, deaths: int) -> Callable[[int], int]:
    """Every tenth task kills its worker `deaths` times."""

    def do(task: int) -> int:
        for number in range(deaths):
            if task % 10 == 0 and not (mark := folder / f"{task}.{number}").exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return -task

    return do


def raising() -> Callable[[int], float]:
    return lambda task: 1 / task


def exiting() -> Callable[[int], None]:
    return os._exit


def test_results_come_in_the_order_of_the_tasks() -> None:
    waits = [0.3, 0.0, 0.0, 0.1, 0.0]
    assert list(process_map(2, sleeper, waits)) == waits
    assert list(process_map(2, sleeper, [])) == []


def test_a_killed_worker_costs_nothing_but_time(tmp_path: Path) -> None:
    assert list(process_map(2, partial(dying, tmp_path, 1), range(12))) == [-task for task in range(12)]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_task_that_kills_its_workers_does_not_stop_the_rest(tmp_path: Path) -> None:
    answers = list(process_map(2, partial(dying, tmp_path, 9), range(3)))
    assert answers == [WorkerKilled("Killed"), -1, -2]


def test_an_exception_of_a_task_is_raised_with_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        list(process_map(2, raising, [4, 2, 0, 1]))
    assert "return lambda task: 1 / task" in "".join(caught.value.__notes__)


def test_a_worker_that_exits_is_a_bug() -> None:
    with pytest.raises(RuntimeError, match="a worker exited with status 3"):
        list(process_map(2, exiting, [3, 3]))


def test_closing_the_generator_ends_the_workers() -> None:
    with closing(process_map(2, sleeper, [0.0] * 1000)) as answers:
        assert next(answers) == 0.0
        assert len(multiprocessing.active_children()) == 2
    assert not multiprocessing.active_children()
