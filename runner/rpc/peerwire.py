"""What origins and executors tell each other, and its messages on the wire. The functions come in pairs: `…_to_proto` and
`…_from_proto`.

Whoever is connected may send anything: what is read here has the types and the bounds that the model says, and what has not raises a
UsageError that says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from runner.errors import StoreCorruptError, UsageError
from runner.model import codec
from runner.model import session as model
from runner.model.dispatch import WHOLE, Dispatch, GroupDispatch
from runner.model.fault import Fault, read_path, spell_path
from runner.model.load import Load
from runner.model.task import Task
from runner.rpc import peerparts as parts
from runner.rpc import peerreports as reports
from runner.rpc.wire import STREAMS
from runner.v1 import peer_pb2 as pb

# From the origin.


def from_origin_to_proto(said: model.FromOrigin) -> pb.FromOrigin:
    match said:
        case model.OriginHello():
            return pb.FromOrigin(hello=pb.OriginHello(node=said.node, name=said.name, version=said.version))
        case model.Begin():
            return pb.FromOrigin(begin=pb.BeginSession(live=[parts.id_to_proto(id) for id in said.live]))
        case model.Submit():
            return pb.FromOrigin(submit=_submit_to_proto(said))
        case model.SubmitGroup():
            return pb.FromOrigin(submit_group=_submit_group_to_proto(said))
        case model.Acknowledge():
            return pb.FromOrigin(
                acknowledge=pb.AcknowledgeReports(id=parts.id_to_proto(said.id), sequence=said.sequence)
            )
        case model.Cancel():
            return pb.FromOrigin(cancel=pb.CancelAttempt(id=parts.id_to_proto(said.id), grace=said.grace))
        case model.Signal():
            return pb.FromOrigin(signal=pb.SignalAttempt(id=parts.id_to_proto(said.id), signal=said.signal))
        case model.Check():
            tasks = [codec.encode_task(task) for task in said.tasks]
            return pb.FromOrigin(check=pb.CheckTasks(number=said.number, tasks=tasks, on_behalf_of=said.on_behalf_of))
        case model.Release():
            return pb.FromOrigin(release=pb.ReleaseGroup(group=said.group))


def from_origin_from_proto(message: pb.FromOrigin) -> model.FromOrigin:
    """Raises UsageError."""
    said: model.FromOrigin = _read(message, _FROM_ORIGIN)
    return said


def _origin_hello(message: pb.OriginHello) -> model.OriginHello:
    return model.OriginHello(
        node=parts.name_of("node", message.node),
        name=parts.name_of("name", message.name),
        version=message.version,
    )


def _submit_to_proto(said: model.Submit) -> pb.SubmitAttempt:
    dispatch = said.dispatch
    return pb.SubmitAttempt(
        id=parts.id_to_proto(dispatch.id),
        instance=dispatch.instance,
        task=codec.encode_task(dispatch.task),
        bindings=parts.bindings_to_proto(dispatch.bindings),
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


def _submit_group_to_proto(said: model.SubmitGroup) -> pb.SubmitGroup:
    dispatch = said.dispatch
    return pb.SubmitGroup(
        id=parts.id_to_proto(dispatch.id),
        instance=dispatch.instance,
        group=codec.encode_group(dispatch.group),
        inputs={name: parts.value_to_proto(value) for name, value in dispatch.inputs.items()},
        public_id=dispatch.public_id,
        resumed=dispatch.resumed,
        paused=sorted(dispatch.paused),
        traceparent=dispatch.traceparent,
        on_behalf_of=dispatch.on_behalf_of,
        hops=said.hops,
        after=said.after,
        printed=[pb.PrintedUpTo(id=parts.id_to_proto(id), position=position) for id, position in said.printed.items()],
        cancel_grace=said.cancel_grace,
    )


def _submit_group(message: pb.SubmitGroup) -> model.SubmitGroup:
    try:
        group = codec.decode_foreign_group(message.group)
    except StoreCorruptError as error:
        raise UsageError(f"its group cannot be read ({error.__cause__})") from error
    id = parts.id_from_proto(message.id)
    if id.task != WHOLE:
        raise UsageError(f"it is of the task {id.task!r}, and carries a whole group")
    for task in group.tasks:
        _check_names(task)
    for name in (*message.inputs, *(item.name for item in group.inputs)):
        parts.task_name_of(name)
    dispatch = GroupDispatch(
        id=id,
        instance=parts.text_of("instance", message.instance, parts.LONGEST_NAME_CHARS),
        group=group,
        inputs={name: parts.value_from_proto(value) for name, value in message.inputs.items()},
        public_id=parts.text_of("public_id", message.public_id, parts.LONGEST_NAME_CHARS),
        resumed=message.resumed,
        paused=frozenset(parts.task_name_of(task) for task in message.paused),
        traceparent=parts.text_of("traceparent", message.traceparent, parts.LONGEST_NAME_CHARS),
        on_behalf_of=parts.text_of("on_behalf_of", message.on_behalf_of, parts.LONGEST_NAME_CHARS),
    )
    return model.SubmitGroup(
        dispatch=dispatch,
        hops=_hops(message.hops),
        after=parts.number_of("after", message.after),
        printed={parts.id_from_proto(it.id): parts.number_of("position", it.position) for it in message.printed},
        cancel_grace=parts.seconds_if_any(message, "cancel_grace"),
    )


def _hops(hops: Iterable[str]) -> tuple[str, ...]:
    return tuple(parts.text_of("hops", hop, parts.LONGEST_NAME_CHARS) for hop in hops)


def _submit(message: pb.SubmitAttempt) -> model.Submit:
    task = _task(message.task)
    id = parts.id_from_proto(message.id)
    if task.name != id.task:
        raise UsageError(f"it is of the task {id.task!r}, and carries {task.name[:200]!r}")
    dispatch = Dispatch(
        id=id,
        instance=parts.text_of("instance", message.instance, parts.LONGEST_NAME_CHARS),
        task=task,
        bindings=parts.bindings_from_proto(message.bindings),
        workspace=parts.text_of("workspace", message.workspace),
        grace=parts.seconds_of("grace", message.grace),
        resumed=message.resumed,
        handle=message.handle if message.HasField("handle") else None,
        started_at=parts.seconds_if_any(message, "started_at"),
        paused=message.paused,
        told_paused=message.told_paused,
        traceparent=parts.text_of("traceparent", message.traceparent, parts.LONGEST_NAME_CHARS),
        on_behalf_of=parts.text_of("on_behalf_of", message.on_behalf_of, parts.LONGEST_NAME_CHARS),
    )
    return model.Submit(
        dispatch=dispatch,
        hops=_hops(message.hops),
        after=parts.number_of("after", message.after),
        printed=parts.number_of("printed", message.printed),
        cancel_grace=parts.seconds_if_any(message, "cancel_grace"),
    )


def _task(data: bytes) -> Task:
    try:
        task = codec.decode_task(data)
    except StoreCorruptError as error:
        raise UsageError(f"its task cannot be read ({error.__cause__})") from error
    _check_names(task)
    return task


def _check_names(task: Task) -> None:
    variables = (*(item.variable for item in task.imports), *(item.name for item in task.exports))
    for name in (task.name, *task.edges, *variables):
        parts.task_name_of(name)


def _acknowledge(message: pb.AcknowledgeReports) -> model.Acknowledge:
    return model.Acknowledge(id=parts.id_from_proto(message.id), sequence=parts.number_of("sequence", message.sequence))


def _cancel(message: pb.CancelAttempt) -> model.Cancel:
    return model.Cancel(id=parts.id_from_proto(message.id), grace=parts.seconds_of("grace", message.grace))


def _signal(message: pb.SignalAttempt) -> model.Signal:
    return model.Signal(id=parts.id_from_proto(message.id), signal=parts.name_of("signal", message.signal))


def _check(message: pb.CheckTasks) -> model.Check:
    return model.Check(
        number=parts.number_of("number", message.number),
        tasks=tuple(map(_task, message.tasks)),
        on_behalf_of=parts.text_of("on_behalf_of", message.on_behalf_of, parts.LONGEST_NAME_CHARS),
    )


def _begin(message: pb.BeginSession) -> model.Begin:
    return model.Begin(live=tuple(parts.id_from_proto(id) for id in message.live))


def _release(message: pb.ReleaseGroup) -> model.Release:
    return model.Release(group=parts.group_of(message.group))


_FROM_ORIGIN: Mapping[str, Callable[[Any], Any]] = {
    "hello": _origin_hello,
    "submit": _submit,
    "submit_group": _submit_group,
    "check": _check,
    "acknowledge": _acknowledge,
    "cancel": _cancel,
    "signal": _signal,
    "release": _release,
    "begin": _begin,
}


# From the executor.


def from_executor_to_proto(said: model.FromExecutor) -> pb.FromExecutor:
    match said:
        case model.ExecutorHello():
            return pb.FromExecutor(hello=_executor_hello_to_proto(said))
        case model.Reported():
            return pb.FromExecutor(report=reports.report_to_proto(said.report))
        case model.Printed():
            return pb.FromExecutor(
                output=pb.AttemptOutput(
                    id=parts.id_to_proto(said.id),
                    stream=STREAMS[said.stream],
                    position=said.position,
                    data=said.data,
                    missing=said.missing,
                )
            )
        case model.Afresh():
            return pb.FromExecutor(afresh=pb.OutputAfresh(id=parts.id_to_proto(said.id)))
        case model.Refused():
            return pb.FromExecutor(
                refused=pb.AttemptRefused(id=parts.id_to_proto(said.id), reason=said.reason, message=said.message)
            )
        case model.Loaded():
            return pb.FromExecutor(load=_load_to_proto(said.load))
        case model.Checked():
            faults = [_fault_to_proto(fault) for fault in said.faults]
            return pb.FromExecutor(checked=pb.TasksChecked(number=said.number, faults=faults))


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
        capacity=_load_to_proto(said.load),
        version=said.version,
        unusable=said.unusable,
        kept=said.kept,
    )


def _executor_hello(message: pb.ExecutorHello) -> model.ExecutorHello:
    return model.ExecutorHello(
        node=parts.name_of("node", message.node),
        name=parts.name_of("name", message.name),
        instance=parts.name_of("instance", message.instance),
        types=frozenset(parts.name_of("types", type) for type in message.types),
        labels={parts.text_of("labels", name): parts.text_of("labels", text) for name, text in message.labels.items()},
        load=_load(message.capacity),
        version=message.version,
        unusable={
            parts.name_of("unusable", type): parts.text_of("unusable", why) for type, why in message.unusable.items()
        },
        kept=tuple(parts.group_of(group) for group in message.kept[: model.MOST_KEPT]),
    )


def _load_to_proto(load: Load) -> pb.Capacity:
    return pb.Capacity(slots=load.slots, taken=load.taken, waiting=load.waiting)


def _load(message: pb.Capacity) -> Load:
    return Load(slots=message.slots, taken=message.taken, waiting=message.waiting)


def _printed(message: pb.AttemptOutput) -> model.Printed:
    return model.Printed(
        id=parts.id_from_proto(message.id),
        stream=parts.stream_from_proto(message.stream),
        position=parts.number_of("position", message.position),
        data=message.data,
        missing=parts.number_of("missing", message.missing),
    )


def _afresh(message: pb.OutputAfresh) -> model.Afresh:
    return model.Afresh(id=parts.id_from_proto(message.id))


def _fault_to_proto(fault: Fault) -> pb.TaskFault:
    task, *path = fault.path
    return pb.TaskFault(task=int(task), path=spell_path(tuple(path)), message=fault.message, hint=fault.hint or "")


def _checked(message: pb.TasksChecked) -> model.Checked:
    return model.Checked(
        number=parts.number_of("number", message.number), faults=tuple(map(_fault_from_proto, message.faults))
    )


def _fault_from_proto(message: pb.TaskFault) -> Fault:
    return Fault(
        path=(message.task, *read_path(parts.text_of("path", message.path, parts.LONGEST_NAME_CHARS))),
        message=parts.text_of("message", message.message),
        hint=parts.text_of("hint", message.hint) or None,
    )


def _refused(message: pb.AttemptRefused) -> model.Refused:
    return model.Refused(
        id=parts.id_from_proto(message.id),
        reason=parts.name_of("reason", message.reason),
        message=parts.text_of("message", message.message),
    )


_FROM_EXECUTOR: Mapping[str, Callable[[Any], Any]] = {
    "hello": _executor_hello,
    "report": lambda message: model.Reported(report=reports.report_from_proto(message)),
    "output": _printed,
    "afresh": _afresh,
    "refused": _refused,
    "load": lambda message: model.Loaded(load=_load(message)),
    "checked": _checked,
}


def _read(message: Any, readers: Mapping[str, Callable[[Any], Any]]) -> Any:
    said = message.WhichOneof("message")
    if said is None:
        raise UsageError("the peer's message cannot be used: it says nothing that is known here")
    try:
        return readers[said](getattr(message, said))
    except UsageError as error:
        raise UsageError(f"the peer's message `{said}` cannot be used: {error.message}") from error
