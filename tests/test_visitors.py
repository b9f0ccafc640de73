"""Who gets a turn, who is sent away, and who is remembered."""

import asyncio
import os
from collections import Counter
from collections.abc import Coroutine

import pytest
from starlette.requests import Request

from ui import visitors as module
from ui.client import client
from ui.visitors import Busy, Visitors, cores

A, B, C = ("a" * 32, "b" * 32, "c" * 32)


def run(scene: Coroutine) -> None:
    asyncio.run(asyncio.wait_for(scene, 30))


async def settle() -> None:
    """Let everything that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def decodable() -> None:
    """What the check of a good frame does here."""


async def junk() -> None:
    raise ValueError("no picture")


class Frame:
    """A frame under way: `task` ends with its fate once `done` is set, or at once where it is sent away."""

    def __init__(self, visitors: Visitors, token: str, client: str | None = None, face: bool = False) -> None:
        self.done = asyncio.Event()
        self.running = False
        self.task = asyncio.create_task(self._take_turn(visitors, token, client, face))

    async def _take_turn(self, visitors: Visitors, token: str, client: str | None, face: bool) -> str:
        try:
            await visitors.meet(token, client, decodable)
            async with visitors.turn(token) as visitor:
                self.running = True
                await self.done.wait()
                self.running = False
            if face:
                visitors.found_face(token, visitor)
        except Busy:
            return "busy"
        return "recognized"

    async def finish(self) -> str:
        self.done.set()
        return await self.task


def test_as_many_run_at_once_as_there_are_slots() -> None:
    async def scene() -> None:
        visitors = Visitors(slots=2)
        frames = [Frame(visitors, token) for token in (A, B, C)]
        await settle()
        assert [frame.running for frame in frames] == [True, True, False]
        assert await frames[0].finish() == "recognized"
        await settle()
        assert [frame.running for frame in frames] == [False, True, True]
        assert [await frame.finish() for frame in frames[1:]] == ["recognized", "recognized"]

    run(scene())


def test_a_visitors_newer_frame_takes_the_place_of_the_one_that_waits() -> None:
    async def scene() -> None:
        visitors = Visitors(slots=1)
        first = Frame(visitors, A)
        await settle()
        older, newer = Frame(visitors, A), Frame(visitors, A)
        assert await older.task == "busy"
        assert not newer.task.done()
        assert [await first.finish(), await newer.finish()] == ["recognized", "recognized"]

    run(scene())


def test_who_has_nothing_running_goes_before_who_has() -> None:
    async def scene() -> None:
        visitors = Visitors(slots=2)
        first = [Frame(visitors, A), Frame(visitors, A)]
        await settle()
        greedy = Frame(visitors, A)
        await settle()
        modest = Frame(visitors, B)
        await settle()
        await first[0].finish()
        await settle()
        assert (modest.running, greedy.running) == (True, False)
        for frame in (first[1], modest, greedy):
            assert await frame.finish() == "recognized"

    run(scene())


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_shares_are_equal_however_many_frames_a_page_sends(slots: int) -> None:
    """Sixteen pages with one to five frames under way, each sending again as soon as it has an answer."""

    async def scene() -> None:
        visitors = Visitors(slots, wait_s=60)
        turns: Counter[str] = Counter()

        async def page(token: str) -> None:
            await visitors.meet(token, None, decodable)
            while turns.total() < 640:
                try:
                    async with visitors.turn(token):
                        turns[token] += 1
                        for _ in range(7):  # a recognition
                            await asyncio.sleep(0)
                except Busy:
                    await asyncio.sleep(0)

        tokens = [f"{i:032x}" for i in range(16)]
        await asyncio.gather(*(page(token) for i, token in enumerate(tokens) for _ in range(1 + i % 5)))
        assert len(turns) == 16
        assert max(turns.values()) - min(turns.values()) <= 3

    run(scene())


def test_a_new_visitor_waits_behind_those_who_wait_already() -> None:
    """So that nobody gets ahead by a new token for each frame."""

    async def scene() -> None:
        visitors = Visitors(slots=1)
        assert await Frame(visitors, B).finish() == "recognized"
        first = Frame(visitors, A)
        await settle()
        fresh, known = Frame(visitors, C), Frame(visitors, B)
        await first.finish()
        await settle()
        assert (known.running, fresh.running) == (True, False)
        assert [await known.finish(), await fresh.finish()] == ["recognized", "recognized"]

    run(scene())


def test_who_waits_too_long_is_sent_away_and_costs_nothing() -> None:
    async def scene() -> None:
        visitors = Visitors(slots=1, wait_s=0.05)
        first = Frame(visitors, A)
        await settle()
        assert await Frame(visitors, B).task == "busy"
        assert await first.finish() == "recognized"
        assert await Frame(visitors, C).finish() == "recognized"

    run(scene())


@pytest.mark.parametrize("granted", [False, True])
def test_a_request_that_is_cut_off_keeps_no_slot(granted: bool) -> None:
    async def scene() -> None:
        visitors = Visitors(slots=1, wait_s=60)
        first, cut = Frame(visitors, A), Frame(visitors, B)
        await settle()
        if granted:  # in the same moment in which its turn comes
            first.done.set()
            while not first.task.done():
                await asyncio.sleep(0)
        cut.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cut.task
        assert await first.finish() == "recognized"
        assert await Frame(visitors, C).finish() == "recognized"

    run(scene())


def test_a_frame_that_cannot_be_read_gives_its_slot_back() -> None:
    async def scene() -> None:
        visitors = Visitors(slots=1)
        await visitors.meet(A, None, decodable)
        with pytest.raises(ValueError, match="no picture"):
            async with visitors.turn(A):
                raise ValueError("no picture")
        assert await Frame(visitors, A).finish() == "recognized"

    run(scene())


def test_a_visitor_keeps_a_tracker_until_silent_for_long() -> None:
    async def scene() -> None:
        visitors = Visitors(slots=1, silence_s=0.4)
        for token in (A, B):
            await visitors.meet(token, None, decodable)
        async with visitors.turn(A) as visitor:
            tracker = visitor.tracker
        async with visitors.turn(B) as other:
            assert other.tracker is not tracker
        async with visitors.turn(A) as visitor:
            assert visitor.tracker is tracker
        assert len(visitors) == 2
        while len(visitors):  # by itself: nobody has to come for it
            await asyncio.sleep(0.05)
        await visitors.meet(A, None, decodable)
        async with visitors.turn(A) as visitor:
            assert visitor.tracker is not tracker
        assert len(visitors) == 1

    run(scene())


def test_who_sends_no_picture_is_not_remembered() -> None:
    async def scene() -> None:
        visitors = Visitors(slots=1, limit=2)
        for i in range(100):
            with pytest.raises(ValueError, match="no picture"):
                await visitors.meet(f"{i:032x}", None, junk)
        assert len(visitors) == 0
        assert await Frame(visitors, A).finish() == "recognized"

    run(scene())


def test_strangers_are_checked_one_at_a_time_and_not_for_long() -> None:
    async def scene() -> None:
        visitors = Visitors(slots=4, wait_s=0.05)
        checked: list[str] = []
        go_on = asyncio.Event()

        async def slow() -> None:
            checked.append("begun")
            await go_on.wait()

        first = asyncio.create_task(visitors.meet(A, None, slow))
        await settle()
        with pytest.raises(Busy):
            await visitors.meet(B, None, slow)
        assert checked == ["begun"]
        go_on.set()
        await first
        assert await Frame(visitors, B).finish() == "recognized"

    run(scene())


def test_a_person_who_is_there_keeps_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        visitors = Visitors(slots=4, limit=2)
        assert await Frame(visitors, A, face=True).finish() == "recognized"
        for i in range(50):  # they make room for each other, however often they send
            assert await Frame(visitors, f"{i:032x}").finish() == "recognized"
        assert len(visitors) == 2
        assert await Frame(visitors, B, face=True).finish() == "recognized"
        assert await Frame(visitors, C, face=True).finish() == "busy"
        monkeypatch.setattr(module, "YIELDS_AFTER_S", 0.0)  # now whose face was not found for longest makes room
        assert await Frame(visitors, C, face=True).finish() == "recognized"
        monkeypatch.undo()
        assert await Frame(visitors, B, face=True).finish() == "recognized"
        assert await Frame(visitors, A, face=True).finish() == "busy"

    run(scene())


def test_who_is_pushed_out_in_a_first_turn_comes_back() -> None:
    async def scene() -> None:
        visitors = Visitors(slots=4, limit=1)
        first = Frame(visitors, A, face=True)
        await settle()
        assert await Frame(visitors, B).finish() == "recognized"
        assert await first.finish() == "recognized"
        assert await Frame(visitors, B).finish() == "busy"
        assert len(visitors) == 1

    run(scene())


def test_one_address_gets_a_share_of_the_places() -> None:
    async def scene() -> None:
        visitors = Visitors(slots=4, limit=8, client_limit=2)
        flood = [await Frame(visitors, f"{i:032x}", "9.9.9.9", face=True).finish() for i in range(20)]
        assert Counter(flood) == {"recognized": 2, "busy": 18}
        assert await Frame(visitors, A, "8.8.8.8", face=True).finish() == "recognized"
        for i in range(4):  # whose address cannot be trusted is under the common limit alone
            assert await Frame(visitors, f"{100 + i:032x}", None, face=True).finish() == "recognized"
        assert len(visitors) == 7

    run(scene())


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("93.184.215.14", [], "93.184.215.14"),
        ("93.184.215.14", ["8.8.8.8"], "93.184.215.14"),  # nobody vouches for the header
        ("10.0.0.7", ["1.1.1.1, 8.8.8.8"], "8.8.8.8"),  # the first is what the visitor sent
        ("10.0.0.7", ["1.1.1.1", "8.8.8.8, 10.0.0.9"], "8.8.8.8"),
        ("127.0.0.1", [], None),
        ("192.168.1.5", ["somebody"], None),
        ("192.168.1.5", ["8.8.8.8, somebody"], None),
        ("2a00:1450:4001:81b::200e", [], "2a00:1450:4001:81b::/64"),
    ],
)
def test_addresses_that_can_be_trusted(peer: str, forwarded: list[str], expected: str | None) -> None:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    assert client(Request({"type": "http", "client": (peer, 1), "headers": headers})) == expected


def test_cores_are_those_that_this_process_may_use() -> None:
    assert 1 <= cores() <= os.cpu_count()
    if hasattr(os, "sched_setaffinity"):
        allowed = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(allowed)})
            assert cores() == 1
        finally:
            os.sched_setaffinity(0, allowed)
