"""Matrices: what their instances see, how many are under way, what the failure of one does, and what their join is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from runner.engine import again
from runner.errors import UsageError
from runner.model.dispatch import AttemptId
from runner.model.event import Kind
from runner.model.matrix import Matrix, expanded
from runner.model.result import Outcome, Reason, Skip, Status, Waiting
from runner.model.task import Export, Forward, Import, Retry, Scope, Task, When
from runner.model.value import Value
from runner.simulator.script import Script
from tests.unit.engine.world import World

PATH = Export(name="path", scope=Scope.GLOBAL)
USE = Task(name="use", type="scripted", imports=(Import(task="t", variable="path"),))
GOOD = Outcome(status=Status.SUCCESS, exit_code=0)
BAD = Outcome(status=Status.FAILED, exit_code=1)


def instances(*values: str, max_parallel: int | None = None, fail_fast: bool = False, **more: Any) -> Sequence[Task]:
    """Of a task `t`, and their join."""
    matrix = Matrix(axes={"n": values}, max_parallel=max_parallel, fail_fast=fail_fast)
    task = Task(name="t", type="scripted", exports=more.pop("exports", (PATH,)), **more)
    return tuple(expanded(task, matrix, [{"n": value} for value in values]))


def world(ends: Mapping[str, Outcome] | None = None, slots: int = 10, most: int = 50, **script: Any) -> World:
    """Each attempt takes a second and exports as `path` what its task is called."""

    def scripts(id: AttemptId) -> Script:
        outcome = (ends or {}).get(id.task, GOOD)
        outputs = {"path": Value(id.task)} if outcome.status is Status.SUCCESS else {}
        return Script(**{"duration": 1.0, "outcome": replace(outcome, outputs=outputs), **script})

    return World(scripts, slots=slots, most=most)


def told(world: World) -> dict[str, tuple[object, ...]]:
    results = world.engine.result("g").results.values()
    return {it.name: (it.status.value, it.reason, it.because_of) for it in results}


def running(world: World) -> list[str]:
    return [it.name for it in world.engine.result("g").results.values() if it.status is Status.RUNNING]


def given(world: World, task: str) -> Mapping[str, str]:
    bindings = world.here.dispatches[AttemptId("g", task, 1)].bindings
    return {
        f"{source}.{name}": value.text for source, values in bindings.imports.items() for name, value in values.items()
    } | {f"matrix.{name}": text for name, text in bindings.matrix.items()}


def test_the_values_of_its_instances_are_a_list_in_their_order() -> None:
    at = world()
    at.submit(*instances("a", "b", "c"), USE)
    at.pass_time(10)
    assert given(at, "t[b]") == {"matrix.n": "b"}
    assert given(at, "use") == {"t.path": '["t[a]","t[b]","t[c]"]'}
    result = at.result("t")
    assert (result.status, result.attempts, result.runner, result.started_at) == (Status.SUCCESS, 0, None, None)
    assert result.outputs == {"path": Value('["t[a]","t[b]","t[c]"]')}
    assert not [id for _, id in at.here.starts if id.task == "t"]


def test_one_without_a_value_gives_null_or_its_default() -> None:
    for exports, expected in (((PATH,), '["t[a]",null]'), ((replace(PATH, default="none"),), '["t[a]","none"]')):
        at = world()
        at.submit(*instances("a", "b", condition="{{ .matrix.n == 'a' }}", exports=exports), USE)
        at.pass_time(10)
        assert told(at)["t[b]"] == ("skipped", "condition_false", None)
        assert given(at, "use") == {"t.path": expected}


def test_one_that_may_fail_gives_null() -> None:
    at = world({"t[b]": BAD})
    at.submit(*instances("a", "b", allow_failure=True, fail_fast=True), USE)
    at.pass_time(10)
    assert told(at)["t"] == ("success", None, None)
    assert given(at, "use") == {"t.path": '["t[a]",null]'}
    assert at.engine.status("g") is Status.SUCCESS


def test_if_all_are_skipped_it_is_like_one_task_that_is() -> None:
    at = world()
    at.submit(*instances("a", "b", condition=False), USE, Task(name="next", type="scripted", depends_on=("t",)))
    at.pass_time(10)
    assert told(at) == {
        "t[a]": ("skipped", "condition_false", None),
        "t[b]": ("skipped", "condition_false", None),
        "t": ("skipped", "condition_false", "t[a]"),
        "use": ("skipped", "no_data", "t"),
        "next": ("success", None, None),
    }


def test_a_list_is_confidential_if_one_of_its_values_is() -> None:
    at = world()
    outputs = {"t[a]": Value("plain"), "t[b]": Value("hush-hush", True)}
    at.here._scripts = lambda id: Script(duration=1.0, outcome=replace(GOOD, outputs={"path": outputs[id.task]}))
    at.submit(*instances("a", "b"))
    at.pass_time(10)
    assert at.result("t").outputs == {"path": Value('["plain","hush-hush"]', True)}
    record = at.store.group("g")
    assert record is not None
    assert not any(b"hush-hush" in (row.outputs or b"") for row in record.tasks)


@pytest.mark.parametrize("most", [1, 2, 50])
@pytest.mark.parametrize("restarts", [False, True])
def test_no_more_are_under_way_than_may_be(most: int, restarts: bool) -> None:
    at = world(most=most)
    at.submit(*instances("a", "b", "c", "d", "e", max_parallel=2))
    seen = []
    for _ in range(5):
        at.pass_time(0.6)
        if restarts:
            at.restart()
            at.pass_time(0)
        seen.append(running(at))
        for name, task in at.engine.result("g").results.items():
            if "[" in name and task.status is Status.PENDING:
                assert task.waiting is Waiting.MATRIX
                cause = at.engine.explain(at.engine.library.head("g"), name).cause
                assert (
                    cause.text
                    == f"{name} waits for its turn among the instances of t, of which 2 at most may be under way (`max_parallel`)"
                )
                assert [each.task for each in cause.because] == seen[-1]
    assert seen == [["t[a]", "t[b]"], ["t[c]", "t[d]"], ["t[c]", "t[d]"], ["t[e]"], ["t[e]"]]
    at.pass_time(10)
    assert at.engine.status("g") is Status.SUCCESS
    waits = at.events(Kind.TASK_WAITING)
    assert [(event.task, event.fields["waiting"]) for event in waits] == [(f"t[{n}]", "matrix") for n in "cde"]


def test_who_is_to_be_tried_again_keeps_its_place() -> None:
    at = world({"t[a]": BAD})
    at.submit(*instances("a", "b", max_parallel=1, retry=Retry(attempts=2, delay=5.0)))
    at.pass_time(3)
    at.restart()
    assert at.result("t[a]").waiting is Waiting.RETRY_DELAY
    assert at.result("t[b]").waiting is Waiting.MATRIX
    at.pass_time(30)
    assert [at.result(name).attempts for name in ("t[a]", "t[b]")] == [2, 1]
    first = [event.task for event in at.events(Kind.TASK_DISPATCHED)]
    assert first == ["t[a]", "t[a]", "t[b]"]


def test_places_go_on_when_who_has_one_never_begins() -> None:
    at = world()
    tasks = instances(*map(str, range(500)), max_parallel=1, forward=Forward(to="{{ .inputs.nobody }}"))
    at.submit(*tasks)
    at.pass_time(60)
    assert {it.reason for name, it in at.engine.result("g").results.items() if "[" in name} == {Reason.BAD_TEMPLATE}
    assert at.engine.status("g") is Status.ERRORED


@pytest.mark.parametrize("most", [1, 50])
@pytest.mark.parametrize("restarts", [False, True])
def test_the_first_that_fails_ends_the_others(most: int, restarts: bool) -> None:
    def scripts(id: AttemptId) -> Script:
        ends = {"t[a]": (5.0, GOOD), "t[b]": (1.0, BAD), "t[c]": (5.0, GOOD)}
        duration, outcome = ends.get(id.task, (1.0, GOOD))
        return Script(duration=duration, outcome=outcome, stop_after=1.0)

    at = World(scripts, slots=10, most=most)
    other = Task(name="other", type="scripted", depends_on=("own",))
    cleans = Task(name="cleans", type="scripted", depends_on=("t",), when=When.FAILURE)
    at.submit(
        *instances("a", "b", "c", "d", "e", max_parallel=3, fail_fast=True),
        USE,
        Task(name="own", type="scripted"),
        other,
        cleans,
    )
    at.pass_time(1.5)
    if restarts:
        at.restart()
    at.pass_time(20)
    assert told(at) == {
        "t[a]": ("aborted", "fail_fast", "t[b]"),
        "t[b]": ("failed", None, None),
        "t[c]": ("aborted", "fail_fast", "t[b]"),
        "t[d]": ("skipped", "fail_fast", "t[b]"),
        "t[e]": ("skipped", "fail_fast", "t[b]"),
        "t": ("skipped", "dependency_failed", "t[b]"),
        "use": ("skipped", "dependency_skipped", "t"),
        "own": ("success", None, None),
        "other": ("success", None, None),
        "cleans": ("success", None, None),
    }
    result = at.engine.result("g")
    assert (result.status, result.reason) == (Status.FAILED, None)  # what it ended does not count beside it
    head = at.engine.library.head("g")
    assert str(at.engine.explain(head, "use").cause.text) == "use was skipped: t, which it depends on, was skipped"
    skipped = at.engine.explain(head, "t[d]").cause
    assert skipped.text == "t[d] was skipped: the `failFast` of its matrix is set and t[b] failed"
    aborted = at.engine.explain(head, "t[a]").cause
    assert aborted.text.startswith("t[a] aborted after 2.0 s: it was ended for `failFast`")
    [cause] = [each for each in aborted.because if each.kind == "fail_fast"]
    assert (cause.text, cause.because[0].task) == ("the `failFast` of its matrix is set and t[b] failed", "t[b]")


def test_who_waits_to_be_tried_again_is_ended_too() -> None:
    at = world({"t[a]": Outcome(status=Status.ERRORED, reason="driver_error"), "t[b]": BAD})
    retry = Retry(attempts=3, delay=100.0, on=frozenset({"errored"}))
    at.submit(*instances("a", "b", fail_fast=True, retry=retry))
    at.pass_time(5)
    assert told(at)["t[a]"] == ("aborted", "fail_fast", "t[b]")
    assert at.engine.status("g") is Status.FAILED


def test_one_that_was_to_end_and_fails_by_itself_is_not_tried_again() -> None:
    def scripts(id: AttemptId) -> Script:
        return Script(duration=1.0 if id.task == "t[a]" else 3.0, outcome=BAD, stop_after=10.0)

    at = World(scripts, slots=10)
    retry = {"t[a]": Retry(attempts=1), "t[b]": Retry(attempts=9)}
    at.submit(*(replace(it, retry=retry.get(it.name, it.retry)) for it in instances("a", "b", fail_fast=True)))
    at.pass_time(60)
    assert told(at)["t[b]"] == ("failed", None, "t[a]")
    assert at.result("t[b]").attempts == 1


def test_clean_up_is_ended_by_its_matrix_too() -> None:
    at = world({"t[a]": BAD})
    at.submit(*instances("a", "b", max_parallel=1, fail_fast=True, when=When.ALWAYS))
    at.pass_time(5)
    assert told(at)["t[b]"] == ("skipped", "fail_fast", "t[a]")


def test_a_group_that_is_cancelled_outweighs_it() -> None:
    at = world({"t[a]": BAD}, stop_after=8.0)
    at.submit(*instances("a", "b", fail_fast=True))
    at.here._scripts = lambda id: Script(duration=50.0, stop_after=8.0)
    at.pass_time(2)
    at.engine.cancel("g")
    at.pass_time(60)
    assert at.engine.result("g").reason == "cancelled"


def test_clean_up_of_several_is_joined_while_the_group_is_ended() -> None:
    at = world()
    at.submit(
        Task(name="a", type="scripted"),
        *instances("1", "2", when=When.ALWAYS, depends_on=("a",)),
        replace(USE, when=When.ALWAYS),
    )
    at.engine.cancel("g")
    at.pass_time(60)
    assert told(at)["t"] == ("success", None, None)
    assert told(at)["use"] == ("success", None, None)


def test_instances_run_elsewhere_and_are_joined_here() -> None:
    at = world()
    at.submit(*instances("there", "yonder", max_parallel=1, forward=Forward(to="{{ .matrix.n }}")), USE)
    at.pass_time(20)
    assert {name: at.result(name).runner for name in ("t[there]", "t[yonder]", "t")} == {
        "t[there]": "there",
        "t[yonder]": "yonder",
        "t": None,
    }
    assert json.loads(given(at, "use")["t.path"]) == ["t[there]", "t[yonder]"]


def test_a_list_that_is_too_large_is_refused_as_outputs_are() -> None:
    at = world()
    at.here._scripts = lambda id: Script(duration=1.0, outcome=replace(GOOD, outputs={"path": Value("x" * (3 << 20))}))
    at.submit(*instances("a", "b", "c"))
    at.pass_time(10)
    assert told(at)["t"] == ("errored", "outputs_too_large", None)


def test_what_failed_of_it_is_done_again_and_the_rest_taken_over() -> None:
    at = world({"t[b]": BAD})
    at.submit(*instances("a", "b", "c", max_parallel=1, fail_fast=True), USE)
    at.pass_time(20)
    at.here._scripts = lambda id: Script(duration=1.0, outcome=replace(GOOD, outputs={"path": Value("again")}))

    def rerun(former: str, id: str, *beginning: str) -> list[str]:
        prepared = again.prepare(at.engine.record_of(former), at.sealer, id, id, beginning)
        at.engine.accept(prepared.submission)
        at.pass_time(20)
        return list(prepared.tasks)

    assert rerun("g", "g2") == ["t[b]", "t[c]", "t", "use"]
    assert at.engine.result("g2").results["t"].outputs == {"path": Value('["t[a]","again","again"]')}
    assert rerun("g2", "g3", "t") == ["t[a]", "t[b]", "t[c]", "t", "use"]
    assert rerun("g2", "g4", "t[c]") == ["t[c]", "t", "use"]
    with pytest.raises(UsageError, match=r"the task 't' depends on 't\[b\]', which did not succeed: begin there"):
        rerun("g", "g5", "t[a]")


@pytest.mark.parametrize("reason", [Skip.FAIL_FAST, Waiting.MATRIX])
def test_what_is_told_of_it_has_words(reason: Skip | Waiting) -> None:
    from runner.cli import report

    assert reason in {**report._SKIPS, **report._WAITS}


def test_however_many_there_are_no_transaction_grows_with_them() -> None:
    at = world({"t[0]": BAD}, most=20)
    at.submit(*instances(*map(str, range(3000)), max_parallel=1, fail_fast=True))
    at.pass_time(30)
    reasons = [it.reason for it in at.engine.result("g").results.values()]
    assert (reasons.count("fail_fast"), reasons.count("dependency_failed")) == (2999, 1)
    assert at.store.largest <= 100
