"""What origins and executors tell each other survives its way over the wire; what is damaged is refused in words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import UsageError
from runner.model import session
from runner.model.dispatch import WHOLE, AttemptId, Dispatch, Fact, Finished, GroupDispatch, Noticed, Started, Told
from runner.model.event import Event, Kind
from runner.model.fault import Fault
from runner.model.group import Input, TaskGroup
from runner.model.load import Load
from runner.model.log import STREAMS
from runner.model.result import Outcome, Status
from runner.model.task import Export, Forward, Import, Retry, Scope, Task, When
from runner.model.value import Bindings, Value
from runner.rpc import peerparts, peerwire
from runner.v1 import peer_pb2 as pb
from runner.v1 import runner_pb2

NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,12}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
WORD = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)
SECONDS = st.floats(min_value=0, max_value=1e9, allow_nan=False)
COUNT = st.integers(0, peerparts.LARGEST)
SLOTS = st.integers(0, (1 << 32) - 1)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
STREAM = st.sampled_from(STREAMS)
IDS = st.builds(AttemptId, WORD, NAME, st.integers(1, peerparts.LONGEST_ATTEMPT))
VALUES = st.dictionaries(NAME, st.builds(Value, TEXT, st.booleans()), max_size=3)
TASKS = st.builds(
    Task,
    name=NAME,
    type=TEXT,
    spec=st.dictionaries(TEXT, PLAIN, max_size=3),
    description=TEXT,
    depends_on=st.lists(NAME, max_size=3).map(tuple),
    imports=st.lists(st.builds(Import, task=NAME, variable=NAME), max_size=2).map(tuple),
    exports=st.lists(
        st.builds(
            Export, name=NAME, confidential=st.booleans(), scope=st.sampled_from(Scope), default=st.none() | TEXT
        ),
        max_size=2,
    ).map(tuple),
    timeout=st.none() | SECONDS,
    retry=st.builds(
        Retry, attempts=st.integers(1, 9), delay=SECONDS, on=st.frozensets(st.sampled_from(["failed", "7", "timeout"]))
    ),
    when=st.sampled_from(When),
    condition=st.none() | st.booleans() | TEXT,
    allow_failure=st.booleans(),
    template=st.booleans(),
    forward=st.none() | st.builds(Forward, to=TEXT) | st.builds(Forward, labels=st.dictionaries(TEXT, TEXT)),
)
BINDINGS = st.builds(
    Bindings,
    imports=st.dictionaries(NAME, VALUES, max_size=3),
    inputs=VALUES,
    env=st.dictionaries(TEXT, TEXT, max_size=3),
    group_id=TEXT,
    group_name=TEXT,
    task_name=TEXT,
    task_attempt=SLOTS,
)


@st.composite
def submits(draw: st.DrawFn) -> session.Submit:
    task = draw(TASKS)
    group, _, attempt = draw(IDS)
    dispatch = Dispatch(
        id=AttemptId(group, task.name, attempt),
        instance=draw(TEXT),
        task=task,
        bindings=draw(BINDINGS),
        workspace=draw(TEXT),
        grace=draw(SECONDS),
        resumed=draw(st.booleans()),
        handle=draw(st.none() | st.binary(max_size=9)),
        started_at=draw(st.none() | SECONDS),
        paused=draw(st.booleans()),
        told_paused=draw(st.booleans()),
        traceparent=draw(TEXT),
        on_behalf_of=draw(TEXT),
    )
    return session.Submit(
        dispatch=dispatch,
        hops=draw(st.lists(TEXT, max_size=3).map(tuple)),
        after=draw(COUNT),
        printed=draw(COUNT),
        cancel_grace=draw(st.none() | SECONDS),
    )


@st.composite
def groups(draw: st.DrawFn) -> session.SubmitGroup:
    inputs = draw(VALUES)
    group = TaskGroup(
        name=draw(TEXT),
        labels=draw(st.dictionaries(TEXT, TEXT, max_size=2)),
        inputs=tuple(Input(name=name, default=draw(st.none() | TEXT)) for name in inputs),
        timeout=draw(st.none() | SECONDS),
        fail_fast=draw(st.booleans()),
        env=draw(st.dictionaries(TEXT, TEXT, max_size=2)),
        forward=draw(st.none() | st.builds(Forward, to=TEXT)),
        tasks=tuple(draw(st.lists(TASKS, max_size=3))),
    )
    dispatch = GroupDispatch(
        id=AttemptId(draw(WORD), WHOLE, 1),
        instance=draw(TEXT),
        group=group,
        inputs=inputs,
        public_id=draw(TEXT),
        resumed=draw(st.booleans()),
        paused=draw(st.frozensets(NAME, max_size=2)),
        traceparent=draw(TEXT),
        on_behalf_of=draw(TEXT),
    )
    return session.SubmitGroup(
        dispatch=dispatch,
        hops=draw(st.lists(TEXT, max_size=3).map(tuple)),
        after=draw(COUNT),
        printed=draw(st.dictionaries(IDS, COUNT, max_size=2)),
        cancel_grace=draw(st.none() | SECONDS),
    )


OUTCOMES = st.builds(
    Outcome,
    status=st.sampled_from([Status.SUCCESS, Status.FAILED, Status.ERRORED, Status.ABORTED]),
    reason=st.none() | WORD,
    exit_code=st.none() | st.integers(-(1 << 31), (1 << 31) - 1),
    signal=st.none() | st.integers(1, 64),
    outputs=VALUES,
    error=st.none() | WORD,
    kill=st.none()
    | st.just({"confirmed": False})
    | st.fixed_dictionaries(
        {
            "signals": st.just([["SIGTERM", 0.0], ["SIGKILL", 10.25]]),
            "containment": WORD,
            "left": st.just([]),
            "leftovers": SLOTS,
        }
    ),
    started_at=st.none() | SECONDS,
    finished_at=st.none() | SECONDS,
)
NOTICES: dict[Kind, st.SearchStrategy[dict[str, Any]]] = {
    Kind.KILL_REPORT: st.just({"signals": [], "containment": "marker", "left": [], "leftovers": 3}),
    Kind.MASK_SKIPPED: st.fixed_dictionaries({"name": WORD}),
    Kind.LOG_REDACTED: st.fixed_dictionaries({"stream": STREAM, "marks": COUNT, "offset": COUNT}),
    Kind.LOG_GAP: st.fixed_dictionaries({"stream": STREAM, "offset": COUNT, "bytes": COUNT}),
    Kind.TASK_EXPORT: st.fixed_dictionaries({"name": WORD, "confidential": st.booleans()}, optional={"cause": WORD}),
    Kind.TASK_PAUSED: st.just({}),
    Kind.TASK_RESUMED: st.just({}),
}
SEQUENCE = st.integers(1, peerparts.LARGEST)
NOTICED = st.one_of(
    *(
        st.builds(Noticed, id=IDS, sequence=SEQUENCE, kind=st.just(kind), fields=fields)
        for kind, fields in NOTICES.items()
    )
)
FACTS: dict[Kind, st.SearchStrategy[dict[str, Any]]] = {
    **NOTICES,
    Kind.TASK_DISPATCHED: st.just({}) | st.fixed_dictionaries({"runner": WORD}),
    Kind.TASK_STARTED: st.just({}),
    Kind.TASK_FINISHED: st.fixed_dictionaries({"status": st.just("failed")}, optional={"error": WORD}),
    Kind.TASK_SKIPPED: st.fixed_dictionaries({"reason": WORD}, optional={"because_of": WORD}),
}


@st.composite
def tolds(draw: st.DrawFn) -> Told:
    facts = []
    for number in sorted(draw(st.sets(st.integers(1, 1 << 50), max_size=4))):
        kind = draw(st.sampled_from(list(FACTS)))
        event = Event(
            group="",
            number=number,
            at=float(draw(st.integers(0, 4_000_000_000))),
            kind=kind,
            task=draw(NAME),
            attempt=draw(st.integers(1, 9)),
            fields=draw(FACTS[kind]),
        )
        facts.append(Fact(event=event, outcome=draw(st.none() | OUTCOMES)))
    last = facts[-1].event.number if facts else 1
    id = AttemptId(draw(WORD), WHOLE, 1)
    return Told(id=id, sequence=last + draw(st.integers(0, 9)), facts=tuple(facts))


REPORTS = (
    st.builds(Started, id=IDS, sequence=SEQUENCE, at=SECONDS, handle=st.binary(max_size=9))
    | NOTICED
    | st.builds(Finished, id=IDS, sequence=SEQUENCE, outcome=OUTCOMES)
    | tolds()
)
LOADS = st.builds(Load, slots=SLOTS, taken=SLOTS, waiting=SLOTS)

FROM_ORIGIN: dict[str, st.SearchStrategy[session.FromOrigin]] = {
    "hello": st.builds(session.OriginHello, node=WORD, name=WORD, version=SLOTS),
    "begin": st.builds(session.Begin, live=st.lists(IDS, max_size=3).map(tuple)),
    "submit": submits(),
    "submit_group": groups(),
    "check": st.builds(session.Check, number=COUNT, tasks=st.lists(TASKS, max_size=3).map(tuple), on_behalf_of=TEXT),
    "acknowledge": st.builds(session.Acknowledge, id=IDS, sequence=COUNT),
    "cancel": st.builds(session.Cancel, id=IDS, grace=SECONDS),
    "signal": st.builds(session.Signal, id=IDS, signal=st.sampled_from(["pause", "start", "destroy"])),
    "release": st.builds(session.Release, group=WORD),
}
FROM_EXECUTOR: dict[str, st.SearchStrategy[session.FromExecutor]] = {
    "hello": st.builds(
        session.ExecutorHello,
        node=WORD,
        name=WORD,
        instance=WORD,
        types=st.frozensets(WORD, max_size=3),
        labels=st.dictionaries(TEXT, TEXT, max_size=3),
        load=LOADS,
        version=SLOTS,
    ),
    "report": st.builds(session.Reported, report=REPORTS),
    "output": st.builds(
        session.Printed, id=IDS, stream=STREAM, position=COUNT, data=st.binary(max_size=9), missing=COUNT
    ),
    "afresh": st.builds(session.Afresh, id=IDS),
    "refused": st.builds(session.Refused, id=IDS, reason=WORD, message=TEXT),
    "load": st.builds(session.Loaded, load=LOADS),
    "checked": st.builds(
        session.Checked,
        number=COUNT,
        faults=st.lists(
            st.builds(
                Fault,
                path=st.tuples(st.integers(0, 99_999), st.just("spec"), WORD, st.integers(0, 9)),
                message=TEXT,
                hint=st.none() | WORD,
            ),
            max_size=3,
        ).map(tuple),
    ),
}


def test_every_message_is_tried() -> None:
    assert {field.name for field in pb.FromOrigin.DESCRIPTOR.oneofs[0].fields} == set(FROM_ORIGIN)
    assert {field.name for field in pb.FromExecutor.DESCRIPTOR.oneofs[0].fields} == set(FROM_EXECUTOR)
    assert set(NOTICES) == session.NOTICED


@pytest.mark.parametrize("name", FROM_ORIGIN)
@given(data=st.data())
def test_an_origin_is_understood(name: str, data: st.DataObject) -> None:
    said = data.draw(FROM_ORIGIN[name])
    sent = peerwire.from_origin_to_proto(said)
    assert sent.WhichOneof("message") == name
    heard = peerwire.from_origin_from_proto(pb.FromOrigin.FromString(sent.SerializeToString()))
    assert heard == said
    if isinstance(said, session.Submit) and isinstance(heard, session.Submit):
        assert heard.dispatch.digest == said.dispatch.digest


@pytest.mark.parametrize("name", FROM_EXECUTOR)
@given(data=st.data())
def test_an_executor_is_understood(name: str, data: st.DataObject) -> None:
    said = data.draw(FROM_EXECUTOR[name])
    sent = peerwire.from_executor_to_proto(said)
    assert sent.WhichOneof("message") == name
    assert peerwire.from_executor_from_proto(pb.FromExecutor.FromString(sent.SerializeToString())) == said


ID = pb.AttemptId(group="g", task="a", attempt=1)
PLAIN_TASK = b'{"name":"a","type":"os_exec"}'


def _submit(**changes: Any) -> pb.FromOrigin:
    return pb.FromOrigin(submit=pb.SubmitAttempt(**{"id": ID, "task": PLAIN_TASK, **changes}))


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (pb.FromOrigin(), "it says nothing that is known here"),
        (pb.FromOrigin(hello=pb.OriginHello(name="n")), "`hello` cannot be used: its `node` is empty"),
        (pb.FromOrigin(hello=pb.OriginHello(node="n\n", name="n")), "its `node` holds what cannot be printed"),
        (pb.FromOrigin(hello=pb.OriginHello(node="n" * 1001, name="n")), "its `node` has 1,001 characters"),
        (pb.FromOrigin(cancel=pb.CancelAttempt(id=pb.AttemptId(task="a", attempt=1))), "its `group` is empty"),
        (pb.FromOrigin(cancel=pb.CancelAttempt(id=pb.AttemptId(group="g", task="a"))), "its attempt is 0"),
        (
            pb.FromOrigin(cancel=pb.CancelAttempt(id=pb.AttemptId(group="g", task="../a", attempt=1))),
            "'../a' cannot be the name of a task",
        ),
        (pb.FromOrigin(cancel=pb.CancelAttempt(id=ID, grace=float("nan"))), "its `grace` is nan"),
        (pb.FromOrigin(cancel=pb.CancelAttempt(id=ID, grace=-1)), "its `grace` is -1.0"),
        (pb.FromOrigin(cancel=pb.CancelAttempt(id=ID, grace=float("inf"))), "its `grace` is inf"),
        (pb.FromOrigin(acknowledge=pb.AcknowledgeReports(id=ID, sequence=1 << 63)), "its `sequence` is"),
        (_submit(task=b"{"), "`submit` cannot be used: its task cannot be read"),
        (_submit(task=b"\xff"), "its task cannot be read"),
        (_submit(task=b"[" * 100_000), "its task cannot be read"),
        (_submit(task=b"[]"), "its task cannot be read"),
        (_submit(task=b'{"name":"a","type":7}'), "its task cannot be read"),
        (_submit(task=b'{"name":"a","type":"os_exec","timeout":"1"}'), "its task cannot be read"),
        (_submit(task=b'{"name":"a","type":"os_exec","retry":{"attempts":[]}}'), "its task cannot be read"),
        (_submit(task=b'{"name":"a","type":"os_exec","other":1}'), "its task cannot be read"),
        (_submit(task=b'{"name":"b","type":"os_exec"}'), "it is of the task 'a', and carries 'b'"),
        (_submit(task=b'{"name":"a","type":"os_exec","exports":[{"name":"x/y"}]}'), "'x/y' cannot be the name"),
        (_submit(bindings=pb.Bindings(inputs={"x": pb.Value(text="a\0b")})), "its `value` holds a NUL"),
        (_submit(bindings=pb.Bindings(inputs={"x y": pb.Value(text="a")})), "'x y' cannot be the name"),
        (_submit(after=1 << 63), "its `after` is"),
        (_submit(started_at=-0.5), "its `started_at` is -0.5"),
    ],
)
def test_an_origin_that_is_damaged_or_hostile_is_told_what_is_wrong(message: pb.FromOrigin, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        peerwire.from_origin_from_proto(pb.FromOrigin.FromString(message.SerializeToString()))
    assert told in caught.value.message


def _report(**changes: Any) -> pb.FromExecutor:
    return pb.FromExecutor(report=pb.AttemptReport(**{"id": ID, "sequence": 1, **changes}))


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (pb.FromExecutor(), "it says nothing that is known here"),
        (_report(), "`report` cannot be used: it says nothing that is known here"),
        (_report(sequence=0, started=pb.AttemptStarted()), "its sequence is 0"),
        (_report(started=pb.AttemptStarted(at=float("nan"))), "its `at` is nan"),
        (_report(finished=pb.AttemptFinished()), "it ends as 0"),
        (_report(finished=pb.AttemptFinished(status=runner_pb2.STATUS_RUNNING)), "it ends as running"),
        (_report(finished=pb.AttemptFinished(status=runner_pb2.STATUS_SKIPPED)), "it ends as skipped"),
        (
            _report(finished=pb.AttemptFinished(status=runner_pb2.STATUS_SUCCESS, outputs={"": pb.Value()})),
            "'' cannot be the name",
        ),
        (_report(noticed=runner_pb2.Event()), "it notices nothing that is known here"),
        (
            _report(
                noticed=runner_pb2.Event(group_finished=runner_pb2.GroupFinished(status=runner_pb2.STATUS_SUCCESS))
            ),
            "it notices group_finished",
        ),
        (_report(noticed=runner_pb2.Event(log_gap=runner_pb2.LogGap(offset=1))), "the word 0 of its event"),
        (
            _report(
                noticed=runner_pb2.Event(log_gap=runner_pb2.LogGap(stream=runner_pb2.STREAM_STDOUT, bytes=1 << 63))
            ),
            "its `bytes` is",
        ),
        (pb.FromExecutor(output=pb.AttemptOutput(id=ID, data=b"x")), "there is no stream 0"),
        (pb.FromExecutor(refused=pb.AttemptRefused(id=ID)), "its `reason` is empty"),
        (pb.FromExecutor(hello=pb.ExecutorHello(node="n", name="n")), "its `instance` is empty"),
    ],
)
def test_an_executor_that_is_damaged_or_hostile_is_told_what_is_wrong(message: pb.FromExecutor, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        peerwire.from_executor_from_proto(pb.FromExecutor.FromString(message.SerializeToString()))
    assert told in caught.value.message


@given(data=st.binary(max_size=200))
def test_bytes_of_any_kind_are_read_or_refused(data: bytes) -> None:
    message = _submit(task=data)
    try:
        heard = peerwire.from_origin_from_proto(message)
    except UsageError:
        return
    assert peerwire.from_origin_from_proto(peerwire.from_origin_to_proto(heard)) == heard
