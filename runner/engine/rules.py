"""The rules of a group that nothing but what is asked about decides: whether an edge is satisfied, and how the group ends. Pure."""

from __future__ import annotations

from collections.abc import Collection

from runner.engine.state import TaskState
from runner.model.result import Abort, Skip, Status

SATISFYING_SKIPS = frozenset({Skip.CONDITION_FALSE.value, Skip.NO_FAILURE.value})


def unsatisfied(parent: TaskState) -> Skip | None:
    """Why `parent`, which is over, keeps a `when: success` child from running; None when it does not."""
    if parent.status is Status.SUCCESS or (parent.trouble and parent.task.allow_failure):
        return None
    if parent.status is Status.SKIPPED:
        return None if parent.reason in SATISFYING_SKIPS else Skip.DEPENDENCY_SKIPPED
    return Skip.DEPENDENCY_FAILED


def is_ended_by_matrix(state: TaskState) -> bool:
    """Whether it had to end because another instance of its matrix failed: that one counts for the group."""
    return state.status is Status.ABORTED and state.task.matrix is not None and state.reason == Abort.FAIL_FAST


def verdict(abort: Abort | None, ends: Collection[Status]) -> tuple[Status, str | None]:
    """The status of a group that is over, and its reason. `ends` are those of its tasks that count."""
    if abort in (Abort.CANCELLED, Abort.GROUP_TIMEOUT, Abort.REPLACED):
        return Status.ABORTED, abort.value
    if abort is None and Status.ABORTED in ends:
        return Status.ABORTED, None  # somebody ended a task by a signal
    worst = next((status for status in (Status.ERRORED, Status.FAILED) if status in ends), Status.SUCCESS)
    return worst, abort.value if abort else None
