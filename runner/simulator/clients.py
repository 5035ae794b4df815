"""Clients of a simulated world, who repeat what they have asked for until they know that it is durable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runner.engine.engine import Engine
from runner.model.event import Kind
from runner.model.result import Abort
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
            engine.submit(item.group, item.inputs, caller=item.caller)
        elif not self._known(engine):
            engine.cancel(item.id)
        engine.when_durable(answer)

    def _known(self, engine: Engine) -> bool:
        """Whether an earlier call got through: a second cancel means more than the first, so a client looks before it
        repeats one."""
        return any(
            event.kind is Kind.CANCEL_REQUESTED
            and event.fields["reason"] == Abort.CANCELLED
            and event.fields["count"] >= self.cancel
            for event in engine.events(self.submission.id)
        )
