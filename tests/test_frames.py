"""Which frame gets a slot, which is dropped, and which visitors are remembered."""

import asyncio
import os
from collections import Counter
from collections.abc import Coroutine

import pytest
from starlette.requests import Request

from ui import frames as module
from ui.client import client_address
from ui.cores import usable_cores
from ui.frames import Busy, FrameScheduler

A, B, C = ("a" * 32, "b" * 32, "c" * 32)


def run(scene: Coroutine) -> None:
    asyncio.run(asyncio.wait_for(scene, 30))


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def valid() -> None:
    """The check of a valid frame."""


async def invalid() -> None:
    raise ValueError("not an image")


class Frame:
    """A frame in progress: `task` returns its fate once `done` is set, or at once if it is dropped."""

    def __init__(self, scheduler: FrameScheduler, token: str, address: str | None = None, face: bool = False) -> None:
        self.done = asyncio.Event()
        self.running = False
        self.task = asyncio.create_task(self._take_slot(scheduler, token, address, face))

    async def _take_slot(self, scheduler: FrameScheduler, token: str, address: str | None, face: bool) -> str:
        try:
            await scheduler.admit(token, address, valid)
            async with scheduler.slot(token) as visitor:
                self.running = True
                await self.done.wait()
                self.running = False
            if face:
                scheduler.found_face(token, visitor)
        except Busy:
            return "busy"
        return "recognized"

    async def finish(self) -> str:
        self.done.set()
        return await self.task


def test_as_many_run_at_once_as_there_are_slots() -> None:
    async def scene() -> None:
        scheduler = FrameScheduler(slots=2)
        frames = [Frame(scheduler, token) for token in (A, B, C)]
        await settle()
        assert [frame.running for frame in frames] == [True, True, False]
        assert await frames[0].finish() == "recognized"
        await settle()
        assert [frame.running for frame in frames] == [False, True, True]
        assert [await frame.finish() for frame in frames[1:]] == ["recognized", "recognized"]

    run(scene())


def test_a_newer_frame_replaces_the_one_that_waits() -> None:
    async def scene() -> None:
        scheduler = FrameScheduler(slots=1)
        first = Frame(scheduler, A)
        await settle()
        older, newer = Frame(scheduler, A), Frame(scheduler, A)
        assert await older.task == "busy"
        assert not newer.task.done()
        assert [await first.finish(), await newer.finish()] == ["recognized", "recognized"]

    run(scene())


def test_the_visitor_with_fewer_frames_running_goes_first() -> None:
    async def scene() -> None:
        scheduler = FrameScheduler(slots=2)
        first = [Frame(scheduler, A), Frame(scheduler, A)]
        await settle()
        greedy = Frame(scheduler, A)
        await settle()
        modest = Frame(scheduler, B)
        await settle()
        await first[0].finish()
        await settle()
        assert (modest.running, greedy.running) == (True, False)
        for frame in (first[1], modest, greedy):
            assert await frame.finish() == "recognized"

    run(scene())


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_shares_are_equal_however_many_frames_a_page_sends(slots: int) -> None:
    """Sixteen pages with one to five frames in progress, each sent again after every result."""

    async def scene() -> None:
        scheduler = FrameScheduler(slots, wait_s=60)
        slots_given: Counter[str] = Counter()

        async def page(token: str) -> None:
            await scheduler.admit(token, None, valid)
            while slots_given.total() < 640:
                try:
                    async with scheduler.slot(token):
                        slots_given[token] += 1
                        for _ in range(7):  # a recognition
                            await asyncio.sleep(0)
                except Busy:
                    await asyncio.sleep(0)

        tokens = [f"{i:032x}" for i in range(16)]
        await asyncio.gather(*(page(token) for i, token in enumerate(tokens) for _ in range(1 + i % 5)))
        assert len(slots_given) == 16
        assert max(slots_given.values()) - min(slots_given.values()) <= 3

    run(scene())


def test_a_new_visitor_waits_behind_the_others() -> None:
    """So a new token for each frame gains nothing."""

    async def scene() -> None:
        scheduler = FrameScheduler(slots=1)
        assert await Frame(scheduler, B).finish() == "recognized"
        first = Frame(scheduler, A)
        await settle()
        fresh, known = Frame(scheduler, C), Frame(scheduler, B)
        await first.finish()
        await settle()
        assert (known.running, fresh.running) == (True, False)
        assert [await known.finish(), await fresh.finish()] == ["recognized", "recognized"]

    run(scene())


def test_a_frame_that_waits_too_long_is_dropped_at_no_cost() -> None:
    async def scene() -> None:
        scheduler = FrameScheduler(slots=1, wait_s=0.05)
        first = Frame(scheduler, A)
        await settle()
        assert await Frame(scheduler, B).task == "busy"
        assert await first.finish() == "recognized"
        assert await Frame(scheduler, C).finish() == "recognized"

    run(scene())


@pytest.mark.parametrize("granted", [False, True])
def test_a_request_that_is_cut_off_keeps_no_slot(granted: bool) -> None:
    async def scene() -> None:
        scheduler = FrameScheduler(slots=1, wait_s=60)
        first, cut = Frame(scheduler, A), Frame(scheduler, B)
        await settle()
        if granted:  # at the moment when it gets its slot
            first.done.set()
            while not first.task.done():
                await asyncio.sleep(0)
        cut.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cut.task
        assert await first.finish() == "recognized"
        assert await Frame(scheduler, C).finish() == "recognized"

    run(scene())


def test_an_invalid_frame_returns_its_slot() -> None:
    async def scene() -> None:
        scheduler = FrameScheduler(slots=1)
        await scheduler.admit(A, None, valid)
        with pytest.raises(ValueError, match="not an image"):
            async with scheduler.slot(A):
                raise ValueError("not an image")
        assert await Frame(scheduler, A).finish() == "recognized"

    run(scene())


def test_a_silent_visitor_loses_its_tracker() -> None:
    async def scene() -> None:
        scheduler = FrameScheduler(slots=1, silence_s=0.4)
        for token in (A, B):
            await scheduler.admit(token, None, valid)
        async with scheduler.slot(A) as visitor:
            tracker = visitor.tracker
        async with scheduler.slot(B) as other:
            assert other.tracker is not tracker
        async with scheduler.slot(A) as visitor:
            assert visitor.tracker is tracker
        assert len(scheduler) == 2
        while len(scheduler):  # without another call
            await asyncio.sleep(0.05)
        await scheduler.admit(A, None, valid)
        async with scheduler.slot(A) as visitor:
            assert visitor.tracker is not tracker
        assert len(scheduler) == 1

    run(scene())


def test_a_visitor_without_a_valid_frame_is_not_remembered() -> None:
    async def scene() -> None:
        scheduler = FrameScheduler(slots=1, limit=2)
        for i in range(100):
            with pytest.raises(ValueError, match="not an image"):
                await scheduler.admit(f"{i:032x}", None, invalid)
        assert len(scheduler) == 0
        assert await Frame(scheduler, A).finish() == "recognized"

    run(scene())


def test_new_visitors_are_checked_one_at_a_time() -> None:
    async def scene() -> None:
        scheduler = FrameScheduler(slots=4, wait_s=0.05)
        checked: list[str] = []
        go_on = asyncio.Event()

        async def slow() -> None:
            checked.append("started")
            await go_on.wait()

        first = asyncio.create_task(scheduler.admit(A, None, slow))
        await settle()
        with pytest.raises(Busy):
            await scheduler.admit(B, None, slow)
        assert checked == ["started"]
        go_on.set()
        await first
        assert await Frame(scheduler, B).finish() == "recognized"

    run(scene())


def test_a_visitor_with_a_face_keeps_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        scheduler = FrameScheduler(slots=4, limit=2)
        assert await Frame(scheduler, A, face=True).finish() == "recognized"
        for i in range(50):  # they evict each other, however often they send
            assert await Frame(scheduler, f"{i:032x}").finish() == "recognized"
        assert len(scheduler) == 2
        assert await Frame(scheduler, B, face=True).finish() == "recognized"
        assert await Frame(scheduler, C, face=True).finish() == "busy"
        monkeypatch.setattr(module, "EVICTABLE_AFTER_S", 0.0)  # now the visitor without a face for longest is evicted
        assert await Frame(scheduler, C, face=True).finish() == "recognized"
        monkeypatch.undo()
        assert await Frame(scheduler, B, face=True).finish() == "recognized"
        assert await Frame(scheduler, A, face=True).finish() == "busy"

    run(scene())


def test_a_visitor_evicted_during_its_first_slot_comes_back() -> None:
    async def scene() -> None:
        scheduler = FrameScheduler(slots=4, limit=1)
        first = Frame(scheduler, A, face=True)
        await settle()
        assert await Frame(scheduler, B).finish() == "recognized"
        assert await first.finish() == "recognized"
        assert await Frame(scheduler, B).finish() == "busy"
        assert len(scheduler) == 1

    run(scene())


def test_one_address_gets_a_share_of_the_places() -> None:
    async def scene() -> None:
        scheduler = FrameScheduler(slots=4, limit=8, address_limit=2)
        flood = [await Frame(scheduler, f"{i:032x}", "9.9.9.9", face=True).finish() for i in range(20)]
        assert Counter(flood) == {"recognized": 2, "busy": 18}
        assert await Frame(scheduler, A, "8.8.8.8", face=True).finish() == "recognized"
        for i in range(4):  # without a trusted address, only the common limit holds
            assert await Frame(scheduler, f"{100 + i:032x}", None, face=True).finish() == "recognized"
        assert len(scheduler) == 7

    run(scene())


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("93.184.215.14", [], "93.184.215.14"),
        ("93.184.215.14", ["8.8.8.8"], "93.184.215.14"),  # no proxy, so the header may be forged
        ("10.0.0.7", ["1.1.1.1, 8.8.8.8"], "8.8.8.8"),  # the first is the visitor's own claim
        ("10.0.0.7", ["1.1.1.1", "8.8.8.8, 10.0.0.9"], "8.8.8.8"),
        ("127.0.0.1", [], None),
        ("192.168.1.5", ["somebody"], None),
        ("192.168.1.5", ["8.8.8.8, somebody"], None),
        ("2a00:1450:4001:81b::200e", [], "2a00:1450:4001:81b::/64"),
    ],
)
def test_the_client_address_can_be_trusted(peer: str, forwarded: list[str], expected: str | None) -> None:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    assert client_address(Request({"type": "http", "client": (peer, 1), "headers": headers})) == expected


def test_usable_cores_follow_the_affinity() -> None:
    assert 1 <= usable_cores() <= os.cpu_count()
    if hasattr(os, "sched_setaffinity"):
        allowed = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(allowed)})
            assert usable_cores() == 1
        finally:
            os.sched_setaffinity(0, allowed)
