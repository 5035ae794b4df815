"""Whether and when a task is tried again, and how it waits for that. What decides is pure and deterministic, so that a restart
decides alike."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runner.model.dispatch import AttemptId
from runner.model.event import Kind
from runner.model.result import UNCERTAIN_REASONS, Outcome, Status, Waiting
from runner.model.task import Retry

if TYPE_CHECKING:
    from runner.engine.group_run import GroupRun
    from runner.engine.state import TaskState

JITTER = 0.25


def wanted(retry: Retry, attempt: int, outcome: Outcome) -> bool:
    """Whether attempt number `attempt`, which ended with `outcome`, is followed by another."""
    if attempt >= retry.attempts or outcome.status not in (Status.FAILED, Status.ERRORED):
        return False
    if outcome.reason is not None and outcome.reason in retry.on:
        return True
    if outcome.reason in UNCERTAIN_REASONS:
        return False
    return outcome.status.value in retry.on or (outcome.exit_code is not None and str(outcome.exit_code) in retry.on)


def delay(retry: Retry, id: AttemptId) -> float:
    """Seconds from the end of attempt `id` to the next: exponential, capped, with a jitter that the id alone decides."""
    try:
        plain = min(retry.delay * retry.backoff ** (id.attempt - 1), retry.max_delay)
    except OverflowError:
        plain = retry.max_delay
    digest = hashlib.sha256(str(id).encode()).digest()
    fraction = int.from_bytes(digest[:8], "big") / 2**64
    return plain * (1 - JITTER + 2 * JITTER * fraction)


def later(run: GroupRun, state: TaskState, outcome: Outcome) -> None:
    """The task's last attempt ended with `outcome`; another one follows when its delay is over."""
    assert state.attempt is not None, "a task that is tried again has an attempt"
    seconds = delay(state.task.retry, state.attempt.id)
    now = run.services.clock.now()
    run.event(
        Kind.TASK_RETRYING, state, status=outcome.status.value, reason=outcome.reason, exit_code=outcome.exit_code,
        signal=outcome.signal, error=outcome.error, seconds=round(seconds, 3),
    )  # fmt: skip
    state.status = Status.PENDING
    state.waiting = Waiting.RETRY_DELAY
    state.outcome = outcome
    state.retry_at = replace(now, wall=now.wall + seconds, boot=now.boot + seconds)
    arm(run, state)
    run.services.journal.mark(state)


def arm(run: GroupRun, state: TaskState) -> None:
    """Wake the task at its `retry_at`, which may have been set under another boot."""
    assert state.retry_at is not None, "a task that waits for its retry knows when that is"
    now = run.services.clock.now()
    due = state.retry_at.boot
    if state.retry_at.boot_id != now.boot_id:
        # A wall clock that was set back while the machine was down must not make the wait longer than it ever was.
        longest = delay(state.task.retry, state.attempt.id) if state.attempt else 0.0
        due = now.boot + min(longest, max(0.0, state.retry_at.wall - now.wall))
    state.retry_timer = run.services.clock.call_at(due, partial(_now, run, state))


def _now(run: GroupRun, state: TaskState) -> None:
    state.retry_timer = None
    state.retry_at = None
    if run.is_closed_for(state):
        run.end_early(state)
    else:
        run.forwarding.proceed(state)
    if state.status.terminal:
        run.settle()
