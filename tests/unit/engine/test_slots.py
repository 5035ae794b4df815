from __future__ import annotations

from runner.engine.slots import SlotQueue


def _drain(queue: SlotQueue) -> list[tuple[str, int]]:
    taken = []
    queue.settle()
    while queue.ready:
        taken.append(queue.take())
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


def test_nothing_is_ready_once_it_is_closed() -> None:
    queue = SlotQueue(limit=1)
    queue.add("caller", "g", 0)
    queue.closed = True
    assert not queue.ready


def test_those_that_do_not_wait_any_more_cost_nobody_a_turn() -> None:
    queue = SlotQueue(limit=99)
    for index in range(2):
        queue.add("anna", "cancelled", index)
        queue.add("anna", "a", index)
        queue.add("ben", "b", index)
    queue.add("cleo", "cancelled too", 0)
    for index in range(2):
        queue.drop("anna", "cancelled", index)
    queue.drop("cleo", "cancelled too", 0)
    assert [group for group, _ in _drain(queue)] == ["a", "b", "a", "b"]
    assert not queue.ready


def test_of_those_that_wait_no_more_none_is_served() -> None:
    queue = SlotQueue(limit=99)
    for index in range(5):
        queue.add("anna", "a", index)
    for index in (0, 3):
        queue.drop("anna", "a", index)
    queue.add("anna", "a", 0)
    assert [index for _, index in _drain(queue)] == [0, 1, 2, 4]


def test_who_has_nothing_that_waits_loses_its_place_when_slots_are_given_out() -> None:
    queue = SlotQueue(limit=99)
    for caller in ("anna", "ben"):
        queue.add(caller, caller, 0)
    queue.drop("anna", "anna", 0)
    queue.settle()
    queue.add("anna", "anna", 1)
    queue.drop("ben", "ben", 0)
    queue.add("ben", "ben", 1)  # in the same turn: it keeps its place
    assert _drain(queue) == [("ben", 1), ("anna", 1)]


def test_all_but_some_of_a_group_wait_no_more() -> None:
    queue = SlotQueue(limit=99)
    for index in range(100):
        queue.add("anna", "cancelled", index)
    queue.add("anna", "a", 0)
    queue.add("ben", "ended", 0)
    queue.keep("anna", "cancelled", [3, 7, 1000])
    queue.keep("ben", "ended", ())
    queue.keep("ben", "of which nobody waits", ())
    queue.drop("anna", "cancelled", 50)  # which it has no more
    assert queue.load.waiting == 3
    queue.settle()
    assert _drain(queue) == [("cancelled", 3), ("a", 0), ("cancelled", 7)]
