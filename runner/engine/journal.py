"""The gate between deciding and doing: effects happen only after what led to them is written down.

Whoever changes state marks what changed, appends events and queues effects. One tick per turn of the clock writes all of it in one
transaction (group commit) and then carries the effects out, in order. Killed anywhere, a restarted engine finds either none
or all of a turn's decisions, and repeats effects that may not have happened: each is idempotent.

While nothing can be written (the disk is full, say) nothing is begun. What only ends something is done all the same (`anyway`),
so that a full disk keeps nobody from stopping what runs: if the decision is forgotten with this process, the attempt was ended,
and reports that; and nothing follows from it that was not written down.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from runner.clock import Clock, Timer
from runner.errors import RunnerError
from runner.model.event import Event, Kind
from runner.store.base import AttemptRow, Batch, GroupRow, Store, TaskRow

log = logging.getLogger(__name__)

STORE_RETRY_SECONDS = 1.0
SYNC_DELAY_SECONDS = 0.1
LINGER_SECONDS = 0.002
"""How long what nobody waits for may stay unwritten, so that a short task's start and end cost one transaction."""

Effect = Callable[[], None]


class Recorded(Protocol):
    """State that has a row. The row is asked for when it is written, so that many changes in a turn cost one row."""

    def row(self) -> GroupRow | TaskRow | AttemptRow: ...


class Journal:
    def __init__(self, store: Store, clock: Clock, before_tick: Callable[[], None]) -> None:
        """`before_tick` is called at the start of every tick, to add what only the sum of a turn's changes decides."""
        self._store = store
        self._clock = clock
        self._before_tick = before_tick
        self._dirty: dict[Recorded, None] = {}
        self._events: list[Event] = []
        self._effects: list[Effect] = []
        self._anyway: list[Effect] = []
        self._after_sync: list[Effect] = []
        self._scheduled = False
        self._lingering: Timer | None = None
        self._looking = False
        """At the end of this turn it is seen whether something has to linger."""
        self._sync_timer: Timer | None = None
        self._retry: Timer | None = None
        self._sync_soon = False
        self._sync_failing = False
        self.closed = False
        """Nothing is written or done any more."""
        self.failure: RunnerError | None = None
        """Why the last transaction was refused; None where it was not."""
        self.on_commit: Callable[[Sequence[Event]], None] = lambda events: None
        """Called after each commit, and what it led to, with the events that it holds."""
        self.announces: Callable[[str], bool] = lambda group: False
        """Whether somebody outside has to be told when this group ends."""
        self.on_failure: Callable[[], None] = lambda: None
        """Called after each transaction that was refused. It is tried again until it is not."""

    def mark(self, state: Recorded) -> None:
        """Write the row of `state`, soon."""
        self._dirty[state] = None
        self._linger()

    def event(self, event: Event) -> None:
        """Write the event, soon."""
        self._events.append(event)
        self._linger()

    def then(self, effect: Effect) -> None:
        """Write the present state at the end of this turn, then do `effect`."""
        self._effects.append(effect)
        self.wake()

    def anyway(self, effect: Effect) -> None:
        """Like `then`, but done before what waits for the state to be written, and also where it cannot be. For what begins
        nothing, and does no harm when it is done again or forgotten by the next life."""
        self._anyway.append(effect)
        if self.failure is None:
            self.wake()
        else:
            self._clock.call_soon(self._do_anyway)

    def is_unwritten(self, state: Recorded) -> bool:
        """Whether the present state of `state` waits to be written."""
        return state in self._dirty

    def when_durable(self, effect: Effect) -> None:
        """Do `effect` once the present state is safe against a loss of power. Collected for a moment: never urgent."""
        self.then(lambda: self._defer(effect))

    def once_durable(self, effect: Effect, *, written: bool = False) -> None:
        """Do `effect` as soon as the present state is safe against a loss of power: for what reaches machines that have their own power.
        With `written` all that it rests on was written before, and it need not wait until something more can be."""
        (self.anyway if written else self.then)(lambda: self._defer(effect, soon=True))

    def wake(self) -> None:
        """Write at the end of this turn."""
        if not self._scheduled:
            self._scheduled = True
            self._clock.call_soon(self._tick)

    def hurry(self) -> None:
        """Write at the end of this turn, also when the last transaction was refused just now."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
            self._scheduled = False
        self.wake()

    def _linger(self) -> None:
        # Mostly the same turn brings what is not to wait, and a timer costs as much as a row.
        if not (self._scheduled or self._looking) and self._lingering is None:
            self._looking = True
            self._clock.call_soon(self._look)

    def _look(self) -> None:
        self._looking = False
        if not self._scheduled and self._lingering is None and (self._dirty or self._events):
            self._lingering = self._clock.call_at(self._clock.now().boot + LINGER_SECONDS, self._lingered)

    def _lingered(self) -> None:
        self._lingering = None
        if self._dirty or self._events:
            self.wake()

    def close(self) -> None:
        """Write and do nothing more: what was decided but not written is decided again by the next life."""
        self.closed = True

    def _tick(self) -> None:
        if self.closed:
            return
        self._retry = None
        self._before_tick()
        self._scheduled = False
        try:
            if self._dirty or self._events:
                self._store.record(self._batch())
        except RunnerError as error:  # full, read-only, or locked for a while by somebody who looks into it
            self._retry_later(error)
            return
        self.failure = None
        if self._lingering is not None:  # nothing is left to be written, and a timer wakes a loop that may sleep
            self._lingering.cancel()
            self._lingering = None
        self._dirty.clear()
        events, self._events = self._events, []
        effects, self._effects = self._effects, []
        if self._anyway:
            self._do_anyway()
        for effect in effects:
            effect()
        if events:
            self.on_commit(events)

    def _batch(self) -> Batch:
        batch = Batch(events=self._events)
        ended = [event.group for event in self._events if event.kind is Kind.GROUP_FINISHED]
        batch.notices = [group for group in ended if self.announces(group)]
        for state in self._dirty:
            row = state.row()
            if isinstance(row, TaskRow):
                batch.tasks.append(row)
            elif isinstance(row, AttemptRow):
                batch.attempts.append(row)
            else:
                batch.groups.append(row)
        return batch

    def _do_anyway(self) -> None:
        effects, self._anyway = self._anyway, []
        if self.closed:
            return
        for effect in effects:
            effect()

    def _retry_later(self, error: RunnerError) -> None:
        if self.failure is None:
            log.error(
                "state cannot be written; nothing new is started, and what has to be stopped is stopped all the same: %s",
                error,
                extra={"action": "store_failed"},
            )
        self.failure = error
        self._scheduled = True
        self._retry = self._clock.call_at(self._clock.now().boot + STORE_RETRY_SECONDS, self._tick)
        self._do_anyway()
        self.on_failure()

    def _defer(self, effect: Effect, *, soon: bool = False) -> None:
        self._after_sync.append(effect)
        if soon and not self._sync_failing and not self._sync_soon:
            self._sync_soon = True
            self._clock.call_soon(self._sync_now)
        else:
            self._arm_sync()

    def _arm_sync(self) -> None:
        if self._sync_timer is None and not self._sync_soon:
            seconds = STORE_RETRY_SECONDS if self._sync_failing else SYNC_DELAY_SECONDS
            self._sync_timer = self._clock.call_at(self._clock.now().boot + seconds, self._sync)

    def _sync_now(self) -> None:
        if self._sync_soon:  # else somebody was quicker
            self._sync()

    def flush(self, flushed: Effect) -> None:
        """Do now what waits for durability, then call `flushed`; also when durability cannot be had."""
        self.then(lambda: self._sync(flushed))

    def _sync(self, flushed: Effect = lambda: None) -> None:
        if self.closed:
            return
        effects, self._after_sync = self._after_sync, []
        self._sync_soon = False
        if self._sync_timer is not None:
            self._sync_timer.cancel()
            self._sync_timer = None

        def done(error: Exception | None) -> None:
            if error is None:
                self._sync_failing = False
                for effect in effects:
                    effect()
            else:
                if not self._sync_failing:
                    log.error("state cannot be made durable: %s", error, extra={"action": "sync_failed"})
                self._sync_failing = True
                self._after_sync[:0] = effects  # in their order
                if effects:
                    self._arm_sync()
            flushed()

        self._store.sync(done)
