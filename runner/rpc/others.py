"""What the service has to know of the runners that its node may forward to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from runner.model.fault import Fault
from runner.model.group import TaskGroup
from runner.model.peer import PeerState


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
