"""Whatever becomes of random groups with random faults, at every commit there is an answer to why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from runner.clock import Clock
from runner.engine.engine import Engine
from runner.engine.targets import Targets
from runner.model import codec
from runner.model.explanation import Cause
from runner.model.result import Abort, Skip, Status, Waiting
from runner.simulator.scenario import Scenario
from runner.simulator.seeds import play_seed
from runner.simulator.world import make_engine
from runner.store.base import Batch, Store, TaskRow
from tests.simulation.slips import SlippingStore

SEEDS = range(80)

# What other tasks are the cause of: with it alone an answer would not be complete.
OPEN = {
    Waiting.DEPENDENCY,
    Skip.DEPENDENCY_FAILED,
    Skip.DEPENDENCY_SKIPPED,
    Skip.GROUP_ABORTED,
    Abort.FAIL_FAST,
    "further",
}


class Asked(SlippingStore):
    """After each commit asks its engine for the groups that it was about, and for all of their tasks."""

    engine: Engine

    def __init__(self, inner: Store, kinds: Counter[str]) -> None:
        super().__init__(inner, lambda batch: batch)
        self._kinds = kinds

    def record(self, batch: Batch) -> None:
        super().record(batch)
        for id in sorted({row.group for row in batch.tasks} | {row.id for row in batch.groups}):
            head = self.head(id)
            assert head is not None
            whole = self.engine.explain(head).cause
            assert whole.kind == head.group.status.value
            self._check(whole)
            names = [task.name for task in codec.decode_group(self.document(id)).tasks]
            rows = {row.name: row for row in self.tasks(id, names)}
            for name in names:
                cause = self.engine.explain(head, name).cause
                assert cause.task == name
                assert cause.kind in kinds_of(rows.get(name)), cause
                self._check(cause)

    def _check(self, cause: Cause) -> None:
        """It says something, and does not end with what something else is the cause of."""
        for each in every(cause):
            self._kinds[each.kind] += 1
            assert each.text
            assert each.text.strip() == each.text
            assert "None" not in each.text, each
            assert each.because or each.kind not in OPEN, each


def kinds_of(row: TaskRow | None) -> tuple[str | None, ...]:
    """By which words a task in this state may be told."""
    if row is None:
        return (Waiting.DEPENDENCY, Waiting.SLOT, Waiting.CONCURRENCY, Waiting.PAUSED)
    if row.status is Status.SKIPPED:
        return (row.reason,)
    if row.status is Status.PENDING:
        return (row.waiting, "deciding") if row.waiting == Waiting.DEPENDENCY else (row.waiting,)
    return (row.status.value,)


def every(cause: Cause) -> Iterator[Cause]:
    yield cause
    for each in cause.because:
        yield from every(each)


def test_every_transition_has_an_answer() -> None:
    kinds: Counter[str] = Counter()

    def make(store: Store, clock: Clock, targets: Targets, scenario: Scenario) -> Engine:
        asked = Asked(store, kinds)
        asked.engine = make_engine(asked, clock, targets, scenario)
        return asked.engine

    for seed in SEEDS:
        assert not play_seed(seed, make).differences
    # It was about all that there is.
    reasons = {*Skip, Abort.CANCELLED, Abort.FAIL_FAST, Abort.GROUP_TIMEOUT, Abort.REPLACED}
    waits = {
        Waiting.DEPENDENCY,
        Waiting.SLOT,
        Waiting.RETRY_DELAY,
        Waiting.PEER_UNREACHABLE,
        Waiting.MATRIX,
        Waiting.DECISION,
        Waiting.PAUSED,
        Waiting.CONCURRENCY,
    }
    others = {"attempt", "not_repeated", "allowed", "called_for", "placed", "stopping", "see"}
    wanted = {*reasons, *waits, *others, *(status.value for status in Status)} - {
        Status.SKIPPED.value,
        Status.PENDING.value,
    }
    assert {str(kind) for kind in wanted} - set(kinds) == set()
