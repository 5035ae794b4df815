"""Groups of which only so much is decided, ended or told in one turn, so that nobody else has to wait for all of them."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest

from runner.engine.engine import Engine
from runner.engine.group_run import GroupRun
from runner.model.event import Kind
from runner.model.group import TaskGroup
from runner.model.result import Status
from runner.model.task import Task, When
from runner.sealing import Sealer
from runner.simulator.clock import VirtualClock
from runner.simulator.executor import ScriptedExecutor
from runner.simulator.script import Script
from runner.store.base import Batch
from runner.store.memory import MemoryStore

AT_ONCE = 10
MANY = 1000
GROUPS = 12


class Watched(MemoryStore):
    """Knows how many rows and events the largest transaction has had; `left` is how many more it takes before it is as if killed."""

    left = 1_000_000

    def __init__(self, call_soon: Callable[[Callable[[], None]], None]) -> None:
        super().__init__(call_soon)
        self.largest = 0
        self.told: list[Counter[str]] = []
        """How many events each transaction has had, by group."""

    def record(self, batch: Batch) -> None:
        if self.left <= 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.told.append(Counter(event.group for event in batch.events))
        self.largest = max(self.largest, len(batch.tasks) + len(batch.attempts) + len(batch.events))
        super().record(batch)


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.store = Watched(self.clock.call_soon)
        self.executor = ScriptedExecutor(self.clock, lambda id: Script(duration=1000.0))
        self.sealer = Sealer.ephemeral()

    def engine(self, slots: int = 2) -> Engine:
        return Engine(
            store=self.store,
            clock=self.clock,
            dispatcher=self.executor,
            sealer=self.sealer,
            max_parallel=slots,
            most_at_once=AT_ONCE,
        )


def tasks(*, behind_one: bool, last: Sequence[Task] = ()) -> tuple[Task, ...]:
    gate = Task(name="gate", type="scripted")
    edges = ("gate",) if behind_one else ()
    return (gate, *(Task(name=f"t{n}", type="scripted", depends_on=edges) for n in range(MANY)), *last)


@pytest.mark.parametrize("behind_one", [True, False])
def test_no_transaction_is_large(behind_one: bool) -> None:
    world = World()
    engine = world.engine()
    engine.submit(TaskGroup(id="g", name="large", tasks=tasks(behind_one=behind_one)))
    world.clock.run_until(world.clock.now().boot + 1)
    engine.cancel_once("g")
    world.clock.run_until(world.clock.now().boot + 100)
    assert engine.status("g") is Status.ABORTED
    assert world.store.largest <= 6 * AT_ONCE
    results = engine.result("g").results
    assert {result.status for name, result in results.items() if name != "gate"} <= {Status.SKIPPED, Status.ABORTED}
    kinds = [event.kind for event in engine.events("g", limit=10_000)]
    assert kinds.count(Kind.CANCEL_REQUESTED) == 1
    assert kinds.count(Kind.GROUP_FINISHED) == 1
    assert kinds[-1] is Kind.GROUP_FINISHED


@pytest.mark.parametrize("commits", [0, 1, 2, 7, 50])
def test_a_cancel_that_was_recorded_goes_on_in_the_next_life(commits: int) -> None:
    world = World()
    engine = world.engine()
    cleans = Task(name="cleans", type="scripted", depends_on=("t5",), when=When.ALWAYS, allow_failure=True)
    engine.submit(TaskGroup(id="g", name="large", cleanup_timeout=5.0, tasks=tasks(behind_one=True, last=(cleans,))))
    world.clock.run_until(world.clock.now().boot + 1)
    engine.cancel_once("g")
    world.store.left = commits
    with pytest.raises(KeyboardInterrupt):
        world.clock.run_until(world.clock.now().boot + 100)
    engine.close()
    world.store.left = 1_000_000
    engine = world.engine()
    engine.recover()
    if not commits:  # nobody was told that it is cancelled
        engine.cancel_once("g")
    world.clock.run_until(world.clock.now().boot + 100)
    assert engine.status("g") is Status.ABORTED
    results = engine.result("g").results
    assert {results[f"t{n}"].status for n in range(MANY)} == {Status.SKIPPED}
    assert results["cleans"].status is Status.ABORTED
    events = engine.events("g", limit=10_000)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert sum(event.kind is Kind.TASK_SKIPPED for event in events) == MANY
    assert engine.active == 0


def begun(world: World, groups: int, *, behind_one: bool) -> tuple[Engine, list[str]]:
    """With so many large groups, each of a caller of its own, and their ids."""
    engine = world.engine()
    ids = []
    for number in range(groups):
        group = TaskGroup(id="g", name="large", tasks=tasks(behind_one=behind_one))
        ids.append(engine.submit(group, caller=f"caller{number}"))
    return engine, ids


@pytest.mark.parametrize("behind_one", [True, False])
def test_no_transaction_grows_with_the_number_of_groups(behind_one: bool) -> None:
    world = World()
    engine, ids = begun(world, GROUPS, behind_one=behind_one)
    world.clock.run_until(world.clock.now().boot + 1)
    for id in ids:
        engine.cancel_once(id)
    world.clock.run_until(world.clock.now().boot + 100)
    assert engine.active == 0
    assert world.store.largest <= 6 * AT_ONCE + 2 * GROUPS, "all may begin, and end, at the same time"


@pytest.mark.parametrize("caller", ["ada", "caller0"])
def test_a_small_group_does_not_wait_for_the_end_of_large_ones(caller: str) -> None:
    world = World()
    engine, ids = begun(world, GROUPS, behind_one=False)
    world.clock.run_until(world.clock.now().boot + 1)
    for id in ids:
        engine.cancel_once(id)
    small = TaskGroup(id="small", name="small", tasks=(Task(name="t", type="scripted"),))
    id = engine.submit(small, caller=caller)
    before = len(world.store.told)
    world.clock.run_until(world.clock.now().boot + 100)
    is_decided = next(place for place, groups in enumerate(world.store.told) if id in groups)
    assert len(world.store.told) - before > 10 * GROUPS
    assert is_decided - before <= 2 * GROUPS, "each of the others has had a share, and one more"


def test_all_large_groups_get_on() -> None:
    """However many: none comes to its end before all others have come about as far."""
    world = World()
    engine, ids = begun(world, GROUPS, behind_one=True)
    world.clock.run_until(world.clock.now().boot + 1)
    world.store.told.clear()
    for id in ids:
        engine.cancel_once(id)
    world.clock.run_until(world.clock.now().boot + 100)
    far: Counter[str] = Counter()
    for groups in world.store.told:
        far += groups
        if MANY // 2 <= max(far.values()) < MANY:
            assert min(far[id] for id in ids) > max(far.values()) - MANY // 10
    assert min(far[id] for id in ids) > MANY


def runs() -> Iterator[GroupRun]:
    """All that there are."""
    return (each for each in gc.get_objects() if isinstance(each, GroupRun))


def test_what_is_over_is_let_go_of_without_the_collector() -> None:
    world = World()
    others = {id(each) for each in runs()}  # which other tests have left
    gc.disable()
    try:
        engine, (its_id,) = begun(world, 1, behind_one=True)
        world.clock.run_until(world.clock.now().boot + 1)
        (run,) = [weakref.ref(each) for each in runs() if id(each) not in others]
        engine.cancel_once(its_id)
        world.clock.run_until(world.clock.now().boot + 100)
        assert run() is None
    finally:
        gc.enable()


def test_what_a_cancel_has_not_come_to_yet_is_not_begun() -> None:
    """Slots become free while it goes through the others, and delays come to their end."""
    world = World()
    engine = world.engine(slots=2)
    engine.submit(TaskGroup(id="g", name="large", tasks=tasks(behind_one=False)))
    world.clock.run_until(world.clock.now().boot + 1)
    engine.cancel_once("g")
    world.clock.run_until(world.clock.now().boot + 100)
    kinds = [event.kind for event in engine.events("g", limit=10_000)]
    assert Kind.TASK_DISPATCHED not in kinds[kinds.index(Kind.CANCEL_REQUESTED) :]
    assert Kind.TASK_READY not in kinds[kinds.index(Kind.CANCEL_REQUESTED) :]
