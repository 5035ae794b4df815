from __future__ import annotations

from collections.abc import Callable

from runner.engine.slots import SlotQueue


def _drain(queue: SlotQueue, waits: Callable[[str, int], bool] = lambda group, index: True) -> list[tuple[str, int]]:
    taken = []
    while queue.ready and (one := queue.take(waits)) is not None:
        taken.append(one)
    return taken


def test_within_a_group_declaration_order_decides() -> None:
    queue = SlotQueue(limit=9)
    for index in (5, 1, 3):
        queue.add("caller", "g", index)
    assert _drain(queue) == [("g", 1), ("g", 3), ("g", 5)]


def test_callers_take_turns_and_so_do_the_groups_of_one() -> None:
    queue = SlotQueue(limit=99)
    for index in range(3):
        queue.add("anna", "a1", index)
        queue.add("anna", "a2", index)
        queue.add("ben", "b1", index)
    assert [group for group, _ in _drain(queue)] == ["a1", "b1", "a2", "b1", "a1", "b1", "a2", "a1", "a2"]


def test_nothing_is_ready_while_all_slots_are_taken() -> None:
    queue = SlotQueue(limit=1)
    queue.add("caller", "g", 0)
    queue.taken = 1
    assert not queue.ready
    queue.taken = 0
    assert queue.ready


def test_those_that_do_not_wait_any_more_cost_nobody_a_turn() -> None:
    queue = SlotQueue(limit=99)
    for index in range(2):
        queue.add("anna", "cancelled", index)
        queue.add("anna", "a", index)
        queue.add("ben", "b", index)
    queue.add("cleo", "cancelled too", 0)
    taken = _drain(queue, lambda group, index: not group.startswith("cancelled"))
    assert [group for group, _ in taken] == ["a", "b", "a", "b"]
    assert not queue.ready
