from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from runner.clock import Moment
from runner.engine.journal import Journal
from runner.errors import StateLockedError, StoreError, StoreFullError
from runner.model.event import Event, Kind
from runner.simulator.clock import VirtualClock
from runner.store.base import Batch, GroupRow
from runner.store.memory import MemoryStore

ROW = GroupRow(
    id="g",
    public_id="g",
    caller="",
    name="",
    digest="",
    document=b"{}",
    inputs=b"{}",
    accepted=Moment(wall=1.0, boot=1.0, boot_id="b"),
)


class _State:
    """A group's row whose reason is counted up."""

    def __init__(self) -> None:
        self.value = 0
        self.asked = 0

    def row(self) -> GroupRow:
        self.asked += 1
        return replace(ROW, reason=str(self.value))


class _FullStore(MemoryStore):
    """A store whose disk can be full, or that somebody else can hold; whose disk may take nothing any more."""

    full = False
    held = False
    unsafe = False
    records = 0
    syncs = 0

    def record(self, batch: Batch) -> None:
        if self.full:
            raise StoreFullError
        if self.held:
            raise StateLockedError
        self.records += 1
        super().record(batch)

    def sync(self, done: Callable[[Exception | None], None]) -> None:
        self.syncs += 1
        super().sync(lambda error: done(StoreError("the disk is broken") if self.unsafe else error))


class _World:
    def __init__(self, before_tick: Callable[[], None] = lambda: None) -> None:
        self.clock = VirtualClock()
        self.store = _FullStore(self.clock.call_soon)
        self.store.accept_group(ROW, [])
        self.journal = Journal(self.store, self.clock, before_tick)
        self.did: list[str] = []

    def event(self, number: int) -> None:
        self.journal.event(Event(group="g", number=number, at=0.0, kind=Kind.GROUP_STARTED))

    def reason(self) -> str | None:
        record = self.store.group("g")
        assert record is not None
        return record.group.reason


def test_a_turn_is_one_transaction_with_the_last_state() -> None:
    world, state = _World(), _State()
    for value in (1, 2, 3):
        state.value = value
        world.journal.mark(state)
        world.event(value)
    world.clock.run_until_idle()
    assert (world.store.records, state.asked, world.reason()) == (1, 1, "3")
    assert [event.number for event in world.store.events("g")] == [1, 2, 3]


def test_what_is_written_wakes_nobody_again() -> None:
    world, state = _World(), _State()
    world.journal.mark(state)
    world.journal.then(lambda: world.did.append("effect"))
    world.clock.run_until(world.clock.now().boot)
    assert (world.did, world.clock.next_due) == (["effect"], None)
    world.journal.mark(state)  # and what changes behind it has a moment of its own
    due = world.clock.next_due
    assert due is not None
    world.clock.run_until_idle()
    assert (world.store.records, world.clock.next_due) == (2, None)


def test_effects_come_after_the_commit_and_in_order() -> None:
    world, state = _World(), _State()
    world.journal.then(lambda: world.did.append(f"first, with {world.reason()}"))
    state.value = 7
    world.journal.mark(state)
    world.journal.then(lambda: world.did.append("second"))
    world.clock.run_until_idle()
    assert world.did == ["first, with 7", "second"]


def test_while_the_store_refuses_nothing_is_done_and_nothing_is_lost() -> None:
    world, state = _World(), _State()
    world.store.full = True
    state.value = 1
    world.journal.mark(state)
    world.event(1)
    world.journal.then(lambda: world.did.append("effect"))
    world.clock.run_until(world.clock.now().boot + 5)
    assert (world.did, world.reason()) == ([], None)
    state.value = 2
    world.journal.mark(state)
    world.event(2)
    world.store.full = False
    world.clock.run_until_idle()
    assert (world.did, world.reason(), world.store.records) == (["effect"], "2", 1)
    assert [event.number for event in world.store.events("g")] == [1, 2]


def test_what_may_be_done_anyway_is_done_while_the_store_refuses() -> None:
    world, state = _World(), _State()
    world.journal.mark(state)
    world.journal.then(lambda: world.did.append("begins"))
    world.journal.anyway(lambda: world.did.append("ends one"))
    world.store.full = True
    world.clock.run_until(world.clock.now().boot)
    assert (world.did, type(world.journal.failure)) == (["ends one"], StoreFullError)
    assert world.journal.is_unwritten(state)
    world.journal.anyway(lambda: world.did.append("ends another"))
    world.clock.run_until(world.clock.now().boot)
    assert world.did == ["ends one", "ends another"]
    world.store.full = False
    world.clock.run_until_idle()
    assert (world.did, world.journal.failure) == (["ends one", "ends another", "begins"], None)
    assert not world.journal.is_unwritten(state)


def test_what_may_be_done_anyway_comes_after_the_commit_where_there_is_one() -> None:
    world, state = _World(), _State()
    world.journal.then(lambda: world.did.append("begins"))
    world.journal.anyway(lambda: world.did.append(f"ends, with {world.reason()}"))
    world.journal.mark(state)
    world.clock.run_until_idle()
    assert world.did == ["ends, with 0", "begins"]


def test_a_closed_journal_does_nothing_anyway() -> None:
    world, state = _World(), _State()
    world.store.full = True
    world.journal.mark(state)
    world.clock.run_until(world.clock.now().boot + 1)
    world.journal.anyway(lambda: world.did.append("ends"))
    world.journal.close()
    world.clock.run_until_idle()
    assert world.did == []


def test_every_refusal_is_told_and_a_hurry_tries_at_once() -> None:
    world, state = _World(), _State()
    world.journal.on_failure = lambda: world.did.append("refused")
    world.store.full = True
    world.journal.mark(state)
    world.clock.run_until(world.clock.now().boot + 0.01)
    assert world.did == ["refused"]
    world.journal.hurry()
    world.journal.hurry()
    world.clock.run_until(world.clock.now().boot)
    assert world.did == ["refused"] * 2
    world.clock.run_until(world.clock.now().boot + 3.5)
    assert world.did == ["refused"] * 5
    world.store.full = False
    world.journal.hurry()
    world.clock.run_until(world.clock.now().boot)
    assert world.reason() == "0"


def test_a_store_that_somebody_else_holds_is_tried_again() -> None:
    world, state = _World(), _State()
    world.store.held = True
    world.journal.mark(state)
    world.journal.then(lambda: world.did.append("effect"))
    world.clock.run_until(world.clock.now().boot + 2)
    assert world.did == []
    world.store.held = False
    world.clock.run_until_idle()
    assert (world.did, world.reason()) == (["effect"], "0")


def test_a_disk_that_never_confirms_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    world = _World()
    world.store.unsafe = True
    world.journal.when_durable(lambda: world.did.append("acknowledged"))
    world.clock.run_until(world.clock.now().boot + 60)
    assert world.did == []
    assert world.store.syncs <= 61
    assert [record.getMessage() for record in caplog.records] == ["state cannot be made durable: the disk is broken"]
    world.store.unsafe = False
    world.clock.run_until_idle()
    assert world.did == ["acknowledged"]


def test_the_events_of_a_turn_are_told_together() -> None:
    world = _World()
    heard: list[list[int]] = []
    world.journal.on_commit = lambda events: heard.append([event.number for event in events])
    world.event(1)
    world.event(2)
    world.clock.run_until_idle()
    assert heard == [[1, 2]]


def test_what_is_only_durable_later_is_done_later() -> None:
    world, state = _World(), _State()
    world.journal.when_durable(lambda: world.did.append("acknowledged"))
    world.journal.mark(state)
    world.clock.run_until(world.clock.now().boot)
    assert world.did == []
    world.clock.run_until_idle()
    assert world.did == ["acknowledged"]


def test_what_the_tick_adds_belongs_to_it() -> None:
    state = _State()
    world = _World(lambda: world.journal.mark(state))
    world.journal.wake()
    world.clock.run_until(world.clock.now().boot)
    assert state.asked >= 1
    assert world.reason() == "0"


def test_a_flush_does_not_wait_for_the_moment() -> None:
    world = _World()
    world.journal.when_durable(lambda: world.did.append("acknowledged"))
    world.journal.flush(lambda: world.did.append("flushed"))
    world.clock.run_until(world.clock.now().boot)
    assert world.did == ["acknowledged", "flushed"]
