"""Two real runners, one of which forwards to the other, over a line that breaks. `python -m runner.simulator --pair` plays many more."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import chain

import pytest
from msgspec.structs import replace

from runner.model.dispatch import AttemptId
from runner.model.event import Kind
from runner.model.result import Reason
from runner.model.task import Retry, When
from runner.simulator.__main__ import main
from runner.simulator.pair.faults import BACK, THERE, Cut, PairFaults, Restore
from runner.simulator.pair.seeds import PairVerdict, play_pair, play_pair_seed
from runner.simulator.rules import TO_PEER
from runner.simulator.scenario import CrashAt
from runner.simulator.script import ABORTED, OnStop
from tests.simulation.scenes import FAILS, SUCCESS, TWICE, Scene, X, ends, scene, spell, takes, task

CHUNK = 20
SEEDS = 120

WORK = scene(
    "a=success b=success c=success d=success group=success",
    task("a", gives=[X], forward=TO_PEER), task("b", gets="a.x"), task("c", "a", retry=TWICE, forward=TO_PEER), task("d", "b c"),
    scripts={"a": takes(1.7, ends(SUCCESS, x="1")), "b": takes(0.9), "c/1": FAILS, "d": takes(0.3)}, slots=1,
)  # fmt: skip
CANCELLED = scene(
    "a=aborted:cancelled b=success c=skipped:group_aborted group=aborted:cancelled",
    task("a", forward=TO_PEER), task("b", "a", when=When.ALWAYS, forward=TO_PEER), task("c", "a", forward=TO_PEER),
    scripts={"a": takes(60.0, stop_after=0.3), "b": takes(0.4)}, cancels=[1.5],
)  # fmt: skip
LOST = scene(
    "a=errored:runner_lost b=success group=errored",
    task("a", retry=TWICE, forward=TO_PEER),
    task("b", retry=Retry(attempts=3, delay=0.5, on=frozenset({"runner_lost"})), forward=TO_PEER),
    scripts={"a": takes(90.0, on_stop=OnStop.FINISHES, stop_after=0.4), "b/1": takes(90.0)},
)
UNHEARD = scene(
    "a=aborted:cancelled b=success group=aborted:cancelled",
    task("a", forward=TO_PEER), task("b", "a", when=When.ALWAYS, forward=TO_PEER),
    scripts={"a": takes(60.0)}, cancels=[1.5], cleanup_timeout=100.0,
)  # fmt: skip
UNHEARD = Scene(expected=UNHEARD.expected, scenario=replace(UNHEARD.scenario, lost_after=300.0))
NEVER_THERE = PairFaults(cuts=(Cut(direction=THERE, message=2, down=40.0),))
"""What is sent is lost, and the line is not back before nobody counts on an answer any more."""


def good(verdict: PairVerdict) -> PairVerdict:
    assert verdict.differences == (), verdict
    return verdict


@cache
def seeded(seed: int) -> PairVerdict:
    """Played once for all that look at it."""
    return play_pair_seed(seed)


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_seeds(first: int) -> None:
    for seed in range(first, first + CHUNK):
        verdict = seeded(seed)
        assert verdict.differences == (), f"seed {seed}\n{verdict}"


@pytest.mark.parametrize("seed", [1183, 4738])
def test_what_an_executor_ends_by_itself_is_no_cancel_of_a_caller(seed: int) -> None:
    verdict = play_pair_seed(seed)
    assert verdict.differences == (), verdict


def test_a_seed_is_always_the_same() -> None:
    first, second = play_pair_seed(11), play_pair_seed(11)
    assert (first.scenario, first.faults, first.played.messages) == (
        second.scenario,
        second.faults,
        second.played.messages,
    )
    assert first.played.events == second.played.events
    assert str(first) != str(play_pair_seed(12))


def test_seeds_are_of_all_kinds() -> None:
    """What the other tests rely on: the generator has not lost a kind of trouble, and the worlds show it."""
    verdicts = [seeded(seed) for seed in range(SEEDS)]
    faults = [verdict.faults for verdict in verdicts]
    for kind in ("origin", "executor", "cuts", "outages", "stalls", "origin_full", "executor_full"):
        assert any(getattr(item, kind) for item in faults), kind
        assert not all(getattr(item, kind) for item in faults), kind
    assert any(item.restores for item in faults)
    assert any(crash.power_loss for item in faults for crash in item.origin)
    assert any(crash.power_loss for item in faults for crash in item.executor)
    assert {cut.direction for item in faults for cut in item.cuts} == {THERE, BACK}
    kinds = {event.kind for verdict in verdicts for event in chain(*verdict.played.events.values())}
    assert kinds >= {Kind.TASK_WAITING, Kind.PEER_LOST, Kind.PEER_BACK, Kind.LATE_RESULT, Kind.LOG_REDACTED}
    reasons = {task.reason for verdict in verdicts for result in verdict.played.origin.results.values()
               for task in result.results.values()}  # fmt: skip
    assert reasons >= {Reason.RUNNER_LOST, Reason.HOST_RESTARTED, Reason.NO_SUCH_RUNNER}


def test_the_command_plays_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--pair", "--seeds", "0:2"]) == 0
    assert capsys.readouterr().out.startswith("2 seeds, ")
    assert main(["--pair", "--seed", "3", "--verbose"]) == 0
    assert "group_finished" in capsys.readouterr().out


# Everywhere, one after the other.


@pytest.mark.parametrize("item", [WORK, CANCELLED], ids=["work", "cancelled"])
@pytest.mark.parametrize("delivered", [False, True], ids=["before", "after"])
def test_a_cut_at_any_message_costs_time_and_nothing_else(item: Scene, delivered: bool) -> None:
    alone = good(play_pair(item.scenario))
    assert spell(alone.played.origin.results["g"]) == item.expected
    for cut in _cuts(alone, delivered):
        verdict = good(play_pair(item.scenario, PairFaults(cuts=(cut,))))
        assert spell(verdict.played.origin.results["g"]) == item.expected, verdict


def _cuts(alone: PairVerdict, delivered: bool) -> Iterator[Cut]:
    for direction, count in zip((THERE, BACK), alone.played.messages, strict=True):
        for message in range(count):
            for lingers, unnoticed in ((0.0, 0.0), (2.0, 0.0), (0.0, 0.5)):
                yield Cut(
                    direction=direction, message=message, delivered=delivered, lingers=lingers, unnoticed=unnoticed
                )


@pytest.mark.parametrize("item", [WORK, CANCELLED], ids=["work", "cancelled"])
@pytest.mark.parametrize("who", ["origin", "executor"])
def test_a_crash_at_any_step_costs_time_and_nothing_else(item: Scene, who: str) -> None:
    alone = good(play_pair(item.scenario)).played
    steps = {"origin": alone.node.fate.steps, "executor": alone.executor.fate.steps}[who]
    for step in range(steps):
        for after in (False, True):
            once = (CrashAt(step=step, after=after),)
            for crashes in (once, (*once, CrashAt(step=step + 2, after=after))):  # and while that is recovered from
                faults = PairFaults(origin=crashes) if who == "origin" else PairFaults(executor=crashes)
                verdict = good(play_pair(item.scenario, faults))
                assert spell(verdict.played.origin.results["g"]) == item.expected, verdict


@pytest.mark.parametrize("who", ["origin", "executor"])
def test_a_loss_of_power_at_any_step(who: str) -> None:
    alone = good(play_pair(WORK.scenario)).played
    steps = {"origin": alone.node.fate.steps, "executor": alone.executor.fate.steps}[who]
    for step in range(steps):
        crashes = (CrashAt(step=step, power_loss=True, downtime=2.0),)
        good(play_pair(WORK.scenario, PairFaults(origin=crashes) if who == "origin" else PairFaults(executor=crashes)))


def test_an_executor_that_is_restored_from_any_backup_begins_nothing_of_it_again() -> None:
    steps = good(play_pair(WORK.scenario)).played.executor.fate.steps
    for step in range(steps):
        for kept in (0.0, 0.3, 0.7, 1.0):
            good(play_pair(WORK.scenario, PairFaults(executor=(Restore(step=step, kept=kept, downtime=1.0),))))


def test_a_runner_that_is_silent_for_long_is_lost_and_heard_of_late() -> None:
    verdict = good(play_pair(LOST.scenario, PairFaults(outages=((3.0, 63.0),))))
    assert spell(verdict.played.origin.results["g"]) == LOST.expected
    late = [(event.task, event.attempt) for event in verdict.played.events["g"] if event.kind is Kind.LATE_RESULT]
    assert sorted(late) == [("a", 1), ("b", 1)]


def test_a_greeting_that_comes_behind_a_newer_session_ends_nothing() -> None:
    """The first session was cut before its greeting had come, which names nothing as live; it comes when the next one has begun an attempt."""
    item = scene("a=success group=success", task("a", forward=TO_PEER), scripts={"a": takes(20.0)})
    late = PairFaults(cuts=(Cut(direction=THERE, message=0, lingers=9.0),), chance=7)
    assert spell(play_pair(item.scenario, late).played.origin.results["g"]) == item.expected


@pytest.mark.parametrize("seed", [5259, 5471, 9195])
def test_a_session_that_is_dead_and_not_noticed_to_be_is_no_contact(seed: int) -> None:
    """A stop that was told over it cannot be confirmed: nobody is at fault."""
    verdict = play_pair_seed(seed)
    assert verdict.differences == (), verdict


def test_a_cancel_over_a_dead_line_is_delivered_when_that_is_back() -> None:
    verdict = good(play_pair(CANCELLED.scenario, PairFaults(outages=((1.0, 3.0),))))
    assert spell(verdict.played.origin.results["g"]) == CANCELLED.expected
    assert verdict.played.origin.results["g"].results["a"].kill == {**(ABORTED.kill or {}), "left": []}


def test_a_cancel_is_not_forgotten_by_the_next_life_of_the_origin() -> None:
    """It was told before its attempt was handed over anew, and so to nobody: the attempt started when the line was back."""
    for step in range(play_pair(UNHEARD.scenario, NEVER_THERE).played.node.fate.steps):
        verdict = good(play_pair(UNHEARD.scenario, replace(NEVER_THERE, origin=(CrashAt(step=step),))))
        starts = [end.started_at for end in verdict.played.executor.ends.get(AttemptId("g", "a", 1), ())]
        assert all(start is None or start < verdict.played.began + 1.5 for start in starts), verdict
