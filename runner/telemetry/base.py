"""The contract of what looks on while a node works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from runner.store.base import Batch, GroupRow

TypeOf = Callable[[str, str], str]
"""The type of a task, by the id of its group, which is not over or ended just now, and its name; empty where nobody knows."""


class Telemetry(Protocol):
    """All calls come from the loop's thread, behind what they tell of, and hold it up: they take microseconds, and raise nothing.
    `seconds` is how long it took. A node of which nobody wants to know anything has none, and measures nothing."""

    def accepted(self, row: GroupRow) -> None: ...

    def recorded(self, batch: Batch, seconds: float) -> None:
        """One transaction. What happens to groups and tasks is in its events."""

    def synced(self, seconds: float) -> None:
        """What was recorded has come to the disk."""

    def called(self, method: str, code: str, seconds: float) -> None:
        """A call of a method, e.g. `SubmitTaskGroup`, has ended with the name of a gRPC status, e.g. `OK`."""
