"""The line in which videos wait for their turn."""

import threading
import time

import pytest

from ui.line import Line, LineFull


def test_places_move_up_when_somebody_leaves() -> None:
    line = Line(limit=3)
    with line.place() as first:
        with line.place() as second, line.place() as third:
            assert [place.ahead() for place in (first, second, third)] == [0, 1, 2]
            with pytest.raises(LineFull, match="3 videos are waiting"), line.place():
                pass
        with line.place() as fourth:
            assert fourth.ahead() == 1
    assert len(line) == 0


def test_waiting_ends_as_soon_as_the_place_changes() -> None:
    line = Line(limit=3)
    with line.place() as last:
        assert last.ahead(10) == 0  # its turn: nothing to wait for
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with line.place():
            entered.set()
            leave.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(10)
    with line.place() as place:
        assert place.ahead(0.05) == 1
        threading.Timer(0.2, leave.set).start()
        start = time.monotonic()
        assert place.ahead(10) == 0
        assert time.monotonic() - start < 5
    holder.join()


def test_a_place_is_left_when_its_work_fails() -> None:
    line = Line(limit=1)
    with pytest.raises(ValueError, match="broken"), line.place():
        raise ValueError("broken")
    assert len(line) == 0


def test_a_silent_place_holds_nobody_up() -> None:
    line = Line(limit=2, silence_s=0.1)
    with line.place() as silent, line.place() as waiting:
        assert waiting.ahead() == 1
        for _ in range(4):
            time.sleep(0.05)
            last = waiting.ahead()
        assert last == 0
        assert silent.ahead() == 0  # it may finish what it began
        with line.place() as third:
            assert third.ahead() == 1
