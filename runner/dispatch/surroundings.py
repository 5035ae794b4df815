"""What all attempts of one dispatcher share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from msgspec import Struct

from drivers.base import ProcessHost
from drivers.registry import Registry
from runner.clock import Clock
from runner.dispatch.attemptlog import Logs
from runner.dispatch.secrets import GroupInputs


class Surroundings(Struct, frozen=True, kw_only=True):
    """`template_milliseconds` are what the templates of one attempt may cost; `spawn` runs a coroutine that raises nothing beside
    the caller."""

    boot_id: str
    registry: Registry
    processes: ProcessHost
    logs: Logs
    temp: str
    clock: Clock
    inputs: GroupInputs
    template_milliseconds: int
    spawn: Callable[[Coroutine[Any, Any, None]], None]

    @property
    def instance(self) -> str:
        """The executor's present life: a boot of the machine, and a life of its process host."""
        return f"{self.boot_id}/{self.processes.incarnation}"
