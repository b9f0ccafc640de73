"""A process pool that yields results in the order of the tasks and survives the death of a worker.

If a worker is killed, by a crash in a decoder or for lack of memory, only the task it had is affected.
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

AHEAD = 16  # tasks per worker that may be done while a slow one is not: their results wait in memory
TRIES = 2  # workers that a task may lose: the first may have been killed for another reason
GRACE_S = 5  # seconds for a worker to finish its task when it is no longer needed


@dataclass(frozen=True)
class WorkerKilled:
    """The result of a task whose workers were all killed.

    Attributes:
        signal: The signal's description.
    """

    signal: str


def process_map(
    count: int, prepare: Callable[[], Callable[[Task], Answer]], tasks: Sequence[Task]
) -> Generator[Answer | WorkerKilled, None, None]:
    """Run tasks in processes. Close the generator if you do not exhaust it.

    Args:
        count: The number of processes.
        prepare: Called once in each process; the function that it returns is called with each task. `prepare`, tasks
            and results are pickled.
        tasks: The tasks.

    Yields:
        The result of each task, in order.

    Raises:
        Exception: What `prepare` or a task raised, with the worker's traceback as a note.
        RuntimeError: A worker exited without being killed.
    """
    waiting = deque(range(len(tasks)))
    deaths: Counter[int] = Counter()
    done: dict[int, Answer | WorkerKilled] = {}
    next_up = 0  # the task whose result is yielded next
    workers: list[_Worker] = []
    try:
        workers += (_Worker(prepare) for _ in range(min(count, len(tasks))))
        while next_up < len(tasks):
            for worker in workers:
                if worker.task is None and waiting and waiting[0] < next_up + AHEAD * count:
                    worker.start(waiting.popleft(), tasks)
            busy = {worker.pipe: worker for worker in workers if worker.task is not None}
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                task, result = worker.finish()
                if isinstance(result, WorkerKilled):
                    workers[workers.index(worker)] = _Worker(prepare)
                    deaths[task] += 1
                    if deaths[task] < TRIES:
                        waiting.appendleft(task)
                        continue
                done[task] = result
            while next_up in done:
                yield done.pop(next_up)
                next_up += 1
    finally:
        for worker in workers:
            worker.pipe.close()
        for worker in workers:
            worker.end()


class _Worker:
    """A process and the number of its current task."""

    def __init__(self, prepare: Callable[[], Callable[[Any], Any]]) -> None:
        # Not forked: a fork lacks the threads of OpenCV and LiteRT, and their locks may stay held forever.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.task: int | None = None
        self._process = context.Process(target=_work, args=(theirs, prepare), daemon=True)
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C is handled by the parent alone
        try:
            self._process.start()
        finally:
            signal.signal(signal.SIGINT, before)
        theirs.close()

    def start(self, number: int, tasks: Sequence[Any]) -> None:
        self.task = number
        with contextlib.suppress(OSError):  # it was killed while idle, which receiving its result will show
            self.pipe.send(tasks[number])

    def finish(self) -> tuple[int, Any]:
        """The current task's number and its result, which is `WorkerKilled` if the process has died."""
        task, self.task = self.task, None
        assert task is not None
        try:
            result, error = self.pipe.recv()
        except (EOFError, OSError):
            return task, self._cause_of_death()
        if error is not None:
            raise error
        return task, result

    def _cause_of_death(self) -> WorkerKilled:
        self._process.join()
        code = self._process.exitcode or 0
        if code >= 0:
            raise RuntimeError(f"a worker exited with status {code}")
        return WorkerKilled(signal.strsignal(-code) or f"signal {-code}")

    def end(self) -> None:
        self._process.join(GRACE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _work(pipe: Connection, prepare: Callable[[], Callable[[Any], Any]]) -> None:
    """A worker's loop, until the parent closes the pipe or exits."""
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
