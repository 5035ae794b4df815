"""Engines, stores and executors with one slip each: the simulator must notice every one of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from runner.clock import Clock, Timer
from runner.dispatch.base import Dispatcher, Sink
from runner.engine.engine import Engine
from runner.engine.slots import SlotQueue
from runner.engine.targets import Alone, Targets
from runner.errors import StoreFullError
from runner.model.dispatch import AttemptId, Dispatch, Finished, Report
from runner.model.event import Event, Kind
from runner.model.group import TaskGroup
from runner.model.result import Status, TaskGroupResult
from runner.simulator.scenario import CrashAt, Faults, Scenario
from runner.simulator.seeds import Verdict, play
from runner.simulator.world import SEALER, Engines, make_engine, plain_id
from runner.store.base import Batch, GroupRecord, Store, TaskRow
from tests.simulation.scenes import CROWD, SCENES


class SlippingStore:
    """Passes everything on, batches as `slip` changes them."""

    def __init__(self, inner: Store, slip: Callable[[Batch], Batch]) -> None:
        self._inner = inner
        self._slip = slip
        self.accept_group = inner.accept_group
        self.sync = inner.sync
        self.unfinished = inner.unfinished
        self.groups = inner.groups
        self.find = inner.find
        self.head = inner.head
        self.document = inner.document
        self.tasks = inner.tasks
        self.task_counts = inner.task_counts
        self.events = inner.events
        self.delete_group = inner.delete_group
        self.close = inner.close

    def record(self, batch: Batch) -> None:
        self._inner.record(self._slip(batch))

    def group(self, id: str) -> GroupRecord | None:
        return self._inner.group(id)


def recording(slip: Callable[[Batch], Batch]) -> Engines:
    return lambda store, clock, targets, scenario: make_engine(SlippingStore(store, slip), clock, targets, scenario)


def tasks_recorded(slip: Callable[[TaskRow], TaskRow]) -> Engines:
    return recording(lambda batch: replace(batch, tasks=[slip(row) for row in batch.tasks]))


def events_recorded(slip: Callable[[Event], Event]) -> Engines:
    return recording(lambda batch: replace(batch, events=[slip(event) for event in batch.events]))


class PassingDispatcher:
    """Passes everything on; those that derive from it have a slip."""

    def __init__(self, inner: Dispatcher) -> None:
        self.inner = inner

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def instance(self) -> str:
        return self.inner.instance

    def submit(self, dispatch: Dispatch) -> None:
        self.inner.submit(dispatch)

    def events(self, id: AttemptId, after: int, sink: Sink) -> None:
        self.inner.events(id, after, sink)

    def acknowledge(self, id: AttemptId, sequence: int) -> None:
        self.inner.acknowledge(id, sequence)

    def cancel(self, id: AttemptId, grace: float) -> None:
        self.inner.cancel(id, grace)

    def signal(self, id: AttemptId, signal: str) -> None:
        self.inner.signal(id, signal)

    def reconcile(self, live: Iterable[AttemptId]) -> None:
        self.inner.reconcile(live)

    def release(self, group: str) -> None:
        self.inner.release(group)


def dispatching(wrap: Callable[[Dispatcher], Dispatcher]) -> Engines:
    return lambda store, clock, targets, scenario: make_engine(store, clock, Alone(wrap(targets.here)), scenario)


def verdict_of(name: str, make: Engines, *crashes: CrashAt) -> Verdict:
    verdict = play(SCENES[name].scenario, Faults(crashes=crashes), make)
    assert str(verdict).count("\n! ") == len(verdict.differences)
    return verdict


def assert_noticed(verdict: Verdict, words: str) -> None:
    assert any(words in difference for difference in verdict.differences), verdict.differences


@pytest.mark.parametrize(
    ("slip", "words"),
    [
        (lambda row: replace(row, reason="no_data") if row.reason else row, "reason is 'no_data'"),
        (lambda row: replace(row, because_of="c") if row.because_of else row, "because_of is 'c'"),
        (lambda row: replace(row, attempt=2) if row.attempt else row, "attempts is 2, expected 1"),
        (lambda row: replace(row, exit_code=0) if row.exit_code else row, "exit_code is 0, expected 1"),
        (lambda row: replace(row, waiting="slot"), "waiting is"),
        (lambda row: replace(row, finished_at=row.finished_at and row.finished_at + 1), "+1.000000 s off"),
        (lambda row: replace(row, started_at=row.started_at and row.started_at - 1), "-1.000000 s off"),
        (lambda row: replace(row, status=Status.FAILED) if row.status is Status.SKIPPED else row, "status is 'failed'"),
    ],
)
def test_a_wrong_task_row(slip: Callable[[TaskRow], TaskRow], words: str) -> None:
    assert_noticed(verdict_of("a chain whose first fails", tasks_recorded(slip)), words)


def test_lost_outputs() -> None:
    verdict = verdict_of("a diamond with data", tasks_recorded(lambda row: replace(row, outputs=None)))
    assert_noticed(verdict, "g/a: recorded outputs is {}")


def test_other_outputs_after_a_crash() -> None:
    changed = tasks_recorded(lambda row: replace(row, outputs=b'{"x":{"text":"other"}}') if row.outputs else row)
    verdict = verdict_of("a diamond with data", changed, CrashAt(step=14))
    assert_noticed(verdict, "g/b/1 was submitted again with different content")


@pytest.mark.parametrize(
    ("slip", "words"),
    [
        (
            lambda event: replace(event, kind=Kind.TASK_READY) if event.kind is Kind.TASK_DISPATCHED else event,
            "events tell",
        ),
        (lambda event: replace(event, fields={**event.fields, "status": "aborted"}), "events tell that a ended"),
        (
            lambda event: replace(event, fields={**event.fields, "status": "errored"}),
            "events tell that the group ended",
        ),
        (lambda event: replace(event, fields={**event.fields, "text": "hush-sesame"}), "tells a confidential value"),
    ],
)
def test_a_wrong_event(slip: Callable[[Event], Event], words: str) -> None:
    assert_noticed(verdict_of("a chain whose first fails", events_recorded(slip)), words)


def test_an_effect_before_its_record() -> None:
    class Late:
        """Keeps every batch back until the next one."""

        def __init__(self) -> None:
            self.kept = Batch()

        def __call__(self, batch: Batch) -> Batch:
            copy = Batch(list(batch.groups), list(batch.tasks), list(batch.attempts), list(batch.events))
            late, self.kept = self.kept, copy
            return late

    assert_noticed(verdict_of("one task", recording(Late())), "was dispatched before that was recorded")


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


class NoAcknowledgement(PassingDispatcher):
    def acknowledge(self, id: AttemptId, sequence: int) -> None:
        pass


class NoCancel(PassingDispatcher):
    def cancel(self, id: AttemptId, grace: float) -> None:
        pass


class TwoStarts(PassingDispatcher):
    """Lets the executor forget an attempt that runs, and sends it again."""

    def events(self, id: AttemptId, after: int, sink: Sink) -> None:
        def meddle(report: Report) -> None:
            if report.sequence == 1 and not isinstance(report, Finished):
                self.reconcile([])
                self.submit(self.sent)
                self.inner.events(id, 1, sink)
            sink(report)

        super().events(id, after, meddle)

    def submit(self, dispatch: Dispatch) -> None:
        self.sent = dispatch
        super().submit(dispatch)


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


class NoPause(PassingDispatcher):
    def signal(self, id: AttemptId, signal: str) -> None:
        pass


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
    ) -> str:
        return super().submit(group, inputs, caller="everybody", workspace=workspace, traceparent=traceparent)


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
            queue = Impatient(slots)
            self._slots = queue
            self._services = replace(self._services, slots=queue)

    def make(store: Store, clock: Clock, targets: Targets, scenario: Scenario) -> Engine:
        return Wrong(
            scenario.max_parallel, store=store, clock=clock, dispatcher=targets.here, sealer=SEALER, hide_id=plain_id
        )

    assert_noticed(play(CROWD, Faults(), make), "s off")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (dispatching(NoPause), "s off"),
        (tasks_recorded(lambda row: replace(row, waiting=None) if row.waiting == "paused" else row), "waits for None"),
        (
            tasks_recorded(lambda row: replace(row, waiting="paused") if row.status == "running" else row),
            "waits for paused",
        ),
    ],
)
def test_a_slip_about_signals(make: Engines, words: str) -> None:
    assert_noticed(verdict_of("paused, and its time stands still", make), words)


def test_a_pause_that_is_not_written_down_is_noticed() -> None:
    forgets = recording(lambda batch: replace(batch, attempts=[replace(row, paused=False) for row in batch.attempts]))
    assert_noticed(verdict_of("paused, and its time stands still", forgets), "to pause before that was recorded")


def test_a_dispatch_that_is_not_what_was_written_down_about_its_pause_is_noticed() -> None:
    class Undoes(PassingDispatcher):
        def submit(self, dispatch: Dispatch) -> None:
            self.inner.submit(replace(dispatch, paused=not dispatch.paused))

    name = "paused, and its time stands still"
    assert_noticed(verdict_of(name, dispatching(Undoes)), "was dispatched with paused=True, recorded is False")


class NoRelease(PassingDispatcher):
    def release(self, group: str) -> None:
        pass


class AlwaysNew(PassingDispatcher):
    def submit(self, dispatch: Dispatch) -> None:
        super().submit(replace(dispatch, resumed=False))


class NoHandle(PassingDispatcher):
    def submit(self, dispatch: Dispatch) -> None:
        super().submit(replace(dispatch, handle=None))


class OtherContent(PassingDispatcher):
    def submit(self, dispatch: Dispatch) -> None:
        super().submit(replace(dispatch, workspace="/elsewhere") if dispatch.resumed else dispatch)


@pytest.mark.parametrize(
    ("wrapper", "name", "crashes", "words"),
    [
        (NoAcknowledgement, "one task", [], "its end never acknowledged"),
        (NoCancel, "cancelled", [], "g/a: "),
        (NoRelease, "one task", [], "released were []"),
        (AlwaysNew, "one task", [CrashAt(step=3)], "resumed=False"),
        (NoHandle, "one task", [CrashAt(step=6)], "with the handle None"),
        (TwoStarts, "one task", [], "g/a/1 was started 2 times"),
        (OtherContent, "one task", [CrashAt(step=3)], "g/a/1 was submitted again with different content"),
    ],
)
def test_a_dispatcher_that_slips(
    wrapper: type[PassingDispatcher], name: str, crashes: list[CrashAt], words: str
) -> None:
    assert_noticed(verdict_of(name, dispatching(wrapper), *crashes), words)


def test_an_acknowledgement_before_the_disk_has_it() -> None:
    class Hasty(PassingDispatcher):
        def events(self, id: AttemptId, after: int, sink: Sink) -> None:
            def eager(report: Report) -> None:
                sink(report)
                if isinstance(report, Finished):
                    self.acknowledge(id, report.sequence)

            super().events(id, after, eager)

    scene = SCENES["a chain whose first fails"].scenario
    steps = play(scene, Faults(), dispatching(Hasty)).played.steps
    noticed = [
        difference
        for step in range(steps)
        for difference in play(
            scene, Faults(crashes=(CrashAt(step=step, power_loss=True),)), dispatching(Hasty)
        ).differences
    ]
    assert any("the acknowledged end of g/a/1" in difference for difference in noticed), noticed
