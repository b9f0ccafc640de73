import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from waiting import within

from deepfer.workers import WorkerKilled, WorkerPool, process_map


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


def naming() -> Callable[[int], int]:
    return lambda _task: os.getpid()


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


def test_a_pool_keeps_its_workers_for_several_maps() -> None:
    with WorkerPool(2, naming) as pool:
        first, again = set(pool.map(range(8))), set(pool.map(range(8)))
        assert len(first | again) <= 2
        next(pool.map([0] * 99))  # abandoned, with a task still in each worker
        assert len(list(pool.map(range(3)))) == 3
    assert not multiprocessing.active_children()


def test_a_pool_works_in_a_thread() -> None:
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.extend(process_map(1, sleeper, [0.0])))
    thread.start()
    thread.join()
    assert answers == [0.0]


def measuring() -> Callable[[bytes], bytes]:
    return lambda task: task * 2


def test_tasks_and_results_larger_than_a_pipe_do_not_block() -> None:
    tasks = [bytes([number]) * 3_000_000 for number in range(12)]
    assert list(process_map(2, measuring, tasks)) == [task * 2 for task in tasks]


def test_a_task_behind_one_that_kills_its_worker_is_done(tmp_path: Path) -> None:
    answers = list(
        process_map(1, partial(dying, tmp_path, 9), range(12))
    )  # 0 and 10 kill, and another waits behind each
    assert answers == [WorkerKilled("Killed") if task % 10 == 0 else -task for task in range(12)]


def meeting(mark: Path) -> Callable[[int], bool]:
    """The first task waits until the last one is done."""

    def do(task: int) -> bool:
        if task == 2:
            mark.touch()
        return within(60, mark.exists) if task == 0 else True

    return do


def test_the_last_tasks_do_not_wait_behind_a_slow_one(tmp_path: Path) -> None:
    assert list(process_map(2, partial(meeting, tmp_path / "mark"), range(3))) == [True] * 3


class Unreadable(Sequence[int]):
    """A lazy sequence whose second task cannot be read."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> int:  # type: ignore[override]
        if number:
            raise OSError("the disk has gone")
        return number


def test_an_error_of_a_lazy_sequence_is_raised() -> None:
    with pytest.raises(OSError, match="the disk has gone"):
        list(process_map(2, sleeper, Unreadable()))
