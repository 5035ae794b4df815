"""What origins and executors tell each other, and its messages on the wire. The functions come in pairs: `…_to_proto` and
`…_from_proto`.

Whoever is connected may send anything: what is read here has the types and the bounds that the model says, and what has not raises a
UsageError that says what is wrong with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from runner.errors import StoreCorruptError, UsageError
from runner.model import codec
from runner.model import session as model
from runner.model.dispatch import AttemptId, Dispatch, Finished, Noticed, Report, Started
from runner.model.event import Event, Kind
from runner.model.fields import NAME
from runner.model.log import Stream
from runner.model.result import Outcome, Status
from runner.model.value import Bindings, Value
from runner.rpc.events import event_from_proto, event_to_proto
from runner.rpc.wire import STATUSES, STATUSES_BACK, STREAMS, STREAMS_BACK, kill_from_proto, kill_to_proto
from runner.v1 import peer_pb2 as pb
from runner.v1 import runner_pb2

LARGEST = (1 << 62) - 1
"""Of every number; what is stored has 63 bits."""

LONGEST_GROUP_CHARS = 300
LONGEST_ATTEMPT = (1 << 31) - 1
LONGEST_NAME_CHARS = 1000

_ENDS = frozenset({Status.SUCCESS, Status.FAILED, Status.ERRORED, Status.ABORTED})


# From the origin.


def from_origin_to_proto(said: model.FromOrigin) -> pb.FromOrigin:
    match said:
        case model.OriginHello():
            live = [_id_to_proto(id) for id in said.live]
            return pb.FromOrigin(hello=pb.OriginHello(node=said.node, name=said.name, live=live, version=said.version))
        case model.Submit():
            return pb.FromOrigin(submit=_submit_to_proto(said))
        case model.Acknowledge():
            return pb.FromOrigin(acknowledge=pb.AcknowledgeReports(id=_id_to_proto(said.id), sequence=said.sequence))
        case model.Cancel():
            return pb.FromOrigin(cancel=pb.CancelAttempt(id=_id_to_proto(said.id), grace=said.grace))
        case model.Signal():
            return pb.FromOrigin(signal=pb.SignalAttempt(id=_id_to_proto(said.id), signal=said.signal))
        case model.Release():
            return pb.FromOrigin(release=pb.ReleaseGroup(group=said.group))


def from_origin_from_proto(message: pb.FromOrigin) -> model.FromOrigin:
    """Raises UsageError."""
    said: model.FromOrigin = _read(message, _FROM_ORIGIN)
    return said


def _origin_hello(message: pb.OriginHello) -> model.OriginHello:
    return model.OriginHello(
        node=_name("node", message.node),
        name=_name("name", message.name),
        live=tuple(_id_from_proto(id) for id in message.live),
        version=message.version,
    )


def _submit_to_proto(said: model.Submit) -> pb.SubmitAttempt:
    dispatch = said.dispatch
    return pb.SubmitAttempt(
        id=_id_to_proto(dispatch.id),
        instance=dispatch.instance,
        task=codec.encode_task(dispatch.task),
        bindings=_bindings_to_proto(dispatch.bindings),
        workspace=dispatch.workspace,
        grace=dispatch.grace,
        resumed=dispatch.resumed,
        handle=dispatch.handle,
        started_at=dispatch.started_at,
        paused=dispatch.paused,
        told_paused=dispatch.told_paused,
        traceparent=dispatch.traceparent,
        on_behalf_of=dispatch.on_behalf_of,
        hops=said.hops,
        after=said.after,
        printed=said.printed,
        cancel_grace=said.cancel_grace,
    )


def _submit(message: pb.SubmitAttempt) -> model.Submit:
    try:
        task = codec.decode_task(message.task)
    except StoreCorruptError as error:
        raise UsageError(f"its task cannot be read ({error.__cause__})") from error
    id = _id_from_proto(message.id)
    if task.name != id.task:
        raise UsageError(f"it is of the task {id.task!r}, and carries {task.name[:200]!r}")
    for name in (*task.edges, *(item.variable for item in task.imports), *(item.name for item in task.exports)):
        _task_name(name)
    dispatch = Dispatch(
        id=id,
        instance=_text("instance", message.instance, LONGEST_NAME_CHARS),
        task=task,
        bindings=_bindings_from_proto(message.bindings),
        workspace=_text("workspace", message.workspace),
        grace=_seconds("grace", message.grace),
        resumed=message.resumed,
        handle=message.handle if message.HasField("handle") else None,
        started_at=_seconds("started_at", message.started_at) if message.HasField("started_at") else None,
        paused=message.paused,
        told_paused=message.told_paused,
        traceparent=_text("traceparent", message.traceparent, LONGEST_NAME_CHARS),
        on_behalf_of=_text("on_behalf_of", message.on_behalf_of, LONGEST_NAME_CHARS),
    )
    return model.Submit(
        dispatch=dispatch,
        hops=tuple(_text("hops", hop, LONGEST_NAME_CHARS) for hop in message.hops),
        after=_number("after", message.after),
        printed=_number("printed", message.printed),
        cancel_grace=_seconds("cancel_grace", message.cancel_grace) if message.HasField("cancel_grace") else None,
    )


def _acknowledge(message: pb.AcknowledgeReports) -> model.Acknowledge:
    return model.Acknowledge(id=_id_from_proto(message.id), sequence=_number("sequence", message.sequence))


def _cancel(message: pb.CancelAttempt) -> model.Cancel:
    return model.Cancel(id=_id_from_proto(message.id), grace=_seconds("grace", message.grace))


def _signal(message: pb.SignalAttempt) -> model.Signal:
    return model.Signal(id=_id_from_proto(message.id), signal=_name("signal", message.signal))


def _release(message: pb.ReleaseGroup) -> model.Release:
    return model.Release(group=_group(message.group))


_FROM_ORIGIN: Mapping[str, Callable[[Any], Any]] = {
    "hello": _origin_hello,
    "submit": _submit,
    "acknowledge": _acknowledge,
    "cancel": _cancel,
    "signal": _signal,
    "release": _release,
}


# From the executor.


def from_executor_to_proto(said: model.FromExecutor) -> pb.FromExecutor:
    match said:
        case model.ExecutorHello():
            return pb.FromExecutor(hello=_executor_hello_to_proto(said))
        case model.Reported():
            return pb.FromExecutor(report=_report_to_proto(said.report))
        case model.Printed():
            return pb.FromExecutor(
                output=pb.AttemptOutput(
                    id=_id_to_proto(said.id),
                    stream=STREAMS[said.stream],
                    position=said.position,
                    data=said.data,
                    missing=said.missing,
                )
            )
        case model.Afresh():
            return pb.FromExecutor(afresh=pb.OutputAfresh(id=_id_to_proto(said.id)))
        case model.Refused():
            return pb.FromExecutor(
                refused=pb.AttemptRefused(id=_id_to_proto(said.id), reason=said.reason, message=said.message)
            )
        case model.Loaded():
            return pb.FromExecutor(load=_capacity_to_proto(said.capacity))


def from_executor_from_proto(message: pb.FromExecutor) -> model.FromExecutor:
    """Raises UsageError."""
    said: model.FromExecutor = _read(message, _FROM_EXECUTOR)
    return said


def _executor_hello_to_proto(said: model.ExecutorHello) -> pb.ExecutorHello:
    return pb.ExecutorHello(
        node=said.node,
        name=said.name,
        instance=said.instance,
        types=sorted(said.types),
        labels=said.labels,
        capacity=_capacity_to_proto(said.capacity),
        version=said.version,
    )


def _executor_hello(message: pb.ExecutorHello) -> model.ExecutorHello:
    return model.ExecutorHello(
        node=_name("node", message.node),
        name=_name("name", message.name),
        instance=_name("instance", message.instance),
        types=frozenset(_name("types", type) for type in message.types),
        labels={_text("labels", name): _text("labels", text) for name, text in message.labels.items()},
        capacity=_capacity(message.capacity),
        version=message.version,
    )


def _capacity_to_proto(capacity: model.Capacity) -> pb.Capacity:
    return pb.Capacity(slots=capacity.slots, taken=capacity.taken, waiting=capacity.waiting)


def _capacity(message: pb.Capacity) -> model.Capacity:
    return model.Capacity(slots=message.slots, taken=message.taken, waiting=message.waiting)


def _report_to_proto(report: Report) -> pb.AttemptReport:
    message = pb.AttemptReport(id=_id_to_proto(report.id), sequence=report.sequence)
    match report:
        case Started():
            message.started.CopyFrom(pb.AttemptStarted(at=report.at, handle=report.handle))
        case Noticed():
            event = Event(group="", number=0, at=0.0, kind=report.kind, fields=report.fields)
            message.noticed.CopyFrom(event_to_proto(event))
        case Finished():
            message.finished.CopyFrom(_outcome_to_proto(report.outcome))
    return message


def _reported(message: pb.AttemptReport) -> model.Reported:
    id = _id_from_proto(message.id)
    sequence = _number("sequence", message.sequence)
    if sequence == 0:
        raise UsageError("its sequence is 0: reports are numbered from 1")
    said = message.WhichOneof("report")
    if said == "started":
        at = _seconds("at", message.started.at)
        return model.Reported(report=Started(id=id, sequence=sequence, at=at, handle=message.started.handle))
    if said == "noticed":
        kind, fields = _noticed(message.noticed)
        return model.Reported(report=Noticed(id=id, sequence=sequence, kind=kind, fields=fields))
    if said == "finished":
        return model.Reported(report=Finished(id=id, sequence=sequence, outcome=_outcome(message.finished)))
    raise UsageError("it says nothing that is known here")


def _noticed(message: runner_pb2.Event) -> tuple[Kind, Mapping[str, Any]]:
    try:
        event = event_from_proto(message, "")
    except KeyError as error:
        raise UsageError(f"the word {error} of its notice is not known here") from error
    if event is None or event.kind not in model.NOTICED:
        told = "nothing that is known here" if event is None else event.kind.value
        raise UsageError(f"it notices {told}; expected one of {', '.join(sorted(model.NOTICED))}")
    for name, value in event.fields.items():
        if isinstance(value, int):
            _number(name, value)
        elif isinstance(value, str):
            _text(name, value)
    return event.kind, event.fields


def _outcome_to_proto(outcome: Outcome) -> pb.AttemptFinished:
    return pb.AttemptFinished(
        status=STATUSES[outcome.status],
        reason=outcome.reason or "",
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        outputs={name: _value_to_proto(value) for name, value in outcome.outputs.items()},
        error=outcome.error or "",
        kill=None if outcome.kill is None else kill_to_proto(outcome.kill),
        started_at=outcome.started_at,
        finished_at=outcome.finished_at,
    )


def _outcome(message: pb.AttemptFinished) -> Outcome:
    status = STATUSES_BACK.get(message.status)
    if status not in _ENDS:
        raise UsageError(f"it ends as {status or message.status}; expected one of {', '.join(sorted(_ENDS))}")
    for name in message.outputs:
        _task_name(name)
    return Outcome(
        status=status,
        reason=_text("reason", message.reason, LONGEST_NAME_CHARS) or None,
        exit_code=message.exit_code if message.HasField("exit_code") else None,
        signal=message.signal if message.HasField("signal") else None,
        outputs={name: _value(value) for name, value in message.outputs.items()},
        error=_text("error", message.error) or None,
        kill=kill_from_proto(message.kill) if message.HasField("kill") else None,
        started_at=_seconds("started_at", message.started_at) if message.HasField("started_at") else None,
        finished_at=_seconds("finished_at", message.finished_at) if message.HasField("finished_at") else None,
    )


def _printed(message: pb.AttemptOutput) -> model.Printed:
    return model.Printed(
        id=_id_from_proto(message.id),
        stream=_stream(message.stream),
        position=_number("position", message.position),
        data=message.data,
        missing=_number("missing", message.missing),
    )


def _afresh(message: pb.OutputAfresh) -> model.Afresh:
    return model.Afresh(id=_id_from_proto(message.id))


def _refused(message: pb.AttemptRefused) -> model.Refused:
    return model.Refused(
        id=_id_from_proto(message.id),
        reason=_name("reason", message.reason),
        message=_text("message", message.message),
    )


_FROM_EXECUTOR: Mapping[str, Callable[[Any], Any]] = {
    "hello": _executor_hello,
    "report": _reported,
    "output": _printed,
    "afresh": _afresh,
    "refused": _refused,
    "load": lambda message: model.Loaded(capacity=_capacity(message)),
}


# Their parts.


def _read(message: Any, readers: Mapping[str, Callable[[Any], Any]]) -> Any:
    said = message.WhichOneof("message")
    if said is None:
        raise UsageError("the peer's message cannot be used: it says nothing that is known here")
    try:
        return readers[said](getattr(message, said))
    except UsageError as error:
        raise UsageError(f"the peer's message `{said}` cannot be used: {error.message}") from error


def _id_to_proto(id: AttemptId) -> pb.AttemptId:
    return pb.AttemptId(group=id.group, task=id.task, attempt=id.attempt)


def _id_from_proto(message: pb.AttemptId) -> AttemptId:
    if not 1 <= message.attempt <= LONGEST_ATTEMPT:
        raise UsageError(f"its attempt is {message.attempt}; expected 1 to {LONGEST_ATTEMPT:,}")
    return AttemptId(_group(message.group), _task_name(message.task), message.attempt)


def _bindings_to_proto(bindings: Bindings) -> pb.Bindings:
    message = pb.Bindings(
        inputs={name: _value_to_proto(value) for name, value in bindings.inputs.items()},
        env=bindings.env,
        group_id=bindings.group_id,
        group_name=bindings.group_name,
        task_name=bindings.task_name,
        task_attempt=bindings.task_attempt,
    )
    for task, values in bindings.imports.items():
        message.imports[task].SetInParent()
        for name, value in values.items():
            message.imports[task].values[name].CopyFrom(_value_to_proto(value))
    return message


def _bindings_from_proto(message: pb.Bindings) -> Bindings:
    for task, values in message.imports.items():
        for name in (task, *values.values):
            _task_name(name)
    for name in message.inputs:
        _task_name(name)
    return Bindings(
        imports={
            task: {name: _value(value) for name, value in values.values.items()}
            for task, values in message.imports.items()
        },
        inputs={name: _value(value) for name, value in message.inputs.items()},
        env={_text("env", name): _text("env", text) for name, text in message.env.items()},
        group_id=_text("group_id", message.group_id, LONGEST_NAME_CHARS),
        group_name=_text("group_name", message.group_name),
        task_name=_text("task_name", message.task_name, LONGEST_NAME_CHARS),
        task_attempt=message.task_attempt,
    )


def _value_to_proto(value: Value) -> pb.Value:
    return pb.Value(text=value.text, confidential=value.confidential)


def _value(message: pb.Value) -> Value:
    return Value(_text("value", message.text), message.confidential)


def _stream(number: Any) -> Stream:
    stream = STREAMS_BACK.get(number)
    if stream is None:
        raise UsageError(f"there is no stream {number}")
    return stream


def _text(field: str, text: str, longest: float = math.inf) -> str:
    if "\0" in text:
        raise UsageError(f"its `{field}` holds a NUL")
    if len(text) > longest:
        raise UsageError(f"its `{field}` has {len(text):,} characters, and may have {longest:,}")
    return text


def _name(field: str, text: str) -> str:
    if not text:
        raise UsageError(f"its `{field}` is empty")
    if not text.isprintable():
        raise UsageError(f"its `{field}` holds what cannot be printed")
    return _text(field, text, LONGEST_NAME_CHARS)


_group = partial(_name, "group")


def _task_name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise UsageError(f"{text[:200]!r} cannot be the name of a task or of a variable")
    return text


def _number(field: str, number: int) -> int:
    if not 0 <= number <= LARGEST:
        raise UsageError(f"its `{field}` is {number}; expected 0 to {LARGEST}")
    return number


def _seconds(field: str, seconds: float) -> float:
    if not 0 <= seconds <= 1e12:  # a NaN is neither
        raise UsageError(f"its `{field}` is {seconds}; expected a number of seconds")
    return seconds
