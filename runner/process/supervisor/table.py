"""What the supervisor knows of its processes: running ones, their deadlines and stops, and the records of ended ones."""

from __future__ import annotations

import heapq
import itertools
import os
import signal
import time

from runner.process.supervisor import children

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to import, and the start of this program is waited for
    from collections.abc import Callable
    from typing import Any

CONTAINMENT = "marker"


def boot_seconds() -> float:
    """CLOCK_BOOTTIME: it goes on while the machine sleeps, and nobody can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Record:
    """One process that was asked for by `key`; `exit` is its exit record once it ended."""

    __slots__ = (
        "began",
        "cause",
        "due",
        "exit",
        "grace",
        "key",
        "left",
        "on_gone",
        "pid",
        "pipes",
        "signals",
        "started_at",
        "stopped_at",
        "watched",
    )

    def __init__(self, key: str, child: children.Child, timeout: float | None, grace: float) -> None:
        self.key = key
        self.pid = child.pid
        self.pipes = (child.stdout, child.stderr)
        self.started_at = time.time()
        self.began = boot_seconds()
        self.grace = grace
        self.due = None if timeout is None else self.began + timeout
        """When its deadline strikes, or once it is being stopped, when it is killed."""
        self.left: float | None = None
        """Seconds to the deadline while it is paused."""
        self.cause = "exited"
        self.stopped_at = 0.0
        self.signals: list[tuple[str, float]] = []
        self.exit: dict[str, Any] | None = None
        self.watched = False
        """Whether the present connection wants to hear of its end."""
        self.on_gone: list[Callable[[], None]] = []
        """Called once a process that was forgotten while it ran is gone."""

    @property
    def stopping(self) -> bool:
        return self.cause != "exited"


class Table:
    """All records by key. Nothing here blocks."""

    def __init__(self, on_exit: Callable[[Record], None], discard: Callable[[int], None]) -> None:
        """`on_exit` hears of every end; `discard` closes a descriptor that may still be on its way to a runner."""
        self._on_exit = on_exit
        self._discard = discard
        self._records: dict[str, Record] = {}
        self._running: dict[int, Record] = {}
        self._due: list[tuple[float, int, Record]] = []
        self._serial = itertools.count()
        self._limit = children.DescriptorLimit()

    def __len__(self) -> int:
        return len(self._records)

    @property
    def running(self) -> int:
        """How many processes are alive, those that were forgotten and are dying included."""
        return len(self._running)

    def keys(self) -> list[str]:
        return list(self._records)

    def get(self, key: str) -> Record | None:
        return self._records.get(key)

    def unwatch(self) -> None:
        for record in self._records.values():
            record.watched = False

    def spawn(self, key: str, program: children.Program, timeout: float | None, grace: float) -> Record:
        """Start a process under a key that is not taken. Raises children.CannotStartError."""
        record = Record(key, children.spawn(program, self._limit), timeout, grace)
        self._records[key] = record
        self._running[record.pid] = record
        self._arm(record)
        return record

    def signal(self, record: Record, name: str) -> None:
        if record.exit is not None:
            return
        if name == "destroy":
            self._kill(record, "stopped")
        elif record.stopping:
            return
        elif name == "pause" and record.left is None:
            _send(record, signal.SIGSTOP)
            record.left = float("inf") if record.due is None else max(0.0, record.due - boot_seconds())
            record.due = None
        elif name == "start":
            _send(record, signal.SIGCONT)
            if record.left is not None:
                record.due = None if record.left == float("inf") else boot_seconds() + record.left
                record.left = None
                self._arm(record)

    def stop(self, record: Record, grace: float, cause: str = "stopped") -> None:
        """Begin the stop sequence, or shorten the one that has begun."""
        self.reap()  # an end that came first is its own
        if record.exit is not None:
            return
        now = boot_seconds()
        if not record.stopping:
            self._begin_stop(record, cause, now)
            _send(record, signal.SIGTERM)
            record.signals.append(("SIGTERM", 0.0))
            _send(record, signal.SIGCONT)  # one that is paused could not act on it
            record.due = now + grace
        elif record.due is not None:
            record.due = min(record.due, now + grace)
        self._arm(record)

    def stop_all(self, grace: float) -> None:
        for record in list(self._running.values()):
            self.stop(record, grace)

    def forget(self, record: Record, on_gone: Callable[[], None]) -> None:
        """Drop the record; a process that still runs is killed, and `on_gone` called after its end."""
        del self._records[record.key]
        if record.exit is None:
            record.on_gone.append(on_gone)
            self._kill(record, "stopped")
        else:
            self._drop_pipes(record)
            on_gone()

    def next_due(self) -> float | None:
        """When `run_due` is wanted next, in seconds of CLOCK_BOOTTIME."""
        while self._due and self._due[0][2].due != self._due[0][0]:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def run_due(self) -> None:
        now = boot_seconds()
        while (due := self.next_due()) is not None and due <= now:
            record = heapq.heappop(self._due)[2]
            record.due = None
            if record.stopping:
                self._kill(record, record.cause)
            else:
                self.stop(record, record.grace, "timeout")

    def reap(self) -> None:
        """Take note of all children that ended."""
        while self._running:
            try:
                # The zombie keeps its number from being used again until its group has been killed.
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            record = self._running.pop(ended.si_pid, None)
            if record is not None:
                _send(record, signal.SIGKILL)
            _, status = os.waitpid(ended.si_pid, 0)
            if record is not None:
                self._ended(record, os.waitstatus_to_exitcode(status))

    def _ended(self, record: Record, code: int) -> None:
        record.due = None
        record.exit = {
            "exit_code": code if code >= 0 else 128 - code,
            "signal": -code if code < 0 else None,
            "cause": record.cause,
            "started_at": record.started_at,
            # Durations are those of the clock that nobody sets.
            "finished_at": record.started_at + boot_seconds() - record.began,
            "kill": {"signals": record.signals, "containment": CONTAINMENT} if record.signals else None,
        }
        self._on_exit(record)
        if record.on_gone:
            self._drop_pipes(record)
            for callback in record.on_gone:
                callback()

    def _begin_stop(self, record: Record, cause: str, now: float) -> None:
        record.cause = cause
        record.stopped_at = now
        record.left = None

    def _kill(self, record: Record, cause: str) -> None:
        now = boot_seconds()
        if not record.stopping:
            self._begin_stop(record, cause, now)
        _send(record, signal.SIGKILL)
        record.signals.append(("SIGKILL", round(now - record.stopped_at, 3)))
        record.due = None

    def _arm(self, record: Record) -> None:
        if record.due is None:
            return
        heapq.heappush(self._due, (record.due, next(self._serial), record))
        if len(self._due) > 2 * len(self._running) + 64:  # mostly deadlines of processes that ended
            live = [(one.due, next(self._serial), one) for one in self._running.values() if one.due is not None]
            heapq.heapify(live)
            self._due = live

    def _drop_pipes(self, record: Record) -> None:
        for pipe in record.pipes:
            self._discard(pipe)


def _send(record: Record, number: int) -> None:
    """Signal the process group. Called only while its leader is not reaped, so that the number is still its own."""
    try:
        os.killpg(record.pid, number)
    except (ProcessLookupError, PermissionError):
        # Gone, or (where a task may change its user) no longer ours to signal.
        return
