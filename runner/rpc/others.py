"""What the service has to know of the runners that its node may forward to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from runner.errors import NoShellError
from runner.model.fault import Fault
from runner.model.group import TaskGroup
from runner.model.peer import PeerState
from runner.model.shell import Shell, ShellCaller, ShellPlace, ShellRequest


class Others(Protocol):
    """`names` and `may_be_named` are asked from other threads too."""

    def names(self) -> Collection[str]:
        """What `forward` may name, the node itself among them."""

    def may_be_named(self, name: str) -> bool:
        """Whether a document may forward to what it calls so: one of the `names`, or an address."""

    async def check(self, group: TaskGroup, on_behalf_of: str) -> Sequence[Fault]:
        """What the runners that are there say of the tasks that a valid group forwards to them by name; paths begin with the place of
        the task in the group. Whom only a template names, or labels choose, is asked when the task is there, and so is who is away."""

    def states(self) -> Sequence[PeerState]: ...

    def shell(
        self, place: ShellPlace, public_id: str, request: ShellRequest, caller: ShellCaller
    ) -> AbstractAsyncContextManager[Shell]:
        """A shell on the runner that `place` names, for as long as this is entered. Raises NoShellError where there is no such runner any
        more, and in its words where it refuses that; UnreachableError."""


class Nobody:
    """Implements `Others` for a node that forwards to nobody."""

    def names(self) -> Collection[str]:
        return ()

    def may_be_named(self, name: str) -> bool:
        del name
        return False

    async def check(self, group: TaskGroup, on_behalf_of: str) -> Sequence[Fault]:
        del group, on_behalf_of
        return ()

    def states(self) -> Sequence[PeerState]:
        return ()

    def shell(
        self, place: ShellPlace, public_id: str, request: ShellRequest, caller: ShellCaller
    ) -> AbstractAsyncContextManager[Shell]:
        del public_id, request, caller
        raise NoShellError(f"it ran on {place.peer!r}, which this runner does not know")
