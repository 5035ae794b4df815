"""The virtual clock keeps the contract of `runner.clock.Clock`, and goes only when it is told to."""

from __future__ import annotations

import pytest

from runner.simulator.clock import VirtualClock


def test_time_jumps_from_callback_to_callback() -> None:
    clock = VirtualClock(wall=1_000.0, boot=10.0)
    seen: list[tuple[str, float, float]] = []

    def see(name: str) -> None:
        seen.append((name, clock.now().boot, clock.now().wall))

    clock.call_at(13.0, lambda: see("late"))
    clock.call_at(11.5, lambda: see("early"))
    clock.run_until_idle()
    assert seen == [("early", 11.5, 1_001.5), ("late", 13.0, 1_003.0)]
    assert clock.next_due is None


def test_ties_run_in_the_order_in_which_they_were_asked_for() -> None:
    clock = VirtualClock(boot=1.0)
    seen: list[str] = []

    def first() -> None:
        seen.append("first")
        clock.call_soon(lambda: seen.append("soon, of the first"))

    clock.call_at(2.0, first)
    clock.call_at(2.0, lambda: seen.append("second"))
    clock.run_until_idle()
    assert seen == ["first", "second", "soon, of the first"]


def test_nothing_runs_from_within_a_call() -> None:
    clock = VirtualClock(boot=5.0)
    seen: list[str] = []
    clock.call_soon(lambda: seen.append("soon"))
    clock.call_at(1.0, lambda: seen.append("past"))
    assert seen == []
    clock.run_until_idle()
    assert sorted(seen) == ["past", "soon"]
    assert clock.now().boot == 5.0


def test_run_until_stops_there() -> None:
    clock = VirtualClock(boot=0.0)
    seen: list[float] = []
    for at in (1.0, 2.0, 3.0):
        clock.call_at(at, lambda at=at: seen.append(at))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    clock.run_until(2.0)
    assert (seen, clock.now().boot, clock.next_due) == ([1.0, 2.0], 2.0, 3.0)
    clock.run_until(2.5)
    assert clock.now().boot == 2.5
    clock.run_until(1.0)
    assert clock.now().boot == 2.5


def test_a_cancelled_timer_never_runs() -> None:
    clock = VirtualClock(boot=0.0)
    seen: list[str] = []
    timer = clock.call_at(1.0, lambda: seen.append("no"))
    done = clock.call_at(0.5, lambda: seen.append("yes"))
    timer.cancel()
    timer.cancel()
    assert clock.next_due == 0.5
    clock.run_until_idle()
    done.cancel()
    assert seen == ["yes"]
    assert clock.now().boot == 0.5


def test_an_exception_leaves_the_clock_usable() -> None:
    clock = VirtualClock(boot=0.0)
    seen: list[str] = []

    def fail() -> None:
        raise KeyError("mine")

    clock.call_at(1.0, fail)
    clock.call_at(2.0, lambda: seen.append("next"))
    with pytest.raises(KeyError):
        clock.run_until_idle()
    assert clock.now().boot == 1.0
    clock.run_until_idle()
    assert seen == ["next"]


def test_a_reboot_begins_a_new_boot_clock_and_forgets_all_callbacks() -> None:
    clock = VirtualClock(wall=500.0, boot=100.0, boot_id="one")
    seen: list[str] = []
    clock.call_at(101.0, lambda: seen.append("no"))
    clock.call_soon(lambda: seen.append("no"))
    clock.reboot("two", downtime=30.0)
    clock.run_until_idle()
    now = clock.now()
    assert (seen, now.wall, now.boot, now.boot_id) == ([], 530.0, 0.0, "two")
