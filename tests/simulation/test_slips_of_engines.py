"""Engines with one slip each: the simulator must notice every one of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from runner.clock import Clock, Timer
from runner.engine.admission import Submission
from runner.engine.engine import Engine
from runner.engine.slots import SlotQueue
from runner.engine.targets import Targets
from runner.errors import StoreFullError
from runner.model.group import TaskGroup
from runner.model.result import TaskGroupResult
from runner.simulator.scenario import CrashAt, Faults, Scenario
from runner.simulator.seeds import play
from runner.simulator.world import SEALER, Engines, make_engine, plain_id
from runner.store.base import Batch, Store
from tests.simulation.scenes import CROWD, SCENES
from tests.simulation.slips import NoCancel, SlippingStore, assert_noticed, dispatching, verdict_of


def test_one_slot_too_many() -> None:
    def make(store: Store, clock: Clock, targets: Targets, scenario: Scenario) -> Engine:
        return make_engine(store, clock, targets, replace(scenario, max_parallel=scenario.max_parallel + 1))

    assert_noticed(verdict_of("one slot, in declaration order", make), "2 attempts are in flight at once")


def test_an_engine_that_does_not_recover() -> None:
    class Forgetful(Engine):
        def recover(self) -> None:
            pass

    def make(store: Store, clock: Clock, targets: Targets, scenario: Scenario) -> Engine:
        return Forgetful(
            store=store,
            clock=clock,
            dispatcher=targets.here,
            sealer=SEALER,
            max_parallel=scenario.max_parallel,
            hide_id=plain_id,
        )

    assert verdict_of("a chain whose first fails", make).differences == ()
    assert_noticed(verdict_of("a chain whose first fails", make, CrashAt(step=3)), "status is 'running'")


def test_a_clock_that_is_late() -> None:
    class Late:
        def __init__(self, inner: Clock) -> None:
            self.inner = inner
            self.now = inner.now
            self.call_soon = inner.call_soon

        def call_at(self, boot: float, callback: Callable[[], None]) -> Timer:
            return self.inner.call_at(boot + 0.5, callback)

    def make(store: Store, clock: Clock, targets: Targets, scenario: Scenario) -> Engine:
        return make_engine(store, Late(clock), targets, scenario)

    assert_noticed(verdict_of("the third attempt succeeds", make), "s off")


class Careless(SlippingStore):
    """Takes what the disk did not take for written."""

    def record(self, batch: Batch) -> None:
        with contextlib.suppress(StoreFullError):
            self._inner.record(batch)


def careless(store: Store, clock: Clock, targets: Targets, scenario: Scenario) -> Engine:
    return make_engine(Careless(store, lambda batch: batch), clock, targets, scenario)


class Silent(Engine):
    """Tells nobody of an end that it could not write."""

    def unwritten_end(self, id: str) -> TaskGroupResult | None:
        return None


def silent(store: Store, clock: Clock, targets: Targets, scenario: Scenario) -> Engine:
    return Silent(
        store=store,
        clock=clock,
        dispatcher=targets.here,
        sealer=SEALER,
        max_parallel=scenario.max_parallel,
        hide_id=plain_id,
    )


@pytest.mark.parametrize(
    ("make", "name", "full", "words"),
    [
        (careless, "one task", (0.6, 9.0), "g/a/1: has no outcome"),
        (careless, "cancelled with clean-up", (0.6, 9.0), "g/b/1 was dispatched before that was recorded"),
        (silent, "cancelled", (1.0, 90.0), "its end was told at"),
        (
            dispatching(NoCancel),
            "cancelled three times",
            (1.0, 90.0),
            "g/a/1: was given up, and would have said that it stopped",
        ),
    ],
)
def test_a_slip_on_a_full_disk(make: Engines, name: str, full: tuple[float, float], words: str) -> None:
    assert_noticed(play(SCENES[name].scenario, Faults(full_disk=(full,)), make), words)


class Unfair(Engine):
    """All callers are one to it."""

    def submit(
        self,
        group: TaskGroup,
        inputs: Mapping[str, str] | None = None,
        *,
        caller: str = "",
        workspace: str = "",
        traceparent: str = "",
        pause_on_failure: bool = False,
    ) -> str:
        return super().submit(
            group,
            inputs,
            caller="everybody",
            workspace=workspace,
            traceparent=traceparent,
            pause_on_failure=pause_on_failure,
        )


def unfair(store: Store, clock: Clock, targets: Targets, scenario: Scenario) -> Engine:
    return Unfair(
        store=store,
        clock=clock,
        dispatcher=targets.here,
        sealer=SEALER,
        max_parallel=scenario.max_parallel,
        hide_id=plain_id,
    )


def test_callers_that_are_not_served_in_turn() -> None:
    assert play(CROWD).differences == ()
    assert_noticed(play(CROWD, Faults(), unfair), "s off")


class Unlimited(Engine):
    """Matrices are nothing to it but tasks."""

    def prepared(self, group: TaskGroup, inputs: Mapping[str, str] | None = None, id: str = "") -> Submission:
        submission = super().prepared(group, inputs, id)
        submission.plan.matrices.clear()
        return submission


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a matrix, two at once", "3 instances are in flight at once, 2 may be: g/a[1]/1, g/a[2]/1, g/a[3]/1"),
        ("a matrix, one of which fails", "g/a[1]: status is 'success', expected 'aborted'"),
    ],
)
def test_a_matrix_whose_instances_have_nothing_to_do_with_each_other(name: str, words: str) -> None:
    def make(store: Store, clock: Clock, targets: Targets, scenario: Scenario) -> Engine:
        return Unlimited(
            store=store,
            clock=clock,
            dispatcher=targets.here,
            sealer=SEALER,
            max_parallel=scenario.max_parallel,
            hide_id=plain_id,
        )

    assert_noticed(verdict_of(name, make), words)


def test_groups_that_are_not_served_in_turn() -> None:
    class Impatient(SlotQueue):
        """Serves a group to its end, before the next has its turn."""

        def add(self, caller: str, group: str, index: int) -> None:
            super().add(caller, caller, 1000 * int(group[1:]) + index)

        def take(self) -> tuple[str, int]:
            number = super().take()[1]
            return f"g{number // 1000}", number % 1000

    class Wrong(Engine):
        def __init__(self, slots: int, **others: Any) -> None:
            super().__init__(max_parallel=slots, **others)
            self._roster.slots = Impatient(slots)
            self._services = replace(self._services, slots=self._roster.slots)

    def make(store: Store, clock: Clock, targets: Targets, scenario: Scenario) -> Engine:
        return Wrong(
            scenario.max_parallel, store=store, clock=clock, dispatcher=targets.here, sealer=SEALER, hide_id=plain_id
        )

    assert_noticed(play(CROWD, Faults(), make), "s off")
