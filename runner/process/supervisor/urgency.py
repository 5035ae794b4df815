"""Going before all others for a moment: what forks as fast as it can leaves who looks for it a thousandth of the machine."""

from __future__ import annotations

import os
import time
from _thread import allocate_lock, get_native_id  # `threading` is slow to import

PATIENCE_SECONDS = 0.05
"""A hunt that finds nothing new after that was an ordinary one."""

_lock = allocate_lock()
_hunts: dict[int, tuple[int, tuple[int, os.sched_param] | None]] = {}
"""Of each thread that goes first: how many hunts want it to, and how it was scheduled before the first of them. Several supervisors
may have died at the same time, and it is the last hunt to end that has to put the runner's main thread back."""


class Urgency:
    """Threads that are scheduled before all ordinary ones while a hunt lasts longer than usual; what they start meanwhile is
    ordinary. Without effect where the user may not have that, or the system does not know it."""

    def __init__(self, *threads: int) -> None:
        """`threads` by number; 0 is the one that calls."""
        self._threads = [thread or get_native_id() for thread in threads]
        self._since: float | None = None
        self._raised = False

    def found(self) -> None:
        """The hunt has found something, now."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        elif now >= self._since + PATIENCE_SECONDS:
            self.begin()

    def begin(self) -> None:
        """Go first from now on. May be repeated."""
        if not self._raised:
            self._raised = True
            for thread in self._threads:
                _raise(thread)

    def end(self) -> None:
        """The hunt is over, and all is as it was before, unless another hunt still lasts. May be repeated."""
        if self._raised:
            for thread in self._threads:
                _lower(thread)
        self._since = None
        self._raised = False


def _raise(thread: int) -> None:
    with _lock:
        hunts, former = _hunts.get(thread) or (0, None)
        if not hunts:
            try:
                former = os.sched_getscheduler(thread), os.sched_getparam(thread)
                os.sched_setscheduler(thread, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
            except (OSError, AttributeError):
                former = None
        _hunts[thread] = hunts + 1, former


def _lower(thread: int) -> None:
    with _lock:
        hunts, former = _hunts.pop(thread)
        if hunts > 1:
            _hunts[thread] = hunts - 1, former
        elif former is not None:
            policy, param = former
            try:
                os.sched_setscheduler(thread, policy, param)
            except PermissionError:  # who is not root may go first within RLIMIT_RTPRIO, but cannot take that flag back
                os.sched_setscheduler(thread, policy | os.SCHED_RESET_ON_FORK, param)
