"""How the end of an attempt is told to a person: what happened, and what was done. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.engine import retry
from runner.model.result import UNCERTAIN_REASONS, Abort, Outcome, Reason, Status
from runner.model.task import Forward, Task
from runner.model.words import duration, signal_name

LONGEST_QUOTE_CHARS = 200

_REASONS: Mapping[str, str] = {
    Reason.BAD_TEMPLATE: "one of its templates could not be rendered",
    Reason.BAD_SPEC: "its driver does not take its `spec` as it was rendered",
    Reason.BAD_OUTPUT: "what it wrote to $OUTPUT_FILE is not in order",
    Reason.EXPORT_MISSING: "it did not produce what it exports",
    Reason.OUTPUTS_TOO_LARGE: "the outputs of the group are too large together",
    Reason.START_FAILED: "it could not be started",
    Reason.UNKNOWN_TYPE: "its runner does not know its type",
    Reason.DRIVER_ERROR: "its driver failed",
    Reason.DRIVER_LOST: "its driver ended while it ran",
    Reason.SUPERVISOR_LOST: "the supervisor that kept its processes ended, and they were ended with it",
    Reason.HOST_RESTARTED: "the machine was started anew while it ran",
    Reason.RUNNER_LOST: "its runner cannot be counted on any more",
    Reason.NO_SUCH_RUNNER: "there is no runner that it could be forwarded to",
    Reason.REFUSED: "the runner that it was forwarded to does not take it",
    Reason.LOG_FAILED: "what it printed could not be kept as it has to be",
    Reason.ENDED_BY_RUNNER: "it was ended at the runner that it was forwarded to, which this one had not asked for",
    Abort.CANCELLED: "the group was cancelled",
    Abort.FAIL_FAST: "it was ended for `failFast`",
    Abort.GROUP_TIMEOUT: "the group's time was over",
    Abort.REPLACED: "a newer group with the same concurrency key took its place",
}

_TOLD_BY_THE_REASON = frozenset({Reason.HOST_RESTARTED})
"""Whose errors say the same in other words."""
_TOLD_BY_THE_ERROR = frozenset({Reason.SUPERVISOR_LOST})
"""Whose errors say more exactly what was lost."""


def why(task: Task, outcome: Outcome) -> str:
    """What an end that was no success comes from, e.g. `exit code 3`; empty where nothing is known."""
    causes = []
    reason = outcome.reason or ""
    if reason == Reason.TIMEOUT:
        limit = "" if task.timeout is None else f" of {duration(task.timeout)}"
        causes.append(f"its timeout{limit} was over")
    elif reason == Reason.CLEANUP_TIMEOUT:
        causes.append("the time for clean-up was over")
    elif reason and not (outcome.error and reason in _TOLD_BY_THE_ERROR):
        causes.append(_REASONS.get(reason, reason))
    if outcome.signal:
        causes.append(f"ended by {signal_name(outcome.signal)}")
    elif outcome.exit_code and reason != Reason.TIMEOUT:
        causes.append(f"exit code {outcome.exit_code}")
    if outcome.error and reason not in _TOLD_BY_THE_REASON:
        causes.append(outcome.error)
    if not causes and outcome.status is Status.ABORTED:
        causes.append("somebody ended it with the signal `destroy`")
    return ", ".join(causes)


def told(task: Task, outcome: Outcome, attempts: int = 1) -> str:
    """E.g. `failed after 3.2 s in 2 attempts: exit code 3`; the times are of all `attempts` together."""
    took = ""
    if outcome.started_at is not None and outcome.finished_at is not None:
        took = f" after {duration(max(0.0, outcome.finished_at - outcome.started_at))}"
    took += f" in {attempts} attempts" if attempts > 1 else ""
    if outcome.status is Status.SUCCESS:
        return f"succeeded{took}"
    cause = why(task, outcome)
    return f"{outcome.status.value}{took}" + (f": {cause}" if cause else "")


def not_repeated(task: Task, attempt: int, outcome: Outcome) -> str | None:
    """Why no other attempt followed one that failed; None where nobody would expect one."""
    if task.retry.attempts <= 1 or retry.wanted(task.retry, attempt, outcome):
        return None
    if attempt >= task.retry.attempts:
        return f"it was not tried again: all {task.retry.attempts} attempts have been made"
    listed = ", ".join(sorted(task.retry.on))
    if outcome.reason in UNCERTAIN_REASONS:
        return f"it was not tried again: it may have done its work, and `retry.on` ({listed}) does not list {outcome.reason}"
    return f"it was not tried again: `retry.on` lists {listed}"


def killing(kill: Mapping[str, Any]) -> str:
    """What a kill report says."""
    parts = []
    signals = [f"{name} {_when(seconds)}" for name, seconds in kill.get("signals", ())]
    if signals:
        parts.append("it was sent " + ", ".join(signals))
    if kill.get("leftovers"):
        number = kill["leftovers"]
        were = "was" if number == 1 else "were"
        parts.append(f"{number:,} {'process' if number == 1 else 'processes'} beside its first {were} ended")
    left = kill.get("left", ())
    if left:
        names = ", ".join(f"{process['name']} ({process['pid']})" for process in left)
        parts.append(f"could not be ended, and lives on: {names}")
    elif kill.get("survivors") == 0:
        parts.append("the kernel says that nothing of it is alive")
    if kill.get("confirmed") is False:
        parts.append("whether it has ended nobody could say")
    return "; ".join(parts)


def _when(seconds: float) -> str:
    return f"after {duration(seconds)}" if seconds else "at once"


def asked_by(forward: Forward) -> str:
    """Why a runner was chosen."""
    if forward.to is not None:
        return (
            f"which its `forward` names ({quoted(forward.to)})" if "{{" in forward.to else "which its `forward` names"
        )
    wanted = ", ".join(f"{name}={value}" for name, value in sorted(forward.labels.items()))
    return f"which has the labels that its `forward` wants ({wanted})"


def quoted(text: str | bool | None) -> str:
    """As much of it as is shown."""
    shown = str(text).lower() if isinstance(text, bool) else str(text)
    return shown if len(shown) <= LONGEST_QUOTE_CHARS else shown[:LONGEST_QUOTE_CHARS] + " …"
