"""The contract of `runner.store.base.Archive`, over every implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from runner.errors import GroupNotFoundError, StoreError
from runner.model.result import Status
from runner.store.base import Archive, Batch, GroupRecord, Notice, Usage
from runner.store.memory import MemoryStore
from runner.store.sqlite import SqliteStore
from tests.contract.store_samples import MOMENT, Calls, attempt, event, group, task

STORES: dict[str, Callable[[Path, Calls], Archive]] = {
    "memory": lambda folder, calls: MemoryStore(calls.call_soon),
    "sqlite": lambda folder, calls: SqliteStore.open(folder / "state.db", call_soon_threadsafe=calls.call_soon),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Archive]:
    store = STORES[request.param](tmp_path, Calls())
    yield store
    store.close()


def _group(store: Archive, id: str = "g") -> GroupRecord:
    record = store.group(id)
    assert record is not None
    return record


def purged(store: Archive, rows: int) -> int:
    """Purge until nothing is left; in how many steps."""
    steps = 1
    while store.purge(rows):
        steps += 1
    return steps


def test_what_a_deleted_group_has_left_is_removed_piece_by_piece(store: Archive) -> None:
    for id in ("g", "h"):
        store.accept_group(group(id), [event(1, id)])
        names = [f"t{number}" for number in range(30)]
        store.record(Batch(tasks=[task(name, id) for name in names], attempts=[attempt(name, 1, id) for name in names]))
        store.record(Batch(events=[event(2 + number, id) for number in range(30)]))
    before = store.used_bytes()
    store.delete_group("g")
    store.accept_group(group("g", name="new"), [event(1)])  # before anything of the other one was removed
    store.record(Batch(tasks=[task("t0", error="new")]))
    for rows in (7, 1, 1000):
        store.purge(rows)
        assert _group(store) == GroupRecord(
            group=group(name="new"), tasks=[task("t0", error="new")], attempts=[], last_event=1
        )
        assert store.events("g") == [event(1)]
    purged(store, 7)
    assert store.removed() == []
    assert (len(_group(store, "h").tasks), len(_group(store, "h").attempts), len(store.events("h"))) == (30, 30, 31)
    assert store.used_bytes() <= before
    assert not store.purge(1)


def test_groups_that_are_over_come_in_the_order_of_their_end(store: Archive) -> None:
    ends = {"a": 30.0, "b": None, "c": 10.0, "d": 20.0, "e": 20.0}
    for id in ends:
        store.accept_group(group(id), [])
    store.record(
        Batch(groups=[group(id, status=Status.FAILED, finished_at=at) for id, at in ends.items() if at is not None])
    )
    found = store.finished()
    assert [(one.id, one.finished_at, one.accepted, one.log_bytes) for one in found] == [
        ("c", 10.0, MOMENT, 0), ("d", 20.0, MOMENT, 0), ("e", 20.0, MOMENT, 0), ("a", 30.0, MOMENT, 0),
    ]  # fmt: skip
    assert [one.id for one in store.finished(found[1])] == ["e", "a"]
    assert [one.id for one in store.finished(None, 2)] == ["c", "d"]
    assert store.finished(found[3]) == []


def test_what_logs_take_is_kept(store: Archive) -> None:
    for id in "abc":
        store.accept_group(group(id), [])
    store.record(Batch(groups=[group(id, status=Status.SUCCESS, finished_at=1.0) for id in "ab"]))
    assert (store.usage(), store.unmeasured(), store.unmeasured(1)) == (Usage(groups=2, log_bytes=0), ["a", "b"], ["a"])
    store.measured({"a": 5, "b": 7, "unknown": 9})
    assert (store.usage(), store.unmeasured()) == (Usage(groups=2, log_bytes=12), [])
    assert [one.log_bytes for one in store.finished()] == [5, 7]
    store.delete_group("a")
    assert store.usage() == Usage(groups=1, log_bytes=7)


def test_ends_that_have_to_be_told(store: Archive) -> None:
    for id in "abc":
        store.accept_group(group(id), [])
        store.record(Batch(groups=[group(id, status=Status.SUCCESS, finished_at=1.0)], notices=[id]))
    assert store.finished() == []
    notices = store.notices(0.0)
    assert sorted((one.group, one.tries, one.due) for one in notices) == [("a", 0, 0.0), ("b", 0, 0.0), ("c", 0, 0.0)]
    assert len({one.message_id for one in notices}) == 3
    assert (store.is_announced("a"), store.is_announced("unknown")) == (True, False)
    first = min(notices, key=lambda one: one.group)
    store.postpone(replace(first, tries=3, due=50.0))
    assert sorted(one.group for one in store.notices(49.0)) == ["b", "c"]
    assert store.notices(50.0)[-1] == replace(first, tries=3, due=50.0)
    assert (store.next_notice(), len(store.notices(50.0, 1))) == (0.0, 1)
    store.settle("b")
    store.delete_group("c")
    assert (store.next_notice(), [one.id for one in store.finished()]) == (50.0, ["b"])
    store.settle("a")
    store.settle("a")
    assert not store.is_announced("a")
    store.postpone(first)
    assert (store.next_notice(), store.notices(99.0)) == (None, [])
    with pytest.raises(GroupNotFoundError):
        store.record(Batch(notices=["unknown"]))


def test_a_closed_one_refuses_every_verb(store: Archive) -> None:
    store.accept_group(group("g"), [])
    store.close()
    verbs: list[Callable[[], object]] = [
        lambda: store.purge(1),
        store.removed,
        store.finished,
        store.usage,
        store.used_bytes,
        store.unmeasured,
        lambda: store.measured({"g": 1}),
        lambda: store.notices(0.0),
        store.next_notice,
        lambda: store.postpone(Notice(group="g", message_id="m")),
        lambda: store.settle("g"),
    ]
    for verb in verbs:
        with pytest.raises(StoreError, match="closed"):
            verb()
