"""The spans of what a node does: one of each group, and within it one of each attempt.

They are made of what has just been recorded, when it is over. Their ids and times follow from the rows, so a group that several lives
of a node have worked at is one span, from its acceptance to its end. docs/operation.md has the attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from runner import __version__
from runner.config.service import Tracing
from runner.model import codec, result, trace
from runner.model.trace import Trace
from runner.store.base import AttemptRow, Batch, GroupRow
from runner.telemetry.base import TypeOf
from runner.telemetry.otlp import Exporter

Attribute = str | int | None

_FAILED = frozenset({result.Status.FAILED.value, result.Status.ERRORED.value})


class Spans:
    """Implements runner.telemetry.base.Telemetry. `type_of` and `trace_of` are to be set before anything is told."""

    def __init__(self, wanted: Tracing, node: str) -> None:
        """Raises UsageError for a file that cannot be read or makes no sense."""
        self.type_of: TypeOf = lambda group, task: ""
        self.trace_of: Callable[[str], Trace | None] = lambda group: None
        """Of a group that is not over or ended just now."""
        about = {"service.name": "runner", "service.version": __version__, "service.instance.id": node}
        self._exporter = Exporter(wanted, Resource(attributes=_attributes(about)))

    def accepted(self, row: GroupRow) -> None: ...

    def synced(self, seconds: float) -> None: ...

    def called(self, method: str, code: str, seconds: float) -> None: ...

    def recorded(self, batch: Batch, seconds: float) -> None:
        for attempt in batch.attempts:
            if attempt.status.terminal:
                self._attempt(attempt)
        for group in batch.groups:
            if group.status.terminal:
                self._group(group)

    def close(self) -> None:
        """Send what there is, for a moment at most."""
        self._exporter.close()

    def _group(self, row: GroupRow) -> None:
        its = trace.of(row.id, row.accepted, row.traceparent)
        if not its.is_sampled:
            return
        told: dict[str, Attribute] = {
            "runner.group.id": row.id,
            "runner.group.name": row.name,
            "runner.group.tasks": row.task_count,
            "runner.caller": row.caller,
            "runner.status": row.status.value,
            "runner.reason": row.reason,
        }
        parent = "" if its.parent is None else its.parent.span_id
        kind = Span.SPAN_KIND_SERVER if parent else Span.SPAN_KIND_INTERNAL
        self._put(its, its.span, parent, row.name, kind, row.accepted.wall, row.finished_at, told)

    def _attempt(self, row: AttemptRow) -> None:
        its = self.trace_of(row.group)
        if its is None or not its.is_sampled:
            return
        outcome = codec.decode_outcome(row.outcome) if row.outcome else None
        told: dict[str, Attribute] = {
            "runner.group.id": row.group,
            "runner.task.name": row.task or None,
            "runner.task.type": self.type_of(row.group, row.task),
            "runner.attempt": row.attempt,
            "runner.name": row.runner,
            "runner.status": row.status.value,
            "runner.reason": outcome.reason if outcome else None,
            "process.exit.code": outcome.exit_code if outcome else None,
            "runner.signal": outcome.signal if outcome else None,
        }
        began = row.dispatched.wall if row.started_at is None else row.started_at
        span = its.attempt(row.task, row.attempt)
        name = row.task or f"on {row.runner}"  # the group as a whole, to which its runner's spans belong
        self._put(its, span, its.span, name, Span.SPAN_KIND_INTERNAL, began, row.finished_at, told)

    def _put(
        self,
        its: Trace,
        id: str,
        parent: str,
        name: str,
        kind: Span.SpanKind.ValueType,
        began: float,
        ended: float | None,
        told: Mapping[str, Attribute],
    ) -> None:
        status = None
        if told["runner.status"] in _FAILED:
            message = str(told["runner.reason"] or told["runner.status"])
            status = Status(code=Status.STATUS_CODE_ERROR, message=message)
        self._exporter.put(
            Span(
                trace_id=bytes.fromhex(its.id),
                span_id=bytes.fromhex(id),
                parent_span_id=bytes.fromhex(parent),
                name=name,
                kind=kind,
                start_time_unix_nano=_nanoseconds(began),
                end_time_unix_nano=_nanoseconds(max(began, ended or began)),  # a clock may have been set back
                attributes=_attributes(told),
                status=status,
            )
        )


def _nanoseconds(seconds: float) -> int:
    return max(0, round(seconds * 1e9))


def _attributes(told: Mapping[str, Attribute]) -> list[KeyValue]:
    """Without those that are not there."""
    return [
        KeyValue(key=name, value=AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value))
        for name, value in told.items()
        if value is not None
    ]
