"""One life of the engine: what it does reaches the world step by step, and ends at the step where it is to crash.

Whatever a dead engine still holds (a timer, a sink, a half-run method) has no effect any more: it meets the fence here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from runner.clock import Clock, Moment, Timer
from runner.dispatch.base import Dispatcher, Sink
from runner.model.dispatch import AttemptId, Dispatch
from runner.simulator.scenario import CrashAt

T = TypeVar("T")


class Crash(BaseException):
    """The engine's process is dead. No `Exception`, so that nobody handles it."""


class Fate:
    """Counts the steps of all lives and knows at which ones they end."""

    def __init__(self, crashes: Iterable[CrashAt]) -> None:
        self._crashes = {crash.step: crash for crash in crashes}
        self.steps = 0
        self.struck: CrashAt | None = None
        """The last crash that happened."""

    def take(self, step: Callable[[], T]) -> T:
        crash = self._crashes.get(self.steps)
        self.steps += 1
        if crash is not None and not crash.after:
            self._strike(crash)
        result = step()
        if crash is not None:
            self._strike(crash)
        return result

    def _strike(self, crash: CrashAt) -> None:
        self.struck = crash
        raise Crash(f"crashed {'after' if crash.after else 'before'} step {crash.step}")


class Life:
    def __init__(self, fate: Fate) -> None:
        self._fate = fate
        self.alive = True

    def step(self, step: Callable[[], T]) -> T:
        """Let something out into the world. Raises Crash where this life ends, and ever after."""
        if not self.alive:
            raise Crash("the engine is dead already")
        try:
            return self._fate.take(step)
        except Crash:
            self.alive = False
            raise

    def guard(self, callback: Callable[[], None]) -> Callable[[], None]:
        """`callback` for the time of this life."""

        def guarded() -> None:
            if self.alive:
                callback()

        return guarded


class LivingClock:
    """A clock as one life sees it: its callbacks die with it."""

    def __init__(self, clock: Clock, life: Life) -> None:
        self._clock = clock
        self._life = life

    def now(self) -> Moment:
        return self._clock.now()

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._clock.call_soon(self._life.guard(callback))

    def call_at(self, boot: float, callback: Callable[[], None]) -> Timer:
        return self._clock.call_at(boot, self._life.guard(callback))


class LivingDispatcher:
    """A dispatcher as one life reaches it: every verb is a step. `on_submit` is shown each dispatch that goes through,
    `on_cancel` each attempt that is asked to stop, `on_signal` each signal."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        life: Life,
        on_submit: Callable[[Dispatch], None],
        on_cancel: Callable[[AttemptId], None],
        on_signal: Callable[[AttemptId, str], None],
    ) -> None:
        self._inner = dispatcher
        self._life = life
        self._on_submit = on_submit
        self._on_cancel = on_cancel
        self._on_signal = on_signal

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def instance(self) -> str:
        return self._inner.instance

    def submit(self, dispatch: Dispatch) -> None:
        def step() -> None:
            self._on_submit(dispatch)
            self._inner.submit(dispatch)

        self._life.step(step)

    def events(self, id: AttemptId, after: int, sink: Sink) -> None:
        life = self._life
        self._life.step(partial(self._inner.events, id, after, lambda report: life.guard(partial(sink, report))()))

    def acknowledge(self, id: AttemptId, sequence: int) -> None:
        self._life.step(partial(self._inner.acknowledge, id, sequence))

    def cancel(self, id: AttemptId, grace: float) -> None:
        def step() -> None:
            self._on_cancel(id)
            self._inner.cancel(id, grace)

        self._life.step(step)

    def signal(self, id: AttemptId, signal: str) -> None:
        def step() -> None:
            self._on_signal(id, signal)
            self._inner.signal(id, signal)

        self._life.step(step)

    def reconcile(self, live: Iterable[AttemptId]) -> None:
        self._life.step(partial(self._inner.reconcile, list(live)))

    def release(self, group: str) -> None:
        self._life.step(partial(self._inner.release, group))
