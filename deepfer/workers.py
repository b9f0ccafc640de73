"""Workers: processes that take one task at a time; their results come in the order of the tasks.

One that is killed, as by a fault in a decoder or for want of memory, costs no more than the task that it had.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")

AHEAD = 16  # tasks per worker that may be done before one that takes long: their results wait in memory
TRIES = 2  # workers that a task may cost: the first may have been killed for another reason
GRACE_S = 5  # for a worker to finish what it is at when it is no longer needed


@dataclass(frozen=True)
class Killed:
    """In place of a result: every worker that had this task was killed.

    Attributes:
        signal: By which signal, in words.
    """

    signal: str


def in_order(
    count: int, prepare: Callable[[], Callable[[Task], Answer]], tasks: Sequence[Task]
) -> Generator[Answer | Killed, None, None]:
    """Do tasks in processes; to be closed where it is not read to its end.

    Args:
        count: How many processes.
        prepare: Called once in each of them; what it returns is called with each task. It, tasks and results go from
            process to process, so they can be pickled.
        tasks: What there is to do.

    Yields:
        The result of each task, in the order of the tasks.

    Raises:
        Exception: What `prepare` or a task raised, with the traceback from there as a note.
        RuntimeError: A worker ended by itself.
    """
    waiting = deque(range(len(tasks)))
    deaths: Counter[int] = Counter()
    done: dict[int, Answer | Killed] = {}
    turn = 0  # of the task whose result comes next
    workers: list[_Worker] = []
    try:
        workers += (_Worker(prepare) for _ in range(min(count, len(tasks))))
        while turn < len(tasks):
            for worker in workers:
                if worker.task is None and waiting and waiting[0] < turn + AHEAD * count:
                    worker.give(waiting.popleft(), tasks)
            busy = {worker.pipe: worker for worker in workers if worker.task is not None}
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                task, worker.task = worker.task, None
                assert task is not None
                try:
                    done[task], error = worker.pipe.recv()
                except (EOFError, OSError):  # it is no more
                    workers.remove(worker)
                    killed = worker.cause_of_death()
                    workers.append(_Worker(prepare))
                    deaths[task] += 1
                    if deaths[task] < TRIES:
                        waiting.appendleft(task)
                    else:
                        done[task] = killed
                    continue
                if error is not None:
                    raise error
            while turn in done:
                yield done.pop(turn)
                turn += 1
    finally:
        for worker in workers:
            worker.pipe.close()
        for worker in workers:
            worker.end()


class _Worker:
    """One process, and the number of the task that it has."""

    def __init__(self, prepare: Callable[[], Callable[[Any], Any]]) -> None:
        # Not forked: the threads of OpenCV and LiteRT would be missing in a fork, and its locks held for ever.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.task: int | None = None
        self._process = context.Process(target=_work, args=(theirs, prepare), daemon=True)
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C is answered here, not by the workers
        try:
            self._process.start()
        finally:
            signal.signal(signal.SIGINT, before)
        theirs.close()

    def give(self, number: int, tasks: Sequence[Any]) -> None:
        self.task = number
        with contextlib.suppress(OSError):  # it was killed while it had nothing to do: reading its answer will tell
            self.pipe.send(tasks[number])

    def cause_of_death(self) -> Killed:
        self._process.join()
        code = self._process.exitcode or 0
        if code >= 0:
            raise RuntimeError(f"a worker ended by itself, with status {code}")
        return Killed(signal.strsignal(-code) or f"signal {-code}")

    def end(self) -> None:
        self._process.join(GRACE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _work(pipe: Connection, prepare: Callable[[], Callable[[Any], Any]]) -> None:
    """What a worker does, until whoever gives it tasks has gone."""
    do = None
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            task = pipe.recv()
            answer: tuple[Any, Exception | None]
            try:
                do = do or prepare()
                answer = do(task), None
            except Exception as error:
                error.add_note(f"in a worker:\n{traceback.format_exc()}")
                answer = None, error
            pipe.send(answer)
