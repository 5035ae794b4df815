"""The contract of `runner.store.base.Store`, over every implementation: what is safe, and what is there after the end."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest

from runner.errors import GroupExistsError, GroupNotFoundError, StoreError
from runner.model.result import Status
from runner.store.base import Batch, Store
from runner.store.memory import MemoryStore
from tests.contract.store.stores import Open, record_of
from tests.contract.store_samples import FULL_ATTEMPT, FULL_TASK, Calls, attempt, event, group, synced, task


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
    before = record_of(store)
    assert synced(store, calls) is None
    store.close()
    store = reopen()
    assert record_of(store) == before
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
