"""Tasks on another runner: outages at all times, with a crash of the origin at every step; and slips that must be noticed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import pytest
from msgspec.structs import replace

from runner.clock import Clock
from runner.dispatch.base import Dispatcher
from runner.engine.engine import Engine
from runner.engine.targets import Changed, Gone, Refusal, Targets, Unreachable
from runner.model.result import Status
from runner.model.task import Forward, Retry
from runner.simulator.rules import TO_PEER
from runner.simulator.scenario import CrashAt, Faults, Scenario
from runner.simulator.script import OnStop
from runner.simulator.seeds import Verdict, play
from runner.simulator.world import Engines, make_engine
from runner.store.base import Batch, Store
from tests.simulation.scenes import FAILS, TWICE, X, ends, scene, spell, takes, task
from tests.simulation.slips import SlippingStore

WORK = scene(
    "a=success b=success c=success d=success group=success",
    task("a", gives=[X], forward=TO_PEER), task("b", gets="a.x"), task("c", "a", retry=TWICE, forward=TO_PEER), task("d", "b c"),
    scripts={"a": takes(1.7, ends(Status.SUCCESS, x="1")), "b": takes(0.9), "c/1": FAILS, "d": takes(0.3)}, slots=1,
)  # fmt: skip
LOST = scene(
    "a=errored:runner_lost b=success group=errored",
    task("a", retry=TWICE, forward=TO_PEER),
    task("b", retry=Retry(attempts=3, delay=0.5, on=frozenset({"runner_lost"})), forward=TO_PEER),
    scripts={"a": takes(90.0, on_stop=OnStop.FINISHES, stop_after=0.4), "b/1": takes(90.0)},
)
OUTAGES = [(0.0, 4.0), (0.6, 9.0), (1.1, 1.2), (2.0, 2.3)]


@pytest.mark.parametrize("outage", OUTAGES, ids=str)
def test_an_outage_costs_time_and_nothing_else(outage: tuple[float, float]) -> None:
    alone = play(WORK.scenario, Faults(outages=(outage,)))
    assert spell(alone.played.results["g"]) == WORK.expected
    assert alone.differences == (), alone
    for step in range(alone.played.steps):
        for after in (False, True):
            verdict = play(WORK.scenario, Faults(outages=(outage,), crashes=(CrashAt(step=step, after=after),)))
            assert spell(verdict.played.results["g"]) == WORK.expected, verdict
            assert verdict.differences == (), verdict


@pytest.mark.parametrize("outage", OUTAGES, ids=str)
def test_what_runs_elsewhere_goes_on_when_the_power_is_lost(outage: tuple[float, float]) -> None:
    steps = play(WORK.scenario, Faults(outages=(outage,))).played.steps
    for step in range(steps):
        for downtime in (0.0, 3.0):
            crash = CrashAt(step=step, power_loss=True, downtime=downtime)
            verdict = play(WORK.scenario, Faults(outages=(outage,), crashes=(crash,)))
            assert verdict.differences == (), verdict
            assert {id.task for id in verdict.played.interrupted} <= {"b", "d"}


@pytest.mark.parametrize("power_loss", [False, True])
def test_a_runner_that_is_silent_for_long_is_lost(power_loss: bool) -> None:
    outages = ((3.0, 33.0),)
    alone = play(LOST.scenario, Faults(outages=outages))
    assert spell(alone.played.results["g"]) == LOST.expected
    assert alone.differences == (), alone
    for step in range(alone.played.steps):
        crash = CrashAt(step=step, power_loss=power_loss, downtime=2.0 * power_loss)
        verdict = play(LOST.scenario, Faults(outages=outages, crashes=(crash,)))
        assert verdict.differences == (), verdict
        if not power_loss:  # else it takes a moment, and what is left of the outage is too short
            assert spell(verdict.played.results["g"]) == LOST.expected, verdict


# Slips.


class Passing:
    """Targets that pass everything on; those that derive from it have a slip."""

    def __init__(self, inner: Targets) -> None:
        self.inner = inner
        self.here = inner.here
        self.named = inner.named
        self.peer = inner.peer
        self.all = inner.all

    def choose(
        self, forward: Forward, types: Collection[str], hops: Sequence[str] = ()
    ) -> Dispatcher | Unreachable | Refusal:
        return self.inner.choose(forward, types, hops)

    def subscribe(self, changed: Changed, gone: Gone) -> None:
        self.inner.subscribe(changed, gone)


class Deaf(Passing):
    def subscribe(self, changed: Changed, gone: Gone) -> None:
        pass


class Shy(Passing):
    """Believes that nobody is there."""

    def choose(
        self, forward: Forward, types: Collection[str], hops: Sequence[str] = ()
    ) -> Dispatcher | Unreachable | Refusal:
        return Unreachable(why="nobody answers")


class Lazy(Passing):
    """Does everything itself."""

    def choose(
        self, forward: Forward, types: Collection[str], hops: Sequence[str] = ()
    ) -> Dispatcher | Unreachable | Refusal:
        return self.here


class Blind(Passing):
    """Does not look whether somebody is there."""

    def choose(
        self, forward: Forward, types: Collection[str], hops: Sequence[str] = ()
    ) -> Dispatcher | Unreachable | Refusal:
        return self.inner.named("peer")


def aiming(slip: Callable[[Targets], Targets]) -> Engines:
    return lambda store, clock, targets, scenario: make_engine(store, clock, slip(targets), scenario)


def hasty(store: Store, clock: Clock, targets: Targets, scenario: Scenario) -> Engine:
    """Its disk says that all is safe, and it is not."""
    careless = SlippingStore(store, lambda batch: batch)
    careless.sync = lambda done: done(None)
    return make_engine(careless, clock, targets, scenario)


def without_reasons(batch: Batch) -> Batch:
    return replace(batch, tasks=[replace(row, waiting="slot" if row.waiting else None) for row in batch.tasks])


def mumbling(store: Store, clock: Clock, targets: Targets, scenario: Scenario) -> Engine:
    """Its rows do not say what a task waits for."""
    return make_engine(SlippingStore(store, without_reasons), clock, targets, scenario)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (aiming(Deaf), "waits for its runner for ever"),
        (aiming(Shy), "when that was there"),
        (aiming(Lazy), "g/a/1 ran on local, and is forwarded to"),
        (aiming(Blind), "was dispatched while nobody could reach its runner"),
        (hasty, "was sent to another machine before a loss of power could not undo that"),
        (mumbling, "after task_waiting the row of g/a says that it waits for slot"),
    ],
)
def test_a_slip_about_other_runners(make: Engines, words: str) -> None:
    def noticed(outage: tuple[float, float]) -> Verdict:
        return play(WORK.scenario, Faults(outages=(outage,)), make)

    told = [text for outage in [(0.0, 4.0), (1.0, 1.1)] for text in noticed(outage).differences]
    assert any(words in text for text in told), told
