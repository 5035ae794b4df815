"""One of several machines on the same virtual clock, each with a power supply of its own."""

from __future__ import annotations

from collections.abc import Callable

from runner.clock import Moment, Timer
from runner.simulator.clock import VirtualClock


class Machine:
    """Implements `Clock`. When its power fails all its callbacks are gone, and its boot clock begins anew."""

    def __init__(self, clock: VirtualClock, name: str) -> None:
        self._clock = clock
        self._name = name
        self._booted = 0.0
        self._boots = 1

    def now(self) -> Moment:
        now = self._clock.now()
        return Moment(now.wall, now.boot - self._booted, f"{self._name}-{self._boots}")

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._clock.call_soon(self._of_this_boot(callback))

    def call_at(self, boot: float, callback: Callable[[], None]) -> Timer:
        return self._clock.call_at(self._booted + boot, self._of_this_boot(callback))

    def reboot(self) -> None:
        self._booted = self._clock.now().boot
        self._boots += 1

    def _of_this_boot(self, callback: Callable[[], None]) -> Callable[[], None]:
        boots = self._boots

        def guarded() -> None:
            if boots == self._boots:
                callback()

        return guarded
