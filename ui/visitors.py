"""Visitors: the webcam's visitors, each with a tracker of their own, and whose frame is recognized next."""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from deepfer.tracking import FaceTracker
from ui.limits import MAX_CLIENT_VISITORS, MAX_VISITORS, VISITOR_SILENCE_S, VISITOR_WAIT_S

YIELDS_AFTER_S = 5.0  # when there are too many visitors, one in whose frames no face was found for so long makes room


class Busy(Exception):
    """There is no turn for this frame: a newer one of the same visitor took its place, or too many are waiting."""


@dataclass(eq=False)
class Visitor:
    """One page with its camera on.

    Attributes:
        tracker: Follows the faces in its frames; `lock` is held while it is used.
        client: The address it first came from, or None if that cannot be trusted.
        heard: When its last frame came, by the event loop's clock.
        turn: The number of its last turn; who is waiting with the lowest goes first.
        present: When the last frame came in which a face was found.
        running: How many of its frames are being recognized.
        waiting: Resolved with True when its waiting frame gets a turn, with False when it will not; None where none is
            waiting.
    """

    tracker: FaceTracker
    client: str | None
    heard: float
    turn: int
    present: float = -math.inf
    running: int = 0
    waiting: asyncio.Future[bool] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Visitors:
    """Everyone whose camera is on. To be used in one event loop; nothing here blocks it.

    As many frames are recognized at once as there are `slots`. A visitor may have any number of frames under way, but
    only the newest waits. Next is who has fewest being recognized and, among these, has gone longest without a turn.
    So shares are equal, however many frames a page sends at a time.

    A stranger is remembered once one of their frames was decoded. When the table is full, the visitor whose face was
    not found for longest makes room, unless it was found within `YIELDS_AFTER_S`: a person who is there keeps it.
    """

    def __init__(
        self,
        slots: int,
        limit: int = MAX_VISITORS,
        client_limit: int = MAX_CLIENT_VISITORS,
        silence_s: float = VISITOR_SILENCE_S,
        wait_s: float = VISITOR_WAIT_S,
    ) -> None:
        self._free = slots
        self._limit = limit
        self._client_limit = client_limit
        self._silence_s = silence_s
        self._wait_s = wait_s
        self._visitors: dict[str, Visitor] = {}
        self._checking = asyncio.Semaphore(1)
        self._turns = 0
        self._sweep: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many visitors are remembered."""
        return len(self._visitors)

    async def meet(self, token: str, client: str | None, check: Callable[[], Awaitable[object]]) -> None:
        """Remember a visitor who is new.

        Strangers' frames are checked one at a time, which leaves the other processors to who is known.

        Args:
            token: What tells this visitor from the others.
            client: The address that the frame comes from, or None if that cannot be trusted.
            check: Decodes the frame, or raises an error.

        Raises:
            Busy: There is no room for this visitor, or too many strangers are waiting.
            Exception: What `check` raised.
        """
        if token in self._visitors:
            return
        self._yielding(client)  # without room there is nothing to check
        try:
            async with asyncio.timeout(self._wait_s):
                await self._checking.acquire()
        except TimeoutError:
            raise Busy from None
        try:
            if token not in self._visitors:
                await check()
                self._remember(token, Visitor(FaceTracker(), client, self._now(), self._turns))
        finally:
            self._checking.release()

    @asynccontextmanager
    async def turn(self, token: str) -> AsyncIterator[Visitor]:
        """Wait for a turn at recognizing a frame, and hold it.

        Args:
            token: What tells this visitor from the others; it was met before.

        Yields:
            The visitor.

        Raises:
            Busy: This frame gets no turn, or the visitor has been forgotten by now.
        """
        visitor = self._visitors.get(token)
        if visitor is None:
            raise Busy
        visitor.heard = self._now()
        if self._free:
            self._free -= 1
            self._give(visitor)
        else:
            await self._wait(visitor)
        try:
            yield visitor
        finally:
            self._pass_on(visitor)

    def found_face(self, token: str, visitor: Visitor) -> None:
        """Note that a face was found in the visitor's frame; who was forgotten meanwhile is remembered again."""
        visitor.present = visitor.heard
        if token not in self._visitors:
            with suppress(Busy):
                self._remember(token, visitor)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _remember(self, token: str, visitor: Visitor) -> None:
        yielding = self._yielding(visitor.client)
        if yielding is not None:
            del self._visitors[yielding]
        self._visitors[token] = visitor
        if self._sweep is None:
            loop = asyncio.get_running_loop()
            self._sweep = loop.call_later(self._silence_s / 4, self._drop_silent, loop)

    def _yielding(self, client: str | None) -> str | None:
        """The token of who makes room for another visitor from this client; None if there is room."""
        crowd = [token for token, visitor in self._visitors.items() if client and visitor.client == client]
        if len(crowd) < self._client_limit:
            if len(self._visitors) < self._limit:
                return None
            crowd = list(self._visitors)
        token = min(crowd, key=lambda token: self._visitors[token].present)
        if self._now() - self._visitors[token].present < YIELDS_AFTER_S:
            raise Busy
        return token

    def _drop_silent(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._visitors = {
            token: visitor for token, visitor in self._visitors.items() if now - visitor.heard < self._silence_s
        }
        self._sweep = loop.call_later(self._silence_s / 4, self._drop_silent, loop) if self._visitors else None

    async def _wait(self, visitor: Visitor) -> None:
        """Return once the visitor's frame has been given a slot."""
        loop = asyncio.get_running_loop()
        self._send_away(visitor)
        waiting = visitor.waiting = loop.create_future()
        patience = loop.call_later(self._wait_s, self._send_away, visitor, waiting)
        try:
            admitted = await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.result():
                self._pass_on(visitor)
            raise
        finally:
            patience.cancel()
            if visitor.waiting is waiting:
                visitor.waiting = None
        if not admitted:
            raise Busy

    @staticmethod
    def _send_away(visitor: Visitor, waiting: asyncio.Future[bool] | None = None) -> None:
        """Give up the visitor's waiting frame, or the one given where it is still waiting."""
        waiting = waiting or visitor.waiting
        if waiting and not waiting.done():
            waiting.set_result(False)

    def _give(self, visitor: Visitor) -> None:
        """A slot to the visitor."""
        self._turns += 1
        visitor.turn = self._turns
        visitor.running += 1

    def _pass_on(self, visitor: Visitor) -> None:
        """The visitor's slot, to who is next."""
        visitor.running -= 1
        queue = [
            (other, waiting) for other in self._visitors.values() if (waiting := other.waiting) and not waiting.done()
        ]
        if not queue:
            self._free += 1
            return
        chosen, waiting = min(queue, key=lambda entry: (entry[0].running, entry[0].turn))
        self._give(chosen)
        waiting.set_result(True)


def cores() -> int:
    """How many processors this process may use: those it is bound to, and no more than its container's share."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(count, int(quota) // int(period)))
    except (OSError, ValueError):  # not Linux, an older kind of group, or "max"
        return count
