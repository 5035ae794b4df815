"""What the supervisor knows of its processes: running ones, their deadlines and stops, and the records of ended ones."""

from __future__ import annotations

import heapq
import itertools
import os
import signal

from runner.process.supervisor import children
from runner.process.supervisor.containment import Containment
from runner.process.supervisor.processes import VARIABLE, Mark
from runner.process.supervisor.purge import Purge
from runner.process.supervisor.record import Record, boot_seconds
from runner.process.supervisor.subreaper import Children

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to import, and the start of this program is waited for
    from collections.abc import Callable

    from runner.process.supervisor.cgroups import Room
    from runner.process.supervisor.output import Outputs


class Table:
    """All records by key. Nothing here blocks."""

    def __init__(
        self,
        incarnation: str,
        on_exit: Callable[[Record], None],
        outputs: Outputs,
        orphans: Children | None = None,
        room: Room | None = None,
    ) -> None:
        """`on_exit` hears of every end; `orphans` tells of children in place of the kernel's own list; `room` is for control
        groups, where there are any."""
        self._incarnation = incarnation
        self._on_exit = on_exit
        self._outputs = outputs
        self._records: dict[str, Record] = {}
        self._running: dict[int, Record] = {}
        self._due: list[tuple[float, int, Record]] = []
        self._serial = itertools.count()
        self._limits = children.Limits()
        self._children = Children() if orphans is None else orphans
        self._containment = Containment(room, self._children, self._running, incarnation)
        self._purge = Purge(self._children, self._running, self._containment)

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
        serial = next(self._serial)
        mark = Mark(self._incarnation, serial, key)
        program.env[VARIABLE] = mark.text  # last: a task cannot have another
        child = children.spawn(program, self._limits, mark)
        record = Record(key, mark, child, timeout, grace)
        record.tied = program.terminal is not None
        self._outputs.add(record, child.outputs)
        self._records[key] = record
        self._running[record.pid] = record
        self._containment.watch(record)
        self._arm(record)
        return record

    def signal(self, record: Record, name: str) -> None:
        if record.over:
            return
        if name == "destroy":
            self._kill(record, "stopped")
        elif record.stopping:
            return
        elif name == "pause" and record.paused is None:
            record.send(signal.SIGSTOP)
            record.paused = float("inf") if record.due is None else max(0.0, record.due - boot_seconds())
            record.due = None
        elif name == "start":
            record.send(signal.SIGCONT)
            if record.paused is not None:
                record.due = None if record.paused == float("inf") else boot_seconds() + record.paused
                record.paused = None
                self._arm(record)

    def stop(self, record: Record, grace: float, cause: str = "stopped") -> None:
        """Begin the stop sequence, or shorten the one that has begun. What somebody converses with is hung up first: a shell does not
        listen to SIGTERM, and passes SIGHUP on to what it has started."""
        self.reap()  # an end that came first is its own
        if record.over:
            return
        now = boot_seconds()
        if not record.stopping:
            self._begin_stop(record, cause, now)
            record.send(signal.SIGHUP if record.tied else signal.SIGTERM)
            record.signals.append(("SIGHUP" if record.tied else "SIGTERM", 0.0))
            record.send(signal.SIGCONT)  # one that is paused could not act on it
            if record.tied:
                record.then = grace = grace / 2
            record.due = now + grace
        elif record.due is not None:
            if record.then is not None:
                record.then = grace = min(record.then, grace / 2)
            record.due = min(record.due, now + grace)
        self._arm(record)

    def stop_all(self, grace: float) -> None:
        for record in list(self._running.values()):
            self.stop(record, grace)

    def stop_tied(self, grace: float) -> None:
        """Whoever conversed with these is gone: they are stopped, and forgotten."""
        for record in [record for record in self._records.values() if record.tied]:
            del self._records[record.key]
            record.on_gone.append(lambda: None)
            self.stop(record, grace)

    def forget(self, record: Record, on_gone: Callable[[], None]) -> None:
        """Drop the record; a process that still runs is killed, and `on_gone` called after its end."""
        del self._records[record.key]
        if record.exit is None:
            record.on_gone.append(on_gone)
            if not record.over:
                self._kill(record, "stopped")
        else:
            self._outputs.drop(record)
            on_gone()

    def next_due(self) -> float | None:
        """When `run_due` is wanted next, in seconds of CLOCK_BOOTTIME."""
        while self._due and self._due[0][2].due != self._due[0][0]:
            heapq.heappop(self._due)
        first = self._due[0][0] if self._due else None
        for due in (self._purge.due, self._containment.due()):
            if due is not None and (first is None or due < first):
                first = due
        return first

    def run_due(self) -> None:
        now = boot_seconds()
        while (due := self.next_due()) is not None and due <= now:
            if due == self._purge.due:
                for record in self._purge.run():
                    self._finish(record)
                self.reap()
                continue
            if due == self._containment.due():
                self._containment.run()
                continue
            record = heapq.heappop(self._due)[2]
            record.due = None
            if record.then is not None:
                record.send(signal.SIGTERM)
                record.signals.append(("SIGTERM", round(now - record.stopped_at, 3)))
                record.due, record.then = now + record.then, None
                self._arm(record)
            elif record.stopping:
                self._kill(record, record.cause)
            else:
                self.stop(record, record.grace, "timeout")

    def reap(self) -> None:
        """Take note of all children that ended, those that were born as somebody else's included."""
        while True:
            try:
                # The zombie keeps its number from being used again until its group has been killed.
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            if self._held(ended.si_pid):
                self._reap_others()
                return
            self._on_end(ended)

    def _held(self, pid: int) -> bool:
        """Whether this child has ended and is not reaped, so that its number, and its session's, stay its own."""
        record = self._running.get(pid)
        return record is not None and record.status is not None

    def _reap_others(self) -> None:
        """As `reap`, where a zombie that is held would be all that it sees."""
        for pid in [*self._children.read(), *self._running]:
            if not self._held(pid):
                try:
                    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                except ChildProcessError:
                    continue
                if ended is not None:
                    self._on_end(ended)

    def _on_end(self, ended: os.waitid_result) -> None:
        record = self._running.get(ended.si_pid)
        if record is None:
            os.waitpid(ended.si_pid, 0)
            return
        record.status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        record.ended = boot_seconds()
        record.due = None
        if record.stopping or record.populated or self._purge.left_by(record):
            self._purge.add(record)
        else:
            record.send(signal.SIGKILL)
            self._finish(record)

    def _finish(self, record: Record) -> None:
        """It is over, and all that it left."""
        del self._running[record.pid]
        if record.status is not None:
            os.waitpid(record.pid, 0)
        self._containment.release(record)
        record.end()
        self._on_exit(record)
        if record.on_gone:
            self._outputs.drop(record)
            for callback in record.on_gone:
                callback()

    def tidy(self) -> None:
        """Remove what supervisors before this one have left."""
        self._containment.tidy()

    def adopts_nothing(self) -> None:
        """Orphans go elsewhere: they are looked for, and one could be out of its control group unseen."""
        self._purge.blind = True
        self._containment.close()

    def close(self) -> None:
        """Leave nothing in the system but processes that run."""
        self._containment.close()

    def _begin_stop(self, record: Record, cause: str, now: float) -> None:
        self._containment.settle(record)
        record.cause = cause
        record.stopped_at = now
        record.paused = None

    def _kill(self, record: Record, cause: str) -> None:
        now = boot_seconds()
        if not record.stopping:
            self._begin_stop(record, cause, now)
        record.send(signal.SIGKILL)
        record.signals.append(("SIGKILL", round(now - record.stopped_at, 3)))
        record.due = None
        self._purge.add(record)

    def _arm(self, record: Record) -> None:
        if record.due is None:
            return
        heapq.heappush(self._due, (record.due, next(self._serial), record))
        if len(self._due) > 2 * len(self._running) + 64:  # mostly deadlines of processes that ended
            live = [(one.due, next(self._serial), one) for one in self._running.values() if one.due is not None]
            heapq.heapify(live)
            self._due = live
