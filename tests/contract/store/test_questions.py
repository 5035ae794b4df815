"""The contract of `runner.store.base.Store`, over every implementation: what is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from runner.errors import GroupExistsError, GroupNotFoundError
from runner.model.result import Status
from runner.store.base import Batch, GroupHead, GroupPage, GroupQuery, GroupRecord, Store
from tests.contract.store.stores import record_of
from tests.contract.store_samples import LATER, MOMENT, attempt, event, group, task


def test_events_are_read_in_pages(store: Store) -> None:
    store.accept_group(group(), [event(number) for number in range(1, 11)])
    assert [item.number for item in store.events("g", limit=4)] == [1, 2, 3, 4]
    assert [item.number for item in store.events("g", after=8, limit=4)] == [9, 10]
    assert store.events("g", after=10) == []
    assert store.events("g", after=99) == []
    assert store.events("g", limit=0) == []
    assert store.events("unknown") == []
    assert len(store.events("g", after=-5)) == 10


def test_unfinished_groups_in_the_order_of_their_acceptance(store: Store) -> None:
    for id in ("c", "a", "b", "d"):
        store.accept_group(group(id), [])
    store.record(Batch(groups=[group("c", status=Status.RUNNING), group("b", status=Status.SUCCESS)]))
    assert store.unfinished() == ["c", "a", "d"]
    store.record(Batch(groups=[group("b", status=Status.RUNNING), group("a", status=Status.ABORTED)]))
    assert store.unfinished() == ["c", "b", "d"]


def _listed(store: Store, **query: Any) -> list[str]:
    return [row.id for row in store.groups(GroupQuery(**query)).rows]


def test_groups_are_listed_newest_first_in_pages(store: Store) -> None:
    for id in ("c", "a", "b", "d", "e"):
        store.accept_group(group(id, accepted=MOMENT if id == "e" else LATER), [])
    store.record(Batch(groups=[group("a", reason="changed", accepted=LATER)]))
    assert _listed(store) == ["e", "d", "b", "a", "c"]
    first = store.groups(GroupQuery(limit=2))
    second = store.groups(GroupQuery(limit=2, before=first.next))
    assert [row.id for row in (*first.rows, *second.rows)] == ["e", "d", "b", "a"]
    assert second.rows[1] == group("a", reason="changed", accepted=LATER, document=b"", inputs=b"")
    store.delete_group("a")  # a page goes on, whoever is gone meanwhile
    last = store.groups(GroupQuery(limit=2, before=second.next))
    assert ([row.id for row in last.rows], last.next) == (["c"], None)
    assert store.groups(GroupQuery(limit=0)) == GroupPage(rows=[])


def test_groups_are_asked_for_by_what_they_are(store: Store) -> None:
    store.accept_group(group("a", caller="me", labels={"team": "web", "tier": ""}), [])
    store.accept_group(group("b", caller="you", labels={"team": "db"}, accepted=LATER), [])
    store.accept_group(group("c", caller="me", accepted=LATER), [])
    store.record(Batch(groups=[group("c", caller="me", accepted=LATER, status=Status.FAILED)]))
    assert _listed(store, caller="me") == ["c", "a"]
    assert _listed(store, caller="nobody") == []
    assert _listed(store, statuses=frozenset({Status.FAILED, Status.SUCCESS})) == ["c"]
    assert _listed(store, labels={"team": "web"}) == ["a"]
    assert _listed(store, labels={"team": ""}) == ["b", "a"]
    assert _listed(store, labels={"team": "web", "tier": ""}) == ["a"]
    assert _listed(store, labels={"te'am": "%"}) == []
    assert _listed(store, accepted_from=LATER.wall) == ["c", "b"]
    assert _listed(store, accepted_before=LATER.wall) == ["a"]
    assert _listed(store, caller="me", statuses=frozenset({Status.PENDING}), limit=1) == ["a"]
    page = store.groups(GroupQuery(limit=1, caller="me"))
    assert _listed(store, caller="me", before=page.next) == ["a"]


def test_ids_belong_to_callers(store: Store) -> None:
    store.accept_group(group("g", caller="me"), [])
    store.accept_group(group("g~1", public_id="g", caller="you"), [])
    assert (store.find("me", "g"), store.find("you", "g"), store.find("you", "g~1")) == ("g", "g~1", None)
    for taken in (group("h", public_id="g", caller="me"), group("g", public_id="h", caller="me")):
        with pytest.raises(GroupExistsError):
            store.accept_group(taken, [])
    store.delete_group("g")
    assert (store.find("me", "g"), store.find("you", "g")) == (None, "g~1")


def test_a_group_without_its_tasks(store: Store) -> None:
    store.accept_group(group(task_count=3), [event(1)])
    store.record(Batch(tasks=[task("a", index=0), task("c", index=2, status=Status.SUCCESS)], events=[event(2)]))
    head = store.head("g")
    assert head == GroupHead(group=group(task_count=3, document=b"", inputs=b""), last_event=2)
    assert store.document("g") == group().document
    assert [row.name for row in store.tasks("g", ["c", "b", "a", "c"])] == ["a", "c"]
    assert store.tasks("g", ["c"]) == [task("c", index=2, status=Status.SUCCESS)]
    assert store.task_counts("g") == {Status.PENDING: 1, Status.SUCCESS: 1}
    assert [row.name for row in store.tasks_in("g", set(Status), 9)] == ["a", "c"]
    assert [row.name for row in store.tasks_in("g", set(Status), 1)] == ["a"]
    assert store.tasks_in("g", {Status.SUCCESS, Status.FAILED}, 9) == store.tasks("g", ["c"])
    assert (store.tasks_in("g", set(), 9), store.tasks_in("no", set(Status), 9)) == ([], [])
    assert (store.head("no"), store.tasks("no", ["a"]), store.task_counts("no")) == (None, [], {})
    with pytest.raises(GroupNotFoundError):
        store.document("no")


def test_a_deleted_group_leaves_nothing(store: Store) -> None:
    for id in ("g", "h"):
        store.accept_group(group(id), [])
        store.record(Batch(tasks=[task(group=id)], attempts=[attempt(group=id)], events=[event(1, id)]))
    store.delete_group("g")
    store.delete_group("g")
    store.delete_group("unknown")
    assert store.group("g") is None
    assert store.events("g") == []
    assert store.unfinished() == ["h"]
    with pytest.raises(GroupNotFoundError):
        store.record(Batch(events=[event(2)]))
    store.accept_group(group(name="new"), [event(1)])
    assert record_of(store) == GroupRecord(group=group(name="new"), tasks=[], attempts=[], last_event=1)
    assert (len(record_of(store, "h").tasks), len(record_of(store, "h").attempts), len(store.events("h"))) == (1, 1, 1)


def test_an_unknown_group_is_none(store: Store) -> None:
    assert store.group("unknown") is None
    assert store.groups() == GroupPage(rows=[])
    assert store.unfinished() == []
