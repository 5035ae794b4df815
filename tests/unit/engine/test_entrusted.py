"""A group that another runner carries out as a whole: what is made of what that tells, be it true or not."""

from __future__ import annotations

from typing import Any

import pytest

from runner.engine.targets import Unreachable
from runner.model.dispatch import AttemptId, Finished
from runner.model.event import Kind
from runner.model.group import TaskGroup
from runner.model.result import Outcome, Reason, Status
from runner.model.task import Forward, Retry, When
from runner.model.value import Value
from tests.unit.engine.entrusting import ID, SUCCESS, THERE, Peer, World, dispatched, finished, started, task

RETRYING = (Kind.TASK_RETRYING, "a", 1, {"status": "failed", "seconds": 2.0, "exit_code": 3})


def test_what_it_tells_becomes_the_group_s_own() -> None:
    world = World()
    world.submit(task("a", retry=Retry(attempts=2)), task("b", "a"), task("c", "b", when=When.FAILURE))
    [group] = world.peer.groups
    assert (group.id, group.instance, group.public_id, group.resumed) == (ID, "there-1", "g", False)
    assert world.targets.asked == [(THERE, frozenset({"t"}))]
    world.peer.tell(dispatched("a"), started("a"), RETRYING)
    assert world.engine.result("g").results["a"].waiting == "retry_delay"
    world.peer.tell(dispatched("a", 2), started("a", 2))
    world.peer.tell(finished("a", 2), outcome=SUCCESS)
    world.peer.tell((Kind.TASK_DISPATCHED, "b", 1, {"runner": "yonder"}), started("b"), finished("b"), outcome=SUCCESS)
    world.peer.tell((Kind.TASK_SKIPPED, "c", 0, {"reason": "no_failure"}))
    world.peer.end(Outcome(status=Status.SUCCESS))
    result = world.engine.result("g")
    assert result.status is Status.SUCCESS
    assert {name: (it.attempts, it.runner) for name, it in result.results.items()} == {
        "a": (2, "there"),
        "b": (1, "there/yonder"),
        "c": (0, None),
    }
    assert ("release", "g") in world.peer.asked
    assert ("acknowledge", ID, 11) in world.peer.asked
    assert world.here.dispatches == {}
    world.check()


def test_the_next_engine_goes_on_behind_what_was_recorded() -> None:
    world = World()
    world.submit(task("a"), task("b", "a"))
    world.peer.tell(dispatched("a"), started("a"))
    world.restart()
    assert world.peer.after == 2
    [_, again] = world.peer.groups
    assert (again.resumed, again.running) == (True, (AttemptId("g", "a", 1),))
    assert ("reconcile", ID) in world.peer.asked
    world.peer.tell(finished("a"), outcome=SUCCESS)
    world.restart()
    world.peer.tell(dispatched("b"), started("b"), finished("b"), outcome=SUCCESS)
    world.peer.end(Outcome(status=Status.SUCCESS))
    assert world.engine.result("g").status is Status.SUCCESS
    world.check()


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ([started("a")], "that attempt 1 of 'a' has started"),
        ([dispatched("a", 2)], "that attempt 2 of 'a' begins behind attempt 0, pending"),
        ([dispatched("a"), dispatched("a", 2)], "that attempt 2 of 'a' begins behind attempt 1, running"),
        ([dispatched("a"), started("a", 2)], "that attempt 2 of 'a' has started"),
        ([dispatched("x")], "task_dispatched of 'x', a task that there is not"),
        ([finished("a")], "that 'a' is over with success, which is pending"),
        ([RETRYING], "that 'a' is tried again, which is pending"),
        (
            [dispatched("a"), (Kind.TASK_SKIPPED, "a", 0, {"reason": "no_data"})],
            "that 'a' is skipped, which is running",
        ),
        ([(Kind.TASK_SKIPPED, "a", 0, {"reason": "no_fun"})], "'no_fun' is not a valid Skip"),
        (
            [(Kind.TASK_SKIPPED, "a", 0, {"reason": "fail_fast", "because_of": "x"})],
            "task_skipped because of 'x', a task that there is not",
        ),
        (
            [(Kind.CANCEL_REQUESTED, None, 0, {"reason": "fail_fast", "because_of": "x"})],
            "cancel_requested because of 'x', a task that there is not",
        ),
        ([(Kind.TASK_WAITING, "a", 0, {"waiting": "godot"})], "'godot' is not a valid Waiting"),
        ([dispatched("a"), (Kind.TASK_READY, "a", 0, {"waiting": "slot"})], "that 'a' waits, which is running"),
        ([(Kind.CANCEL_REQUESTED, None, 0, {"reason": "boredom"})], "'boredom' is not a valid Abort"),
        ([dispatched("a"), finished("a"), dispatched("a", 2)], "task_dispatched of 'a', which was over"),
        ([dispatched("a"), RETRYING], "that 'a' is tried again behind attempt 1, of 1"),
        ([dispatched("a"), finished("a", 2)], "that attempt 2 of 'a' is over"),
        ([(Kind.TASK_PAUSED, "a", 0, {})], "task_paused of 'a', which is pending"),
    ],
)
def test_what_cannot_be_ends_it(told: list[Any], words: str) -> None:
    world = World()
    world.submit(task("a"), task("b", "a"))
    world.peer.tell(*told, outcome=SUCCESS)
    result = world.engine.result("g")
    assert result.status is Status.ERRORED
    errors = [it.error for it in result.results.values() if it.reason == Reason.RUNNER_LOST]
    assert any(words in (error or "") for error in errors), errors
    assert ("cancel", ID, 10.0) in world.peer.asked
    assert world.here.dispatches == {}
    world.check()


@pytest.mark.parametrize("status", ["success", "aborted", "running"])
def test_what_has_not_failed_is_not_tried_again(status: str) -> None:
    world = World()
    world.submit(task("a", retry=Retry(attempts=3)))
    world.peer.tell(dispatched("a"), started("a"), (Kind.TASK_RETRYING, "a", 1, {"status": status, "seconds": 1.0}))
    assert f"that 'a' is tried again, which has ended as {status}" in (
        world.engine.result("g").results["a"].error or ""
    )
    world.check()


def test_an_end_without_what_became_of_its_tasks_is_none() -> None:
    world = World()
    world.submit(task("a"), task("b", "a"), task("c", "a", when=When.ALWAYS))
    world.peer.tell(dispatched("a"), started("a"))
    world.peer.end(Outcome(status=Status.SUCCESS))
    assert world.ends() == {
        "a": (Status.ERRORED, "runner_lost"),
        "b": (Status.SKIPPED, "dependency_failed"),
        "c": (Status.ERRORED, "runner_lost"),
    }
    assert "not what became of 3 of its tasks" in (world.engine.result("g").results["a"].error or "")
    world.peer.end(Outcome(status=Status.ABORTED))
    assert world.kinds(Kind.LATE_RESULT) == [], "it was over there"
    world.check()
    assert world.engine.forget("g")


def test_what_is_not_taken_cannot_begin() -> None:
    world = World()
    world.submit(task("a"), task("b", "a", allow_failure=True), task("c", condition=False))
    world.peer.end(Outcome(status=Status.ERRORED, reason=Reason.REFUSED, error="there does not take it"))
    assert world.ends() == {
        "a": (Status.ERRORED, "refused"),
        "b": (Status.SKIPPED, "dependency_failed"),
        "c": (Status.SKIPPED, "condition_false"),
    }
    assert world.engine.result("g").results["a"].error == "there does not take it"
    world.check()


def test_nobody_there_says_why_and_is_decided_anew() -> None:
    world = World(Unreachable(why="there is away"))
    world.submit(task("a"), task("b", "a"))
    assert world.engine.result("g").results["a"].waiting == "peer_unreachable"
    [event] = [event for event in world.store.events("g", 0, 100) if event.kind is Kind.GROUP_WAITING]
    assert event.fields["why"] == "there is away"
    world.restart()
    assert world.kinds(Kind.GROUP_WAITING) == [Kind.GROUP_WAITING], "it was told"
    world.targets.chosen = world.peer
    world.targets.changed("there", True)
    world.wait()
    assert len(world.peer.groups) == 1
    assert world.engine.result("g").results["a"].waiting == "dependency"


def test_cancelled_before_anybody_had_it_nothing_of_it_begins() -> None:
    world = World(Unreachable(why="there is away"))
    world.submit(task("a"), task("clean", when=When.ALWAYS))
    world.engine.cancel("g")
    world.wait()
    assert world.ends() == dict.fromkeys(("a", "clean"), (Status.SKIPPED, "group_aborted"))
    assert world.here.dispatches == {}
    world.check()


def test_where_labels_choose_this_runner_it_stays_here() -> None:
    world = World(here=True)
    world.submit(task("a"), task("b", "a"), forward=Forward(labels={"os": "linux"}))
    world.targets.chosen = world.peer
    world.here._name = "called-otherwise"  # by its configuration, since then
    world.restart()
    world.wait(10)
    result = world.engine.result("g")
    assert result.status is Status.SUCCESS
    assert [it.runner for it in result.results.values()] == ["local", "called-otherwise"]
    assert world.peer.groups == []
    world.check()


def test_a_stop_is_confirmed_or_forced() -> None:
    world = World()
    world.submit(task("a"), task("b", "a"), cleanup_timeout=30.0)
    world.peer.tell(dispatched("a"), started("a"))
    world.engine.cancel("g")
    world.wait(48)
    assert ("cancel", ID, 10.0) in world.peer.asked
    assert world.ends()["a"] == (Status.RUNNING, None)
    world.wait(2)
    assert world.ends() == {"a": (Status.ABORTED, "cancelled"), "b": (Status.SKIPPED, "dependency_failed")}
    assert world.engine.result("g").results["a"].kill == {"confirmed": False}
    world.check()


def test_what_may_have_begun_there_was_not_skipped_for_the_abort() -> None:
    """Nothing was heard of `a`, which may run; only that it was skipped is certainly wrong."""
    lost = World()
    lost.submit(task("a"), task("b", "a"), timeout=5.0)
    lost.wait(6)
    lost.peer.end(Outcome(status=Status.ERRORED, reason=Reason.RUNNER_LOST, error="it is away"))
    silent = World()
    silent.submit(task("a"), task("b", "a"), cleanup_timeout=1.0)
    silent.engine.cancel("g")
    silent.wait(60)
    for world, abort in ((lost, "group_timeout"), (silent, "cancelled")):
        result = world.engine.result("g")
        assert (result.status, result.reason) == (Status.ABORTED, abort)
        assert world.ends() == {"a": (Status.ERRORED, "runner_lost"), "b": (Status.SKIPPED, "dependency_failed")}
        assert world.here.dispatches == {}
        world.check()


def test_a_second_cancel_hurries_it() -> None:
    world = World()
    world.submit(task("a"), cleanup_timeout=300.0)
    world.peer.tell(dispatched("a"), started("a"))
    world.engine.cancel("g")
    world.wait(5)
    world.engine.cancel("g")
    world.wait(19)
    assert ("cancel", ID, 0.0) in world.peer.asked
    assert world.ends()["a"] == (Status.RUNNING, None)
    world.wait(2)
    assert world.ends()["a"] == (Status.ABORTED, "cancelled")


def test_an_echo_of_its_cancel_is_no_other_one() -> None:
    world = World()
    world.submit(task("a"), timeout=5.0)
    world.peer.tell(dispatched("a"), started("a"))
    world.wait(10)
    world.peer.tell((Kind.CANCEL_REQUESTED, None, 0, {"reason": "cancelled", "count": 1}))
    aborted = Outcome(status=Status.ABORTED, reason="cancelled")
    world.peer.tell(finished("a", status="aborted", reason="cancelled"), outcome=aborted)
    world.peer.end(Outcome(status=Status.ABORTED, reason="cancelled"))
    result = world.engine.result("g")
    assert (result.status, result.reason) == (Status.ABORTED, "group_timeout")
    assert world.ends()["a"] == (Status.ABORTED, "group_timeout")
    assert world.kinds(Kind.CANCEL_REQUESTED) == [Kind.CANCEL_REQUESTED]
    world.check()


def test_an_abort_of_its_runner_is_told_as_that() -> None:
    world = World()
    world.submit(task("a"), task("b"), fail_fast=True)
    world.peer.tell(dispatched("a"), started("a"), dispatched("b"), started("b"))
    failed = Outcome(status=Status.FAILED, exit_code=1)
    world.peer.tell(finished("a", status="failed"), outcome=failed)
    assert all(verb != "cancel" for verb, *_ in world.peer.asked), "what failFast means is decided there"
    world.peer.tell((Kind.CANCEL_REQUESTED, None, 0, {"reason": "fail_fast", "because_of": "a"}))
    stopped = Outcome(status=Status.ABORTED, reason="fail_fast")
    world.peer.tell(finished("b", status="aborted", reason="fail_fast", because_of="a"), outcome=stopped)
    world.peer.end(Outcome(status=Status.FAILED, reason="fail_fast"))
    result = world.engine.result("g")
    assert (result.status, result.reason, result.results["b"].because_of) == (Status.FAILED, "fail_fast", "a")
    world.check()


def test_the_next_engine_does_not_end_what_its_runner_has_begun_to_end() -> None:
    """That has time for clean-up there, and a cancel of this runner would count for more than the failFast."""
    world = World()
    world.submit(task("a"), task("b", "a", when=When.ALWAYS), fail_fast=True, cleanup_timeout=30.0)
    world.peer.tell(
        dispatched("a"), started("a"), finished("a", status="failed"), outcome=Outcome(status=Status.FAILED)
    )
    world.peer.tell(
        (Kind.CANCEL_REQUESTED, None, 0, {"reason": "fail_fast", "because_of": "a"}), dispatched("b"), started("b")
    )
    world.restart()
    world.wait(31)
    world.restart()
    assert all(verb != "cancel" for verb, *_ in world.peer.asked)
    closed = Outcome(status=Status.ABORTED, reason="cleanup_timeout")
    world.peer.tell(finished("b", status="aborted", reason="cleanup_timeout"), outcome=closed)
    world.peer.end(Outcome(status=Status.FAILED, reason="fail_fast"))
    result = world.engine.result("g")
    assert (result.status, result.reason) == (Status.FAILED, "fail_fast")
    world.check()


def test_a_runner_that_is_no_peer_any_more_has_lost_it() -> None:
    world = World()
    world.submit(task("a"))
    world.peer.tell(dispatched("a"), started("a"))
    world.targets.known.clear()
    world.restart()
    result = world.engine.result("g")
    assert world.ends() == {"a": (Status.ERRORED, "runner_lost")}
    assert "is no peer of this runner any more" in (result.results["a"].error or "")


def test_a_runner_that_is_a_peer_again_has_no_word_about_what_is_over() -> None:
    world = World()
    world.submit(task("a"))
    world.peer.tell(dispatched("a"), started("a"))
    world.targets.known.clear()
    world.restart()
    told = world.kinds()
    assert told[-1] is Kind.GROUP_FINISHED
    world.targets.changed("there", True)
    world.wait()
    assert world.kinds() == told


def test_a_runner_that_is_no_peer_any_more_when_it_is_to_be_handed_over_has_lost_it() -> None:
    world = World()
    world.engine.submit(TaskGroup(id="g", forward=THERE, tasks=(task("a"),)))
    world.targets.known.clear()  # before the store has written down that it was chosen
    world.wait()
    assert world.ends() == {"a": (Status.ERRORED, "runner_lost")}
    assert world.peer.groups == []
    world.check()


def test_another_one_of_its_name_is_not_the_one_that_was_chosen() -> None:
    world = World()
    world.engine.submit(TaskGroup(id="g", forward=THERE, tasks=(task("a"),)))
    other = world.targets.known["there"] = Peer(world.clock)
    world.wait()
    assert world.ends() == {"a": (Status.ERRORED, "runner_lost")}
    assert other.groups == []


def test_outputs_are_kept_and_have_the_limit_of_a_group() -> None:
    world = World()
    world.submit(task("a"), task("b", "a"))
    world.peer.tell(dispatched("a"), started("a"))
    full = Outcome(status=Status.SUCCESS, outputs={"x": Value("y" * (17 << 20))})
    world.peer.tell(finished("a"), outcome=full)
    assert world.ends()["a"] == (Status.ERRORED, "outputs_too_large")


def test_signals_go_to_the_attempt_that_runs() -> None:
    world = World()
    world.submit(task("a"))
    assert not world.engine.signal("g", "a", "pause")
    world.peer.tell(dispatched("a"), started("a"))
    assert world.engine.signal("g", "a", "pause")
    world.wait()
    assert ("signal", AttemptId("g", "a", 1), "pause") in world.peer.asked
    world.peer.tell((Kind.TASK_PAUSED, "a", 1, {}))
    assert world.engine.result("g").results["a"].waiting == "paused"
    world.restart()
    assert world.peer.groups[-1].paused == {"a"}


def test_what_is_said_of_its_attempts_one_by_one_is_ignored() -> None:
    world = World()
    world.submit(task("a"))
    world.peer.tell(dispatched("a"), started("a"))
    world.peer._sink(Finished(id=AttemptId("g", "a", 1), sequence=9, outcome=SUCCESS))
    world.wait()
    assert world.ends()["a"] == (Status.RUNNING, None)


@pytest.mark.parametrize("whole", [True, False])
def test_another_reason_to_wait_is_told_and_not_at_every_turn(whole: bool) -> None:
    world = World(Unreachable(why="first"))
    world.submit(task("a", forward=None if whole else THERE), forward=THERE if whole else None)

    def changes(why: str, seconds: float) -> None:
        world.wait(seconds)
        world.targets.chosen = Unreachable(why=why)
        world.targets.changed("there", False)
        world.wait()

    changes("second", 10.0)
    changes("third", 60.0)
    changes("third", 60.0)
    kind = Kind.GROUP_WAITING if whole else Kind.TASK_WAITING
    told = [event.fields["why"] for event in world.store.events("g", 0, 100) if event.kind is kind]
    assert told == ["first", "third"]
