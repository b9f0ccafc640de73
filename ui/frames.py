"""FrameScheduler: whose webcam frame is recognized next, and a face tracker for each visitor."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from deepfer.tracking import FaceTracker
from ui.limits import MAX_CLIENT_VISITORS, MAX_VISITORS, VISITOR_SILENCE_S, VISITOR_WAIT_S

EVICTABLE_AFTER_S = 5.0  # when the page is full, a visitor without a face for this long makes room for another


class Busy(Exception):
    """The frame is dropped: the same visitor sent a newer one, or too many are waiting."""


@dataclass(eq=False)
class Visitor:
    """One page with its camera on.

    Attributes:
        tracker: Follows the faces in its frames. Hold `lock` while using it.
        address: The client's address at its first frame, or None if that cannot be trusted.
        last_seen: Time of its last frame, by the event loop's clock.
        last_slot: Number of the last slot it was given. Among those waiting, the lowest goes first.
        last_face: Time of its last frame with a face.
        running: How many of its frames are being recognized.
        waiting: Resolves to True when its waiting frame gets a slot and to False when it is dropped; None if no frame
            waits.
    """

    tracker: FaceTracker
    address: str | None
    last_seen: float
    last_slot: int
    last_face: float = -math.inf
    running: int = 0
    waiting: asyncio.Future[bool] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class FrameScheduler:
    """Shares `slots` between all visitors with a camera on. Use it in one event loop, which it never blocks.

    A slot is the right to recognize one frame. A visitor may send any number of frames at once, but only the newest
    waits. The next slot goes to the visitor with the fewest frames running and, among these, to the one that has gone
    longest without. So all get equal shares, however many frames they send.

    A new visitor is remembered after its first frame was decoded. When there is no room, the visitor without a face for
    longest is evicted, but only after `EVICTABLE_AFTER_S`: a person in front of the camera keeps the place.
    """

    def __init__(
        self,
        slots: int,
        limit: int = MAX_VISITORS,
        address_limit: int = MAX_CLIENT_VISITORS,
        silence_s: float = VISITOR_SILENCE_S,
        wait_s: float = VISITOR_WAIT_S,
    ) -> None:
        self._free = slots
        self._limit = limit
        self._address_limit = address_limit
        self._silence_s = silence_s
        self._wait_s = wait_s
        self._visitors: dict[str, Visitor] = {}
        self._checking = asyncio.Semaphore(1)
        self._slots_given = 0
        self._sweep: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """The number of visitors that are remembered."""
        return len(self._visitors)

    async def admit(self, token: str, address: str | None, check: Callable[[], Awaitable[object]]) -> None:
        """Remember a visitor who is new.

        The frames of new visitors are checked one at a time, which leaves the other cores to known visitors.

        Args:
            token: Identifies the visitor.
            address: The client's address, or None if that cannot be trusted.
            check: Decodes the frame, or raises an error.

        Raises:
            Busy: There is no room for this visitor, or too many new ones are waiting.
            Exception: Whatever `check` raises.
        """
        if token in self._visitors:
            return
        self._to_evict(address)  # without room there is nothing to check
        try:
            async with asyncio.timeout(self._wait_s):
                await self._checking.acquire()
        except TimeoutError:
            raise Busy from None
        try:
            if token not in self._visitors:
                await check()
                self._remember(token, Visitor(FaceTracker(), address, self._now(), self._slots_given))
        finally:
            self._checking.release()

    @asynccontextmanager
    async def slot(self, token: str) -> AsyncIterator[Visitor]:
        """Wait for a slot for one frame, and hold it.

        Args:
            token: Identifies a visitor that was admitted before.

        Yields:
            The visitor.

        Raises:
            Busy: The frame is dropped, or the visitor has been evicted meanwhile.
        """
        visitor = self._visitors.get(token)
        if visitor is None:
            raise Busy
        visitor.last_seen = self._now()
        if self._free:
            self._free -= 1
            self._give_slot(visitor)
        else:
            await self._wait(visitor)
        try:
            yield visitor
        finally:
            self._pass_slot_on(visitor)

    def found_face(self, token: str, visitor: Visitor) -> None:
        """Record that the visitor's frame shows a face, and remember the visitor again if it was evicted meanwhile."""
        visitor.last_face = visitor.last_seen
        if token not in self._visitors:
            with suppress(Busy):
                self._remember(token, visitor)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _remember(self, token: str, visitor: Visitor) -> None:
        evicted = self._to_evict(visitor.address)
        if evicted is not None:
            del self._visitors[evicted]
        self._visitors[token] = visitor
        if self._sweep is None:
            loop = asyncio.get_running_loop()
            self._sweep = loop.call_later(self._silence_s / 4, self._drop_silent, loop)

    def _to_evict(self, address: str | None) -> str | None:
        """The token of the visitor to evict for a new one from `address`; None if there is room.

        Raises:
            Busy: There is no room, and nobody to evict.
        """
        tokens = [token for token, visitor in self._visitors.items() if address and visitor.address == address]
        if len(tokens) < self._address_limit:
            if len(self._visitors) < self._limit:
                return None
            tokens = list(self._visitors)
        token = min(tokens, key=lambda token: self._visitors[token].last_face)
        if self._now() - self._visitors[token].last_face < EVICTABLE_AFTER_S:
            raise Busy
        return token

    def _drop_silent(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._visitors = {
            token: visitor for token, visitor in self._visitors.items() if now - visitor.last_seen < self._silence_s
        }
        self._sweep = loop.call_later(self._silence_s / 4, self._drop_silent, loop) if self._visitors else None

    async def _wait(self, visitor: Visitor) -> None:
        """Return once the visitor's frame has a slot."""
        loop = asyncio.get_running_loop()
        self._drop_frame(visitor.waiting)
        waiting = visitor.waiting = loop.create_future()
        timeout = loop.call_later(self._wait_s, self._drop_frame, waiting)
        try:
            has_slot = await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.result():
                self._pass_slot_on(visitor)
            raise
        finally:
            timeout.cancel()
            if visitor.waiting is waiting:
                visitor.waiting = None
        if not has_slot:
            raise Busy

    @staticmethod
    def _drop_frame(waiting: asyncio.Future[bool] | None) -> None:
        if waiting and not waiting.done():
            waiting.set_result(False)

    def _give_slot(self, visitor: Visitor) -> None:
        self._slots_given += 1
        visitor.last_slot = self._slots_given
        visitor.running += 1

    def _pass_slot_on(self, visitor: Visitor) -> None:
        """Give the visitor's slot to the next one who waits."""
        visitor.running -= 1
        queue = [
            (other, waiting) for other in self._visitors.values() if (waiting := other.waiting) and not waiting.done()
        ]
        if not queue:
            self._free += 1
            return
        chosen, waiting = min(queue, key=lambda entry: (entry[0].running, entry[0].last_slot))
        self._give_slot(chosen)
        waiting.set_result(True)
