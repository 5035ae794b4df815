"""Groups on their way in, and how many are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from runner.engine.state import Plan
from runner.model.group import TaskGroup
from runner.model.value import Value

if TYPE_CHECKING:
    from runner.engine.group_run import GroupRun


class Submission(Struct, frozen=True, kw_only=True):
    """A validated group with its inputs, ready to be accepted. `sealed` is how the inputs are stored of a group of
    the id `sealed_for`. `former_digest` is the one that it would have had before the
    sealing key was replaced, where that is not over."""

    group: TaskGroup
    inputs: Mapping[str, Value]
    sealed_for: str
    sealed: bytes
    digest: str
    former_digest: str | None = None
    document: bytes
    plan: Plan


class Acceptance(Struct, frozen=True, kw_only=True):
    id: str
    existed: bool = False
    """It was accepted before."""


class Burden(Struct, frozen=True, kw_only=True):
    """Groups that are not over, and how large their documents and inputs are together."""

    groups: int = 0
    bytes: int = 0


NOTHING = Burden()


class Living:
    """The groups that are not over, in all and of each caller."""

    def __init__(self) -> None:
        self.all = NOTHING
        self._callers: dict[str, Burden] = {}

    def add(self, run: GroupRun) -> None:
        self._change(run.caller, 1, run.document_bytes)

    def remove(self, run: GroupRun) -> None:
        self._change(run.caller, -1, -run.document_bytes)

    def of(self, caller: str) -> Burden:
        return self._callers.get(caller, NOTHING)

    def _change(self, caller: str, groups: int, bytes: int) -> None:
        self.all = Burden(groups=self.all.groups + groups, bytes=self.all.bytes + bytes)
        known = self.of(caller)
        self._callers[caller] = Burden(groups=known.groups + groups, bytes=known.bytes + bytes)
        if not self._callers[caller].groups:
            del self._callers[caller]
