"""Groups on their way in, and how many are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from runner.model.group import TaskGroup
from runner.model.value import Value

if TYPE_CHECKING:
    from runner.engine.group_run import GroupRun


class Submission(Struct, frozen=True, kw_only=True):
    """A validated group with its inputs, ready to be accepted. `former_digest` is the one that it would have had before the
    sealing key was replaced, where that is not over."""

    group: TaskGroup
    inputs: Mapping[str, Value]
    digest: str
    former_digest: str | None = None
    document: bytes


class Acceptance(Struct, frozen=True, kw_only=True):
    id: str
    existed: bool = False
    """It was accepted before."""


class Living:
    """How many groups are not over, in all and of each caller."""

    def __init__(self) -> None:
        self.count = 0
        self._callers: dict[str, int] = {}

    def add(self, run: GroupRun) -> None:
        self.count += 1
        self._callers[run.caller] = self.of(run.caller) + 1

    def remove(self, run: GroupRun) -> None:
        self.count -= 1
        left = self._callers.pop(run.caller) - 1
        if left:
            self._callers[run.caller] = left

    def of(self, caller: str) -> int:
        return self._callers.get(caller, 0)
