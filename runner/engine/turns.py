"""How it is told to a person that a group waits for its turn, or lost its place, because of its concurrency key. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from runner.clock import rfc3339
from runner.model.explanation import Cause
from runner.model.result import Abort, Status, Waiting
from runner.model.words import counted
from runner.store.base import GroupRow


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
