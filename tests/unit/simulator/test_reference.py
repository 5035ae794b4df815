"""The rules and the turns of the reference model one by one; `tests/simulation/scenes.py` plays them together."""

from __future__ import annotations

import pytest

from runner.model.result import Outcome, Reason, Status
from runner.model.task import Export, Import, Retry, Task, When
from runner.model.value import Value
from runner.simulator.rules import BROKEN_CONDITION, End, Errored, Runs, Skipped, decide, group_status, retried
from runner.simulator.turns import Turns

ENDS = {
    "success": End(Status.SUCCESS),
    "failed": End(Status.FAILED),
    "errored": End(Status.ERRORED),
    "aborted": End(Status.ABORTED),
    **{
        reason: End(Status.SKIPPED, reason)
        for reason in (
            "dependency_failed", "dependency_skipped", "condition_false", "no_failure", "no_data", "group_aborted"
        )
    },
}  # fmt: skip


def verdict(end: str, when: When, *, allow: bool = False, data: bool = False, default: str | None = None) -> object:
    """What becomes of a task with one dependency that ended so."""
    source = Task(name="a", type="x", allow_failure=allow, exports=(Export(name="v", default=default),))
    imports = (Import(task="a", variable="v"),) if data else ()
    task = Task(name="b", type="x", depends_on=("a",), imports=imports, when=when)
    return decide(task, {"a": source, "b": task}, {"a": ENDS[end], "b": End()}, {})


@pytest.mark.parametrize(
    ("end", "allow", "expected"),
    [
        ("success", False, None),
        ("failed", False, "dependency_failed"),
        ("errored", False, "dependency_failed"),
        ("failed", True, None),
        ("errored", True, None),
        ("aborted", False, "dependency_failed"),
        ("aborted", True, "dependency_failed"),
        ("dependency_failed", False, "dependency_skipped"),
        ("dependency_skipped", True, "dependency_skipped"),
        ("no_data", False, "dependency_skipped"),
        ("group_aborted", False, "dependency_skipped"),
        ("condition_false", False, None),
        ("no_failure", False, None),
    ],
)
def test_when_success(end: str, allow: bool, expected: str | None) -> None:
    assert verdict(end, When.SUCCESS, allow=allow) == (Skipped(expected, "a") if expected else Runs({}))


@pytest.mark.parametrize("end", ENDS)
def test_when_failure_and_always(end: str) -> None:
    failed = end in ("failed", "errored")
    assert verdict(end, When.FAILURE) == (Runs({}) if failed else Skipped("no_failure"))
    assert verdict(end, When.ALWAYS) == Runs({})


@pytest.mark.parametrize(
    ("end", "allow", "granted"),
    [
        ("condition_false", False, True),
        ("no_failure", False, True),
        ("failed", True, True),
        ("errored", True, True),
        ("failed", False, False),
        ("aborted", False, False),
        ("no_data", False, False),
        ("success", False, False),
    ],
)
def test_the_default_of_an_export(end: str, allow: bool, granted: bool) -> None:
    expected = Runs({"a": {"v": Value("d")}}) if granted else Skipped("no_data", "a")
    assert verdict(end, When.ALWAYS, allow=allow, data=True, default="d") == expected
    assert verdict(end, When.ALWAYS, allow=allow, data=True) == Skipped("no_data", "a")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (None, Runs({})),
        (True, Runs({})),
        (False, Skipped("condition_false")),
        ("{{ .inputs.mode == 'a' }}", Runs({})),
        ("{{ .inputs.mode != 'a' }}", Skipped("condition_false")),
        (BROKEN_CONDITION, Errored("bad_template")),
    ],
)
def test_conditions(condition: str | bool | None, expected: object) -> None:
    task = Task(name="t", type="x", condition=condition)
    assert decide(task, {"t": task}, {"t": End()}, {"mode": Value("a")}) == expected


def test_a_condition_that_it_does_not_know_is_refused() -> None:
    task = Task(name="t", type="x", condition="{{ .inputs.mode | upper }}")
    with pytest.raises(ValueError, match="upper"):
        decide(task, {"t": task}, {"t": End()}, {})


@pytest.mark.parametrize(
    ("on", "outcome", "expected"),
    [
        ({"failed"}, Outcome(status=Status.FAILED, exit_code=1), True),
        ({"failed"}, Outcome(status=Status.ERRORED), False),
        ({"errored"}, Outcome(status=Status.ERRORED, reason=Reason.START_FAILED), True),
        ({"7"}, Outcome(status=Status.FAILED, exit_code=7), True),
        ({"7"}, Outcome(status=Status.FAILED, exit_code=8), False),
        ({"timeout"}, Outcome(status=Status.FAILED, reason=Reason.TIMEOUT, exit_code=124), True),
        ({"failed", "errored"}, Outcome(status=Status.ERRORED, reason=Reason.HOST_RESTARTED), False),
        ({"host_restarted"}, Outcome(status=Status.ERRORED, reason=Reason.HOST_RESTARTED), True),
        ({"failed", "errored"}, Outcome(status=Status.SUCCESS), False),
        ({"failed", "errored"}, Outcome(status=Status.ABORTED), False),
    ],
)
def test_retries(on: set[str], outcome: Outcome, expected: bool) -> None:
    task = Task(name="t", type="x", retry=Retry(attempts=3, on=frozenset(on)))
    assert [retried(task, attempt, outcome) for attempt in (1, 2, 3)] == [expected, expected, False]


@pytest.mark.parametrize(
    ("abort", "statuses", "expected"),
    [
        (None, "success skipped", (Status.SUCCESS, None)),
        (None, "success failed", (Status.FAILED, None)),
        (None, "failed errored success", (Status.ERRORED, None)),
        ("fail_fast", "failed aborted", (Status.FAILED, "fail_fast")),
        ("cancelled", "success", (Status.ABORTED, "cancelled")),
        ("group_timeout", "errored aborted", (Status.ABORTED, "group_timeout")),
    ],
)
def test_the_status_of_a_group(abort: str | None, statuses: str, expected: tuple[Status, str | None]) -> None:
    ends = [(Task(name="t", type="x"), End(Status(status))) for status in statuses.split()]
    allowed = (Task(name="u", type="x", allow_failure=True), End(Status.ERRORED))
    assert group_status(abort, [*ends, allowed]) == expected


def served(turns: Turns, waiting: dict[str, list[str]]) -> str:
    """Who is served, one after the other, until nobody waits: `waiting` has each group as often as it has tasks."""
    order: list[str] = []
    while True:
        turns.look({caller: list(dict.fromkeys(groups)) for caller, groups in waiting.items() if groups})
        group = turns.next()
        if group is None:
            return " ".join(order)
        next(groups for groups in waiting.values() if group in groups).remove(group)
        order.append(group)


def test_callers_then_their_groups_in_turn() -> None:
    assert served(Turns(), {"a": ["a1", "a2", "a1"], "b": ["b", "b", "b"]}) == "a1 b a2 b a1 b"


def test_who_comes_back_stands_at_the_end() -> None:
    turns = Turns()
    turns.look({"a": ["a"], "b": ["b"], "c": ["c"]})
    assert turns.next() == "a"
    turns.look({"b": ["b"], "c": ["c"]})
    turns.look({"a": ["a"], "b": ["b"], "c": ["c"]})
    turns.look({"a": ["a"], "c": ["c"]})
    assert served(turns, {"a": ["a"], "b": ["b"], "c": ["c"]}) == "c a b"


def test_nobody_waits() -> None:
    assert Turns().next() is None
