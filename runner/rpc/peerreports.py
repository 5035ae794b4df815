"""What executors report of attempts and of groups, and its messages on the wire: a part of `peerwire`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from runner.errors import UsageError
from runner.model.dispatch import Fact, Finished, Noticed, Report, Started, Told
from runner.model.event import Event, Kind
from runner.model.result import Outcome, Status
from runner.model.session import NOTICED
from runner.rpc import peerparts as parts
from runner.rpc.events import event_from_proto, event_to_proto
from runner.rpc.wire import STATUSES, STATUSES_BACK, kill_from_proto, kill_to_proto
from runner.v1 import peer_pb2 as pb
from runner.v1 import runner_pb2

_ENDS = frozenset({Status.SUCCESS, Status.FAILED, Status.ERRORED, Status.ABORTED})


def report_to_proto(report: Report) -> pb.AttemptReport:
    message = pb.AttemptReport(id=parts.id_to_proto(report.id), sequence=report.sequence)
    match report:
        case Started():
            message.started.CopyFrom(pb.AttemptStarted(at=report.at, handle=report.handle))
        case Noticed():
            event = Event(group="", number=0, at=0.0, kind=report.kind, fields=report.fields)
            message.noticed.CopyFrom(event_to_proto(event))
        case Finished():
            message.finished.CopyFrom(_outcome_to_proto(report.outcome))
        case Told():
            message.told.CopyFrom(pb.GroupTold(facts=[_fact_to_proto(fact) for fact in report.facts]))
    return message


def _fact_to_proto(fact: Fact) -> pb.GroupFact:
    outcome = None if fact.outcome is None else _outcome_to_proto(fact.outcome)
    return pb.GroupFact(event=event_to_proto(fact.event), outcome=outcome)


def report_from_proto(message: pb.AttemptReport) -> Report:
    """Raises UsageError."""
    id = parts.id_from_proto(message.id)
    sequence = parts.number_of("sequence", message.sequence)
    if sequence == 0:
        raise UsageError("its sequence is 0: reports are numbered from 1")
    said = message.WhichOneof("report")
    if said == "started":
        at = parts.seconds_of("at", message.started.at)
        return Started(id=id, sequence=sequence, at=at, handle=message.started.handle)
    if said == "noticed":
        kind, fields = _noticed(message.noticed)
        return Noticed(id=id, sequence=sequence, kind=kind, fields=fields)
    if said == "finished":
        return Finished(id=id, sequence=sequence, outcome=_outcome(message.finished))
    if said == "told":
        facts = tuple(fact for told in message.told.facts if (fact := _fact(told)) is not None)
        numbers = [fact.event.number for fact in facts]
        if numbers != sorted(set(numbers)) or not all(0 < number <= sequence for number in numbers):
            raise UsageError("its events are not in the order of their numbers, up to its sequence")
        return Told(id=id, sequence=sequence, facts=facts)
    raise UsageError("it says nothing that is known here")


def _fact(message: pb.GroupFact) -> Fact | None:
    """None for an event of a newer runner, of which nothing is known here."""
    event = _event(message.event)
    if event is None:
        return None
    if not 0 <= (event.attempt or 0) <= parts.LONGEST_ATTEMPT:
        raise UsageError(f"the attempt of its {event.kind} is {event.attempt}")
    return Fact(
        event=replace(event, number=parts.number_of("number", event.number), at=parts.seconds_of("at", event.at)),
        outcome=_outcome(message.outcome) if message.HasField("outcome") else None,
    )


def _event(message: runner_pb2.Event) -> Event | None:
    """With fields that can be kept."""
    try:
        event = event_from_proto(message, "")
    except KeyError as error:
        raise UsageError(f"the word {error} of its event is not known here") from error
    for name, value in () if event is None else event.fields.items():
        if isinstance(value, float):
            parts.seconds_of(name, value)
        elif isinstance(value, int):
            parts.number_of(name, value)
        elif isinstance(value, str):
            parts.text_of(name, value)
    return event


def _noticed(message: runner_pb2.Event) -> tuple[Kind, Mapping[str, Any]]:
    event = _event(message)
    if event is None or event.kind not in NOTICED:
        told = "nothing that is known here" if event is None else event.kind.value
        raise UsageError(f"it notices {told}; expected one of {', '.join(sorted(NOTICED))}")
    return event.kind, event.fields


def _outcome_to_proto(outcome: Outcome) -> pb.AttemptFinished:
    return pb.AttemptFinished(
        status=STATUSES[outcome.status],
        reason=outcome.reason or "",
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        outputs={name: parts.value_to_proto(value) for name, value in outcome.outputs.items()},
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
        parts.task_name_of(name)
    return Outcome(
        status=status,
        reason=parts.text_of("reason", message.reason, parts.LONGEST_NAME_CHARS) or None,
        exit_code=message.exit_code if message.HasField("exit_code") else None,
        signal=message.signal if message.HasField("signal") else None,
        outputs={name: parts.value_from_proto(value) for name, value in message.outputs.items()},
        error=parts.text_of("error", message.error) or None,
        kill=kill_from_proto(message.kill) if message.HasField("kill") else None,
        started_at=parts.seconds_if_any(message, "started_at"),
        finished_at=parts.seconds_if_any(message, "finished_at"),
    )
