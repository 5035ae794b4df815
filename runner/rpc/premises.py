"""What the services of a node work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from msgspec import Struct

from drivers.registry import Registry
from runner.clock import Clock
from runner.engine.engine import Engine
from runner.errors import GroupInUseError, NoShellError
from runner.logs.base import LogStore
from runner.model.shell import Shell, ShellPlace, ShellRequest
from runner.rpc.others import Nobody, Others
from runner.sealing import Sealer
from runner.workspaces import Workspaces


class Shells(Protocol):
    def opened(self, place: ShellPlace, request: ShellRequest) -> AbstractAsyncContextManager[Shell]:
        """A shell, for as long as this is entered. Raises NoShellError, StartError, ProcessHostError."""


class NoShells:
    """Where there are none."""

    def opened(self, place: ShellPlace, request: ShellRequest) -> AbstractAsyncContextManager[Shell]:
        raise NoShellError("this runner has no shells")


async def nobody_removes(id: str) -> None:
    """Where groups are never removed. Raises GroupInUseError."""
    raise GroupInUseError(f"nothing removes {id!r} here")


class Premises(Struct, frozen=True, kw_only=True):
    """Of one node. `instance` is of the life that the node's state has led without a break; `started_at` in seconds
    since the epoch; `others` are the runners that it may forward to."""

    engine: Engine
    logs: LogStore
    registry: Registry
    workspaces: Workspaces
    clock: Clock
    sealer: Sealer
    node_id: str
    instance: str
    started_at: float
    remove: Callable[[str], Awaitable[None]] = nobody_removes
    """Remove a group that is over. Raises GroupNotFoundError, GroupInUseError."""
    others: Others = Nobody()
    shells: Shells = NoShells()
    workspaces_seconds: Callable[[], float] = lambda: 0.0
    """For how long the workspaces of groups that are over are kept."""
