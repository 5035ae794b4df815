"""What `--output json` says, as plain data: one line each where there are many."""

from __future__ import annotations

import base64
import json
from typing import Any

from runner.clock import rfc3339
from runner.model.event import Event
from runner.model.explanation import Cause, Explanation
from runner.model.result import standing
from runner.model.summary import GroupSummary
from runner.model.watch import Happening, LogChunk


def line(plain: Any) -> str:
    return json.dumps(plain, ensure_ascii=False)


def summary(summary: GroupSummary) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "id": summary.id,
        "name": summary.name,
        "status": summary.status.value,
        "reason": summary.reason,
        "labels": dict(summary.labels),
        "caller": summary.caller,
        "accepted_at": rfc3339(summary.accepted_at),
        "started_at": None if summary.started_at is None else rfc3339(summary.started_at),
        "finished_at": None if summary.finished_at is None else rfc3339(summary.finished_at),
    }
    plain |= standing(summary)
    if summary.counts:
        plain["counts"] = {status.value: count for status, count in summary.counts.items()}
    return plain


def explanation(explanation: Explanation) -> dict[str, Any]:
    return {"id": explanation.id, "name": explanation.name, **_cause(explanation.cause)}


def _cause(cause: Cause) -> dict[str, Any]:
    return {
        "kind": cause.kind,
        "text": cause.text,
        "task": cause.task,
        "attempt": cause.attempt,
        "at": None if cause.at is None else rfc3339(cause.at),
        "because": [_cause(each) for each in cause.because],
    }


def event(event: Event) -> dict[str, Any]:
    """Its own fields stand beside those that all events have."""
    return {
        "number": event.number,
        "at": rfc3339(event.at),
        "kind": event.kind.value,
        "task": event.task,
        "attempt": event.attempt,
        **event.fields,
    }


def chunk(chunk: LogChunk) -> dict[str, Any]:
    """With its `text`, or as `base64` where it is none."""
    frame = chunk.frame
    plain: dict[str, Any] = {
        "task": chunk.task,
        "attempt": chunk.attempt,
        "stream": frame.stream,
        "offset": frame.offset,
        "at": rfc3339(frame.at),
    }
    if frame.missing:
        plain["missing"] = frame.missing
    try:
        plain["text"] = frame.data.decode()
    except UnicodeDecodeError:
        plain["base64"] = base64.b64encode(frame.data).decode()
    return plain


def happening(happening: Happening) -> dict[str, Any]:
    if isinstance(happening, Event):
        return {"event": event(happening)}
    return {"log": chunk(happening)}
