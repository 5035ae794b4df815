"""What of a group needs nodes, as far as a document alone tells it: runners that it is forwarded to, others that it takes turns with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from runner import expressions
from runner.model.fault import Fault, Path, nearest, quote
from runner.model.group import TaskGroup
from runner.model.task import Forward

MOST_COMPARED = 1000
"""Of so many tasks that name an unknown runner the nearest known name is looked for."""


def unknown_runners(
    group: TaskGroup, tasks: str, peers: Collection[str], may_be_named: Callable[[str], bool] = lambda name: False
) -> Iterator[Fault]:
    """A fault for each runner that a valid group, or a task of it, names and which is none of `peers`, nor one that `may_be_named` all the
    same; the document calls its list of tasks `tasks`. What a template will name, and who has which labels, is known only when it could start, and which peers the
    executor of a forwarded group has, only there."""
    told = 0
    for path, forward, template in _forwards(group, tasks):
        to = forward.to
        if to is None or to in peers or (template and expressions.has_template(to)) or may_be_named(to):
            continue
        told += 1
        hint = _hint(to, peers if told <= MOST_COMPARED else ())
        yield Fault(path=(*path, "to"), message=f"this runner has no peer {quote(to)}", hint=hint)


def without_peers(group: TaskGroup, tasks: str) -> Iterator[Fault]:
    """What has to be said of a valid group where nothing can be forwarded: a fault, or a warning where another runner may have to
    judge the document."""
    yield from unknown_runners(group, tasks, ())
    yield from _without_effect(group)
    for path, forward, template in _forwards(group, tasks):
        if forward.to is None or (template and expressions.has_template(forward.to)):
            message = "this runner has no peers: here what is forwarded ends as errored (no_such_runner)"
            yield Fault(path=path, message=message, warning=True)


def unjudged(group: TaskGroup, tasks: str) -> Iterator[Fault]:
    """What has to be said, once, of a valid group where nobody knows to which node it will be submitted."""
    for path, _, _ in _forwards(group, tasks):
        message = "whether there is such a runner is known to the node that the group is submitted to"
        hint = "`runner run` has no peers; a node says so before anything runs"
        yield Fault(path=path, message=message, hint=hint, warning=True)
        break
    yield from _without_effect(group)


def _without_effect(group: TaskGroup) -> Iterator[Fault]:
    """What only a node can keep to."""
    if group.concurrency is not None:
        message = "has no effect in `runner run`: groups take turns on the node that they are submitted to"
        yield Fault(path=("concurrency",), message=message, hint="`runner submit` it", about_key=True, warning=True)


def _forwards(group: TaskGroup, tasks: str) -> Iterator[tuple[Path, Forward, bool]]:
    """Where this runner forwards to, each with its place and whether it may be a template: the group as a whole, or tasks of it."""
    if group.forward is not None:
        yield ("forward",), group.forward, True
        return
    for index, task in enumerate(group.tasks):
        if task.forward is not None:
            yield (tasks, index, "forward"), task.forward, task.template


def _hint(to: str, peers: Collection[str]) -> str | None:
    if not peers:
        return None
    return nearest(to, peers) or f"it has {', '.join(sorted(peers)[:12])}"
