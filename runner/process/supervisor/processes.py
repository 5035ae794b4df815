"""What runs on this machine, as /proc tells it: parents, sessions, marks; and signals that cannot hit the wrong one.

A process is of an attempt when it carries the attempt's mark. There are three: the session that the attempt's first process
leads; `RUNNER_TASK_ID` in the environment that it was executed with; and a resource limit that limits nothing
(RLIMIT_RTTIME, some 146,000 years), whose number is the mark. The limit is inherited through fork, exec and setsid, and
whoever empties an environment does not know of it. Children of such a process are of the attempt too.
"""

from __future__ import annotations

import os
import resource
import signal
from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to import, and the start of the supervisor is waited for
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    Owner = TypeVar("Owner")

VARIABLE = "RUNNER_TASK_ID"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

_ENVIRONMENT_BYTES = 4 << 20
_LINKS_OF_ONE_THREAD = 3
_LIMIT_BASE = 1 << 62
_SERIAL_BITS = 26
_DEAD = ("Z", "X", "x")
_FOLLOWED = 1024
"""So many newborn a walk follows. Where more are born meanwhile it does not catch up, and what it has found has to end first."""


class Process:
    """One process. `started` in clock ticks since the boot: with `pid` it names the process for good."""

    __slots__ = ("name", "parent", "pid", "session", "started", "state")

    def __init__(self, pid: int, name: str, state: str, parent: int, session: int, started: int) -> None:
        self.pid = pid
        self.name = name
        self.state = state
        self.parent = parent
        self.session = session
        self.started = started

    def described(self) -> dict[str, int | str]:
        return {"pid": self.pid, "name": self.name, "state": self.state}


class Mark:
    """What every process of one attempt carries: `text` in its environment, `limit` where limits can be told apart."""

    __slots__ = ("limit", "text")

    def __init__(self, incarnation: str, serial: int, key: str) -> None:
        self.text = f"{incarnation}/{key}"
        self.limit = _family(incarnation) << _SERIAL_BITS | serial % (1 << _SERIAL_BITS)


class MarkedLimit:
    """Gives children the limit that marks them; this process keeps the one that it was started with."""

    def __init__(self) -> None:
        self._own = resource.getrlimit(resource.RLIMIT_RTTIME)
        self._free = self._own[1] == resource.RLIM_INFINITY

    def for_children(self, mark: Mark) -> None:
        if self._free:
            resource.setrlimit(resource.RLIMIT_RTTIME, (mark.limit, self._own[1]))

    def for_own(self) -> None:
        if self._free:
            resource.setrlimit(resource.RLIMIT_RTTIME, self._own)


def mark_of(pid: int, incarnation: str) -> int | str | None:
    """What a process carries of the marks of this life of a supervisor: the limit, else the text; None for neither."""
    limit = limit_of(pid)
    if limit is not None and limit >> _SERIAL_BITS == _family(incarnation):
        return limit
    text = text_of(pid)
    return text if text is not None and text.startswith(f"{incarnation}/") else None


def read(pid: int) -> Process | None:
    """The process of this number, None when there is none or it is dead already."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            line = file.read(4096)
    except OSError:
        return None
    # The name may contain anything, blanks and parentheses too.
    head, _, tail = line.rpartition(b")")
    fields = tail.split()
    if len(fields) < 20:
        return None
    state = fields[0].decode()
    if state in _DEAD and int(fields[17]) <= 1:  # else its first thread has ended and others go on
        return None
    name = head.partition(b"(")[2].decode("utf-8", "replace")
    return Process(pid, name, state, int(fields[1]), int(fields[3]), int(fields[19]))


def limit_of(pid: int) -> int | None:
    """The number that marks this process, None when it carries none."""
    try:
        soft = resource.prlimit(pid, resource.RLIMIT_RTTIME)[0]
    except (OSError, ValueError):
        soft = _limit_told(pid)  # of another user
    return soft if soft >> 62 == 1 else None


def text_of(pid: int) -> str | None:
    """RUNNER_TASK_ID in the environment that the process was executed with."""
    wanted = f"{VARIABLE}=".encode()
    data = _environment(f"/proc/{pid}") or _environment_by_thread(pid)
    for entry in data.split(b"\0") if wanted in data else ():
        if entry.startswith(wanted):
            return entry[len(wanted) :].decode("utf-8", "surrogateescape")
    return None


def _environment(folder: str) -> bytes:
    """Nothing where it is not to be had."""
    try:
        with open(f"{folder}/environ", "rb", buffering=0) as file:
            return file.read(_ENVIRONMENT_BYTES)
    except OSError:
        return b""


def _environment_by_thread(pid: int) -> bytes:
    """Of a process whose first thread has ended, which alone is asked by the number of the process, while others go on."""
    folder = f"/proc/{pid}/task"
    try:
        if os.stat(folder).st_nlink <= _LINKS_OF_ONE_THREAD:
            return b""
        threads = os.listdir(folder)
    except OSError:
        return b""
    # They have all the same one.
    return next((data for thread in threads if (data := _environment(f"{folder}/{thread}"))), b"")


def members(
    owner: Callable[[Process], Owner | None], on_found: Callable[[Process], None] = lambda process: None
) -> dict[Process, Owner]:
    """All processes that have an owner, by what `owner` says of them or of the nearest of their ancestors.

    This process itself has none, and passes none on. `on_found` is called as soon as one is known to have an owner, while
    the look goes on.
    """
    everything: dict[int, Process] = {}
    known: dict[int, Owner | None] = {os.getpid(): None, 0: None, 1: None}
    late = []
    for process in _walk():
        before = everything.get(process.pid)
        everything[process.pid] = process
        # The number of one that has been looked at may be that of another meanwhile.
        if process.pid in known and (before is None or before.started == process.started):
            continue
        found = owner(process)
        if found is None and process.parent not in known:
            late.append(process)  # whether its parent has an owner comes to light later, if at all
            continue
        known[process.pid] = found = known[process.parent] if found is None else found
        if found is not None:
            on_found(process)
    for process in late:
        line = []
        at: Process | None = process
        while at is not None and at.pid not in known:
            line.append(at)
            at = everything.get(at.parent)
        inherited = None if at is None else known[at.pid]
        for each in line:
            known[each.pid] = inherited
            if inherited is not None:
                on_found(each)
    return {process: found for pid, process in everything.items() if (found := known[pid]) is not None}


def halt(process: Process) -> None:
    """SIGSTOP: so that it starts nothing more, and cannot answer the end of another."""
    send(process, signal.SIGSTOP)


def kill(processes: Iterable[Process]) -> None:
    """SIGKILL to all. What cannot be signalled is left."""
    for process in processes:
        send(process, signal.SIGKILL)


def send(process: Process, number: int) -> None:
    """Signal this process, not one that was given its number since. One that is gone or forbidden is left alone.

    Where there can be no pidfd (the system has none, forbids it, or no descriptor is free) the moment between the look and
    the signal is left."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    except (OSError, AttributeError):
        _send_by_number(process, number)
        return
    try:
        now = read(process.pid)
        if now is not None and now.started == process.started:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return
    except (OSError, AttributeError):
        _send_by_number(process, number)
    finally:
        os.close(descriptor)


def _send_by_number(process: Process, number: int) -> None:
    now = read(process.pid)
    if now is not None and now.started == process.started:
        try:
            os.kill(process.pid, number)
        except OSError:
            return


def _walk() -> Iterator[Process]:
    """All processes that are alive when the walk is over, and what it came by of those that are not.

    The list of /proc is made in large pieces, and what is born behind it is not on it: a program that forks and ends again and
    again is always that. So it is followed, from the last number that the kernel had given before to the last that it has
    given now, until there is no newer one."""
    seen = _last_number()
    listed: set[str] = set()
    followed = 0
    # Listed again: what had its number, and was not there yet when it would have been listed, is there once its parent has ended.
    for _ in range(2):
        for number in os.listdir("/proc"):
            if number.isdecimal() and number not in listed:
                listed.add(number)
                process = read(int(number))
                if process is not None:
                    yield process
        while followed < _FOLLOWED and (last := _last_number()) != seen:
            for pid in islice(_between(seen, last), _FOLLOWED - followed):
                followed += 1
                process = read(pid)
                if process is not None and _leads(pid):
                    yield process
            seen = last


def _between(seen: int, last: int) -> Iterator[int]:
    """The numbers that were given after `seen`, up to `last`: they begin anew after the greatest."""
    if last < seen:
        yield from range(seen + 1, _greatest_number() + 1)
        seen = 0
    yield from range(seen + 1, last + 1)


def _last_number() -> int:
    """The number that was given last, to a process or a thread; 0 where that is not told."""
    try:
        with open("/proc/loadavg", "rb", buffering=0) as file:
            return int(file.read(256).split()[4])
    except (OSError, ValueError, IndexError):
        return 0


def _greatest_number() -> int:
    """0 where that is not told."""
    try:
        with open("/proc/sys/kernel/pid_max", "rb", buffering=0) as file:
            return int(file.read(32)) - 1
    except (OSError, ValueError):
        return 0


def _leads(pid: int) -> bool:
    """Whether this is the number of a process, not of one of its other threads, which /proc shows as well when it is asked for them."""
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
            return b"\nTgid:\t%d\n" % pid in file.read(4096)
    except OSError:
        return False


def _family(incarnation: str) -> int:
    """The part of the limit that all attempts of one life of a supervisor have in common."""
    return (_LIMIT_BASE >> _SERIAL_BITS) | int(incarnation[:9], 16)


def _limit_told(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            for line in file:
                if line.startswith(b"Max realtime timeout"):
                    soft = line.split()[3]
                    return int(soft) if soft.isdigit() else 0
    except OSError:
        pass
    return 0
