"""Ending what an attempt has left behind: look and stop, kill, look again, until nothing has been there for some looks, or time is up.

A look through /proc is shared by all attempts that are being purged at the same moment, and happens only for them.
"""

from __future__ import annotations

import os
import signal

from runner.process.supervisor import processes
from runner.process.supervisor.record import Record, boot_seconds
from runner.process.supervisor.urgency import Urgency

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to import, and the start of this program is waited for
    from collections.abc import Mapping

    from runner.process.supervisor.containment import Containment
    from runner.process.supervisor.processes import Process
    from runner.process.supervisor.subreaper import Children

BOUND_SECONDS = 5.0
"""How long it is tried at most."""
QUIET_LOOKS = 3
"""So many looks in a row must find nothing: a process that is born during a look may be missed by it."""
PAUSE_SECONDS = 0.004
CHASE_SECONDS = 0.003
_STARTED_SLACK_SECONDS = 10.0


class Purge:
    """All records that are being purged. Nothing here waits."""

    def __init__(self, children: Children, running: Mapping[int, Record], containment: Containment) -> None:
        """`running` holds the records of all children that were spawned and are not reaped, by their number."""
        self._children = children
        self._running = running
        self._containment = containment
        self._records: list[Record] = []
        self._urgency = Urgency(0)
        self.blind = not children.told
        """Orphans do not come to this process, or not to its knowledge: only a look through /proc finds them."""
        self.due: float | None = None
        """When `run` is wanted next, in seconds of CLOCK_BOOTTIME."""

    def add(self, record: Record) -> None:
        """Begin, once its first process was killed or has ended."""
        now = boot_seconds()
        if record.purged_until is None:
            record.purged_until = now + BOUND_SECONDS
            self._records.append(record)
        # Those that obey a signal to the group end at the same moment as the first does: they are not leftovers.
        due = now + PAUSE_SECONDS if record.stopping else now
        self.due = due if self.due is None else min(self.due, due)

    def left_by(self, record: Record) -> bool:
        """Whether a record whose first process has just ended left others behind. Without a look through /proc: what has
        lost its parent is a child of this process."""
        if self.blind:
            return True
        until = boot_seconds() + CHASE_SECONDS
        seen: list[int] = []
        # One that ends while it is looked at may have left a child in its turn: looked at again until nobody comes or goes.
        while (orphans := [pid for pid in self._children.read() if pid not in self._running]) and orphans != seen:
            if any(self._owner_of(pid, [record]) is not None for pid in orphans) or boot_seconds() >= until:
                return True
            seen = orphans
        return False

    def run(self) -> list[Record]:
        """One look and what follows from it; the records that are done with."""
        began = boot_seconds()
        found = self._strike()
        now = boot_seconds()
        done = []
        for record in self._records:
            record.left = found.get(record, [])
            populated = record.populated
            if populated:
                record.left += self._containment.left(record, record.left)
                record.contained = record.contained and bool(record.left)  # else nobody can say what it is
            record.quiet = 0 if record.left or populated else record.quiet + 1
            assert record.purged_until is not None
            # Of a control group the kernel itself says that nothing is left in it.
            quiet = record.quiet >= (1 if record.contained else QUIET_LOOKS)
            if (quiet and record.status is not None) or now >= record.purged_until:
                done.append(record)
        self._records = [record for record in self._records if record not in done]
        if not self._records:
            self._urgency.end()
        # A long look on a machine of many processes must not leave the others without service.
        self.due = now + PAUSE_SECONDS + (now - began) if self._records else None
        return done

    def _strike(self) -> dict[Record, list[Process]]:
        """Kill all that is found of the records; what was found, by record."""
        sessions = {record.pid: record for record in self._records}
        purged = set(self._records)
        earliest = min(record.began for record in self._records) - _STARTED_SLACK_SECONDS
        own = os.getpid()

        def owner(process: Process) -> Record | None:
            if process.parent != own and process.started < earliest * processes.TICKS_PER_SECOND:
                return None
            if process.session in sessions:
                return sessions[process.session]
            bearer = self._containment.bearer(process.pid)
            if bearer is not None:
                return bearer if bearer in purged else None
            return self._unmarked(process.pid, self._records) if process.parent == own else None

        members = processes.members(owner, self._halt)
        found: dict[Record, list[Process]] = {}
        for process, record in members.items():
            found.setdefault(record, []).append(process)
        for record in self._records:
            self._containment.doubt(record, found.get(record, ()))
            record.send(signal.SIGKILL)  # to the group at once: no fork within it is faster
        processes.kill(members)
        for record in self._records:
            struck = [process.pid for process in found.get(record, ())] + self._containment.kill(record)
            for pid in struck:
                if pid != record.pid:
                    record.strike(pid)
        return found

    def _halt(self, process: Process) -> None:
        """Stop it as it is come by: else what forks is ahead of the look for ever."""
        self._urgency.found()
        processes.halt(process)

    def _owner_of(self, pid: int, records: list[Record]) -> Record | None:
        """Which of the records a child of this process that lost its parent belongs to; None for one that is dead."""
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
        if ended is not None:
            return None
        session = os.getsid(pid)
        for record in records:
            if session == record.pid:
                return record
        bearer = self._containment.bearer(pid)
        if bearer is not None:
            return bearer if bearer in records else None
        return self._unmarked(pid, records)

    def _unmarked(self, pid: int, records: list[Record]) -> Record | None:
        """Which of the records an orphan without any mark belongs to; any of them where all that runs is being ended, for then
        nobody is left that could be asked later."""
        owner = self._containment.owner_of(pid) or self._containment.suspect()
        if owner is None and len({*self._records, *records}) == len(self._running):
            return records[0]
        return owner if owner in records else None
