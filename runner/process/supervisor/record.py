"""What the supervisor knows of one process: who it is, how it is being stopped, how it ended."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to import, and the start of this program is waited for
    from collections.abc import Callable
    from typing import Any

    from runner.process.supervisor.cgroups import Folder
    from runner.process.supervisor.children import Child
    from runner.process.supervisor.output import Pipe
    from runner.process.supervisor.processes import Mark, Process

MARKER = "marker"
CGROUP2 = "cgroup2"
"""What keeps an attempt together: marks, which are looked for, or a control group, which nothing can leave."""
MOST_NAMED = 100
_SIGKILL_CODE = -9


def boot_seconds() -> float:
    """CLOCK_BOOTTIME: it goes on while the machine sleeps, and nobody can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Record:
    """One process that was asked for by `key`; `exit` is its exit record once it, and all that it left, ended."""

    __slots__ = (
        "began",
        "cause",
        "contained",
        "due",
        "ended",
        "exit",
        "folder",
        "grace",
        "handed",
        "key",
        "left",
        "mark",
        "on_gone",
        "paused",
        "pid",
        "pipes",
        "purged_until",
        "quiet",
        "signals",
        "started_at",
        "status",
        "stopped_at",
        "struck",
        "then",
        "tied",
        "watched",
    )

    def __init__(self, key: str, mark: Mark, child: Child, timeout: float | None, grace: float) -> None:
        self.key = key
        self.mark = mark
        self.pid = child.pid
        self.pipes: tuple[Pipe, ...] = ()
        """Its output, by stream; see `output`."""
        self.started_at = time.time()
        self.began = boot_seconds()
        self.grace = grace
        self.due = None if timeout is None else self.began + timeout
        """When its deadline strikes, or once it is being stopped, when it is killed."""
        self.paused: float | None = None
        """Seconds to the deadline while it is paused."""
        self.cause = "exited"
        self.stopped_at = 0.0
        self.signals: list[tuple[str, float]] = []
        self.status: int | None = None
        """How the first process ended: its exit code, or minus the signal."""
        self.ended = 0.0
        self.purged_until: float | None = None
        """When its purge is given up; None before it began."""
        self.quiet = 0
        """How many looks in a row found nothing of it."""
        self.folder: Folder | None = None
        """Its control group."""
        self.contained = False
        """Whether all that is alive of it is known to be in there."""
        self.struck: set[int] = set()
        """The numbers of other processes of its that had to be killed one by one."""
        self.left: list[Process] = []
        self.exit: dict[str, Any] | None = None
        self.watched = False
        """Whether the present connection wants to hear of its end."""
        self.tied = False
        """Somebody converses with it: it ends with the connection that asked for it."""
        self.handed = child.handed
        """What that one has still to be given."""
        self.then: float | None = None
        """Seconds between SIGTERM and SIGKILL, while SIGHUP alone was sent."""
        self.on_gone: list[Callable[[], None]] = []
        """Called once a process that was forgotten while it ran is gone."""

    @property
    def stopping(self) -> bool:
        return self.cause != "exited"

    @property
    def populated(self) -> bool:
        """Whether its control group, if it has one, has anything alive in it."""
        return self.folder is not None and self.folder.populated()

    @property
    def over(self) -> bool:
        """Its first process has ended or was killed: nothing can be asked of it any more."""
        return self.status is not None or self.purged_until is not None

    def send(self, number: int) -> None:
        """Signal the process group. Called only while its leader is not reaped, so that the number is still its own."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            # Gone, or (where a task may change its user) no longer ours to signal.
            return

    def strike(self, pid: int) -> None:
        """Another of its processes was killed."""
        self.struck.add(pid)
        if not self.signals or self.signals[-1][0] != "SIGKILL":
            since = self.stopped_at if self.stopping else self.ended
            self.signals.append(("SIGKILL", round(max(0.0, boot_seconds() - since), 3)))

    def end(self) -> None:
        """Write the exit record."""
        if self.status is None:  # it was killed, and cannot even be waited for: a tracer or the kernel holds it
            self.status = _SIGKILL_CODE
            self.ended = boot_seconds()
        code = self.status
        self.due = None
        self.exit = {
            "exit_code": code if code >= 0 else 128 - code,
            "signal": -code if code < 0 else None,
            "cause": self.cause,
            "started_at": self.started_at,
            # Durations are those of the clock that nobody sets.
            "finished_at": self.started_at + self.ended - self.began,
            "kill": self._report() if self.signals else None,
        }

    def _report(self) -> dict[str, Any]:
        report = {
            "signals": self.signals,
            "containment": CGROUP2 if self.contained else MARKER,
            "leftovers": len(self.struck),
            "left": [process.described() for process in self.left[:MOST_NAMED]],
        }
        if self.contained:  # else nobody can know
            report["survivors"] = len(self.left)
        return report
