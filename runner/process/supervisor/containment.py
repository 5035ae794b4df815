"""Putting attempts into control groups, where there are any: soon after their start, so that short ones never pay for it.

To move a process the kernel may wait for as long as ten milliseconds, so it is done beside the loop; only one that is
stopped before is moved at once.

An attempt is *contained* once all that is alive of it is known to be in its folder: what is born there stays there. It is
looked for by descent, and among the orphans by session and mark; what carries no mark, or one that was made up, can only belong
to an attempt that is not contained yet, and to which one is known when there is one alone.
"""

from __future__ import annotations

import os
from collections import deque
from functools import partial

from runner.process.supervisor import cgroups, processes, subreaper
from runner.process.supervisor.beside import Beside
from runner.process.supervisor.record import Record, boot_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to import, and the start of this program is waited for
    from collections.abc import Iterable, Mapping

    from runner.process.supervisor.cgroups import Folder, Room
    from runner.process.supervisor.processes import Process
    from runner.process.supervisor.subreaper import Children

DELAY_SECONDS = 0.02
PAUSE_SECONDS = 0.005
"""How often it is asked whether a move is done."""
BATCH_SECONDS = 0.005
"""How long the others wait at most while those that were moved are looked through."""
LOOK_SECONDS = 0.02
"""How long what belongs to one attempt is looked for at most while it goes its way."""
LAST_LOOK_SECONDS = 0.2
"""The same when it is to be stopped, and beside the loop."""
FINISH_SECONDS = 1.0
_TICK_SECONDS = 1 / processes.TICKS_PER_SECOND


class Containment:
    """Nothing here waits, and nothing raises: what cannot be put into a folder is found by its marks."""

    def __init__(self, room: Room | None, children: Children, running: Mapping[int, Record], incarnation: str) -> None:
        """`room` is None where there are no control groups. `running` holds the records of all children that were spawned
        and are not reaped, by their number."""
        self._room = room
        self._children = children
        self._running = running
        self._incarnation = incarnation
        self._marks: dict[int | str, Record] = {}
        """Whose each mark is. Of an attempt that was given up they stay: what is left of it is nobody else's."""
        self._young: deque[Record] = deque()
        self._held: dict[Folder, Record] = {}
        self._beside = Beside()
        self._moving = 0
        self._moved: deque[Record] = deque()
        """Filled beside the loop."""
        self._asked = 0.0

    def watch(self, record: Record) -> None:
        """A process that has just been started."""
        for mark in (record.mark.limit, record.mark.text):
            self._marks[mark] = record
        if self._room is not None:
            self._young.append(record)

    def due(self) -> float | None:
        """When `run` is wanted next, in seconds of CLOCK_BOOTTIME."""
        young = self._young
        while young and (young[0].over or young[0].folder is not None):
            young.popleft()
        due = young[0].began + DELAY_SECONDS if young else None
        if self._moving and (due is None or self._asked < due):
            return self._asked
        return due

    def run(self) -> None:
        now = boot_seconds()
        while self._young and self._young[0].began + DELAY_SECONDS <= now:
            record = self._young.popleft()
            if not record.over and record.folder is None:
                self._admit(record)
        while self._moved and boot_seconds() < now + BATCH_SECONDS:
            record = self._moved.popleft()
            self._moving -= 1
            if not record.over:
                self.settle(record, LOOK_SECONDS)
        self._asked = boot_seconds() + (0.0 if self._moved else PAUSE_SECONDS)

    def settle(self, record: Record, seconds: float = LAST_LOOK_SECONDS) -> None:
        """Put all that is the attempt's into its folder; `record.contained` tells whether that is certain."""
        if record.contained or self._room is None:
            return
        try:
            folder = self._folder(record, self._room)
            if not folder.made:
                folder.make()
                folder.add(record.pid)
            record.contained = self._gather(record, folder, boot_seconds() + seconds)
        except OSError:
            return

    def bearer(self, pid: int) -> Record | None:
        """Whose mark a process carries. None for a mark that nobody has: a program can make one up, which says as much as none."""
        mark = processes.mark_of(pid, self._incarnation)
        return None if mark is None else self._marks.get(mark)

    def owner_of(self, pid: int) -> Record | None:
        """Whose folder a process is in."""
        name = cgroups.name_of(pid) if self._held else None
        if name is not None:
            for folder, record in self._held.items():
                if name == folder.name or name.startswith(f"{folder.name}/"):
                    return record
        return None

    def suspect(self, started: float | None = None) -> Record | None:
        """To which attempt what carries no mark and is in no folder belongs: the one that is not contained (and had begun when
        it was `started`), else the one that is left; None where that leaves a choice."""
        loose = [record for record in self._running.values() if not record.contained]
        if started is not None:
            loose = [record for record in loose if record.began <= started + _TICK_SECONDS]
        among = loose or list(self._running.values())
        return among[0] if len(among) == 1 else None

    def kill(self, record: Record) -> list[int]:
        """Kill all that is in its folder; what that was."""
        if record.folder is None or not record.populated:
            return []
        pids = record.folder.pids()
        record.folder.kill()
        return pids

    def left(self, record: Record, seen: Iterable[Process]) -> list[Process]:
        """What is alive in its folder, beside what was seen already."""
        if record.folder is None:
            return []
        known = {process.pid for process in seen}
        return [process for pid in record.folder.pids() if pid not in known and (process := processes.read(pid))]

    def doubt(self, record: Record, found: Iterable[Process]) -> None:
        """Something of the attempt may have left its folder, which takes the right to move it: then nothing is certain."""
        if record.contained and record.folder is not None:
            outside = [process for process in found if not record.folder.holds(process.pid)]
            record.contained = not any(_same(processes.read(process.pid), process) for process in outside)

    def release(self, record: Record) -> None:
        """It is over."""
        for mark in (record.mark.limit, record.mark.text):
            if not record.left and self._marks.get(mark) is record:  # another one may have its key
                del self._marks[mark]
        if record.folder is not None:
            del self._held[record.folder]
            self._beside.do(partial(_remove, record.folder))

    def tidy(self) -> None:
        """Remove what supervisors before this one have left."""
        if self._room is not None:
            self._room.sweep()

    def close(self) -> None:
        """No more are put into folders; what is empty is removed."""
        if self._room is not None:
            self._beside.finish(FINISH_SECONDS)
            self._room.close()
            self._room = None

    def _folder(self, record: Record, room: Room) -> Folder:
        """Raises OSError."""
        if record.folder is None:
            record.folder = room.folder()
            self._held[record.folder] = record
        return record.folder

    def _admit(self, record: Record) -> None:
        """Begin to put it into its folder."""
        assert self._room is not None  # else there are no young ones
        try:
            folder = self._folder(record, self._room)
        except OSError:
            return
        self._moving += 1
        self._beside.do(partial(self._move, record, folder))

    def _move(self, record: Record, folder: Folder) -> None:
        """Called beside the loop."""
        try:
            if not record.over:
                folder.make()
                _taken([record.pid], folder, boot_seconds() + LAST_LOOK_SECONDS)
        except OSError:
            pass  # it is looked for once more in the loop
        finally:
            self._moved.append(record)

    def _gather(self, record: Record, folder: Folder, until: float) -> bool:
        """Whether all that is the attempt's is in its folder now. Raises OSError."""
        while boot_seconds() < until:
            children = self._children.read()
            roots, certain = self._roots(record, children)
            # Of one that ended while it was looked at, a child may have come to us.
            if not _taken(roots, folder, until) and self._children.read() == children:
                return certain
        return False

    def _roots(self, record: Record, children: Iterable[int]) -> tuple[list[int], bool]:
        """Of our children those that are the attempt's; whether none of the others may be its too."""
        roots = [record.pid]
        certain = True
        for pid in children:
            process = processes.read(pid) if pid not in self._running else None
            if process is None or process.started * _TICK_SECONDS < record.began - _TICK_SECONDS:
                continue
            if process.session in self._running:
                owner: Record | None = self._running[process.session]
            else:
                owner = self.bearer(pid)
                if owner is None:
                    owner = self.owner_of(pid) or self.suspect(process.started * _TICK_SECONDS)
                    certain = certain and owner is not None
                elif owner.contained and owner is not record:
                    # Outside of where all is that is the owner's: it was moved, or its mark is a copy.
                    certain = certain and owner.folder is not None and owner.folder.holds(pid)
            if owner is record:
                roots.append(pid)
        return roots, certain


def choose(wanted: str, incarnation: str) -> tuple[Room | None, str]:
    """The room for control groups, None where there are none; and in words what it will be, and why.

    `wanted` is `auto`, `cgroup2` or `marker`. Raises cgroups.UnavailableError where it is `cgroup2` and cannot be.
    """
    if wanted == "marker":
        cgroups.sweep()  # the one before may have had other orders
        return None, "marker: it was asked for"
    try:
        own = os.getpid()
        if not os.path.exists(f"/proc/{own}/task/{own}/children"):
            raise cgroups.UnavailableError("this kernel does not list the children of a process")
        if wanted == "cgroup2" and not subreaper.become():  # else that is left until nobody waits for it
            raise cgroups.UnavailableError("orphans cannot be adopted here")
        return cgroups.Room.open(incarnation), "cgroup2"
    except cgroups.UnavailableError as error:
        if wanted == "cgroup2":
            raise
        return None, f"marker: {error}"


def _taken(roots: list[int], folder: Folder, until: float) -> int:
    """How many of these processes, and of all that descend from them, were outside and have been taken in. Raises OSError.

    Each is taken before its children are looked for: what it gives birth to later is born inside. (Numbers are given out in
    turn: that of one that has just ended is not used again while it is moved.)
    """
    taken = 0
    found = list(roots)
    for pid in found:  # it grows meanwhile
        if boot_seconds() >= until:
            raise TimeoutError
        if not folder.holds(pid) and processes.read(pid):
            folder.add(pid)
            taken += 1
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:
                    found += map(int, file.read(1 << 20).split())
        except OSError:  # it has ended
            continue
    return taken


def _remove(folder: Folder) -> None:
    folder.remove()


def _same(now: Process | None, then: Process) -> bool:
    return now is not None and now.started == then.started
