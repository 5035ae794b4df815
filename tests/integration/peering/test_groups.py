"""A whole group for an executor, over a real socket: what it is told, from where it goes on, and what it does not take."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest

from runner.model.dispatch import WHOLE, AttemptId, Fact, Finished, GroupDispatch, Told
from runner.model.event import Kind
from runner.model.group import Input, TaskGroup
from runner.model.result import Status
from runner.model.session import Cancel, FromExecutor, Release, Reported, Signal, SubmitGroup
from runner.model.task import Cell, Export, Import, Retry, Task, When
from runner.model.value import Value
from runner.rpc import peerwire
from tests.integration.peering.meeting import met
from tests.peers import Talk, talking

pytestmark = pytest.mark.timeout(90)
ID = AttemptId("g", WHOLE, 1)


def shell(name: str, command: str, *depends_on: str, **more: Any) -> Task:
    return Task(name=name, type="os_exec", spec={"command": command}, depends_on=depends_on, **more)


def whole(
    instance: str, *tasks: Task, inputs: Mapping[str, Value] | None = None, group: Any = None, **more: Any
) -> SubmitGroup:
    declared = tuple(Input(name=name, confidential=value.confidential) for name, value in (inputs or {}).items())
    dispatch = GroupDispatch(
        id=ID,
        instance=instance,
        group=TaskGroup(name="deploy", inputs=declared, tasks=tasks, **(group or {})),
        inputs=inputs or {},
        public_id="the-group",
        paused=more.pop("paused", frozenset()),
        on_behalf_of=more.pop("on_behalf_of", ""),
    )
    return SubmitGroup(dispatch=dispatch, **more)


def facts(talk: Talk) -> list[Fact]:
    reports = [said.report for said in talk.heard if isinstance(said, Reported)]
    return [fact for report in reports if isinstance(report, Told) for fact in report.facts]


def has_told(kind: Kind, task: str) -> Any:
    def fits(said: FromExecutor) -> bool:
        told = said.report if isinstance(said, Reported) else None
        return isinstance(told, Told) and any((it.event.kind, it.event.task) == (kind, task) for it in told.facts)

    return fits


async def test_all_of_it_is_told_in_order_with_what_came_of_it(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, talk, instance):
        make = shell(
            "make", "echo made; echo key=s3cr3t-key >> $OUTPUT_FILE", exports=(Export(name="key", confidential=True),)
        )
        use = shell(
            "use",
            "echo {{ .make.key }} {{ .inputs.a }} {{ .group.id }}; exit 4",
            imports=(Import(task="make", variable="key"),),
        )
        last = shell("last", "true", "use")
        await talk.say(whole(instance, make, use, last, inputs={"a": Value("s3cr3t-input", True)}))
        end = await talk.finished(ID)
        assert (end.outcome.status, end.outcome.reason) == (Status.FAILED, None)
        told = facts(talk)
        assert [fact.event.number for fact in told] == sorted({fact.event.number for fact in told})
        kinds = [(fact.event.kind, fact.event.task) for fact in told if fact.event.kind is not Kind.TASK_READY]
        assert [it for it in kinds if it[0] not in (Kind.LOG_REDACTED, Kind.TASK_EXPORT)] == [
            (Kind.GROUP_STARTED, None),
            (Kind.TASK_DISPATCHED, "make"),
            (Kind.TASK_STARTED, "make"),
            (Kind.TASK_FINISHED, "make"),
            (Kind.TASK_DISPATCHED, "use"),
            (Kind.TASK_STARTED, "use"),
            (Kind.TASK_FINISHED, "use"),
            (Kind.TASK_SKIPPED, "last"),
        ]
        outcomes = {fact.event.task: fact.outcome for fact in told if fact.outcome is not None}
        assert outcomes["make"] is not None
        assert outcomes["make"].outputs == {"key": Value("s3cr3t-key", True)}
        assert outcomes["use"] is not None
        assert outcomes["use"].exit_code == 4
        assert all(fact.event.fields.get("runner") is None for fact in told), (
            "each runner has its own name for this one"
        )
        assert talk.printed[AttemptId("g", "use", 1)]["stdout"] == b"*** *** the-group\n"


async def test_it_is_attached_to_and_told_from_where_its_origin_is(tmp_path: Path) -> None:
    async with met(tmp_path) as (at, talk, instance):
        tasks = [
            shell(
                "a",
                f"echo a >> {tmp_path}/started; printf 12345; until test -e {tmp_path}/go; do sleep 0.01; done; printf 67",
            ),
            shell("b", f"echo b >> {tmp_path}/started", "a"),
        ]
        await talk.say(whole(instance, *tasks))
        a = AttemptId("g", "a", 1)
        while talk.printed.get(a, {}).get("stdout") != b"12345":
            await talk.next()
        heard, position = facts(talk)[-1].event.number, talk.pieces[-1].position
        talk.leave()
        async with talking(at.channel) as again:
            await again.hello(live=[ID])
            await again.say(whole(instance, *tasks, after=heard, printed={a: position}))
            (tmp_path / "go").touch()
            await again.finished(ID)
            assert again.printed[a]["stdout"] == b"67"
            assert [fact.event.task for fact in facts(again) if fact.event.kind is Kind.TASK_STARTED] == ["b"]
        assert (tmp_path / "started").read_text() == "a\nb\n"


async def test_what_its_origin_does_not_name_as_live_is_ended(tmp_path: Path) -> None:
    async with met(tmp_path) as (at, talk, instance):
        await talk.say(whole(instance, shell("a", "sleep 1000")))
        await talk.until(has_told(Kind.TASK_STARTED, "a"))
        talk.leave()
        async with talking(at.channel) as again:
            await again.hello(live=[])
            assert (await again.outcome(ID)).status is Status.ABORTED
            assert facts(again) == [], "nobody asked what else became of it"


async def test_it_is_cancelled_with_its_clean_up_and_hurried_without(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, talk, instance):
        clean = shell("clean", f"touch {tmp_path}/cleaning; sleep 1000", "a", when=When.ALWAYS)
        await talk.say(whole(instance, shell("a", "sleep 1000"), clean))
        await talk.until(has_told(Kind.TASK_STARTED, "a"))
        await talk.say(Cancel(id=ID, grace=10.0))
        await talk.until(has_told(Kind.TASK_STARTED, "clean"))
        await talk.say(Cancel(id=ID, grace=0.0))
        end = await talk.finished(ID)
        assert (end.outcome.status, end.outcome.reason) == (Status.ABORTED, "cancelled")


async def test_cancelled_before_it_comes_nothing_of_it_starts(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, talk, instance):
        touch = f"touch {tmp_path}/ran"
        await talk.say(whole(instance, shell("a", touch), shell("b", "true", "a"), cancel_grace=10.0))
        assert (await talk.outcome(ID)).status is Status.ABORTED
        assert not (tmp_path / "ran").exists()


async def test_signals_reach_the_attempt_that_they_name(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, talk, instance):
        await talk.say(whole(instance, shell("a", "sleep 1000"), shell("b", "true")))
        await talk.until(has_told(Kind.TASK_STARTED, "a"))
        for signal, kind in (("pause", Kind.TASK_PAUSED), ("start", Kind.TASK_RESUMED)):
            await talk.say(Signal(id=AttemptId("g", "a", 1), signal=signal))
            await talk.until(has_told(kind, "a"))
        await talk.say(Signal(id=AttemptId("g", "nobody", 1), signal="pause"))
        await talk.say(Signal(id=AttemptId("g", "a", 1), signal="destroy"))
        assert isinstance(await talk.finished(ID), Finished)


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        ([], "the group has 0 tasks, and may have 1 to 100,000"),
        ([shell("a", "true"), shell("a", "true")], 'the name "a" is taken by taskGroup[0]'),
        ([shell("a", "true", "b"), shell("b", "true", "a")], "these tasks wait for each other: a → b → a"),
        ([shell("a", "true", "a")], "a task cannot wait for itself"),
        ([shell("a", "true", "x")], 'there is no task "x"'),
        ([shell("a", "true"), shell("b", "true", imports=(Import(task="a", variable="v"),))], 'does not export "v"'),
        ([Task(name="a", type="no_such")], "this runner has no task type 'no_such'"),
        ([shell("a", "true", retry=Retry(attempts=1001))], "taskGroup[0].retry: its numbers are none that a document"),
        ([shell("a", "true", retry=Retry(delay=1e308))], "taskGroup[0].retry: its numbers are none that a document"),
        ([shell("a", "true", retry=Retry(max_delay=-1.0))], "taskGroup[0].retry: its numbers are none that a document"),
        (
            [shell("a[1]", "true", matrix=Cell(of="a", max_parallel=0))],
            "matrix: expected at least one instance at once",
        ),
        ([shell("a", "true", retry=Retry(backoff=-5.0))], "taskGroup[0].retry: its numbers are none that a document"),
    ],
)
async def test_what_is_no_group_is_refused_and_the_session_goes_on(
    tmp_path: Path, tasks: list[Task], told: str
) -> None:
    async with met(tmp_path) as (_, talk, instance):
        await talk.say(whole(instance, *tasks))
        refused = await talk.refused()
        assert refused.id == ID
        assert told in refused.message
        await talk.say(whole(instance, shell("a", "true")))
        assert (await talk.outcome(ID)).status is Status.SUCCESS


async def test_inputs_are_those_that_are_declared(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, talk, instance):
        said = peerwire.from_origin_to_proto(whole(instance, shell("a", "true"), inputs={"a": Value("x")}))
        del said.submit_group.inputs["a"]
        await talk.say_raw(said)
        assert "those that are declared, and no others" in (await talk.refused()).message


async def test_the_workspace_of_a_group_that_is_released_stays_for_its_clean_up(tmp_path: Path) -> None:
    """And for what still ends: it is released by an origin that has given it up and is back."""
    async with met(tmp_path) as (_, talk, instance):
        clean = shell("clean", f"pwd > {tmp_path}/cleaned", "a", when=When.ALWAYS)
        await talk.say(whole(instance, shell("a", "trap 'pwd; exit 1' TERM; while :; do sleep 0.02; done"), clean))
        await talk.until(has_told(Kind.TASK_STARTED, "a"))
        await talk.say(Release(group=ID.group))
        outcome = await talk.outcome(ID)
        assert (outcome.status, outcome.reason) == (Status.ABORTED, "cancelled")
        workspace = Path((tmp_path / "cleaned").read_text().strip())
        while workspace.exists():  # noqa: ASYNC110 - nobody tells of that
            await asyncio.sleep(0.01)


async def test_other_content_is_a_conflict_and_another_life_has_lost_it(tmp_path: Path) -> None:
    async with met(tmp_path) as (_, talk, instance):
        await talk.say(whole("another-life", shell("a", "true")))
        assert (await talk.refused()).reason == "runner_lost"
        await talk.say(whole(instance, shell("a", "sleep 1000")))
        await talk.until(has_told(Kind.TASK_STARTED, "a"))
        await talk.say(whole(instance, shell("a", "sleep 1001")))
        assert "conflict: the group g is known to this runner" in (await talk.refused()).message
        await talk.say(whole("another-life", shell("a", "sleep 1000")))
        assert (await talk.refused()).reason == "runner_lost", "its numbers are those of another history"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda it: setattr(it, "group", b"{}"), "its group cannot be read"),
        (lambda it: setattr(it, "group", b'{"tasks":[{"name":"a","type":"os_exec","timeout":"x"}]}'), "cannot be read"),
        (lambda it: setattr(it, "group", b'{"tasks":[],"timeout":NaN}'), "its group cannot be read"),
        (lambda it: setattr(it, "group", it.group.replace(b'"a"', b'"a b"')), "'a b' cannot be the name of a task"),
        (lambda it: setattr(it.id, "task", "a"), "it is of the task 'a', and carries a whole group"),
        (lambda it: setattr(it, "public_id", "x" * 1001), "its `public_id` has 1,001 characters"),
    ],
)
async def test_what_cannot_be_read_ends_the_session(tmp_path: Path, spoil: Any, told: str) -> None:
    async with met(tmp_path) as (_, talk, instance):
        message = peerwire.from_origin_to_proto(whole(instance, shell("a", "true")))
        spoil(message.submit_group)
        await talk.say_raw(message)
        code, details = await talk.ended()
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert told in details
