"""How it is told to a person what keeps something from beginning: that others come first, or somebody has to say what follows. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from runner.clock import rfc3339
from runner.model.explanation import Cause
from runner.model.load import Load
from runner.model.result import Abort, Status, Waiting
from runner.model.words import counted
from runner.store.base import GroupRow

DECISION = "has failed, and its group stands still until somebody says whether it is tried once more (`retry`) or the failure stands (`continue`)"


def is_waiting(row: GroupRow) -> bool:
    """Whether nothing of the group may begin yet."""
    return row.waits_for is not None and row.status is Status.PENDING


def cause(row: GroupRow, line: Sequence[str]) -> Cause | None:
    """Why a group waits, before which those of the `line` stand, as far as that is known; None where it does not."""
    if not is_waiting(row) or row.abort is not None:
        return None
    text = f"it waits for group {row.waits_for} (concurrency key {row.concurrency}): of the groups with this key one runs at a time"
    if len(line) > 1:
        text += f"; {counted(len(line), 'group')} stand before it, {line[0]} at the front"
    at = None if row.rests_since is None else row.rests_since.wall
    return Cause(kind=Waiting.CONCURRENCY.value, text=text, at=at)


def replaced(row: GroupRow) -> Cause:
    """Why a group was ended that another one has replaced."""
    at = None if row.abort_at is None else row.abort_at.wall
    when = "" if at is None else f" at {rfc3339(at)[:19]}Z"
    text = f"group {row.replaced_by} with the same concurrency key ({row.concurrency}) and `cancel_previous` took its place{when}"
    return Cause(kind=Abort.REPLACED.value, text=text, at=at)


def paused(row: GroupRow) -> str:
    """What is said of a group that stands still."""
    return f"stands still because {row.paused_by} has failed: what runs goes on, nothing else begins, and its `timeout` rests"


def slot(load: Load | None, *, is_leaving: bool) -> str:
    """What a task waits for that nothing else holds back."""
    if is_leaving:
        return "waits for a slot: the runner begins nothing more, and goes on when it is started again"
    if load is None:
        return "waits for a slot"
    if load.taken < load.slots:
        return f"waits for a slot, and is about to get one: {load.taken} of {load.slots} are taken"
    return f"waits for a slot: all {load.slots} are taken, and {counted(load.waiting, 'task')} wait for one, in turn"
