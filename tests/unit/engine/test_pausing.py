"""A group that stands still because a task has failed: what goes on, what waits, and what follows from a decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from runner.errors import UsageError
from runner.model.dispatch import AttemptId
from runner.model.event import Kind
from runner.model.group import TaskGroup
from runner.model.result import Outcome, Status
from runner.model.task import Cell, Export, Forward, Retry, Scope, Task, When
from runner.model.value import Value
from runner.simulator.script import Script
from tests.unit.engine.world import World

GOOD = Outcome(status=Status.SUCCESS, exit_code=0)
BAD = Outcome(status=Status.FAILED, exit_code=7, outputs={"v": Value("half")})


def task(name: str, *parents: str, **more: Any) -> Task:
    return Task(name=name, type="scripted", depends_on=parents, **more)


def world(bad: tuple[str, ...] = ("a/1",), slots: int = 100, seconds: Mapping[str, float] | None = None) -> World:
    """Each attempt takes a second, and fails where it is `bad` (`task/attempt`)."""

    def script(id: AttemptId) -> Script:
        outcome = BAD if f"{id.task}/{id.attempt}" in bad else GOOD
        return Script(start_after=0.0, duration=(seconds or {}).get(id.task, 1.0), outcome=outcome)

    return World(script, slots=slots)


def submit(at: World, *tasks: Task, pauses: bool = True, **more: Any) -> None:
    at.engine.submit(TaskGroup(id="g", name="g", tasks=tasks, **more), pause_on_failure=pauses)


def told(at: World) -> dict[str, str]:
    """Of each task its status, or what it waits for."""
    return {name: str(it.waiting or it.status) for name, it in at.engine.result("g").results.items()}


TASKS = (task("a"), task("long"), task("b", "a"), task("c", "long"), task("rescue", "a", when=When.FAILURE))


def test_what_runs_goes_on_and_nothing_else_begins() -> None:
    at = world(seconds={"long": 3.0})
    submit(at, *TASKS)
    at.pass_time(10)
    assert told(at) == {"a": "decision", "long": "success", "b": "dependency", "c": "paused", "rescue": "dependency"}
    result = at.engine.result("g")
    assert (result.status, result.paused_by) == (Status.RUNNING, "a")
    assert (result.results["a"].status, result.results["a"].exit_code) == (Status.PENDING, 7)
    assert [event.fields for event in at.events(Kind.TASK_HELD)] == [{"status": "failed", "exit_code": 7}]


def test_a_failure_that_stands_has_its_consequences() -> None:
    at = world()
    exports = (Export(name="v", scope=Scope.GLOBAL),)
    submit(at, replace(TASKS[0], exports=exports), *TASKS[1:])
    at.pass_time(10)
    assert at.engine.signal("g", "a", "continue")
    assert not at.engine.signal("g", "a", "continue")
    at.pass_time(10)
    assert told(at) == {"a": "failed", "long": "success", "b": "skipped", "c": "success", "rescue": "success"}
    result = at.engine.result("g")
    assert (result.status, result.paused_by) == (Status.FAILED, None)
    assert result.results["a"].outputs == {"v": Value("half")}
    assert result.results["b"].because_of == "a"


def test_a_retry_is_an_attempt_with_the_next_number() -> None:
    at = world(("a/1", "a/2"))
    submit(at, *TASKS)
    for number in (1, 2):
        at.pass_time(10)
        assert told(at)["a"] == "decision"
        assert at.engine.result("g").results["a"].attempts == number
        assert at.engine.signal("g", "a", "retry")
    at.pass_time(10)
    assert told(at) == {"a": "success", "long": "success", "b": "success", "c": "success", "rescue": "skipped"}
    assert at.engine.result("g").results["a"].attempts == 3
    assert at.engine.result("g").status is Status.SUCCESS


def test_retries_of_its_own_come_first() -> None:
    at = world(("a/1", "a/2"))
    submit(at, task("a", retry=Retry(attempts=2, delay=0.1)))
    at.pass_time(1.05)
    assert told(at)["a"] == "retry_delay"
    at.pass_time(10)
    assert told(at)["a"] == "decision"


def test_what_may_fail_and_what_has_no_such_wish_is_not_held() -> None:
    at = world()
    submit(at, task("a", allow_failure=True), task("b", "a"))
    at.pass_time(10)
    assert told(at) == {"a": "failed", "b": "success"}
    at = world()
    submit(at, *TASKS, pauses=False)
    at.pass_time(10)
    assert at.engine.result("g").status is Status.FAILED


def test_several_that_failed_are_decided_one_by_one_and_what_is_tried_again_runs_meanwhile() -> None:
    at = world(("a/1", "b/1"))
    submit(at, task("a"), task("b"), task("c", "a"), task("d", "a", "b", when=When.FAILURE))
    at.pass_time(10)
    assert told(at) == {"a": "decision", "b": "decision", "c": "dependency", "d": "dependency"}
    assert at.engine.signal("g", "a", "retry")
    at.pass_time(10)
    assert told(at) == {"a": "success", "b": "decision", "c": "paused", "d": "dependency"}
    assert at.engine.result("g").paused_by == "b"
    assert at.engine.signal("g", "b", "continue")
    at.pass_time(10)
    assert told(at) == {"a": "success", "b": "failed", "c": "success", "d": "success"}


@pytest.mark.parametrize("fail_fast", [False, True])
def test_a_held_failure_that_stands_with_another_is_because_of_nobody(fail_fast: bool) -> None:
    at = world(("m[0]/1", "m[1]/1"))
    cells = [
        task(f"m[{index}]", matrix=Cell(of="m", values={"n": str(index)}, fail_fast=fail_fast)) for index in range(2)
    ]
    submit(at, *cells, fail_fast=True)
    at.pass_time(3)
    assert set(told(at).values()) == {"decision"}
    assert at.engine.signal("g", "m[0]", "continue")
    at.pass_time(3)
    results = at.engine.result("g").results
    assert [(each.status, each.because_of) for each in results.values()] == [(Status.FAILED, None)] * 2


@pytest.mark.parametrize("decision", ["retry", "continue"])
def test_it_stands_still_for_the_next_engine_too(decision: str) -> None:
    at = world(seconds={"long": 3.0}, slots=2)
    submit(at, *TASKS, task("waits"), task("later", retry=Retry(attempts=2, delay=0.1)))
    at.pass_time(2)
    at.restart()
    at.pass_time(10)
    now = told(at)
    assert (now["a"], now["long"], now["waits"], now["c"]) == ("decision", "success", "paused", "paused")
    assert [event.fields for event in at.events(Kind.TASK_HELD)] == [{"status": "failed", "exit_code": 7}]
    at.restart()
    assert at.engine.signal("g", "a", decision)
    at.pass_time(0.001)  # it is written down
    at.restart()
    at.pass_time(10)
    wanted = {"retry": ("success", "success"), "continue": ("failed", "skipped")}[decision]
    assert (told(at)["a"], told(at)["b"]) == wanted
    assert {told(at)[name] for name in ("long", "c", "waits", "later")} == {"success"}


def test_a_retry_that_waits_for_a_slot_while_others_are_held_outlives_the_engine() -> None:
    at = world(("a/1", "b/1"), slots=3, seconds=dict.fromkeys(("x", "y", "z"), 20.0))
    submit(at, task("a"), task("b"), task("c"))
    at.engine.submit(TaskGroup(id="h", tasks=(task("x"), task("y"), task("z"))))
    at.pass_time(1.5)
    assert told(at) == {"a": "decision", "b": "decision", "c": "paused"}
    assert at.engine.signal("g", "a", "retry")
    at.pass_time(0.001)
    assert told(at)["a"] == "slot"
    at.restart()
    at.pass_time(60)
    assert told(at) == {"a": "success", "b": "decision", "c": "paused"}


def test_a_cancel_ends_it_and_cleans_up() -> None:
    at = world()
    submit(at, task("a"), task("b", "a"), task("clean", "b", when=When.ALWAYS))
    at.pass_time(10)
    at.engine.cancel("g")
    at.pass_time(10)
    assert told(at) == {"a": "failed", "b": "skipped", "clean": "success"}
    result = at.engine.result("g")
    assert (result.status, result.reason, result.paused_by) == (Status.ABORTED, "cancelled", None)


def test_the_timeout_rests_meanwhile_and_goes_on_afterwards() -> None:
    at = world(("a/1", "b/1"))
    submit(at, task("a"), task("b", "a"), timeout=2.5)
    at.pass_time(100)
    assert told(at)["a"] == "decision"
    at.restart()
    at.pass_time(100)
    assert at.engine.signal("g", "a", "retry")
    at.pass_time(10)
    result = at.engine.result("g")
    assert (result.status, result.reason) == (Status.ABORTED, "group_timeout")
    assert result.results["a"].status is Status.SUCCESS


def test_fail_fast_comes_with_the_decision() -> None:
    at = world(seconds={"long": 30.0})
    submit(at, *TASKS, fail_fast=True)
    at.pass_time(5)
    assert told(at)["long"] == "running"
    at.engine.signal("g", "a", "continue")
    at.pass_time(5)
    assert told(at)["long"] == "aborted"


def test_what_is_forwarded_is_held_here() -> None:
    at = world()
    submit(at, task("a", forward=Forward(to="there")), task("b", "a"))
    at.pass_time(10)
    assert told(at)["a"] == "decision"
    assert at.engine.signal("g", "a", "retry")
    at.pass_time(10)
    assert told(at) == {"a": "success", "b": "success"}


def test_a_group_that_is_forwarded_as_a_whole_is_refused() -> None:
    at = world()
    with pytest.raises(UsageError, match="does not pause on failure"):
        submit(at, task("a"), forward=Forward(to="there"))


def test_it_is_told_why_it_stands_still_and_how_it_goes_on() -> None:
    at = world(seconds={"long": 30.0})
    submit(at, *TASKS)
    at.pass_time(5)
    cause = at.engine.explain(at.engine.library.head("g")).cause
    assert (
        "stands still because a has failed: what runs goes on, nothing else begins, and its `timeout` rests"
        in cause.text
    )
    [held] = [it for it in cause.because if it.kind == "decision"]
    assert held.text.startswith(
        "a has failed, and its group stands still until somebody says whether it is tried once more (`retry`)"
    )
    assert [it.text for it in held.because] == ["attempt 1 failed after 1.0 s: exit code 7"]
    assert at.engine.explain(at.engine.library.head("g"), "b").cause.text == "b waits for a"
