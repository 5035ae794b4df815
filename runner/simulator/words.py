"""A scenario and its faults in words, for whoever has to understand why a seed fails."""

from __future__ import annotations

from collections.abc import Iterator

from runner.model.dispatch import AttemptId
from runner.model.group import TaskGroup
from runner.model.result import Outcome
from runner.model.task import NO_RETRY, Task, When
from runner.simulator.scenario import CrashAt, Faults, Scenario
from runner.simulator.script import Script


def describe(scenario: Scenario, faults: Faults) -> Iterator[str]:
    """One line for each thing; times in seconds from the beginning of the world."""
    doubled = ", reports come more than once" if scenario.duplicates else ""
    dying = ", reports die with the engine" if scenario.reports_die else ""
    tied = ", much at the same instant" if scenario.ties else ""
    yield f"{scenario.max_parallel} slots{doubled}{dying}{tied}"
    for crash in faults.crashes:
        yield _crash(crash)
    for start, end in faults.full_disk:
        yield f"the disk is full from {start:.3f} to {end:.3f}"
    for start, end in faults.outages:
        yield f"the other runner cannot be reached from {start:.3f} to {end:.3f}"
    for submission in scenario.submissions:
        cancels = "".join(f", cancelled at {at:.3f}" for at in submission.cancels)
        cancels += "".join(f", {item.signal} {item.task} at {item.at:.3f}" for item in submission.signals)
        cancels += ", stands still on failure" if submission.pauses else ""
        yield f"{submission.id} of {submission.caller!r} at {submission.at:.3f}{cancels}; {_group(submission.group)}"
        for task in submission.group.tasks:
            yield f"  {_task(task)}"
            for number in range(1, task.retry.attempts + 1):
                yield f"    {number}: {_script(scenario.script(AttemptId(submission.id, task.name, number)))}"


def _crash(crash: CrashAt) -> str:
    kind = "the power fails" if crash.power_loss else "the engine crashes"
    down = f", back after {crash.downtime:.3f}" if crash.downtime else ""
    return f"{kind} {'after' if crash.after else 'before'} step {crash.step}{down}"


def _group(group: TaskGroup) -> str:
    timeout = "" if group.timeout is None else f"timeout {group.timeout:.3f}, "
    lane = ""
    if group.concurrency is not None:
        lane = f"key {group.concurrency.key}, {'cancel_previous, ' if group.concurrency.cancel_previous else ''}"
    return f"{'failFast, ' if group.fail_fast else ''}{timeout}{lane}cleanup_timeout {group.cleanup_timeout:.3f}"


def _task(task: Task) -> str:
    parts = [task.name]
    if task.depends_on:
        parts.append(f"after {' '.join(task.depends_on)}")
    if task.imports:
        parts.append("imports " + " ".join(f"{item.task}.{item.variable}" for item in task.imports))
    if task.exports:
        names = (item.name + ("" if item.default is None else f"={item.default}") for item in task.exports)
        parts.append("exports " + " ".join(names))
    if task.when is not When.SUCCESS:
        parts.append(f"when {task.when}")
    if task.condition is not None:
        parts.append(f"if {task.condition}")
    if task.forward is not None:
        parts.append(f"forwarded to {task.forward.to or dict(task.forward.labels)}")
    if task.allow_failure:
        parts.append("allow_failure")
    if task.timeout is not None:
        parts.append(f"timeout {task.timeout:.3f}")
    if task.retry is not NO_RETRY:
        parts.append(
            f"{task.retry.attempts} attempts on {' '.join(sorted(task.retry.on))}, delay {task.retry.delay:.3f}"
        )
    return "; ".join(parts)


def _script(script: Script) -> str:
    if not script.starts:
        return f"after {script.start_after:.3f}: {_outcome(script.outcome)} without a start"
    stop = f"when stopped {script.on_stop} after {script.stop_after:.3f}"
    return f"starts after {script.start_after:.3f}, after {script.duration:.3f}: {_outcome(script.outcome)}; {stop}"


def _outcome(outcome: Outcome) -> str:
    reason = f" {outcome.reason}" if outcome.reason else ""
    code = f" {outcome.exit_code}" if outcome.exit_code else ""
    return f"{outcome.status}{reason}{code}" + (f" with {' '.join(outcome.outputs)}" if outcome.outputs else "")
