"""What `runner run --dry-run` shows: which tasks would run, in which order, and with what."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from runner import preview as previews
from runner import tasktypes
from runner.cli.drawing import in_order, layers_of
from runner.cli.report import skip_reason
from runner.cli.terminal import STDOUT, Output, visible
from runner.config import Settings
from runner.model.group import TaskGroup
from runner.model.result import Skip
from runner.model.task import Forward, Task, When
from runner.model.value import Value
from runner.model.words import duration
from runner.preview import Preview, Prospect, TaskPreview

FAILED = 1

_MARKS = {Prospect.RUNS: "●", Prospect.OPEN: "?", Prospect.SKIPPED: "○", Prospect.ERRORED: "✗"}
_COUNTED = {
    Prospect.RUNS: "would run",
    Prospect.OPEN: "may run, which is known at run time",
    Prospect.SKIPPED: "would be skipped",
    Prospect.ERRORED: "would end as errored",
}


def show(group: TaskGroup, inputs: Mapping[str, str], settings: Settings, options: Namespace) -> int:
    """Show it; 1 where a task is known to end as errored. Raises UsageError for inputs that are undeclared or missing."""
    seen = previews.preview(group, inputs, tasktypes.registry(settings), settings.template_milliseconds)
    stdout = Output(STDOUT)
    if options.output == "json":
        stdout.print(json.dumps(_plain(group, seen), indent=2, ensure_ascii=False))
    else:
        stdout.print("\n".join(_text(group, seen, quiet=options.quiet)))
    errored = any(task.prospect is Prospect.ERRORED for task in seen.tasks)
    return stdout.status(FAILED if errored else 0)


def _text(group: TaskGroup, seen: Preview, *, quiet: bool) -> Iterator[str]:
    count = len(seen.tasks)
    counts = Counter(task.prospect for task in seen.tasks)
    told = ", ".join(f"{counts[each]} {words}" for each, words in _COUNTED.items() if counts[each])
    yield visible(f"{group.name or 'task group'}: {count} task{'s' * (count != 1)}: {told}; nothing was started")
    for title, texts in (("inputs", _inputs(seen.inputs)), ("env", seen.env)):
        if texts and not quiet:
            yield f"\n{title}"
            for name, text in texts.items():
                yield from _field(name, text)
    ordered = in_order(group.tasks)
    layers = layers_of(ordered)
    of = {task.task.name: task for task in seen.tasks}
    layer = -1
    for task in sorted(ordered, key=lambda each: layers[each.name]):
        if layers[task.name] != layer:
            layer = layers[task.name]
            yield f"\nlayer {layer + 1}"
        yield from _task(of[task.name], quiet=quiet)


def _inputs(inputs: Mapping[str, Value]) -> Mapping[str, str]:
    return {name: value.text for name, value in inputs.items()}


def _task(seen: TaskPreview, *, quiet: bool) -> Iterator[str]:
    task = seen.task
    edges = f"  ← {', '.join(task.edges)}" if task.edges else ""
    yield visible(f"{_MARKS[seen.prospect]} {task.name}  {task.type}{edges}{_notes(task)}")
    if seen.prospect in (Prospect.OPEN, Prospect.SKIPPED):
        yield visible(f"    {_why(seen)}")
    if seen.error is not None:
        would = "would" if seen.prospect is Prospect.ERRORED else "if it runs it would"
        yield visible(f"    {would} end as errored: {seen.error}")
    if quiet or seen.spec is None:
        return
    if task.forward is not None:
        yield from _field("forward", _forward(task.forward, seen.to))
    for name, value in _flat(seen.spec):
        yield from _field(name, value)


def _notes(task: Task) -> str:
    notes = [] if task.when is When.SUCCESS else [f"when {task.when}"]
    if task.timeout is not None:
        notes.append(f"timeout {duration(task.timeout)}")
    if task.retry.attempts > 1:
        notes.append(f"up to {task.retry.attempts} attempts")
    if task.allow_failure:
        notes.append("may fail")
    return f"  ({'; '.join(notes)})" if notes else ""


def _why(seen: TaskPreview) -> str:
    if seen.reason == "if":
        return f"may run or not: its `if` is decided at run time ({seen.task.condition})"
    why = skip_reason(seen.reason, seen.because_of)
    if seen.prospect is Prospect.SKIPPED:
        condition = f" ({seen.task.condition})" if isinstance(seen.task.condition, str) else ""
        return f"would be skipped {why}{condition if seen.reason == Skip.CONDITION_FALSE else ''}"
    return f"may be skipped {why}"


def _forward(forward: Forward, to: str | None) -> str:
    return to or ", ".join(f"{key}={value}" for key, value in forward.labels.items())


def _flat(spec: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """What is in it, each with its dotted name; what is empty is left out."""
    for key, value in spec.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        elif isinstance(value, str):
            yield before + key, value
        elif value not in (None, []):
            yield before + key, json.dumps(value, ensure_ascii=False)


def _field(name: str, text: str) -> Iterator[str]:
    lines = text.rstrip("\n").split("\n")
    if len(lines) == 1:
        yield visible(f"    {name}: {lines[0]}")
        return
    yield visible(f"    {name}:")
    for line in lines:
        yield visible(f"      {line}")


def _plain(group: TaskGroup, seen: Preview) -> dict[str, Any]:
    ordered = in_order(group.tasks)
    layers = layers_of(ordered)
    of = {task.task.name: task for task in seen.tasks}
    return {
        "name": group.name,
        "id": group.id,
        "labels": dict(group.labels),
        "timeout": group.timeout,
        "inputs": {
            name: {"value": value.text, "confidential": value.confidential} for name, value in seen.inputs.items()
        },
        "env": dict(seen.env),
        "tasks": [_plain_task(of[task.name], layers[task.name] + 1) for task in ordered],
    }


def _plain_task(seen: TaskPreview, layer: int) -> dict[str, Any]:
    task = seen.task
    return {
        "name": task.name,
        "type": task.type,
        "layer": layer,
        "waits_for": list(task.edges),
        "when": task.when.value,
        "if": task.condition,
        "prospect": seen.prospect.value,
        "reason": seen.reason,
        "because_of": seen.because_of,
        "error": seen.error,
        "at_run_time": list(seen.open),
        "forward": None if task.forward is None else {"to": seen.to, "labels": dict(task.forward.labels)},
        "timeout": task.timeout,
        "attempts": task.retry.attempts,
        "allow_failure": task.allow_failure,
        "spec": seen.spec,
    }
