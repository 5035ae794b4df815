"""Whether there is a runner that a task may be forwarded to, as far as a document alone tells it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from runner import expressions
from runner.model.fault import Fault, nearest, quote
from runner.model.group import TaskGroup

MOST_COMPARED = 1000
"""Of so many tasks that name an unknown runner the nearest known name is looked for."""


def unknown_runners(group: TaskGroup, tasks: str, peers: Collection[str]) -> Iterator[Fault]:
    """A fault for each task of a valid group that names a runner which is none of `peers`; the document calls its list of tasks
    `tasks`. What a template will name, and who has which labels, is known only when the task could start."""
    told = 0
    for index, task in enumerate(group.tasks):
        to = None if task.forward is None else task.forward.to
        if to is None or to in peers or (task.template and expressions.has_template(to)):
            continue
        told += 1
        hint = _hint(to, peers if told <= MOST_COMPARED else ())
        yield Fault(path=(tasks, index, "forward", "to"), message=f"this runner has no peer {quote(to)}", hint=hint)


def without_peers(group: TaskGroup, tasks: str) -> Iterator[Fault]:
    """What has to be said of a valid group where nothing can be forwarded: a fault, or a warning where another runner may have to
    judge the document."""
    yield from unknown_runners(group, tasks, ())
    for index, task in enumerate(group.tasks):
        if task.forward is not None and (
            task.forward.to is None or (task.template and expressions.has_template(task.forward.to))
        ):
            message = "this runner has no peers: here the task ends as errored (no_such_runner)"
            yield Fault(path=(tasks, index, "forward"), message=message, warning=True)


def unjudged(group: TaskGroup, tasks: str) -> Iterator[Fault]:
    """What has to be said, once, of a valid group where nobody knows to which node it will be submitted."""
    for index, task in enumerate(group.tasks):
        if task.forward is not None:
            message = "whether there is such a runner is known to the node that the group is submitted to"
            hint = "`runner run` has no peers; a node says so before anything runs"
            yield Fault(path=(tasks, index, "forward"), message=message, hint=hint, warning=True)
            return


def _hint(to: str, peers: Collection[str]) -> str | None:
    if not peers:
        return None
    return nearest(to, peers) or f"it has {', '.join(sorted(peers)[:12])}"
