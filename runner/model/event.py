"""The numbered facts about a group. Rows of the store decide; events explain."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct


class Kind(StrEnum):
    """What an event says. In brackets: its fields besides `task` and `attempt`."""

    GROUP_ACCEPTED = "group_accepted"  # [name, caller, again, kept]; the last two of one that is run again
    GROUP_WAITING = (
        "group_waiting"  # [waiting, why, waits_for]; before it is forwarded, or for its turn; `why` is for a person
    )
    GROUP_READY = "group_ready"  # it has waited for its turn, which has come
    GROUP_DISPATCHED = "group_dispatched"  # [runner]; the whole of it was forwarded
    GROUP_STARTED = "group_started"
    GROUP_FINISHED = "group_finished"  # [status, reason]
    CANCEL_REQUESTED = "cancel_requested"  # [reason, because_of, count, replaced_by]; also failFast, the group's timeout, and a newer group
    TASK_WAITING = "task_waiting"  # [waiting, seconds, why]; `why` is for a person
    TASK_READY = "task_ready"
    TASK_DISPATCHED = "task_dispatched"  # [runner]
    TASK_STARTED = "task_started"
    TASK_EXPORT = "task_export"  # [name, confidential, cause]; never the value
    TASK_PAUSED = "task_paused"
    TASK_RESUMED = "task_resumed"
    TASK_RETRYING = "task_retrying"  # [status, reason, exit_code, signal, error, seconds]
    TASK_HELD = "task_held"  # [status, reason, exit_code, signal, error]; the group stands still until somebody says what follows
    TASK_FINISHED = "task_finished"  # [status, reason, exit_code, signal, error]
    TASK_SKIPPED = "task_skipped"  # [reason, because_of]
    KILL_REPORT = "kill_report"  # [signals, containment, leftovers, left, survivors]
    MASK_SKIPPED = "mask_skipped"  # [name]
    LOG_REDACTED = "log_redacted"  # [stream, marks, offset]; see `runner.model.log.Redaction`
    LOG_GAP = "log_gap"  # [stream, offset, bytes]; see `runner.model.log.LogGap`
    PEER_LOST = "peer_lost"  # [runner]
    PEER_BACK = "peer_back"  # [runner]
    LATE_RESULT = "late_result"  # [status, reason]


class Event(Struct, frozen=True, kw_only=True):
    """One fact. Numbered from 1 within its group, without gaps; `at` is in seconds since the epoch."""

    group: str
    number: int
    at: float
    kind: Kind
    task: str | None = None
    attempt: int | None = None
    fields: Mapping[str, Any] = {}
