"""Small scenarios with what must become of them, worked out by hand from the specification.

An expectation reads `task=status:reason<cause`, then the group as `group=status:reason`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.model.dispatch import AttemptId
from runner.model.event import Kind
from runner.model.group import Input, TaskGroup
from runner.model.matrix import Matrix, expanded
from runner.model.result import Outcome, Reason, Status, TaskGroupResult
from runner.model.task import Export, Import, Retry, Scope, Task, When
from runner.model.value import Value
from runner.simulator.rules import ANYWHERE, BROKEN_CONDITION, BY_INPUT, BY_LABELS, BY_NO_LABELS, NOWHERE, TO_PEER
from runner.simulator.scenario import SECRET_MARK, Scenario, Signal, Submission
from runner.simulator.script import Notice, OnStop, Script

SUCCESS, FAILED, ERRORED = Status.SUCCESS, Status.FAILED, Status.ERRORED
ALWAYS, FAILURE = When.ALWAYS, When.FAILURE
INPUTS = (Input(name="token", confidential=True), Input(name="mode", default="b"))
SECRET = Value(f"{SECRET_MARK}sesame", True)


@dataclass(frozen=True)
class Scene:
    expected: str
    scenario: Scenario


def task(name: str, after: str = "", gets: str = "", gives: Sequence[Export] = (), **others: Any) -> Task:
    """`after`: names; `gets`: imports as `task.variable`."""
    imports = tuple(Import(task=source, variable=name) for source, name in (item.split(".") for item in gets.split()))
    return Task(
        name=name, type="scripted", depends_on=tuple(after.split()), imports=imports, exports=tuple(gives), **others
    )


def matrix(
    name: str, *values: str, max_parallel: int | None = None, fail_fast: bool = False, **others: Any
) -> Sequence[Task]:
    """Its instances, `name[value]`, and their join."""
    written = Matrix(axes={"n": values}, max_parallel=max_parallel, fail_fast=fail_fast)
    return tuple(expanded(task(name, **others), written, [{"n": value} for value in values]))


def ends(status: Status, code: int | None = None, reason: str | None = None, **values: str | Value) -> Outcome:
    outputs = {name: value if isinstance(value, Value) else Value(value) for name, value in values.items()}
    return Outcome(status=status, exit_code=code, reason=reason, outputs=outputs)


def takes(seconds: float, outcome: Outcome | None = None, **others: Any) -> Script:
    return Script(duration=seconds, outcome=outcome or ends(SUCCESS, 0), **others)


def scene(
    expected: str,
    *tasks: Task,
    scripts: Mapping[str, Script] | None = None,
    slots: int = 8,
    cancels: Sequence[float] = (),
    signals: Sequence[tuple[float, str, str]] = (),
    duplicates: bool = False,
    **group: Any,
) -> Scene:
    """`scripts` by `task` (its every attempt) or `task/attempt`; `signals` as (when, task, signal)."""
    parts = {}
    for item in tasks:
        for number in range(1, item.retry.attempts + 1):
            for key in (item.name, f"{item.name}/{number}"):
                if scripts and key in scripts:
                    parts[AttemptId("g", item.name, number)] = scripts[key]
    whole = TaskGroup(id="g", name="scene", tasks=tasks, inputs=INPUTS, **group)
    submission = Submission(
        at=0.5,
        group=whole,
        caller="ann",
        inputs={"token": SECRET.text},
        cancels=tuple(cancels),
        signals=tuple(Signal(at=at, task=name, signal=signal) for at, name, signal in signals),
    )
    return Scene(
        expected, Scenario(submissions=(submission,), scripts=parts, max_parallel=slots, duplicates=duplicates)
    )


def spell(result: TaskGroupResult) -> str:
    """A result as expectations are written."""
    ends = [(name, end.status, end.reason, end.because_of) for name, end in result.results.items()]
    return " ".join(
        f"{name}={status}" + (f":{reason}" if reason else "") + (f"<{cause}" if cause else "")
        for name, status, reason, cause in [*ends, ("group", result.status, result.reason, None)]
    )


X = Export(name="x", scope=Scope.GLOBAL)
X_DEFAULT = Export(name="x", default="none")
X_SECRET = Export(name="x", confidential=True, scope=Scope.GLOBAL)
TWICE = Retry(attempts=2, delay=1.25)
FAILS = takes(1.1, ends(FAILED, 1))
SILENT = takes(30.3, on_stop=OnStop.SILENT, stop_after=math.inf)

SCENES: dict[str, Scene] = {
    "one task": scene("a=success group=success", task("a")),
    "a chain whose first fails": scene(
        "a=failed b=skipped:dependency_failed<a c=skipped:dependency_skipped<b group=failed",
        task("a"), task("b", "a"), task("c", "b"),
        scripts={"a": FAILS},
    ),
    "a diamond with data": scene(
        "d=success b=success c=success a=success group=success",
        task("d", gets="b.x c.x"), task("b", gets="a.x", gives=[X]), task("c", gets="a.x", gives=[X_SECRET]),
        task("a", gives=[X]),
        scripts={"a": takes(0.7, ends(SUCCESS, x="1")), "b": takes(0.8, ends(SUCCESS, x="2")),
                 "c": takes(0.9, ends(SUCCESS, x=SECRET))},
    ),
    "the third attempt succeeds": scene(
        "a=success b=success group=success",
        task("a", retry=Retry(attempts=3, delay=0.7, backoff=2.0)), task("b", "a"),
        scripts={"a/1": takes(1.1, ends(FAILED, 1)), "a/2": takes(0.6, ends(ERRORED, reason="driver_error"))},
    ),
    "all attempts fail": scene("a=failed group=failed", task("a", retry=TWICE), scripts={"a": FAILS}),
    "a retry at once, in the only slot": scene(
        "a=success b=success group=success",
        task("a", retry=Retry(attempts=2)), task("b"), scripts={"a/1": FAILS}, slots=1,
    ),
    "only the exit codes that are named are retried": scene(
        "a=success b=failed group=failed",
        task("a", retry=Retry(attempts=2, on=frozenset({"7"}))), task("b", retry=Retry(attempts=2, on=frozenset({"7"}))),
        scripts={"a/1": takes(1.1, ends(FAILED, 7)), "b/1": takes(1.2, ends(FAILED, 8))},
    ),
    "an uncertain end is retried where it is named": scene(
        "a=errored:driver_lost b=success group=errored",
        task("a", retry=TWICE), task("b", retry=Retry(attempts=2, on=frozenset({"driver_lost"}))),
        scripts={"a/1": takes(1.1, ends(ERRORED, reason=Reason.DRIVER_LOST)),
                 "b/1": takes(1.2, ends(ERRORED, reason=Reason.DRIVER_LOST))},
    ),
    "an allowed failure": scene(
        "a=failed b=success group=success", task("a", allow_failure=True), task("b", "a"), scripts={"a": FAILS}
    ),
    "when failure": scene(
        "a=failed b=skipped:dependency_failed<a c=success d=skipped:no_failure e=success f=success group=failed",
        task("a"), task("b", "a"), task("c", "b", when=FAILURE), task("d", "f", when=FAILURE), task("e", "d"), task("f"),
        scripts={"a": FAILS},
    ),
    "when always": scene(
        "a=failed b=success c=success group=failed",
        task("a"), task("b", "a", when=ALWAYS), task("c", when=ALWAYS), scripts={"a": FAILS},
    ),
    "the first cause in declaration order": scene(
        "a=skipped:dependency_failed<b b=failed c=failed group=failed",
        task("a", "c b"), task("b"), task("c"), scripts={"b": takes(2.1, ends(FAILED, 1)), "c": FAILS},
    ),
    "an if that is false": scene(
        "a=success b=skipped:condition_false c=success d=skipped:no_data<b e=success f=skipped:no_data<b"
        " h=skipped:dependency_skipped<d group=success",
        task("a", gives=[X]), task("b", gets="a.x", gives=[Export(name="y"), X_DEFAULT], condition="{{ .a.x == 'true' }}"),
        task("c", "b"), task("d", gets="b.y"), task("e", gets="b.x"), task("f", gets="b.y", when=ALWAYS), task("h", "d"),
        scripts={"a": takes(0.7, ends(SUCCESS, x="false"))},
    ),
    "an if without an answer": scene(
        "a=errored:bad_template b=skipped:dependency_failed<a group=errored",
        task("a", condition=BROKEN_CONDITION, retry=TWICE), task("b", "a"),
    ),
    "data of a failed task": scene(
        "a=failed b=failed c=success d=skipped:no_data<b e=success group=success",
        task("a", gives=[X], allow_failure=True), task("b", gives=[X], allow_failure=True),
        task("c", gets="a.x"), task("d", gets="b.x a.x"), task("e", "d", when=ALWAYS),
        scripts={"a": takes(1.1, ends(FAILED, 1, x="kept")), "b": takes(1.2, ends(FAILED, 1))},
    ),
    "nothing to do": scene(
        "a=skipped:condition_false b=skipped:no_failure group=success",
        task("a", condition=False), task("b", "a", when=FAILURE),
    ),
    "cancelled": scene(
        "a=aborted:cancelled b=skipped:group_aborted group=aborted:cancelled",
        task("a", gives=[X]), task("b", "a"), cancels=[2.0],
        scripts={"a": takes(9.1, stopped=ends(Status.ABORTED, 143, x="so far"))},
    ),
    "cancelled before the start": scene(
        "a=aborted:cancelled group=aborted:cancelled",
        task("a"), scripts={"a": takes(9.1, start_after=3.0)}, cancels=[2.0],
    ),
    "cancelled, but it ends by itself": scene(
        "a=success b=failed group=aborted:cancelled",
        task("a"), task("b", retry=TWICE), cancels=[2.0],
        scripts={"a": takes(9.1, on_stop=OnStop.FINISHES, stop_after=0.4),
                 "b": takes(8.1, ends(FAILED, 3), on_stop=OnStop.FINISHES, stop_after=0.5)},
    ),
    "cancelled, and silent": scene(
        "a=aborted:cancelled b=success group=aborted:cancelled",
        task("a"), task("b", "a", when=ALWAYS), scripts={"a": SILENT}, cancels=[2.0],
    ),
    "cancelled, and heard of too late": scene(
        "a=aborted:cancelled b=aborted:cancelled group=aborted:cancelled",
        task("a"), task("b"), cancels=[2.0],
        scripts={"a": takes(90.0, on_stop=OnStop.SILENT, stop_after=25.0),
                 "b": takes(90.0, on_stop=OnStop.SILENT, stop_after=18.0)},
    ),
    "cancelled with clean-up": scene(
        "a=aborted:cancelled b=success c=skipped:group_aborted d=success group=aborted:cancelled",
        task("a"), task("b", "a", when=ALWAYS, retry=TWICE), task("c", "a", when=FAILURE), task("d", "b", when=ALWAYS),
        scripts={"a": takes(9.1), "b/1": FAILS}, cancels=[2.0], slots=1,
    ),
    "cancelled twice": scene(
        "a=aborted:cancelled b=aborted:cancelled c=skipped:group_aborted d=aborted:cancelled group=aborted:cancelled",
        task("a"), task("b", when=ALWAYS), task("c", "b", when=ALWAYS),
        task("d", when=ALWAYS, retry=Retry(attempts=2, delay=50.0)), cancels=[2.0, 3.0],
        scripts={"a": takes(9.1, stop_after=7.0), "b": takes(9.2, stop_after=7.0, kill_after=0.02), "d": FAILS},
    ),
    "cancelled twice, with clean-up that fails by itself": scene(
        "a=failed b=failed c=skipped:group_aborted group=aborted:cancelled",
        task("a", when=ALWAYS, retry=TWICE), task("b", when=ALWAYS, retry=TWICE), task("c", "a", when=FAILURE),
        scripts={"a": takes(50.0, ends(FAILED, 5), on_stop=OnStop.FINISHES, stop_after=1.0, kill_after=3.0),
                 "b": takes(4.5, ends(FAILED, 6), stop_after=2.0, kill_after=3.0)}, cancels=[2.0, 4.0],
    ),
    "cancelled three times": scene(
        "a=aborted:cancelled group=aborted:cancelled",
        task("a"), scripts={"a": takes(50.0, stop_after=8.0, kill_after=5.0)}, cancels=[2.0, 4.0, 5.0],
    ),
    "clean-up out of time": scene(
        "a=aborted:cleanup_timeout b=skipped:group_aborted c=success group=aborted:cancelled",
        task("a", when=ALWAYS), task("b", "a", when=ALWAYS), task("c"), cleanup_timeout=4.0, cancels=[2.0],
        scripts={"a": takes(50.1)},
    ),
    "cancelled between two attempts": scene(
        "a=aborted:cancelled group=aborted:cancelled",
        task("a", gives=[X], retry=Retry(attempts=2, delay=5.0)), cancels=[2.5],
        scripts={"a": takes(1.1, ends(FAILED, 4, x="of a failed attempt"))},
    ),
    "failFast": scene(
        "a=failed b=aborted:fail_fast<a c=skipped:group_aborted<a d=success e=success group=failed:fail_fast",
        task("a"), task("b"), task("c", "b"), task("d", "b", when=ALWAYS), task("e"), fail_fast=True,
        scripts={"a": FAILS, "b": takes(9.1), "e": takes(0.6)},
    ),
    "failFast between two attempts": scene(
        "a=failed b=aborted:fail_fast<a group=failed:fail_fast",
        task("a"), task("b", retry=Retry(attempts=3, delay=5.0)), fail_fast=True,
        scripts={"a": takes(2.0, ends(FAILED, 1)), "b": FAILS},
    ),
    "failFast by an if": scene(
        "a=skipped:group_aborted<b b=errored:bad_template c=success group=errored:fail_fast",
        task("a", "c"), task("b", "c", condition=BROKEN_CONDITION), task("c"), fail_fast=True,
    ),
    "failFast, then cancelled": scene(
        "a=failed b=aborted:cancelled c=skipped:group_aborted<a d=aborted:cancelled group=aborted:cancelled",
        task("a"), task("b"), task("c", "b"), task("d", when=ALWAYS), fail_fast=True, cancels=[3.0, 4.0],
        scripts={"a": FAILS, "b": takes(9.1, stop_after=7.0), "d": takes(40.0)},
    ),
    "failFast, then out of time": scene(
        "a=failed b=aborted:fail_fast<a c=aborted:cleanup_timeout group=aborted:group_timeout",
        task("a"), task("b"), task("c", when=ALWAYS), fail_fast=True, timeout=5.0, cleanup_timeout=6.0,
        scripts={"a": FAILS, "b": takes(9.1), "c": takes(40.0)},
    ),
    "out of time": scene(
        "a=aborted:group_timeout b=skipped:group_aborted c=success group=aborted:group_timeout",
        task("a"), task("b", "a"), task("c", "b", when=ALWAYS), timeout=3.0, scripts={"a": takes(9.1)},
    ),
    "out of time, with nothing but clean-up": scene(
        "a=aborted:cleanup_timeout b=aborted:cleanup_timeout group=aborted:group_timeout",
        task("a", when=ALWAYS), task("b", when=ALWAYS), timeout=3.0, cleanup_timeout=2.0,
        scripts={"a": SILENT, "b": takes(30.0, on_stop=OnStop.SILENT, stop_after=90.0, start_after=0.02)},
    ),
    "an attempt out of time": scene(
        "a=success b=failed:timeout group=failed",
        task("a", timeout=1.0, retry=TWICE), task("b", timeout=1.2), scripts={"a/1": takes(5.0), "b": takes(5.0)},
    ),
    "paused, and its time stands still": scene(
        "a=success b=failed:timeout group=failed",
        task("a", timeout=2.0), task("b", timeout=2.0),
        signals=[(1.1, "a", "pause"), (1.2, "b", "pause"), (6.1, "a", "start"), (6.2, "b", "start")],
        scripts={"a": takes(1.9), "b": takes(2.1)},
    ),
    "paused twice and started once": scene(
        "a=success b=success group=success", task("a"), task("b", "a"), scripts={"a": takes(3.0)},
        signals=[(1.1, "a", "pause"), (2.1, "a", "pause"), (3.1, "a", "start"), (3.3, "a", "start"), (3.2, "b", "pause")],
    ),
    "paused, then cancelled": scene(
        "a=aborted:cancelled b=success group=aborted:cancelled", task("a"), task("b", "a", when=ALWAYS),
        scripts={"a": takes(3.0)}, signals=[(1.1, "a", "pause")], cancels=[2.0],
    ),
    "destroyed": scene(
        "a=success b=failed c=skipped:dependency_failed<b group=failed",
        task("a", retry=TWICE), task("b"), task("c", "b"), scripts={"a/1": takes(3.0), "b": takes(3.0)},
        signals=[(1.1, "a", "destroy"), (1.2, "b", "pause"), (1.6, "b", "destroy"), (1.7, "c", "destroy")],
    ),
    "one slot, in declaration order": scene(
        "c=success a=success b=success group=success",
        task("c", "a"), task("a"), task("b"), slots=1, scripts={"a": takes(0.7), "b": takes(0.8), "c": takes(0.9)},
    ),
    "never started, with notices, told twice": scene(
        "a=errored:start_failed b=success group=errored",
        task("a"), task("b"), duplicates=True,
        scripts={"a": Script(starts=False, outcome=ends(ERRORED, 125, "start_failed")),
                 "b": takes(2.0, notices=(Notice(after=0.3), Notice(after=0.9, kind=Kind.MASK_SKIPPED)))},
    ),
    "forwarded, beside the only slot": scene(
        "a=success b=success c=success d=failed e=skipped:dependency_failed<d group=failed",
        task("a"), task("b", gives=[X], forward=TO_PEER), task("c", gets="b.x", forward=BY_LABELS), task("d", "a", forward=ANYWHERE),
        task("e", "d", forward=TO_PEER), slots=1,
        scripts={"a": takes(0.7), "b": takes(0.8, ends(SUCCESS, x="1")), "c": takes(0.9), "d": FAILS},
    ),
    "forwarded to nobody": scene(
        "a=errored:no_such_runner b=errored:no_such_runner c=errored:bad_template d=skipped:dependency_failed<a group=errored",
        task("a", forward=BY_INPUT), task("b", forward=BY_NO_LABELS, retry=TWICE), task("c", forward=NOWHERE),
        task("d", "a", forward=TO_PEER),
    ),
    "forwarded, and tried again": scene(
        "a=success b=failed group=failed",
        task("a", retry=TWICE, forward=TO_PEER), task("b", retry=TWICE, forward=TO_PEER),
        scripts={"a/1": FAILS, "b": takes(1.2, ends(FAILED, 7))},
    ),
    "forwarded, then cancelled": scene(
        "a=aborted:cancelled b=success c=skipped:group_aborted d=aborted:cancelled group=aborted:cancelled",
        task("a", forward=TO_PEER), task("b", "a", when=ALWAYS, forward=TO_PEER), task("c", "a", forward=TO_PEER),
        task("d", forward=TO_PEER, retry=Retry(attempts=2, delay=5.0)),
        scripts={"a": takes(9.1), "d": FAILS}, cancels=[2.0],
    ),
    "forwarded, paused, destroyed": scene(
        "a=success b=failed group=failed", task("a", forward=TO_PEER), task("b", forward=TO_PEER),
        signals=[(1.1, "a", "pause"), (6.1, "a", "start"), (1.2, "b", "pause"), (1.6, "b", "destroy")],
        scripts={"a": takes(3.0), "b": takes(3.0)},
    ),
    "forwarded, and silent when it is stopped": scene(
        "a=aborted:cancelled group=aborted:cancelled", task("a", forward=TO_PEER), scripts={"a": SILENT}, cancels=[2.0],
    ),
    "a matrix, two at once": scene(
        "a[1]=success a[2]=success a[3]=success a=success b=success group=success",
        *matrix("a", "1", "2", "3", max_parallel=2, gives=[X]), task("b", gets="a.x"),
        scripts={"a[1]": takes(1.1, ends(SUCCESS, x="1")), "a[2]": takes(2.1, ends(SUCCESS, x=SECRET)),
                 "a[3]": takes(0.7, ends(SUCCESS, x="3"))},
    ),
    "a matrix, one of which fails": scene(
        "a[1]=aborted:fail_fast<a[2] a[2]=failed a[3]=skipped:fail_fast<a[2] a=skipped:dependency_failed<a[2]"
        " b=skipped:dependency_skipped<a c=success d=success group=failed",
        *matrix("a", "1", "2", "3", max_parallel=2, fail_fast=True),
        task("b", "a"), task("c"), task("d", "a", when=FAILURE),
        scripts={"a[1]": takes(9.1), "a[2]": FAILS},
    ),
    "a matrix that is tried again keeps its place": scene(
        "a[1]=success a[2]=success a=success group=success",
        *matrix("a", "1", "2", max_parallel=1, retry=TWICE), scripts={"a[1]/1": FAILS},
    ),
    "a matrix of which some are left out": scene(
        "a[1]=success a[2]=skipped:condition_false a=success b[1]=skipped:condition_false"
        " b=skipped:condition_false<b[1] c=success d=skipped:no_data<b group=success",
        *matrix("a", "1", "2", condition="{{ .matrix.n == '1' }}", gives=[X_DEFAULT]),
        *matrix("b", "1", condition=False, gives=[X]),
        task("c", "b", gets="a.x"), task("d", gets="b.x"), scripts={"a[1]": takes(1.1, ends(SUCCESS, x="1"))},
    ),
    "a matrix of clean-up, when the group is cancelled": scene(
        "a=aborted:cancelled b[1]=success b[2]=success b=success c=success group=aborted:cancelled",
        task("a"), *matrix("b", "1", "2", max_parallel=1, when=ALWAYS, after="a", gives=[X]),
        task("c", gets="b.x", when=ALWAYS),
        scripts={"a": takes(5.0), "b[1]": takes(0.6, ends(SUCCESS, x="1")), "b[2]": takes(0.7, ends(SUCCESS, x="2"))},
        cancels=[1.1],
    ),
}  # fmt: skip


def crowd() -> Scenario:
    """Three groups of two callers, and one slot: everybody waits for everybody."""
    parts = {}
    submissions = []
    for number, (caller, count) in enumerate([("ann", 4), ("ann", 3), ("bob", 3)]):
        tasks = tuple(task(f"t{index}") for index in range(count))
        for index in range(count):
            parts[AttemptId(f"g{number}", f"t{index}", 1)] = takes(1.0 + 0.1 * index + 0.01 * number)
        group = TaskGroup(id=f"g{number}", name="", tasks=tasks)
        submissions.append(Submission(at=0.5 + 0.05 * number, group=group, caller=caller))
    return Scenario(submissions=tuple(submissions), scripts=parts, max_parallel=1)


CROWD = crowd()
