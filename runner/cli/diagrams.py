"""A task group in the languages of those who draw: Mermaid, which forges show in Markdown, and DOT of Graphviz. Pure.

Tasks are called `t0`, `t1`, …, for a name may be a word of the language; what the document says stands in texts alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from runner.cli.terminal import visible
from runner.model.group import TaskGroup
from runner.model.task import Task, When

LONGEST_CONDITION = 60

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9 _.,:+-]")
_SHAPES = {When.SUCCESS: ("[", "]"), When.FAILURE: ("{{", "}}"), When.ALWAYS: ("([", "])")}
_STYLES = {When.SUCCESS: "solid", When.FAILURE: "dashed", When.ALWAYS: "bold"}


def mermaid(group: TaskGroup) -> Iterator[str]:
    """A flow chart, line by line. Data goes along solid lines, order alone along dotted ones."""
    index = _index(group)
    if group.name:
        yield from ("---", f"title: {json.dumps(visible(group.name), ensure_ascii=False)}", "---")
    yield "flowchart LR"
    for task in group.tasks:
        opens, closes = _SHAPES[task.when]
        text = "<br/>".join(map(_entities, label(task)))
        yield f'  {index[task.name]}{opens}"{text}"{closes}'
    for task in group.tasks:
        for edge, variables in taken(task).items():
            line = f'-- "{_entities(", ".join(variables))}" -->' if variables else "-.->"
            yield f"  {index[edge]} {line} {index[task.name]}"


def dot(group: TaskGroup) -> Iterator[str]:
    """A digraph, line by line. Data goes along solid lines, order alone along dashed ones."""
    index = _index(group)
    yield "digraph {"
    yield f"  graph [rankdir=LR, label={_quoted([group.name or 'task group'])}, labelloc=t, fontname=monospace]"
    yield "  node [shape=box, fontname=monospace]"
    yield "  edge [fontname=monospace, fontsize=10]"
    for task in group.tasks:
        about = _quoted([task.description or task.name])
        yield f"  {index[task.name]} [label={_quoted(label(task))}, style={_STYLES[task.when]}, tooltip={about}]"
    for task in group.tasks:
        for edge, variables in taken(task).items():
            dress = f"label={_quoted([', '.join(variables)])}" if variables else "style=dashed"
            yield f"  {index[edge]} -> {index[task.name]} [{dress}]"
    yield "}"


def label(task: Task) -> list[str]:
    """What stands in the box of a task: a line for its name, and one for the rest."""
    return [task.name, "; ".join([task.type, *notes(task)])]


def notes(task: Task) -> list[str]:
    """What else decides whether, and where, it runs."""
    told = [] if task.when is When.SUCCESS else [f"when {task.when}"]
    if task.condition is not None:
        condition = str(task.condition)
        told.append(
            f"if {condition if len(condition) <= LONGEST_CONDITION else condition[: LONGEST_CONDITION - 1] + '…'}"
        )
    if task.forward is not None:
        told.append(
            f"on {task.forward.to or ', '.join(f'{key}={value}' for key, value in task.forward.labels.items())}"
        )
    return told


def taken(task: Task) -> dict[str, list[str]]:
    """What it waits for, and which variables it takes from each."""
    found: dict[str, list[str]] = {edge: [] for edge in task.edges}
    for item in task.imports:
        found[item.task].append(item.variable)
    return found


def _index(group: TaskGroup) -> dict[str, str]:
    return {task.name: f"t{number}" for number, task in enumerate(group.tasks)}


def _entities(text: str) -> str:
    """A text for Mermaid: whatever could mean something to it, or to the HTML that it makes, as the number of its character."""
    return _NOT_PLAIN.sub(lambda found: f"#{ord(found[0])};", visible(text))


def _quoted(lines: list[str]) -> str:
    """A text for DOT."""
    escaped = (visible(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'
