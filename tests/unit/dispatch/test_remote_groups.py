"""A whole group that was handed to another runner: where each session goes on, and what is taken of what is said of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from runner.dispatch.claims import MOST_NOTICED
from runner.dispatch.handed import MOST_OPEN, HandedGroup
from runner.logs.files import FileLogStore
from runner.model.dispatch import WHOLE, AttemptId, Fact, Finished, GroupDispatch, Told
from runner.model.event import Event, Kind
from runner.model.fault import Fault
from runner.model.group import TaskGroup
from runner.model.result import Outcome, Reason, Status
from runner.model.session import Afresh, Cancel, Check, Checked, Printed, Refused, Signal, SubmitGroup
from runner.model.task import Export, Retry, Task
from runner.model.value import Value
from runner.sealing import Sealer
from tests.unit.dispatch.origin import LOST_AFTER, Origin

ID = AttemptId("g", WHOLE, 1)
A, B = AttemptId("g", "a", 1), AttemptId("g", "b", 2)
GROUP = TaskGroup(
    tasks=(
        Task(name="a", type="probe", exports=(Export(name="x", confidential=True),)),
        Task(name="b", type="probe", retry=Retry(attempts=2)),
    )
)


def hand(origin: Origin, *, after: int = 0, **more: Any) -> None:
    under_way = more.pop("running", (A,))
    dispatch = GroupDispatch(id=ID, instance="i2", group=GROUP, inputs={}, public_id="g", running=under_way, **more)
    origin.dispatcher.submit_group(dispatch)
    origin.dispatcher.events(ID, after, origin.reports.append)


def submitted(origin: Origin) -> SubmitGroup:
    [said] = [said for said in origin.told if isinstance(said, SubmitGroup)]
    return said


def fact(number: int, kind: Kind, id: AttemptId, outcome: Outcome | None = None, **fields: Any) -> Fact:
    event = Event(group="", number=number, at=1.0, kind=kind, task=id.task or None, attempt=id.attempt, fields=fields)
    return Fact(event=event, outcome=outcome)


def told(*facts: Fact) -> Told:
    return Told(id=ID, sequence=facts[-1].event.number, facts=facts)


def printed(id: AttemptId, position: int, text: bytes) -> Printed:
    return Printed(id=id, stream="stdout", position=position, data=text)


def facts(origin: Origin) -> list[Fact]:
    return [fact for report in origin.reports if isinstance(report, Told) for fact in report.facts]


def log(origin: Origin, id: AttemptId) -> bytes:
    return origin.logs.read(id, "stdout")


def test_it_is_handed_over_once_and_what_is_told_comes_back(origin: Origin) -> None:
    origin.connect()
    hand(origin)
    assert submitted(origin).hops == ("cloud (n1)",)
    started = fact(3, Kind.TASK_STARTED, A)
    origin.hear(told(started), told(started), Finished(id=ID, sequence=9, outcome=Outcome(status=Status.SUCCESS)))
    assert facts(origin) == [started]
    assert origin.reports[-1].sequence == 9


def test_a_new_session_goes_on_behind_what_was_heard_and_copied(origin: Origin) -> None:
    origin.connect()
    hand(origin)
    origin.hear(told(fact(3, Kind.TASK_STARTED, A)))
    origin.dispatcher.heard(printed(A, 5, b"hello"))
    origin.dispatcher.disconnected("cut")
    begin = origin.connect()
    assert begin.live == (ID,)
    again = submitted(origin)
    assert (again.after, dict(again.printed)) == (3, {A: 5})
    origin.dispatcher.heard(printed(A, 5, b"hello"))
    origin.dispatcher.heard(printed(A, 11, b" again"))
    assert log(origin, A) == b"hello again"


def test_another_life_knows_what_was_under_way(origin: Origin) -> None:
    origin.connect()
    hand(origin)
    origin.dispatcher.heard(printed(A, 5, b"hello"))
    origin.new()
    hand(origin, after=7, resumed=True, running=(A,))
    origin.dispatcher.reconcile([ID])
    origin.connect()
    assert (submitted(origin).after, dict(submitted(origin).printed)) == (7, {A: 5})


def test_the_log_of_what_is_over_is_asked_for_no_more(origin: Origin) -> None:
    origin.connect()
    hand(origin)
    origin.dispatcher.heard(printed(A, 5, b"hello"))
    end = Outcome(status=Status.SUCCESS, outputs={"x": Value("s")})
    origin.hear(told(fact(3, Kind.TASK_FINISHED, A, end, status="success")))
    origin.dispatcher.disconnected("cut")
    origin.connect()
    assert dict(submitted(origin).printed) == {}


@pytest.mark.parametrize("id", [AttemptId("g", "nobody", 1), AttemptId("g", "a", 2), AttemptId("h", "a", 1), ID])
def test_what_is_said_of_an_attempt_that_there_cannot_be_is_ignored(origin: Origin, id: AttemptId) -> None:
    origin.connect()
    hand(origin)
    origin.dispatcher.heard(printed(id, 5, b"hello"))
    origin.dispatcher.heard(Afresh(id=id))
    assert log(origin, id) == b""


def test_an_export_is_confidential_where_it_was_declared_so_and_no_other_is_taken(origin: Origin) -> None:
    origin.connect()
    hand(origin)
    end = Outcome(status=Status.SUCCESS, outputs={"x": Value("s"), "y": Value("t")})
    origin.hear(told(fact(3, Kind.TASK_FINISHED, A, end, status="success")))
    [heard] = facts(origin)
    assert heard.outcome is not None
    assert heard.outcome.outputs == {"x": Value("s", True)}


def test_a_success_without_its_exports_is_none(origin: Origin) -> None:
    origin.connect()
    hand(origin)
    origin.hear(told(fact(3, Kind.TASK_FINISHED, A, Outcome(status=Status.SUCCESS), status="success")))
    [heard] = facts(origin)
    assert heard.outcome is not None
    assert (heard.outcome.status, heard.outcome.reason) == (Status.ERRORED, Reason.EXPORT_MISSING)


def test_notices_have_an_end_and_steps_have_not(origin: Origin) -> None:
    origin.connect()
    hand(origin)
    number = 0
    for _ in range(MOST_NOTICED // 100 + 2):
        many = [fact(number + n, Kind.TASK_READY, B, waiting="slot") for n in range(1, 101)]
        number += 100
        origin.hear(told(*many))
    origin.hear(told(fact(number + 1, Kind.TASK_DISPATCHED, B)))
    assert [it.event.kind for it in facts(origin)].count(Kind.TASK_READY) == MOST_NOTICED
    assert facts(origin)[-1].event.kind is Kind.TASK_DISPATCHED


def test_a_signal_names_its_attempt_and_a_pause_is_said_again(origin: Origin) -> None:
    origin.connect()
    hand(origin)
    origin.dispatcher.signal(A, "pause")
    assert origin.told[-1] == Signal(id=A, signal="pause")
    origin.dispatcher.disconnected("cut")
    origin.dispatcher.signal(B, "destroy")
    origin.connect()
    assert submitted(origin).dispatch.paused == {"a"}
    assert origin.told[-1] == Signal(id=B, signal="destroy")
    origin.dispatcher.signal(A, "start")
    origin.dispatcher.disconnected("cut")
    origin.connect()
    assert submitted(origin).dispatch.paused == frozenset()


def test_a_cancel_is_said_again_with_the_next_session(origin: Origin) -> None:
    origin.connect()
    hand(origin)
    origin.dispatcher.cancel(ID, 10.0)
    assert origin.told[-1] == Cancel(id=ID, grace=10.0)
    origin.dispatcher.disconnected("cut")
    origin.connect()
    assert submitted(origin).cancel_grace == 10.0


def test_nobody_else_has_heard_of_what_was_never_sent(origin: Origin) -> None:
    hand(origin)
    origin.dispatcher.cancel(ID, 10.0)
    origin.pass_seconds(0.0)
    [end] = origin.finished()
    assert end.outcome.status is Status.ABORTED


def test_it_is_refused_or_lost_in_this_runner_s_own_words(origin: Origin) -> None:
    origin.connect()
    hand(origin)
    origin.dispatcher.heard(Refused(id=ID, reason="refused", message="no rule"))
    [end] = origin.finished()
    assert (end.outcome.reason, end.outcome.error) == ("refused", "onprem does not take it: no rule")
    other = Origin()
    other.connect()
    hand(other)
    other.dispatcher.disconnected("cut")
    other.pass_seconds(LOST_AFTER)
    [end] = other.finished()
    assert end.outcome.reason == Reason.RUNNER_LOST


def test_a_question_is_answered_once_or_not_at_all(origin: Origin) -> None:
    answers: list[Any] = []
    origin.dispatcher.check(GROUP.tasks, "ada", answers.append)
    assert answers == [None], "it is away"
    origin.connect()
    origin.dispatcher.check(GROUP.tasks, "ada", answers.append)
    question = origin.told[-1]
    assert isinstance(question, Check)
    assert (question.tasks, question.on_behalf_of) == (GROUP.tasks, "ada")
    faults = (Fault(path=(0, "type"), message="unknown"),)
    for _ in range(2):
        origin.dispatcher.heard(Checked(number=question.number, faults=faults))
    assert answers == [None, [*faults]]
    origin.dispatcher.check(GROUP.tasks, "ada", answers.append)
    origin.dispatcher.disconnected("cut")
    assert answers == [None, [*faults], None]


def test_an_answer_has_bounds(origin: Origin) -> None:
    answers: list[Any] = []
    origin.connect()
    origin.dispatcher.check(GROUP.tasks, "ada", answers.append)
    endless = Fault(path=(0,), message="x" * 1_000_000, hint="y" * 1_000_000)
    origin.dispatcher.heard(Checked(number=1, faults=(endless,) * 2000))
    [faults] = answers
    assert len(faults) == 1000
    assert {(len(fault.message), len(fault.hint)) for fault in faults} == {(2001, 2001)}


def test_who_is_no_peer_any_more_has_lost_it(origin: Origin) -> None:
    origin.connect()
    hand(origin)
    origin.dispatcher.retire("gone")
    [end] = origin.finished()
    assert "is no peer of this runner any more" in (end.outcome.error or "")
    assert not origin.dispatcher.is_there


def test_what_is_printed_behind_an_end_or_before_a_beginning_is_ignored(origin: Origin) -> None:
    origin.connect()
    hand(origin, running=())
    first = B._replace(attempt=1)
    origin.dispatcher.heard(printed(first, 1, b"0"))
    origin.hear(told(fact(3, Kind.TASK_DISPATCHED, first)))
    origin.dispatcher.heard(printed(first, 2, b"1"))
    origin.hear(told(fact(4, Kind.TASK_RETRYING, first, status="failed")))
    origin.dispatcher.heard(printed(first, 3, b"2"))
    origin.dispatcher.heard(Afresh(id=first))
    origin.hear(told(fact(5, Kind.LOG_REDACTED, first, stream="stdout")))
    assert log(origin, first) == b"1"


def test_however_many_print_at_once_few_files_are_open(tmp_path: Path) -> None:
    ids = [AttemptId("g", f"t{number}", 1) for number in range(MOST_OPEN + 40)]
    group = TaskGroup(tasks=tuple(Task(name=id.task, type="probe") for id in ids))
    logs = FileLogStore(tmp_path, sealer=Sealer.ephemeral())
    dispatch = GroupDispatch(id=ID, instance="i2", group=group, inputs={}, public_id="g", running=tuple(ids))
    handed = HandedGroup(dispatch, "onprem", logs)
    before = len(os.listdir("/proc/self/fd"))
    for position, text in ((5, b"hello"), (11, b" again")):
        for id in ids:
            handed.printed(printed(id, position, text))
    assert len(os.listdir("/proc/self/fd")) - before <= MOST_OPEN
    said = handed.submission("cloud (n1)")
    assert set(said.printed.values()) == {11}
    assert len(os.listdir("/proc/self/fd")) - before <= MOST_OPEN
    handed.end()
    for id in ids:
        assert b"".join(frame.data for frame in logs.frames(id, 0, 100)) == b"hello again"
