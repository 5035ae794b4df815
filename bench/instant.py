"""A dispatcher whose attempts are over as soon as they are submitted: what is left is the engine and its store."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from runner.clock import Clock
from runner.dispatch.base import Sink
from runner.model.dispatch import AttemptId, Dispatch, Finished, Started
from runner.model.result import Outcome, Status


class InstantDispatcher:
    """Reports every attempt as started and successful in the loop's next turn; with `silent`, never.

    For the benchmark alone: nothing is kept for a second delivery, so it cannot serve an engine that was restarted.
    """

    name = "instant"
    instance = "instant-1"

    def __init__(self, clock: Clock, *, silent: bool = False) -> None:
        self._clock = clock
        self._silent = silent

    def submit(self, dispatch: Dispatch) -> None:
        pass

    def events(self, id: AttemptId, after: int, sink: Sink) -> None:
        if not self._silent:
            self._clock.call_soon(partial(self._report, id, sink))

    def acknowledge(self, id: AttemptId, sequence: int) -> None:
        pass

    def cancel(self, id: AttemptId, grace: float) -> None:
        pass

    def signal(self, id: AttemptId, signal: str) -> None:
        pass

    def reconcile(self, live: Iterable[AttemptId]) -> None:
        pass

    def release(self, group: str) -> None:
        pass

    def _report(self, id: AttemptId, sink: Sink) -> None:
        at = self._clock.now().wall
        sink(Started(id=id, sequence=1, at=at, handle=b""))
        outcome = Outcome(status=Status.SUCCESS, exit_code=0, started_at=at, finished_at=at)
        sink(Finished(id=id, sequence=2, outcome=outcome))
