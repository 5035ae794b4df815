"""Time, injected everywhere: the engine never asks the operating system what time it is.

`Clock` is the contract, `SystemClock` the real one; `runner.simulator.clock.VirtualClock` is the twin.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from runner.lazily import Lazily

if TYPE_CHECKING:
    import asyncio
else:
    asyncio = Lazily("asyncio")

LONGEST_SLEEP_SECONDS = 10.0
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Moment(Struct, frozen=True):
    """A point in time that survives a restart and a reboot.

    `boot` is in seconds of CLOCK_BOOTTIME (it goes on while the machine sleeps) and is compared only within the same
    `boot_id`; `wall` is in seconds since the epoch, for display and for spans that cross a reboot.
    """

    wall: float
    boot: float
    boot_id: str


class Timer(Protocol):
    def cancel(self) -> None:
        """Forget the callback. May be called again, and after the callback ran."""


class Clock(Protocol):
    """What time it is, and who is called when.

    Callbacks run one at a time on the thread that owns the clock, in the order of their due times; ties run in the
    order in which they were asked for. A callback is never run from within `call_at` or `call_soon`.
    """

    def now(self) -> Moment: ...

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run `callback` after the one that runs now, before any time passes."""

    def call_at(self, boot: float, callback: Callable[[], None]) -> Timer:
        """Run `callback` once `now().boot >= boot`."""


def seconds_between(earlier: Moment, later: Moment) -> float:
    """How long it is from `earlier` to `later`, never negative; across a reboot the wall clock decides."""
    if earlier.boot_id == later.boot_id:
        return max(0.0, later.boot - earlier.boot)
    return max(0.0, later.wall - earlier.wall)


@cache
def boot_id() -> str:
    """The identity of this boot of the machine; a constant where the kernel does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown"


def system_boot_seconds() -> float:
    """Seconds of CLOCK_BOOTTIME, or of the monotonic clock where there is none."""
    return time.clock_gettime(_BOOT_CLOCK)


def steady_time() -> Callable[[], float]:
    """Seconds since the epoch, as they were known at first: however the clock is set, they go on at their pace."""
    offset = time.time() - system_boot_seconds()
    return lambda: system_boot_seconds() + offset


def rfc3339(wall: float) -> str:
    """`wall`, seconds since the epoch, as RFC 3339 in UTC with microseconds, e.g. `2026-01-31T09:30:00.250000Z`."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class _SystemTimer:
    __slots__ = ("_boot", "_callback", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, boot: float, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._boot = boot
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None
        self._arm()

    def _arm(self) -> None:
        # The loop's own clock stands still while the machine sleeps; short sleeps keep a deadline honest after that.
        left = max(0.0, self._boot - system_boot_seconds())
        self._handle = self._loop.call_later(min(left, LONGEST_SLEEP_SECONDS), self._fire)

    def _fire(self) -> None:
        if system_boot_seconds() >= self._boot:
            self._handle = None
            self._callback()
        else:
            self._arm()

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class SystemClock:
    """The clock of the machine, on the running asyncio loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop or asyncio.get_running_loop()

    def now(self) -> Moment:
        return Moment(time.time(), time.clock_gettime(_BOOT_CLOCK), boot_id())

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback)

    def call_at(self, boot: float, callback: Callable[[], None]) -> Timer:
        return _SystemTimer(self._loop, boot, callback)
