"""An eye on the supervisor: one that was stopped is continued, for nothing would start or end, and no time be kept, until then."""

from __future__ import annotations

import asyncio
import logging
import signal

from runner.process.supervisor import processes

LOOK_SECONDS = 1.0
_STOPPED = "T"
_TRACED = "t"
_log = logging.getLogger(__name__)


class Vigil:
    """Looks once a second, which costs some 20 µs, until it is closed. The process must not be one that can end unnoticed."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._traced = False
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def close(self) -> None:
        """May be repeated."""
        self._timer.cancel()

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
        supervisor = processes.read(self._pid)
        if supervisor is None:
            return
        if supervisor.state == _STOPPED:
            extra = {"action": "supervisor_continued", "pid": self._pid}
            _log.warning("something has stopped the supervisor, which may be a task; it is continued", extra=extra)
            processes.send(supervisor, signal.SIGCONT)
        if supervisor.state == _TRACED and not self._traced:
            extra = {"action": "supervisor_traced", "pid": self._pid}
            _log.warning("the supervisor is being traced: it does nothing while its tracer holds it", extra=extra)
        self._traced = supervisor.state == _TRACED
