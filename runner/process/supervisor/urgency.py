"""Going before all others for a moment: what forks as fast as it can leaves who looks for it a thousandth of the machine."""

from __future__ import annotations

import os
import time

PATIENCE_SECONDS = 0.05
"""A hunt that finds nothing new after that was an ordinary one."""


class Urgency:
    """Threads that are scheduled before all ordinary ones while a hunt lasts longer than usual; what they start meanwhile is
    ordinary. Without effect where the user may not have that, or the system does not know it."""

    def __init__(self, *threads: int) -> None:
        """`threads` by number; 0 is the one that calls."""
        self._threads = threads
        self._since: float | None = None
        self._former: list[tuple[int, int, os.sched_param]] | None = None

    def found(self) -> None:
        """The hunt has found something, now."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        elif now >= self._since + PATIENCE_SECONDS:
            self.begin()

    def begin(self) -> None:
        """Go first from now on. May be repeated."""
        if self._former is None:
            self._former = []
            for thread in self._threads:
                self._raise(thread, self._former)

    def end(self) -> None:
        """The hunt is over, and all is as it was before. May be repeated."""
        for thread, policy, param in reversed(self._former or ()):
            try:
                os.sched_setscheduler(thread, policy, param)
            except PermissionError:  # who is not root may go first within RLIMIT_RTPRIO, but cannot take that flag back
                os.sched_setscheduler(thread, policy | os.SCHED_RESET_ON_FORK, param)
        self._since = self._former = None

    def _raise(self, thread: int, former: list[tuple[int, int, os.sched_param]]) -> None:
        try:
            was = (thread, os.sched_getscheduler(thread), os.sched_getparam(thread))
            os.sched_setscheduler(thread, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        except (OSError, AttributeError):
            return
        former.append(was)
