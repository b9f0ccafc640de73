"""A process pool that yields results in the order of the tasks and survives the death of a worker.

If a worker is killed, by a crash in a decoder or for lack of memory, only its current task is affected.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import queue
import signal
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")

AHEAD = 16  # default of `WorkerPool`
QUEUED = 2  # tasks that a worker has: the second one waits in it, so that the worker never waits for the parent
TRIES = 2  # workers that a task may lose; the first one may have been killed for another reason
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
    """Run tasks in a new `WorkerPool`. Close the generator if you do not exhaust it."""
    with WorkerPool(count, prepare) as pool:
        yield from pool.map(tasks)


class WorkerPool(Generic[Task, Answer]):
    """Processes that run several maps, one after another. Leaving the context manager ends them."""

    def __init__(self, count: int, prepare: Callable[[], Callable[[Task], Answer]], ahead: int = AHEAD) -> None:
        """Start nothing yet.

        Args:
            count: The number of processes.
            prepare: Called once in each process; the function that it returns is called with each task. `prepare`,
                tasks and results are pickled.
            ahead: Tasks per worker that may be done while a slow one is not: their results wait in memory.
        """
        self._count, self._prepare, self._ahead = count, prepare, ahead
        self._workers: list[_Worker] = []

    def __enter__(self) -> WorkerPool[Task, Answer]:
        return self

    def __exit__(self, *_: object) -> None:
        self._end(self._workers)

    def map(self, tasks: Sequence[Task]) -> Generator[Answer | WorkerKilled, None, None]:
        """Run tasks; one map at a time.

        Args:
            tasks: The tasks, possibly lazy: each is taken from the sequence shortly before a worker is free.

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
        self._end([worker for worker in self._workers if worker.tasks])  # of a map that was not exhausted
        while len(self._workers) < min(self._count, len(tasks)):
            self._workers.append(_Worker(self._prepare))
        while next_up < len(tasks):
            while waiting and waiting[0] < next_up + self._ahead * self._count:
                worker = min(self._workers, key=lambda worker: len(worker.tasks))
                # The last tasks are for workers that are free: none of them waits for a slow one.
                if len(worker.tasks) == (QUEUED if len(waiting) > self._count else 1):
                    break
                number = waiting.popleft()
                worker.start(number, tasks[number])
            busy = {worker.pipe: worker for worker in self._workers if worker.tasks}
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                task, result = worker.finish()
                if isinstance(result, WorkerKilled):
                    self._workers[self._workers.index(worker)] = _Worker(self._prepare)
                    waiting.extendleft(reversed(worker.tasks))
                    deaths[task] += 1
                    if deaths[task] < TRIES:
                        waiting.appendleft(task)
                        continue
                done[task] = result
            while next_up in done:
                yield done.pop(next_up)
                next_up += 1

    def _end(self, workers: list[_Worker]) -> None:
        for worker in workers:
            worker.pipe.close()
        for worker in workers:
            worker.end()
        self._workers = [worker for worker in self._workers if worker not in workers]


class _Worker:
    """A process, and the numbers of its tasks: of the one that it is doing, and of those that wait in it."""

    def __init__(self, prepare: Callable[[], Callable[[Any], Any]]) -> None:
        # Not forked: a fork lacks the threads of OpenCV and LiteRT, and their locks may stay held forever.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.tasks: deque[int] = deque()
        self._process = context.Process(target=_work, args=(theirs, prepare), daemon=True)
        with _interrupts_ignored():  # the process inherits this: only the parent handles Ctrl-C
            self._process.start()
        theirs.close()

    def start(self, number: int, task: Any) -> None:
        self.tasks.append(number)
        with contextlib.suppress(OSError):  # it was killed while idle, which receiving its result will show
            self.pipe.send(task)

    def finish(self) -> tuple[int, Any]:
        """The current task's number and its result, which is `WorkerKilled` if the process has died."""
        task = self.tasks.popleft()
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


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # Python changes handlers only in the main thread
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(pipe: Connection, prepare: Callable[[], Callable[[Any], Any]]) -> None:
    """A worker's loop, until the parent closes the pipe or exits.

    A thread receives the tasks, so that sending one never blocks the parent while the worker sends a result. They are
    unpickled only when their turn comes, so that one that kills the process is known as the one being done.
    """
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    closed = threading.Event()
    threading.Thread(target=_receive, args=(pipe, tasks, closed), daemon=True).start()
    do = None
    with contextlib.suppress(ConnectionError):
        while (task := tasks.get()) and not closed.is_set():
            answer: tuple[Any, Exception | None]
            try:
                do = do or prepare()
                answer = do(pickle.loads(task)), None
            except Exception as error:
                error.add_note(f"in a worker:\n{traceback.format_exc()}")
                answer = None, error
            pipe.send(answer)


def _receive(pipe: Connection, tasks: queue.SimpleQueue[bytes], closed: threading.Event) -> None:
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            tasks.put(pipe.recv_bytes())
    closed.set()
    tasks.put(b"")  # wakes the worker
