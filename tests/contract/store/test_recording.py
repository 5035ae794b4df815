"""The contract of `runner.store.base.Store`, over every implementation: what is written."""

from __future__ import annotations

import pytest

from runner.errors import GroupExistsError, GroupNotFoundError, StoreError
from runner.model.event import Event
from runner.store.base import Batch, GroupPage, GroupRecord, Store
from tests.contract.store.stores import record_of
from tests.contract.store_samples import FULL_ATTEMPT, FULL_EVENT, FULL_GROUP, FULL_TASK, attempt, event, group, task


def test_a_new_group_is_found_as_it_was_accepted(store: Store) -> None:
    store.accept_group(FULL_GROUP, [FULL_EVENT, event(2)])
    assert record_of(store) == GroupRecord(group=FULL_GROUP, tasks=[], attempts=[], last_event=2)
    assert store.events("g") == [FULL_EVENT, event(2)]


def test_of_a_new_group_tasks_may_be_known(store: Store) -> None:
    store.accept_group(group(), [event(1)], [FULL_TASK, task("other")])
    assert {row.name: row for row in record_of(store).tasks} == {FULL_TASK.name: FULL_TASK, "other": task("other")}
    store.record(Batch(tasks=[task("other", attempt=2)]))
    assert store.tasks("g", ["other"]) == [task("other", attempt=2)]


def test_the_attempts_at_one_task_by_their_number(store: Store) -> None:
    store.accept_group(group(), [])
    store.record(Batch(attempts=[attempt("b", 1), attempt("a", 10), attempt("a", 9)]))
    assert store.attempts("g", "a") == [attempt("a", 9), attempt("a", 10)]
    assert (store.attempts("g", "c"), store.attempts("h", "a")) == ([], [])


def test_an_id_is_taken_once(store: Store) -> None:
    store.accept_group(group(), [event(1)])
    with pytest.raises(GroupExistsError, match="g"):
        store.accept_group(group(name="other"), [event(1), event(2)])
    assert record_of(store).group == group()
    assert store.events("g") == [event(1)]


@pytest.mark.parametrize(
    "events", [[event(2)], [event(1), event(1)], [event(1), event(3)], [event(1, fields={"a": object()})]]
)
def test_a_group_whose_events_are_refused_is_not_there(store: Store, events: list[Event]) -> None:
    with pytest.raises(StoreError):
        store.accept_group(group(), events)
    assert store.group("g") is None
    assert store.unfinished() == []
    store.accept_group(group(), [event(1)])
    assert record_of(store).last_event == 1


def test_rows_come_back_whole(store: Store) -> None:
    store.accept_group(group(), [])
    store.record(Batch(groups=[FULL_GROUP], tasks=[FULL_TASK], attempts=[FULL_ATTEMPT], events=[FULL_EVENT]))
    assert record_of(store) == GroupRecord(group=FULL_GROUP, tasks=[FULL_TASK], attempts=[FULL_ATTEMPT], last_event=1)
    assert store.events("g") == [FULL_EVENT]


def test_rows_replace_the_row_of_the_same_identity(store: Store) -> None:
    store.accept_group(group(), [])
    store.record(Batch(groups=[FULL_GROUP], tasks=[FULL_TASK], attempts=[FULL_ATTEMPT]))
    store.record(Batch(groups=[group()], tasks=[task()], attempts=[attempt()]))
    assert record_of(store) == GroupRecord(group=group(), tasks=[task()], attempts=[attempt()], last_event=0)


def test_of_several_rows_of_one_identity_the_last_counts(store: Store) -> None:
    store.accept_group(group(), [])
    store.record(
        Batch(
            groups=[group(reason="1"), group(reason="2")],
            tasks=[task(error="1"), task(error="2")],
            attempts=[attempt(runner="1"), attempt(runner="2")],
        )
    )
    record = record_of(store)
    assert (record.group.reason, record.tasks[0].error, record.attempts[0].runner) == ("2", "2", "2")
    assert (len(record.tasks), len(record.attempts)) == (1, 1)


def test_document_and_inputs_stay_as_accepted(store: Store) -> None:
    store.accept_group(group(document=b"x" * 1_000_000, inputs=b"secret"), [])
    store.record(Batch(groups=[group(document=b"", inputs=b"", reason="why")]))
    assert record_of(store).group == group(document=b"x" * 1_000_000, inputs=b"secret", reason="why")


def test_tasks_are_ordered_by_index_and_attempts_by_task_and_number(store: Store) -> None:
    store.accept_group(group(), [])
    store.record(Batch(tasks=[task("a", index=2), task("c", index=0), task("b", index=10)]))
    store.record(Batch(attempts=[attempt("b", 1), attempt("a", 10), attempt("a", 9), attempt("Z", 1)]))
    record = record_of(store)
    assert [row.name for row in record.tasks] == ["c", "a", "b"]
    assert [(row.task, row.attempt) for row in record.attempts] == [("Z", 1), ("a", 9), ("a", 10), ("b", 1)]


def test_one_batch_may_be_about_several_groups(store: Store) -> None:
    for id in ("g", "h"):
        store.accept_group(group(id), [event(1, id)])
    store.record(
        Batch(
            tasks=[task(group="h", error="h"), task(group="g", error="g")],
            events=[event(2, "h"), event(2, "g"), event(3, "h")],
        )
    )
    assert [record_of(store, id).tasks[0].error for id in ("g", "h")] == ["g", "h"]
    assert [record_of(store, id).last_event for id in ("g", "h")] == [2, 3]


def test_an_empty_batch_is_nothing(store: Store) -> None:
    assert not Batch()
    store.record(Batch())
    assert store.groups() == GroupPage(rows=[])


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (Batch(groups=[group("unknown")]), GroupNotFoundError),
        (Batch(tasks=[task(group="unknown")]), GroupNotFoundError),
        (Batch(attempts=[attempt(group="unknown")]), GroupNotFoundError),
        (Batch(events=[event(1, "unknown")]), GroupNotFoundError),
        (Batch(events=[event(1)]), StoreError),
        (Batch(events=[event(3)]), StoreError),
        (Batch(events=[event(2), event(2)]), StoreError),
        (Batch(events=[event(2), event(4)]), StoreError),
        (Batch(events=[event(2, fields={"a": object()})]), StoreError),
    ],
    ids=["group", "task", "attempt", "event", "taken", "gap", "twice", "gap within", "not plain"],
)
def test_a_batch_that_is_refused_changes_nothing(store: Store, bad: Batch, error: type[Exception]) -> None:
    store.accept_group(group(), [event(1)])
    good = Batch(groups=[group(reason="new")], tasks=[task()], attempts=[attempt()], events=[event(2)])
    both = Batch(
        groups=good.groups + bad.groups,
        tasks=good.tasks + bad.tasks,
        attempts=good.attempts + bad.attempts,
        events=bad.events or good.events,
    )
    with pytest.raises(error):
        store.record(both)
    assert record_of(store) == GroupRecord(group=group(), tasks=[], attempts=[], last_event=1)
    assert store.events("g") == [event(1)]
    store.record(good)
    assert record_of(store).last_event == 2
