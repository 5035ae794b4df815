"""The contract of `runner.store.base.Store`, over every implementation.

An implementation joins by an entry in STORES: a function of a folder of its own and of `call_soon` that gives a store. A
store that outlives its object, i.e. that the same arguments give again, also stands in PERSISTENT.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runner.clock import Timer
from runner.errors import GroupExistsError, GroupNotFoundError, StoreError
from runner.model.event import Event
from runner.model.result import Status
from runner.simulator.clock import VirtualClock
from runner.simulator.life import Fate, Life
from runner.simulator.store import CrashingStore, Disk
from runner.store.base import Batch, GroupHead, GroupPage, GroupQuery, GroupRecord, Store
from runner.store.memory import MemoryStore
from runner.store.sqlite import SqliteStore
from tests.contract.store_samples import (
    FULL_ATTEMPT,
    FULL_EVENT,
    FULL_GROUP,
    FULL_TASK,
    LATER,
    MOMENT,
    Calls,
    attempt,
    event,
    group,
    synced,
    task,
)

Open = Callable[[], Store]


def crashing_store(calls: Calls) -> Store:
    """The simulator's store, with a life that does not end, on a clock whose timers are due at once."""

    class ImpatientClock(VirtualClock):
        def call_at(self, boot: float, callback: Callable[[], None]) -> Timer:
            calls.call_soon(callback)
            return super().call_at(boot, lambda: None)

    clock = ImpatientClock()
    return CrashingStore(Disk(clock), clock, Life(Fate(())))


STORES: dict[str, Callable[[Path, Calls], Store]] = {
    "memory": lambda folder, calls: MemoryStore(calls.call_soon),
    "crashing": lambda folder, calls: crashing_store(calls),
    "sqlite": lambda folder, calls: SqliteStore.open(folder / "state.db", call_soon_threadsafe=calls.call_soon),
}
PERSISTENT = ["sqlite"]


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path, calls: Calls) -> Iterator[Store]:
    opened = STORES[request.param](tmp_path, calls)
    yield opened
    opened.close()


@pytest.fixture(params=PERSISTENT)
def reopen(request: pytest.FixtureRequest, tmp_path: Path, calls: Calls) -> Open:
    return partial(STORES[request.param], tmp_path, calls)


def _group(store: Store, id: str = "g") -> GroupRecord:
    record = store.group(id)
    assert record is not None
    return record


def test_a_new_group_is_found_as_it_was_accepted(store: Store) -> None:
    store.accept_group(FULL_GROUP, [FULL_EVENT, event(2)])
    assert _group(store) == GroupRecord(group=FULL_GROUP, tasks=[], attempts=[], last_event=2)
    assert store.events("g") == [FULL_EVENT, event(2)]


def test_an_id_is_taken_once(store: Store) -> None:
    store.accept_group(group(), [event(1)])
    with pytest.raises(GroupExistsError, match="g"):
        store.accept_group(group(name="other"), [event(1), event(2)])
    assert _group(store).group == group()
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
    assert _group(store).last_event == 1


def test_rows_come_back_whole(store: Store) -> None:
    store.accept_group(group(), [])
    store.record(Batch(groups=[FULL_GROUP], tasks=[FULL_TASK], attempts=[FULL_ATTEMPT], events=[FULL_EVENT]))
    assert _group(store) == GroupRecord(group=FULL_GROUP, tasks=[FULL_TASK], attempts=[FULL_ATTEMPT], last_event=1)
    assert store.events("g") == [FULL_EVENT]


def test_rows_replace_the_row_of_the_same_identity(store: Store) -> None:
    store.accept_group(group(), [])
    store.record(Batch(groups=[FULL_GROUP], tasks=[FULL_TASK], attempts=[FULL_ATTEMPT]))
    store.record(Batch(groups=[group()], tasks=[task()], attempts=[attempt()]))
    assert _group(store) == GroupRecord(group=group(), tasks=[task()], attempts=[attempt()], last_event=0)


def test_of_several_rows_of_one_identity_the_last_counts(store: Store) -> None:
    store.accept_group(group(), [])
    store.record(
        Batch(
            groups=[group(reason="1"), group(reason="2")],
            tasks=[task(error="1"), task(error="2")],
            attempts=[attempt(runner="1"), attempt(runner="2")],
        )
    )
    record = _group(store)
    assert (record.group.reason, record.tasks[0].error, record.attempts[0].runner) == ("2", "2", "2")
    assert (len(record.tasks), len(record.attempts)) == (1, 1)


def test_document_and_inputs_stay_as_accepted(store: Store) -> None:
    store.accept_group(group(document=b"x" * 1_000_000, inputs=b"secret"), [])
    store.record(Batch(groups=[group(document=b"", inputs=b"", reason="why")]))
    assert _group(store).group == group(document=b"x" * 1_000_000, inputs=b"secret", reason="why")


def test_tasks_are_ordered_by_index_and_attempts_by_task_and_number(store: Store) -> None:
    store.accept_group(group(), [])
    store.record(Batch(tasks=[task("a", index=2), task("c", index=0), task("b", index=10)]))
    store.record(Batch(attempts=[attempt("b", 1), attempt("a", 10), attempt("a", 9), attempt("Z", 1)]))
    record = _group(store)
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
    assert [_group(store, id).tasks[0].error for id in ("g", "h")] == ["g", "h"]
    assert [_group(store, id).last_event for id in ("g", "h")] == [2, 3]


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
    assert _group(store) == GroupRecord(group=group(), tasks=[], attempts=[], last_event=1)
    assert store.events("g") == [event(1)]
    store.record(good)
    assert _group(store).last_event == 2


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
    assert _group(store) == GroupRecord(group=group(name="new"), tasks=[], attempts=[], last_event=1)
    assert (len(_group(store, "h").tasks), len(_group(store, "h").attempts), len(store.events("h"))) == (1, 1, 1)


def test_an_unknown_group_is_none(store: Store) -> None:
    assert store.group("unknown") is None
    assert store.groups() == GroupPage(rows=[])
    assert store.unfinished() == []


def test_sync_answers_later_each_call_once_in_order(store: Store, calls: Calls) -> None:
    store.accept_group(group(), [event(1)])
    answers: list[tuple[int, Exception | None]] = []

    def answer(number: int, error: Exception | None) -> None:
        answers.append((number, error))

    for number in range(20):
        store.sync(partial(answer, number))
        assert answers == []
    calls.run_until(lambda: len(answers) >= 10)
    store.sync(partial(answer, 20))
    calls.run_until(lambda: len(answers) == 21)
    assert answers == [(number, None) for number in range(21)]


def test_sync_is_answered_after_close(store: Store, calls: Calls) -> None:
    answers: list[Exception | None] = []
    for _ in range(3):
        store.sync(answers.append)
    store.close()
    assert answers == []
    calls.run_until(lambda: len(answers) == 3)
    assert answers == [None, None, None]


def test_an_answer_may_ask_again(store: Store, calls: Calls) -> None:
    answers: list[int] = []

    def answered(error: Exception | None) -> None:
        answers.append(1)
        if len(answers) < 5:
            store.sync(answered)

    store.sync(answered)
    calls.run_until(lambda: len(answers) == 5)


def test_nothing_works_after_close_but_close(store: Store) -> None:
    store.accept_group(group(), [])
    store.close()
    store.close()
    verbs: list[Callable[[], object]] = [
        lambda: store.accept_group(group("h"), []),
        lambda: store.record(Batch(tasks=[task()])),
        lambda: store.sync(lambda error: None),
        lambda: store.group("g"),
        store.unfinished,
        store.groups,
        lambda: store.events("g"),
        lambda: store.delete_group("g"),
    ]
    for verb in verbs:
        with pytest.raises(StoreError, match="closed"):
            verb()


def test_what_was_recorded_is_there_after_reopening(reopen: Open, calls: Calls) -> None:
    store = reopen()
    store.accept_group(group(), [event(1)])
    store.record(Batch(tasks=[FULL_TASK], attempts=[FULL_ATTEMPT], events=[event(2)]))
    before = _group(store)
    assert synced(store, calls) is None
    store.close()
    store = reopen()
    assert _group(store) == before
    with pytest.raises(StoreError):
        store.record(Batch(events=[event(2)]))
    store.record(Batch(events=[event(3)]))
    assert store.events("g") == [event(1), event(2), event(3)]
    store.close()


@pytest.mark.parametrize("seed", range(5))
def test_random_histories_equal_those_in_memory(reopen: Open, seed: int) -> None:
    """The same verbs, right and wrong ones, with restarts: after each the answers are those of the store in memory."""
    choose = random.Random(seed)
    model, store = MemoryStore(lambda callback: None), reopen()
    for _ in range(150):
        verb = _random_verb(choose, model)
        assert _outcome(verb, model) == _outcome(verb, store)
        if choose.random() < 0.03:
            store.close()
            store = reopen()
        assert store.unfinished() == model.unfinished()
        assert store.groups() == model.groups()
        for id in "abc":
            assert store.group(id) == model.group(id)
            assert store.events(id) == model.events(id)
    assert model.groups().rows
    store.close()


def _outcome(verb: Callable[[Store], None], store: Store) -> str:
    try:
        verb(store)
    except (StoreError, GroupExistsError, GroupNotFoundError) as error:
        return type(error).__name__
    return "done"


def _random_verb(choose: random.Random, model: Store) -> Callable[[Store], None]:
    id = choose.choice("abc")
    record = model.group(id)
    last = record.last_event if record else 0
    kind = choose.random()
    if kind < 0.15:
        row = group(id, name=str(choose.random()))
        return lambda store: store.accept_group(row, [event(1, id)])
    if kind < 0.2:
        return lambda store: store.delete_group(id)
    status = choose.choice(list(Status)[:-1])
    names = [choose.choice("xyz") for _ in range(choose.randrange(4))]
    batch = Batch(
        groups=[group(id, status=status, document=b"other")] if choose.random() < 0.3 else [],
        tasks=[task(name, id, index="zxy".index(name), error=str(choose.random())) for name in names],
        attempts=[attempt(name, choose.randrange(1, 4), id, sequence=choose.randrange(100)) for name in names],
        events=[event(last + 1 + step, id, at=choose.random()) for step in range(choose.randrange(3))],
    )
    if choose.random() < 0.1:
        batch.events.append(event(choose.randrange(1, 20), choose.choice("abc")))
    return lambda store: store.record(batch)
