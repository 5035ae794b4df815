"""What an executor says of one attempt: numbered, kept until it is acknowledged, given to whoever listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from runner.clock import Clock
from runner.dispatch.base import Sink
from runner.model.dispatch import AttemptId, Finished, Noticed, Report, Started
from runner.model.event import Kind
from runner.model.result import Outcome


class Reports:
    """The reports of one attempt, numbered from 1; in a later life of the executor from behind what the listener has seen.

    They are delivered in order, never from within `subscribe`, and kept until they are acknowledged.

    What is noticed is told with the start or the end, whichever comes next: who listens records both at once or neither, so
    that a life of the executor that was killed in between leaves the next one all of it to tell, or nothing.
    """

    def __init__(self, id: AttemptId, clock: Clock, *, continued: bool, on_settled: Callable[[], None]) -> None:
        """`continued`: a former life of the executor may have reported already, and the first listener knows how far.
        `on_settled` is called once, when the end has been acknowledged."""
        self._id = id
        self._clock = clock
        self._continued = continued
        self._on_settled: Callable[[], None] | None = on_settled
        self._kept: list[Report] = []
        self._noticed: list[tuple[Kind, dict[str, Any]]] = []
        self._sequence = 0
        self._sink: Sink | None = None
        self._sent = 0
        self._due = False
        self.finished = False

    @property
    def settled(self) -> bool:
        """The end has been acknowledged."""
        return self._on_settled is None

    def started(self, at: float, handle: bytes) -> None:
        self._tell_noticed()
        self._add(Started(id=self._id, sequence=self._next(), at=at, handle=handle))

    def started_before(self) -> None:
        """A former life has told the start, and what was noticed by then."""
        self._noticed.clear()

    def noticed(self, kind: Kind, /, **fields: Any) -> None:
        """Ignored after the end."""
        self._noticed.append((kind, fields))

    def happened(self, kind: Kind) -> None:
        """As `noticed`, but told at once."""
        if not self.finished:
            self._add(Noticed(id=self._id, sequence=self._next(), kind=kind))

    def end(self, outcome: Outcome) -> None:
        self._tell_noticed()
        self.finished = True
        self._add(Finished(id=self._id, sequence=self._next(), outcome=outcome))

    def _tell_noticed(self) -> None:
        noticed, self._noticed = self._noticed, []
        for kind, fields in noticed:
            self._add(Noticed(id=self._id, sequence=self._next(), kind=kind, fields=fields))

    def subscribe(self, after: int, sink: Sink) -> None:
        if self._continued:
            self._continued = False
            self._sequence += after
            self._kept = [replace(report, sequence=report.sequence + after) for report in self._kept]
        self._sink = sink
        self._sent = after
        self._wake()

    def acknowledge(self, sequence: int) -> None:
        if self._continued:
            return  # nobody can know these numbers yet
        self._kept = [report for report in self._kept if report.sequence > sequence]
        if self.finished and not self._kept and self._on_settled is not None:
            on_settled, self._on_settled = self._on_settled, None
            on_settled()

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _add(self, report: Report) -> None:
        self._kept.append(report)
        if self._sink is not None and not self._due:
            self._deliver()  # this is a turn of the loop already, and nothing older waits for one

    def _wake(self) -> None:
        if self._sink is not None and not self._due and self._kept:
            self._due = True
            self._clock.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._due = False
        sink = self._sink
        if sink is None:
            return
        for report in list(self._kept):
            if report.sequence > self._sent:
                self._sent = report.sequence
                sink(report)
                if self._sink is not sink:
                    return  # the new one has its own delivery under way
