"""Control groups, version 2: one for each attempt, of which nothing can get out without the right to, and which the kernel
kills whole, however fast its processes fork.

They lie below the group that the supervisor itself is in:

    …/runner-<incarnation>-<pid of the supervisor>.<when that started, in ticks>/<number of the attempt>

A name here is that of a control group as /proc tells it (`/user.slice/…`), a path is where it is found in the file system.
"""

from __future__ import annotations

import fcntl
import itertools
import os

from runner.process.supervisor import processes

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to import, and the start of the supervisor is waited for
    from collections.abc import Iterator

_PREFIX = "runner-"


class UnavailableError(Exception):
    """There are none to be used here; the text says why."""


class Folder:
    """One control group, those below it included. Methods raise OSError where they do not say otherwise."""

    __slots__ = ("made", "name", "path")

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path
        self.made = False

    def make(self) -> None:
        """May be repeated."""
        try:
            os.mkdir(self.path, 0o755)
        except FileExistsError:
            pass
        except FileNotFoundError:  # somebody tidies up what is empty
            os.mkdir(os.path.dirname(self.path), 0o755)
            os.mkdir(self.path, 0o755)
        self.made = True

    def add(self, pid: int) -> None:
        """Move a process into it, with all its threads. One that is dead is left where it is."""
        try:
            _write(f"{self.path}/cgroup.procs", b"%d" % pid)
        except ProcessLookupError:
            return

    def holds(self, pid: int) -> bool:
        """Never raises; False too where there is no such process."""
        name = name_of(pid)
        return name is not None and (name == self.name or name.startswith(f"{self.name}/"))

    def populated(self) -> bool:
        """Whether anything in it is alive, as the kernel knows it. Never raises: one that was removed is empty."""
        try:
            return b"populated 1" in _read(f"{self.path}/cgroup.events")
        except OSError:
            return False

    def pids(self) -> list[int]:
        """What is in it. Never raises."""
        found: list[int] = []
        for path in self._paths():
            try:
                found += map(int, _read(f"{path}/cgroup.procs").split())
            except OSError:
                continue
        return found

    def kill(self) -> None:
        """SIGKILL to all that is in it and to all that is born in it meanwhile. Never raises."""
        try:
            _write(f"{self.path}/cgroup.kill", b"1")
        except OSError:
            return

    def remove(self) -> bool:
        """Whether it is gone, with what its processes made below it. Never raises; what is populated stays."""
        gone = _removed(self.path)
        if not gone:
            for path in self._paths():  # its own is the last
                gone = _removed(path)
        return gone

    def _paths(self) -> list[str]:
        """Its own path, behind all that are below it."""
        return [path for path, _, _ in os.walk(self.path, topdown=False)]


class Room:
    """Where this supervisor makes folders. Made by `open`."""

    def __init__(self, incarnation: str) -> None:
        """For `open` alone."""
        self._incarnation = incarnation
        self._numbers = itertools.count()
        self._own = ""
        self._base = Folder("", "")
        self._hold: int | None = None
        """A descriptor of the room, with a lock that says that its supervisor is alive."""

    @classmethod
    def open(cls, incarnation: str) -> Room:
        """Raises UnavailableError. What dead supervisors left beside it is removed where it is empty."""
        room = cls(incarnation)
        name = name_of("self")
        if name is None:
            raise UnavailableError("this system has no control groups of version 2")
        room._settle(name)
        if not os.path.exists(f"{room._base.path}/cgroup.kill"):
            room.close()
            raise UnavailableError("this kernel cannot kill a control group (it is older than 5.14)")
        room.sweep()
        return room

    def folder(self) -> Folder:
        """One that is to be made. Raises OSError."""
        own = name_of("self")
        if own is not None and own != self._own:
            # Whoever contains this supervisor has moved it: what it starts has to stay within.
            self.close()
            try:
                self._settle(own)
            except UnavailableError as error:
                raise OSError(str(error)) from None
        elif not self._holds_room():  # somebody tidies up what is empty
            self._make()
        number = next(self._numbers)
        return Folder(f"{self._base.name}/{number}", f"{self._base.path}/{number}")

    def sweep(self) -> None:
        """Remove what dead supervisors have left beside it and is empty by now. Never raises."""
        _sweep(os.path.dirname(self._base.path))

    def close(self) -> None:
        """Remove what is empty. Never raises."""
        self._base.remove()
        self._let_go()
        self.sweep()

    def _settle(self, own: str) -> None:
        """Make the room below the group of this name. Raises UnavailableError."""
        above = path_of(own)
        if above is None:
            raise UnavailableError(f"the control group {own} is not mounted here")
        if not os.access(f"{above}/cgroup.procs", os.W_OK):
            raise UnavailableError(f"{above} cannot be written to")
        process = processes.read(os.getpid())
        started = process.started if process else 0
        base = f"{_PREFIX}{self._incarnation}-{os.getpid()}.{started}"
        self._own = own
        self._base = Folder(f"{own.rstrip('/')}/{base}", f"{above}/{base}")
        try:
            self._make()
        except OSError as error:
            raise UnavailableError(f"cannot make a control group in {above}: {error.strerror}") from None

    def _make(self) -> None:
        """Make the room, and hold it. Raises OSError."""
        self._let_go()
        if not os.path.exists(self._base.path):
            os.mkdir(self._base.path, 0o755)
        try:
            self._hold = os.open(self._base.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._hold, fcntl.LOCK_SH)
        except OSError:  # somebody tidies up what is empty; it is made again when it is needed
            return

    def _holds_room(self) -> bool:
        """Whether the room that is held is the one that is there."""
        try:
            return self._hold is not None and os.path.samestat(os.fstat(self._hold), os.stat(self._base.path))
        except OSError:
            return False

    def _let_go(self) -> None:
        if self._hold is not None:
            os.close(self._hold)
            self._hold = None


def name_of(pid: int | str) -> str | None:
    """The control group that a process is in; None where there is no such process, or no such thing."""
    try:
        data = _read(f"/proc/{pid}/cgroup")
    except OSError:
        return None
    for line in data.splitlines():
        if line.startswith(b"0::/"):
            return os.fsdecode(line[3:])
    return None


def path_of(name: str) -> str | None:
    """Where the control group of this name is in the file system; None where it is not mounted."""
    for root, point in _mounts() if not name.startswith("/..") else ():  # out of what is seen from here
        if name == root or name.startswith(f"{root.rstrip('/')}/"):
            path = (point + name[len(root.rstrip("/")) :]).rstrip("/")
            if os.path.exists(f"{path}/cgroup.procs"):  # else something else is mounted over it
                return path
    return None


def former(incarnation: str) -> list[Folder]:
    """The rooms of a supervisor that is dead, wherever it made them. Takes milliseconds: all groups are looked through."""
    found = []
    for root, point in _mounts():
        for path, names, _ in os.walk(point):
            for name in names:
                if name.startswith(f"{_PREFIX}{incarnation}-"):
                    within = os.path.relpath(f"{path}/{name}", point)
                    found.append(Folder(f"{root.rstrip('/')}/{within}", f"{path}/{name}"))
    return found


def _mounts() -> Iterator[tuple[str, str]]:
    """Of every hierarchy of version 2 that can be seen here: the group at its top, and its mount point."""
    for line in _read("/proc/self/mountinfo").splitlines():
        mount, _, system = line.partition(b" - ")
        if system.startswith(b"cgroup2 "):
            root, point = mount.split()[3:5]
            yield _unescaped(root), _unescaped(point)


def _unescaped(field: bytes) -> str:
    """As mountinfo spells blanks and the like: `\\040`."""
    first, *rest = field.split(b"\\")
    return os.fsdecode(first + b"".join(bytes((int(part[:3], 8),)) + part[3:] for part in rest))


def sweep() -> None:
    """As `Room.sweep`, for a supervisor that has no room. Never raises."""
    above = path_of(name_of("self") or "")
    if above is not None:
        _sweep(above)


def _sweep(above: str) -> None:
    try:
        names = os.listdir(above)
    except OSError:
        return
    for name in names:
        pid, _, started = name.rpartition("-")[2].partition(".")
        if (
            name.startswith(_PREFIX)
            and pid.isdecimal()
            and started.isdecimal()
            and not _is_alive(int(pid), int(started))
            and not _is_held(f"{above}/{name}")
        ):
            Folder("", f"{above}/{name}").remove()


def _is_alive(pid: int, started: int) -> bool:
    """Not one that waits for nothing but to be reaped, nor another one that was given its number."""
    process = processes.read(pid)
    return process is not None and process.started == started


def _is_held(path: str) -> bool:
    """Whether its supervisor lives where its number says nothing here: in another PID namespace."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _removed(path: str) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = part = os.read(descriptor, 65536)
        while part:
            part = os.read(descriptor, 65536)
            data += part
        return data
    finally:
        os.close(descriptor)


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
