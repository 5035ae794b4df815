"""The model and its messages on the wire. The functions come in pairs: `…_to_proto` and `…_from_proto`.

What is None in the model is unset, or the empty text, on the wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from runner.clock import rfc3339
from runner.model.explanation import Cause, Explanation
from runner.model.fault import Fault, read_path, spell_path
from runner.model.log import Frame, Stream
from runner.model.peer import PeerState
from runner.model.result import Status, TaskGroupResult, TaskResult, Waiting
from runner.model.summary import GroupSummary
from runner.model.tasktype import TaskType
from runner.model.value import MASK, Value
from runner.rpc.wire import STATUSES, STATUSES_BACK, STREAMS, STREAMS_BACK, kill_from_proto, kill_to_proto
from runner.v1 import runner_pb2 as pb

_BILLION = 1_000_000_000


def timestamp(at: float | None) -> Timestamp | None:
    """`at` in seconds since the epoch."""
    if at is None:
        return None
    message = Timestamp()
    put_time(at, message)
    return message


def put_time(at: float, message: Timestamp) -> None:
    whole = int(at // 1)
    message.seconds = whole
    message.nanos = min(_BILLION - 1, round((at - whole) * _BILLION))


def seconds(message: Timestamp) -> float:
    return (message.seconds * _BILLION + message.nanos) / _BILLION


def _time_to_proto(text: str | None) -> Timestamp | None:
    return None if text is None else timestamp(datetime.fromisoformat(text).timestamp())


def _time_from_proto(message: Any, name: str) -> str | None:
    return rfc3339(seconds(getattr(message, name))) if message.HasField(name) else None


# Groups and tasks.


def summary_to_proto(summary: GroupSummary, last_event: int = 0) -> pb.TaskGroup:
    return pb.TaskGroup(
        id=summary.id,
        name=summary.name,
        status=STATUSES[summary.status],
        reason=summary.reason or "",
        labels=summary.labels,
        caller=summary.caller,
        accepted_at=timestamp(summary.accepted_at),
        started_at=timestamp(summary.started_at),
        finished_at=timestamp(summary.finished_at),
        last_event=last_event,
        counts=[pb.StatusCount(status=STATUSES[status], tasks=count) for status, count in summary.counts.items()],
        concurrency=summary.concurrency,
        waits_for=summary.waits_for or "",
        replaced_by=summary.replaced_by or "",
        paused_by=summary.paused_by or "",
    )


def summary_from_proto(message: pb.TaskGroup) -> GroupSummary:
    return GroupSummary(
        id=message.id,
        name=message.name,
        status=STATUSES_BACK[message.status],
        reason=message.reason or None,
        labels=dict(message.labels),
        caller=message.caller,
        accepted_at=seconds(message.accepted_at),
        started_at=seconds(message.started_at) if message.HasField("started_at") else None,
        finished_at=seconds(message.finished_at) if message.HasField("finished_at") else None,
        counts={STATUSES_BACK[item.status]: item.tasks for item in message.counts},
        concurrency=message.concurrency,
        waits_for=message.waits_for or None,
        replaced_by=message.replaced_by or None,
        paused_by=message.paused_by or None,
    )


def task_to_proto(result: TaskResult, *, reveal: bool) -> pb.TaskResult:
    """Confidential outputs are `***` unless `reveal`."""
    return pb.TaskResult(
        id=result.id,
        name=result.name,
        status=STATUSES[result.status],
        reason=result.reason or "",
        because_of=result.because_of or "",
        waiting=result.waiting.value if result.waiting is not None else "",
        outputs={
            name: pb.Output(
                text=value.text if reveal or not value.confidential else MASK, confidential=value.confidential
            )
            for name, value in result.outputs.items()
        },
        exit_code=result.exit_code,
        signal=result.signal,
        cached=result.cached,
        attempts=result.attempts,
        runner=result.runner or "",
        started_at=_time_to_proto(result.started_at),
        finished_at=_time_to_proto(result.finished_at),
        error=result.error or "",
        kill=None if result.kill is None else kill_to_proto(result.kill),
        unreached_since=_time_to_proto(result.unreached_since),
        matrix=result.matrix,
    )


def task_from_proto(message: pb.TaskResult) -> TaskResult:
    return TaskResult(
        id=message.id,
        name=message.name,
        status=STATUSES_BACK[message.status],
        reason=message.reason or None,
        because_of=message.because_of or None,
        waiting=Waiting(message.waiting) if message.waiting else None,
        outputs={name: Value(output.text, output.confidential) for name, output in message.outputs.items()},
        exit_code=message.exit_code if message.HasField("exit_code") else None,
        signal=message.signal if message.HasField("signal") else None,
        cached=message.cached,
        attempts=message.attempts,
        runner=message.runner or None,
        started_at=_time_from_proto(message, "started_at"),
        finished_at=_time_from_proto(message, "finished_at"),
        error=message.error or None,
        kill=kill_from_proto(message.kill) if message.HasField("kill") else None,
        unreached_since=_time_from_proto(message, "unreached_since"),
        matrix=dict(message.matrix),
    )


def result_from_proto(group: pb.TaskGroup, tasks: Sequence[pb.TaskResult]) -> TaskGroupResult:
    """The Task Group Result, of a group and all of its pages."""
    return TaskGroupResult(
        id=group.id,
        name=group.name,
        status=STATUSES_BACK[group.status],
        reason=group.reason or None,
        labels=dict(group.labels),
        concurrency=group.concurrency,
        waits_for=group.waits_for or None,
        replaced_by=group.replaced_by or None,
        paused_by=group.paused_by or None,
        started_at=_time_from_proto(group, "started_at"),
        finished_at=_time_from_proto(group, "finished_at"),
        results={task.name: task_from_proto(task) for task in tasks},
    )


# Faults of documents.


def fault_to_proto(fault: Fault) -> pb.Fault:
    return pb.Fault(
        source=fault.source,
        path=spell_path(fault.path),
        line=fault.line,
        column=fault.column,
        warning=fault.warning,
        message=fault.message,
        hint=fault.hint or "",
    )


def fault_from_proto(message: pb.Fault) -> Fault:
    return Fault(
        source=message.source,
        path=read_path(message.path),
        message=message.message,
        line=message.line,
        column=message.column,
        warning=message.warning,
        hint=message.hint or None,
    )


# Logs.


def frame_to_proto(frame: Frame, task: str, attempt: int) -> pb.LogChunk:
    return pb.LogChunk(
        task=task,
        attempt=attempt,
        stream=STREAMS[frame.stream],
        offset=frame.offset,
        data=frame.data,
        at=timestamp(frame.at),
        missing=frame.missing,
        position=frame.position,
    )


def frame_from_proto(message: pb.LogChunk) -> Frame:
    return Frame(
        stream=STREAMS_BACK[message.stream],
        offset=message.offset,
        data=message.data,
        at=seconds(message.at),
        position=message.position,
        missing=message.missing,
    )


def statuses_from_proto(statuses: Sequence[Any]) -> frozenset[Status]:
    return frozenset(STATUSES_BACK[status] for status in statuses if status in STATUSES_BACK)


def stream_from_proto(stream: Any) -> Stream | None:
    return STREAMS_BACK.get(stream)


def explanation_to_proto(explanation: Explanation) -> pb.ExplainTaskGroupResponse:
    return pb.ExplainTaskGroupResponse(
        id=explanation.id,
        name=explanation.name,
        task=explanation.task or "",
        cause=_cause_to_proto(explanation.cause),
    )


def explanation_from_proto(message: pb.ExplainTaskGroupResponse) -> Explanation:
    return Explanation(
        id=message.id, name=message.name, task=message.task or None, cause=_cause_from_proto(message.cause)
    )


def _cause_to_proto(cause: Cause) -> pb.Cause:
    return pb.Cause(
        kind=cause.kind,
        text=cause.text,
        task=cause.task or "",
        attempt=cause.attempt or 0,
        at=timestamp(cause.at),
        because=map(_cause_to_proto, cause.because),
    )


def _cause_from_proto(message: pb.Cause) -> Cause:
    return Cause(
        kind=message.kind,
        text=message.text,
        task=message.task or None,
        attempt=message.attempt or None,
        at=seconds(message.at) if message.HasField("at") else None,
        because=tuple(map(_cause_from_proto, message.because)),
    )


def peer_to_proto(peer: PeerState, *, trouble: bool) -> pb.Peer:
    """`trouble`: why it is not there may be told, which names its address."""
    return pb.Peer(
        name=peer.name,
        own_name=peer.own_name,
        there=peer.there,
        since=timestamp(peer.since),
        trouble=peer.trouble if trouble else "",
        running=peer.running,
        types=peer.types,
        labels=peer.labels,
    )


def peer_from_proto(message: pb.Peer) -> PeerState:
    return PeerState(
        name=message.name,
        own_name=message.own_name,
        there=message.there,
        since=seconds(message.since),
        trouble=message.trouble,
        running=message.running,
        types=tuple(message.types),
        labels=dict(message.labels),
    )


def type_to_proto(type: TaskType) -> pb.TaskType:
    return pb.TaskType(
        name=type.name,
        healthy=type.healthy,
        unusable=type.unusable,
        description=type.description,
        attributes=type.attributes,
        package=type.package,
        package_version=type.version,
        recovery=type.recovery,
        deadline=type.deadline,
        signals=type.signals,
        shell=type.shell,
        spec_schema=type.spec_schema,
    )


def type_from_proto(message: pb.TaskType) -> TaskType:
    return TaskType(
        name=message.name,
        healthy=message.healthy,
        unusable=message.unusable,
        description=message.description,
        attributes=dict(message.attributes),
        package=message.package,
        version=message.package_version,
        recovery=message.recovery,
        deadline=message.deadline,
        signals=tuple(message.signals),
        shell=message.shell,
        spec_schema=message.spec_schema,
    )
