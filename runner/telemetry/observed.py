"""A store that lets others look on. It stands in the place of the plain one only where somebody does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

from runner.model.event import Event
from runner.store.base import Batch, GroupRow, TaskRow
from runner.store.sqlite import SqliteStore
from runner.telemetry.base import Telemetry


class ObservedStore(SqliteStore):
    telemetry: Sequence[Telemetry] = ()

    def accept_group(self, row: GroupRow, events: Sequence[Event], tasks: Sequence[TaskRow] = ()) -> None:
        super().accept_group(row, events, tasks)
        for each in self.telemetry:
            each.accepted(row)

    def record(self, batch: Batch) -> None:
        began = perf_counter()
        super().record(batch)
        seconds = perf_counter() - began
        for each in self.telemetry:
            each.recorded(batch, seconds)

    def sync(self, done: Callable[[Exception | None], None]) -> None:
        began = perf_counter()

        def synced(error: Exception | None) -> None:
            if error is None:
                seconds = perf_counter() - began
                for each in self.telemetry:
                    each.synced(seconds)
            done(error)

        super().sync(synced)
