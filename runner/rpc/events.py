"""Events and their messages on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from runner.model.event import Event, Kind
from runner.rpc.convert import put_time, seconds
from runner.rpc.wire import (
    STATUSES,
    STATUSES_BACK,
    STREAMS,
    STREAMS_BACK,
    duration,
    duration_seconds,
    kill_from_proto,
    kill_to_proto,
)
from runner.v1 import runner_pb2 as pb


class _Field(NamedTuple):
    """One field of an event: how it is put into a message, and taken out of it (None: it is not there)."""

    name: str
    put: Callable[[Any, Any], None]
    take: Callable[[Any], Any]


def _text(name: str) -> _Field:
    return _Field(
        name, lambda message, text: setattr(message, name, text), lambda message: getattr(message, name) or None
    )


def _number(name: str) -> _Field:
    """0 is told apart from nothing."""

    def take(message: Any) -> Any:
        return getattr(message, name) if message.HasField(name) else None

    return _Field(name, lambda message, value: setattr(message, name, value), take)


def _always(name: str) -> _Field:
    """A number or flag that every such event has."""
    return _Field(name, lambda message, value: setattr(message, name, value), lambda message: getattr(message, name))


def _word(name: str, words: Any, back: Any) -> _Field:
    return _Field(
        name,
        lambda message, word: setattr(message, name, words[word]),
        lambda message: str(back[getattr(message, name)]),
    )


def _span(attribute: str) -> _Field:
    def take(message: Any) -> Any:
        return duration_seconds(getattr(message, attribute)) if message.HasField(attribute) else None

    return _Field("seconds", lambda message, value: getattr(message, attribute).CopyFrom(duration(value)), take)


_STATUS = _word("status", STATUSES, STATUSES_BACK)
_STREAM = _word("stream", STREAMS, STREAMS_BACK)
_REASON, _CAUSE = _text("reason"), _text("because_of")
_ENDING = (_STATUS, _REASON, _number("exit_code"), _number("signal"), _text("error"))
_RUNNER = (_text("runner"),)

_FIELDS: dict[Kind, tuple[_Field, ...]] = {
    Kind.GROUP_ACCEPTED: (_always("name"), _always("caller"), _text("again"), _number("kept")),
    Kind.GROUP_WAITING: (_text("waiting"), _text("why"), _text("waits_for")),
    Kind.GROUP_READY: (),
    Kind.GROUP_DISPATCHED: _RUNNER,
    Kind.GROUP_STARTED: (),
    Kind.GROUP_FINISHED: (_STATUS, _REASON),
    Kind.CANCEL_REQUESTED: (
        _REASON,
        _CAUSE,
        _Field("count", lambda message, count: setattr(message, "count", count), lambda message: message.count or None),
        _text("replaced_by"),
    ),
    Kind.TASK_WAITING: (_text("waiting"), _span("duration"), _text("why")),
    Kind.TASK_READY: (_text("waiting"),),
    Kind.TASK_DISPATCHED: _RUNNER,
    Kind.TASK_STARTED: (),
    Kind.TASK_EXPORT: (_always("name"), _always("confidential"), _text("cause")),
    Kind.TASK_PAUSED: (),
    Kind.TASK_RESUMED: (),
    Kind.TASK_RETRYING: (*_ENDING, _span("delay")),
    Kind.TASK_HELD: _ENDING,
    Kind.TASK_FINISHED: (*_ENDING, _CAUSE),
    Kind.TASK_SKIPPED: (_REASON, _CAUSE),
    Kind.MASK_SKIPPED: (_always("name"),),
    Kind.LOG_REDACTED: (_STREAM, _always("marks"), _always("offset")),
    Kind.LOG_GAP: (_STREAM, _always("offset"), _always("bytes")),
    Kind.PEER_LOST: _RUNNER,
    Kind.PEER_BACK: _RUNNER,
    Kind.LATE_RESULT: (_STATUS, _REASON),
}
"""`kill_report` is a report of its own."""


def event_to_proto(event: Event) -> pb.Event:
    message = pb.Event()
    put_event(event, message)
    return message


def put_event(event: Event, message: pb.Event) -> None:
    """As `event_to_proto`, into an empty message where it stands: a copy of many takes half as long again."""
    message.number = event.number
    put_time(event.at, message.at)
    if event.task:
        message.task = event.task
    if event.attempt:
        message.attempt = event.attempt
    kind, fields = event.kind, event.fields
    fact = getattr(message, kind.value)
    if kind is Kind.KILL_REPORT:
        fact.CopyFrom(kill_to_proto(fields))
        return
    fact.SetInParent()
    for name, put, _ in _FIELDS[kind]:
        value = fields.get(name)
        if value is not None:
            put(fact, value)


def event_from_proto(message: pb.Event, group: str) -> Event | None:
    """None for an event of a newer runner, of which nothing is known here."""
    kind_name = message.WhichOneof("fact")
    if kind_name is None:
        return None
    kind = Kind(kind_name)
    fact = getattr(message, kind_name)
    if kind is Kind.KILL_REPORT:
        fields = kill_from_proto(fact)
    else:
        taken = {name: take(fact) for name, _, take in _FIELDS[kind]}
        fields = {name: value for name, value in taken.items() if value is not None}
    return Event(
        group=group,
        number=message.number,
        at=seconds(message.at),
        kind=kind,
        task=message.task or None,
        attempt=message.attempt or None,
        fields=fields,
    )
