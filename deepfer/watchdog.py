"""StallWatchdog: gives up waiting for a thread that shows no sign of life."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

Answer = TypeVar("Answer")


class Stalled(Exception):
    """Nothing happened for too long."""


class StallWatchdog:
    """Runs a function in a thread and abandons it when it stalls.

    The function calls `tick` as a sign of life, from any thread.

    Attributes:
        patience_s: The longest time without a sign of life, in seconds.
    """

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self._last = time.monotonic()
        self._abandoned = False

    def tick(self) -> None:
        """Report a sign of life.

        Raises:
            Stalled: It comes too late, because the function has been abandoned.
        """
        if self._abandoned:
            raise Stalled
        self._last = time.monotonic()

    def run(self, function: Callable[[], Answer], idle_s: Callable[[], float], name: str) -> Answer:
        """The result of `function`.

        Args:
            function: What to run.
            idle_s: The seconds since any other sign of life; called only if there was no `tick`.
            name: The thread's name.

        Raises:
            Stalled: The function has stalled. Its thread goes on until it ends or calls `tick`.
            Exception: What `function` raised.
        """
        answer = Future[Answer]()

        def run() -> None:
            try:
                answer.set_result(function())
            except BaseException as error:
                answer.set_exception(error)

        threading.Thread(target=run, name=name, daemon=True).start()
        try:
            while not answer.done():
                left_s = self._last + self.patience_s - time.monotonic()
                if left_s <= 0:
                    left_s = self.patience_s - idle_s()
                if left_s <= 0:
                    raise Stalled
                wait([answer], timeout=left_s)
        finally:
            self._abandoned = True
        return answer.result()
