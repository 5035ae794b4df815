"""What became of a group and its tasks: statuses, reasons, and the Task Group Result."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct

from runner.model.value import MASK, Value


class Status(StrEnum):
    """Of a task, an attempt or a group (a group is never `skipped`)."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    ERRORED = "errored"
    ABORTED = "aborted"
    SKIPPED = "skipped"

    @property
    def terminal(self) -> bool:
        return self is not Status.PENDING and self is not Status.RUNNING


class Waiting(StrEnum):
    """Why a task that is not running and not terminal waits."""

    DEPENDENCY = "dependency"
    SLOT = "slot"
    RETRY_DELAY = "retry_delay"
    PEER_UNREACHABLE = "peer_unreachable"
    SECRET_HOLDER = "secret_holder"
    CACHE_FLIGHT = "cache_flight"
    ENVIRONMENT = "environment"
    PAUSED = "paused"
    MATRIX = "matrix"
    """For other instances of its matrix, of which `max_parallel` are under way."""
    CONCURRENCY = "concurrency"
    """For the turn of its group, of those with the same concurrency key."""
    DECISION = "decision"
    """It has failed, and somebody has to say what follows."""


class Skip(StrEnum):
    """Why a task was never started."""

    DEPENDENCY_FAILED = "dependency_failed"
    DEPENDENCY_SKIPPED = "dependency_skipped"
    CONDITION_FALSE = "condition_false"
    NO_FAILURE = "no_failure"
    NO_DATA = "no_data"
    GROUP_ABORTED = "group_aborted"
    FAIL_FAST = "fail_fast"
    """Another instance of its matrix failed, which ends all of them."""


class Abort(StrEnum):
    """Why a group was aborted; also the reason of its aborted tasks."""

    CANCELLED = "cancelled"
    FAIL_FAST = "fail_fast"
    GROUP_TIMEOUT = "group_timeout"
    REPLACED = "replaced"
    """Another group with the same concurrency key has come, and `cancel_previous`."""


class Reason(StrEnum):
    """Why an attempt ended as it did, where its exit code does not tell. Drivers may add their own."""

    TIMEOUT = "timeout"
    BAD_TEMPLATE = "bad_template"
    BAD_SPEC = "bad_spec"
    BAD_OUTPUT = "bad_output"
    EXPORT_MISSING = "export_missing"
    OUTPUTS_TOO_LARGE = "outputs_too_large"
    START_FAILED = "start_failed"
    UNKNOWN_TYPE = "unknown_type"
    DRIVER_ERROR = "driver_error"
    DRIVER_LOST = "driver_lost"
    SUPERVISOR_LOST = "supervisor_lost"
    HOST_RESTARTED = "host_restarted"
    RUNNER_LOST = "runner_lost"
    NO_SUCH_RUNNER = "no_such_runner"
    REFUSED = "refused"
    """The runner that it was forwarded to does not take it."""
    ENDED_BY_RUNNER = "ended_by_runner"
    """The runner that it was forwarded to has ended it, and was not asked to."""
    LOG_FAILED = "log_failed"
    CLEANUP_TIMEOUT = "cleanup_timeout"
    STATE_NOT_WRITTEN = "state_not_written"
    """Of a group: it is over, and that could not be recorded."""


UNCERTAIN_REASONS = frozenset({Reason.DRIVER_LOST, Reason.SUPERVISOR_LOST, Reason.HOST_RESTARTED, Reason.RUNNER_LOST})
"""The attempt may have had effects that nobody saw: retried only where `retry.on` lists the reason itself."""


class Outcome(Struct, frozen=True, kw_only=True):
    """How one attempt ended. Times in seconds since the epoch; `exit_code` is 128+n after signal n.

    `outputs` are the declared exports alone. `kill` is the report of a stop: the signals sent, the containment, what
    survived; None when nothing had to be stopped.
    """

    status: Status
    reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    outputs: Mapping[str, Value] = {}
    error: str | None = None
    kill: Mapping[str, Any] | None = None
    started_at: float | None = None
    finished_at: float | None = None


class TaskResult(Struct, frozen=True, kw_only=True):
    id: str
    name: str
    status: Status
    reason: str | None = None
    because_of: str | None = None
    waiting: Waiting | None = None
    outputs: Mapping[str, Value] = {}
    exit_code: int | None = None
    signal: int | None = None
    cached: bool = False
    attempts: int = 0
    runner: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    error: str | None = None
    kill: Mapping[str, Any] | None = None
    unreached_since: str | None = None
    """Since when nothing has been heard of `runner`, on which it runs."""
    matrix: Mapping[str, str] = {}
    """Of an instance of a matrix its values; it belongs to the task whose name stands before the bracket in its own."""


class TaskGroupResult(Struct, frozen=True, kw_only=True):
    """What the submitter gets. `results` is in declaration order; `outputs` hold exports of scope `global` alone."""

    id: str
    name: str
    status: Status
    reason: str | None = None
    labels: Mapping[str, str] = {}
    concurrency: str = ""
    """Its concurrency key, if it has one."""
    waits_for: str | None = None
    """What the group is called that has to be over before it is the turn of this one."""
    replaced_by: str | None = None
    """What the group is called that took its place, where that is the reason."""
    paused_by: str | None = None
    """The task for whose failure it stands still."""
    started_at: str | None = None
    finished_at: str | None = None
    results: Mapping[str, TaskResult] = {}

    def as_json(self, *, reveal: bool = False) -> dict[str, Any]:
        """Plain data for `json.dumps`; confidential outputs are `***` unless `reveal`."""
        plain: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "status": self.status.value,
            "reason": self.reason,
            "labels": dict(self.labels),
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            **standing(self),
        }
        plain["results"] = {name: _task_json(result, reveal) for name, result in self.results.items()}
        return plain


class _Standing(Protocol):
    @property
    def concurrency(self) -> str: ...
    @property
    def waits_for(self) -> str | None: ...
    @property
    def replaced_by(self) -> str | None: ...
    @property
    def paused_by(self) -> str | None: ...


def standing(group: _Standing) -> dict[str, str]:
    """What is said of a group's turn, and of what it stands still for, where there is something to be said."""
    told = {
        "concurrency": group.concurrency or None,
        "waits_for": group.waits_for,
        "replaced_by": group.replaced_by,
        "paused_by": group.paused_by,
    }
    return {name: text for name, text in told.items() if text is not None}


def _task_json(result: TaskResult, reveal: bool) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "id": result.id,
        "name": result.name,
        "status": result.status.value,
        "reason": result.reason,
        "because_of": result.because_of,
        "outputs": {
            name: value.text if reveal or not value.confidential else MASK for name, value in result.outputs.items()
        },
        "exit_code": result.exit_code,
        "signal": result.signal,
        "cached": result.cached,
        "attempts": result.attempts,
        "runner": result.runner,
        "started_at": result.started_at,
        "finished_at": result.finished_at,
        "error": result.error,
        "kill": dict(result.kill) if result.kill is not None else None,
    }
    if result.waiting is not None:
        plain["waiting"] = result.waiting.value
    if result.unreached_since is not None:
        plain["unreached_since"] = result.unreached_since
    if result.matrix:
        plain["matrix"] = dict(result.matrix)
    return plain
