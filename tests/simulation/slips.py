"""Stores and executors that pass everything on but for one slip, and what the simulator says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from runner.dispatch.base import Dispatcher, Sink
from runner.engine.targets import Alone
from runner.model.dispatch import AttemptId, Dispatch
from runner.model.event import Event
from runner.simulator.scenario import CrashAt, Faults
from runner.simulator.seeds import Verdict, play
from runner.simulator.world import Engines, make_engine
from runner.store.base import Batch, GroupRecord, Store, TaskRow
from tests.simulation.scenes import SCENES


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
        self.tasks_in = inner.tasks_in
        self.attempts = inner.attempts
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


class NoCancel(PassingDispatcher):
    def cancel(self, id: AttemptId, grace: float) -> None:
        pass


def dispatching(wrap: Callable[[Dispatcher], Dispatcher]) -> Engines:
    return lambda store, clock, targets, scenario: make_engine(store, clock, Alone(wrap(targets.here)), scenario)


def verdict_of(name: str, make: Engines, *crashes: CrashAt) -> Verdict:
    verdict = play(SCENES[name].scenario, Faults(crashes=crashes), make)
    assert str(verdict).count("\n! ") == len(verdict.differences)
    return verdict


def assert_noticed(verdict: Verdict, words: str) -> None:
    assert any(words in difference for difference in verdict.differences), verdict.differences
