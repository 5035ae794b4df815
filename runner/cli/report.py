"""How the runner speaks of tasks and groups: one line for a fact, a few for a result. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from runner.cli.terminal import visible
from runner.model.caller import LOCAL
from runner.model.event import Event, Kind
from runner.model.result import Abort, Reason, Skip, Status, TaskGroupResult, TaskResult, Waiting
from runner.model.value import MASK
from runner.model.words import duration, signal_name

MAX_SHOWN = 300
"""How many characters of an error or output a person is shown; the whole is in `--output json`."""

MAX_NAME_WIDTH = 40
"""How wide a column of names may be. Who has a longer one stands out, and pushes nobody else aside."""

_SKIPS: Mapping[str, str] = {
    Skip.DEPENDENCY_FAILED: "because {because_of} did not succeed",
    Skip.DEPENDENCY_SKIPPED: "because {because_of} was skipped",
    Skip.CONDITION_FALSE: "because its `if` is false",
    Skip.NO_FAILURE: "because nothing before it failed",
    Skip.NO_DATA: "because {because_of} gave no value to import",
    Skip.GROUP_ABORTED: "because the group was aborted",
    Skip.FAIL_FAST: "because {because_of} failed",
}

_WAITS: Mapping[str, str] = {
    Waiting.DEPENDENCY: "what it depends on",
    Waiting.SLOT: "a slot",
    Waiting.RETRY_DELAY: "its next attempt",
    Waiting.PAUSED: "being told to go on",
    Waiting.PEER_UNREACHABLE: "a runner that cannot be reached",
    Waiting.MATRIX: "other instances of its matrix",
    Waiting.CONCURRENCY: "the turn of its group",
    Waiting.DECISION: "somebody to say what follows from its failure",
}

_REASONS: Mapping[str, str] = {
    Reason.TIMEOUT: "timed out",
    Abort.CANCELLED: "the group was cancelled",
    Abort.GROUP_TIMEOUT: "the group's time was over",
    Abort.FAIL_FAST: "failFast",
    Abort.REPLACED: "a newer group took its place",
    Reason.STATE_NOT_WRITTEN: "its state cannot be written",
    Reason.RUNNER_LOST: "its runner is gone",
    Reason.ENDED_BY_RUNNER: "ended at its runner, unasked",
    Reason.LOG_FAILED: "its log could not be kept",
}


_ABROAD = {
    Kind.GROUP_DISPATCHED: "is carried out by {}",
    Kind.PEER_LOST: "{} cannot be reached; what runs there goes on",
    Kind.PEER_BACK: "{} is reached again",
}


def event_line(event: Event, seconds: float | None) -> str | None:
    """What a person is told when `event` happens to a task, or None. `seconds` is how long its attempt took, if known."""
    fields = event.fields
    took = "" if seconds is None else f" after {duration(seconds)}"
    match event.kind:
        case Kind.TASK_STARTED:
            return "started" if (event.attempt or 1) == 1 else f"started, attempt {event.attempt}"
        case Kind.TASK_FINISHED:
            return f"{fields['status']}{took}{_why(fields)}"
        case Kind.TASK_RETRYING | Kind.TASK_HELD:
            held = event.kind is Kind.TASK_HELD
            then = "the group stands still" if held else f"tried again {_later(fields['seconds'])}"
            return f"{fields['status']}{took}{_why(fields)}; {then}"
        case Kind.TASK_SKIPPED:
            return f"skipped {skip_reason(fields['reason'], fields.get('because_of'))}"
        case Kind.GROUP_WAITING | Kind.GROUP_READY | Kind.CANCEL_REQUESTED:
            return _turn(event)
        case Kind.TASK_WAITING if fields.get("why"):
            return f"waits: {shortened(str(fields['why']))}"
        case Kind.GROUP_DISPATCHED | Kind.PEER_LOST | Kind.PEER_BACK:
            return _ABROAD[event.kind].format(visible(str(fields["runner"])))
        case Kind.LATE_RESULT:
            return f"attempt {event.attempt or 1}, which was given up, has ended: {fields['status']}"
        case Kind.TASK_PAUSED:
            return "paused"
        case Kind.TASK_RESUMED:
            return "goes on"
        case Kind.MASK_SKIPPED:
            return f"warning: {visible(str(fields['name']))} is too short or too common to be masked in the output"
        case Kind.KILL_REPORT:
            return _survivors(fields)
        case Kind.LOG_REDACTED:
            return f"what became confidential is masked in the kept {fields['stream']} now ({fields['marks']} ×); it may be seen above"
        case Kind.LOG_GAP:
            return (
                f"warning: {fields['bytes']:,} bytes of {fields['stream']} are not kept: its log has reached its limit"
            )
        case _:
            return None


def _turn(event: Event) -> str | None:
    """What is told of a group that waits before it begins, or is ended by another one."""
    fields = event.fields
    if event.kind is Kind.CANCEL_REQUESTED:
        return f"is ended: {replaced(str(fields['replaced_by']))}" if fields.get("replaced_by") else None
    if event.kind is Kind.GROUP_READY:
        return "its turn has come"
    if fields.get("waits_for"):
        return f"waits {visible(str(fields.get('why', '')))}"
    return f"waits: {shortened(str(fields['why']))}" if fields.get("why") else None


def skip_reason(reason: str | None, because_of: str | None) -> str:
    """Why a task was never started, e.g. `because build did not succeed`."""
    text = _SKIPS.get(reason or "", "")
    if "{because_of}" in text:
        return text.format(because_of=because_of)
    return f"{text} ({because_of} failed)" if reason == Skip.GROUP_ABORTED and because_of else text


def headline(name: str, tasks: int, id: str) -> str:
    """What runs, and the id that its state is kept under."""
    return f"{name or 'task group'}: {tasks} task{'s' * (tasks != 1)}, run {id}"


def replaced(by: str) -> str:
    """Why a group was ended in whose place another one has come."""
    return f"group {visible(by)} took its place"


def standstill(task: str) -> str:
    """Why a group stands still."""
    return f"stands still: {visible(task)} has failed"


def summary(result: TaskGroupResult, *, reveal: bool = False) -> Iterator[str]:
    """What became of a group: one line for the whole, then one for every task that did not succeed, then its outputs."""
    yield verdict(result)
    tasks = [task for task in result.results.values() if is_told_of(task)]
    width = column(task.name for task in tasks)
    for task in tasks:
        yield from told_of(task, width)
    yield from outputs(result, reveal=reveal)


def verdict(result: TaskGroupResult) -> str:
    """E.g. `ship: failed after 2.5 s: 1 success, 1 failed`."""
    counts = Counter(task.status for task in result.results.values())
    parts = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
    seconds = _seconds(result.started_at, result.finished_at)
    reason = reason_text(result.reason) if result.reason else ""
    if result.replaced_by:
        reason = replaced(result.replaced_by)
    if result.waits_for:
        reason = f"waits for group {visible(result.waits_for)}, concurrency key {visible(result.concurrency)}"
    if result.paused_by:
        reason = standstill(result.paused_by)
    reason = f" ({reason})" if reason else ""
    took = f" after {duration(seconds)}" if seconds is not None else ""
    return f"{result.name or 'task group'}: {result.status}{reason}{took}: {parts}"


def column(names: Iterable[str]) -> int:
    """How wide the column is in which these stand one below the other."""
    return max((length for length in map(len, names) if length <= MAX_NAME_WIDTH), default=0)


def is_told_of(task: TaskResult) -> bool:
    """Whether there is something to be said of it."""
    return any(told_of(task, 0))


def told_of(task: TaskResult, width: int) -> Iterator[str]:
    """What there is to be said of a task, its name in a column that is so wide; nothing of one that succeeded as it should."""
    if task.status is not Status.SUCCESS:
        yield f"  {task.name:{width}}  {ending(task)}"
    survivors = _survivors(task.kill or {})
    if survivors is not None:
        yield f"  {task.name:{width}}  {survivors}"


def outputs(result: TaskGroupResult, *, reveal: bool = False) -> Iterator[str]:
    """The outputs of a group, below a line that says so, if it has any."""
    shown = [
        (task.name, name, MASK if value.confidential and not reveal else shortened(value.text))
        for task in result.results.values()
        for name, value in task.outputs.items()
    ]
    if shown:
        yield "outputs:"
    for owner, name, text in shown:
        yield f"  {owner}.{name} = {text}"


def reason_text(reason: str) -> str:
    return _REASONS.get(reason, reason)


def shortened(text: str) -> str:
    """`text` on one line, cut where it is long."""
    line = visible(text[: MAX_SHOWN + 1])
    return line if len(line) <= MAX_SHOWN else line[:MAX_SHOWN] + " …"


def ending(task: TaskResult) -> str:
    if task.status is Status.SKIPPED:
        return f"skipped {skip_reason(task.reason, task.because_of)}"
    if task.waiting is not None:
        return f"{task.status}, waits for {_WAITS.get(task.waiting, task.waiting)}"
    if task.unreached_since is not None:
        return f"{task.status} on {visible(task.runner or '')}, of which nothing has been heard since {task.unreached_since[:19]}Z"
    fields = {"reason": task.reason, "exit_code": task.exit_code, "error": task.error, "signal": task.signal}
    if task.status is Status.RUNNING and task.runner not in (None, LOCAL):
        return f"{task.status} on {visible(task.runner or '')}"
    tries = f" in {task.attempts} attempts" if task.attempts > 1 else ""
    return f"{task.status}{tries}{_why(fields)}"


def _why(fields: Mapping[str, Any]) -> str:
    """The cause of an end that was no success, with a colon before it; empty for a success."""
    cause = cause_text(fields)
    return f": {cause}" if cause else ""


def cause_text(fields: Mapping[str, Any]) -> str:
    """The cause of an end that was no success, e.g. `exit code 2`; empty for a success."""
    causes = []
    reason, code = str(fields.get("reason") or ""), fields.get("exit_code")
    if reason in _REASONS or (reason and not fields.get("error")):
        causes.append(_REASONS.get(reason, reason))
    if fields.get("signal"):
        causes.append(f"ended by {signal_name(fields['signal'])}")
    elif code and reason != Reason.TIMEOUT:
        causes.append(f"exit code {code}")
    if fields.get("error"):
        # What has lines of its own is told on one, e.g. `2 expressions cannot be resolved: line 1: …; line 7: …`.
        causes.append(shortened(fields["error"].replace(":\n", ": ").replace("\n", "; ")))
    return ", ".join(causes)


def _survivors(kill: Mapping[str, Any]) -> str | None:
    """A warning where a kill report names processes that could not be ended."""
    left = [f"{one['name']} ({one['pid']})" for one in kill.get("left", ())]
    if not left:
        return None
    return "warning: could not be ended and still runs: " + shortened(", ".join(left))


def _later(seconds: float) -> str:
    return f"in {duration(seconds)}" if seconds else "at once"


def _seconds(started: str | None, finished: str | None) -> float | None:
    if started is None or finished is None:
        return None
    seconds = (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()
    return seconds if seconds >= 0 else None  # the clock was set back meanwhile, nobody knows by how much
