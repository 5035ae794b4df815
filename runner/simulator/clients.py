"""Clients of a simulated world, who repeat what they have asked for until they know that it is durable."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from runner.clock import Clock
from runner.engine.engine import Engine
from runner.errors import GroupNotFoundError
from runner.model.dispatch import AttemptId
from runner.model.event import Kind
from runner.model.result import Abort, Waiting
from runner.simulator.pauses import decision
from runner.simulator.scenario import Signal, Submission

PATIENCE_SECONDS = 0.7
"""How long a client waits before it repeats a call that was refused."""


@dataclass(slots=True, eq=False)
class Client:
    """One call that a client makes, and repeats after a crash until it was acknowledged as durable."""

    submission: Submission
    cancel: int = 0
    """Which of its cancels; 0 for the submission itself, and for signals."""
    signal: Signal | None = None
    made: bool = False
    made_at: float = -1.0
    """When it was made last."""
    acknowledged: bool = False

    def call(self, engine: Engine, answer: Callable[[Exception | None], None]) -> None:
        """Raises StoreError when it is refused; `answer` tells whether it is durable."""
        self.made = True
        item = self.submission
        if self.signal is not None:
            if not engine.signal(item.id, self.signal.task, self.signal.signal):
                self.acknowledged = True  # nothing ran that could have it
            elif self.signal.signal != "destroy":
                engine.when_durable(answer)
            # Else nothing of it is written down: it has arrived when the executor has it.
            return
        if self.cancel == 0:
            engine.submit(item.group, item.inputs, caller=item.caller, pause_on_failure=item.pauses)
        elif not self._known(engine):
            engine.cancel(item.id)
        engine.when_durable(answer)

    def _known(self, engine: Engine) -> bool:
        """Whether an earlier call got through: a second cancel means more than the first, so a client looks before it
        repeats one. What a runner ends by itself that it was given has no `count`."""
        return any(
            event.kind is Kind.CANCEL_REQUESTED
            and event.fields["reason"] == Abort.CANCELLED
            and event.fields.get("count", 0) >= self.cancel
            for event in engine.events(self.submission.id)
        )


class Onlooker:
    """Says what follows from the failures for which a group stands still, as long as its engine lives."""

    def __init__(self, engine: Engine, clock: Clock, submission: Submission) -> None:
        self._engine = engine
        self._clock = clock
        self._submission = submission
        self._seen: set[AttemptId] = set()
        engine.subscribe(submission.id, self.look)

    def look(self) -> None:
        """See what is held by now."""
        id = self._submission.id
        with suppress(GroupNotFoundError):
            for row in self._engine.record_of(id).tasks:
                attempt = AttemptId(id, row.name, row.attempt)
                if row.waiting == Waiting.DECISION and attempt not in self._seen:
                    self._seen.add(attempt)
                    self._plan(attempt)

    def _plan(self, attempt: AttemptId) -> None:
        told = self._engine.events(attempt.group, limit=1_000_000)
        held = (attempt.task, attempt.attempt, Kind.TASK_HELD)
        at = next(event.at for event in told if (event.task, event.attempt, event.kind) == held)
        seconds, said = decision(self._submission, attempt)
        now = self._clock.now()
        self._clock.call_at(now.boot + max(0.0, at + seconds - now.wall), partial(self._say, attempt, said))

    def _say(self, attempt: AttemptId, said: str) -> None:
        self._engine.signal(attempt.group, attempt.task, said)
