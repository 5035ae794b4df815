"""The line between two runners."""

from __future__ import annotations

import math

import pytest

from runner.simulator.clock import VirtualClock
from runner.simulator.pair.faults import BACK, THERE, Cut, PairFaults
from runner.simulator.pair.line import SILENCE_SECONDS, WINDOW, Line, Session


class Ends:
    """Both ends of one session, and what they hear."""

    def __init__(self, faults: PairFaults) -> None:
        self.clock = VirtualClock()
        self.began = self.clock.now().boot
        self.there: list[str] = []
        self.back: list[str] = []
        self.noticed: dict[str, float] = {}
        self.line = Line(self.clock, faults, self.answer)

    def answer(self, session: Session, first: str) -> None:
        self.there.append(first)
        session.there.deliver = self.there.append
        session.there.on_end = lambda: self.notice(THERE)

    def notice(self, direction: str) -> None:
        self.noticed[direction] = self.clock.now().boot - self.began

    def dial(self) -> Session:
        session = self.line.dial()
        assert session is not None
        session.back.deliver = self.back.append
        session.back.on_end = lambda: self.notice(BACK)
        return session

    def pass_seconds(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now().boot + seconds)


def talk(ends: Ends, count: int = 4) -> Session:
    session = ends.dial()
    for number in range(count):
        session.there.send(f"to {number}")
        session.back.send(f"fro {number}")
    return session


def test_messages_come_in_order_and_not_at_once() -> None:
    ends = Ends(PairFaults())
    talk(ends)
    assert (ends.there, ends.back) == ([], [])
    ends.pass_seconds(1.0)
    assert (ends.there, ends.back) == ([f"to {n}" for n in range(4)], [f"fro {n}" for n in range(4)])
    assert ends.noticed == {}


@pytest.mark.parametrize("delivered", [False, True])
def test_a_cut_before_and_after_a_message(delivered: bool) -> None:
    cut = Cut(direction=THERE, message=1, delivered=delivered, down=5.0, lingers=2.0, unnoticed=0.5)
    ends = Ends(PairFaults(cuts=(cut,), latency=0.1, chance=3))
    session = talk(ends, count=2)
    assert math.isinf(session.cut_at)
    ends.pass_seconds(1.5)
    assert session.cut_at < ends.clock.now().wall
    session.there.send("too late")
    assert ends.line.dial() is None
    ends.pass_seconds(5.0)
    assert ends.there in (["to 0", "to 1"], ["to 0"])
    assert (ends.there == ["to 0", "to 1"]) or not delivered
    assert ends.noticed[THERE] > 2.0
    assert ends.noticed[BACK] > 0.5
    assert ends.line.dial() is not None


def test_nothing_passes_a_stall_and_all_of_it_comes_behind_that() -> None:
    ends = Ends(PairFaults(stalls=((0.0, 10.0),)))
    ends.pass_seconds(0.0)
    talk(ends)
    ends.pass_seconds(9.0)
    assert ends.there == []
    ends.pass_seconds(2.0)
    assert len(ends.there) == 4


def test_a_long_stall_is_taken_for_a_cut_by_both() -> None:
    ends = Ends(PairFaults(stalls=((0.001, 100.0),), latency=0.0001))
    talk(ends, count=1)
    ends.pass_seconds(SILENCE_SECONDS - 1.0)
    assert ends.noticed == {}
    ends.pass_seconds(2.0)
    assert set(ends.noticed) == {THERE, BACK}


def test_what_an_end_has_sent_before_it_ended_the_session_comes() -> None:
    ends = Ends(PairFaults())
    session = talk(ends)
    session.end("enough")
    ends.pass_seconds(1.0)
    assert ends.there == []
    assert len(ends.back) == 4
    assert set(ends.noticed) == {BACK}
    assert session.why == "enough"


def test_there_is_room_for_so_many() -> None:
    ends = Ends(PairFaults())
    session = ends.dial()
    made = []
    session.back.on_room = lambda: made.append(session.back.is_full)
    for number in range(WINDOW):
        assert not session.back.is_full
        session.back.send(f"{number}")
    assert session.back.is_full
    ends.pass_seconds(1.0)
    assert made == [False] * WINDOW
