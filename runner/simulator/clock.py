"""Time that passes only when it is told to: the twin of `runner.clock.SystemClock`."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from runner.clock import Clock, Moment, Timer

FIRST_WALL_SECONDS = 1_700_000_000.0
FIRST_BOOT_SECONDS = 1_000.0
FIRST_BOOT_ID = "boot-1"


class _VirtualTimer:
    __slots__ = ("callback", "elsewhere")

    def __init__(self, callback: Callable[[], None], *, elsewhere: bool) -> None:
        self.callback: Callable[[], None] | None = callback
        self.elsewhere = elsewhere

    def cancel(self) -> None:
        self.callback = None


class VirtualClock:
    """A `Clock` that jumps from callback to callback. What a callback raises leaves `run_until…`; the clock stays usable and
    the callback counts as run. A callback that asks for time zero forever is not noticed."""

    def __init__(
        self, *, wall: float = FIRST_WALL_SECONDS, boot: float = FIRST_BOOT_SECONDS, boot_id: str = FIRST_BOOT_ID
    ) -> None:
        """`wall` in seconds since the epoch, `boot` in seconds since the machine started."""
        self._boot = boot
        self._wall_at_boot = wall - boot
        self._boot_id = boot_id
        self._past = 0.0
        """How long all former boots took together."""
        self._order = itertools.count()
        self._timers: list[tuple[float, int, _VirtualTimer]] = []

    def now(self) -> Moment:
        return Moment(self._wall_at_boot + self._boot, self._boot, self._boot_id)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.call_at(self._boot, callback)

    def call_at(self, boot: float, callback: Callable[[], None]) -> Timer:
        return self._add(boot, callback, elsewhere=False)

    def _add(self, boot: float, callback: Callable[[], None], *, elsewhere: bool) -> Timer:
        timer = _VirtualTimer(callback, elsewhere=elsewhere)
        heapq.heappush(self._timers, (boot, next(self._order), timer))
        return timer

    @property
    def next_due(self) -> float | None:
        """When the next callback is due, in seconds of the boot clock; None when nothing is left to do."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return max(self._boot, self._timers[0][0]) if self._timers else None

    def run_until_idle(self) -> None:
        """Run callbacks, and let time pass between them, until none is left."""
        while self._run_next(None):
            pass

    def run_until(self, boot: float) -> None:
        """Run all callbacks that are due up to and at `boot`, then let time pass until then."""
        while self._run_next(boot):
            pass
        self._boot = max(self._boot, boot)

    def reboot(self, boot_id: str, *, downtime: float = 0.0) -> None:
        """The machine stops, and starts again after `downtime` seconds: all callbacks are gone but those of other machines, the
        boot clock begins anew."""
        self._timers = [entry for entry in self._timers if entry[2].elsewhere]
        heapq.heapify(self._timers)
        self.run_until(self._boot + downtime)
        wall = self.now().wall
        self._timers = [(due - self._boot, order, timer) for due, order, timer in self._timers]
        self._past += self._boot
        self._boot = 0.0
        self._wall_at_boot = wall
        self._boot_id = boot_id

    def elsewhere(self) -> Clock:
        """The clock of another machine, which never stops."""
        return _Elsewhere(self)

    def _run_next(self, limit: float | None) -> bool:
        due = self.next_due
        if due is None or (limit is not None and due > limit):
            return False
        timer = heapq.heappop(self._timers)[2]
        self._boot = due
        callback, timer.callback = timer.callback, None
        if callback is not None:
            callback()
        return True


class _Elsewhere:
    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def now(self) -> Moment:
        here = self._clock.now()
        return Moment(here.wall, self._clock._past + here.boot, "elsewhere")

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.call_at(self.now().boot, callback)

    def call_at(self, boot: float, callback: Callable[[], None]) -> Timer:
        return self._clock._add(boot - self._clock._past, callback, elsewhere=True)
