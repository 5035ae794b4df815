"""Runs a part of a test in a process of its own that lacks something for good: a system call, the rights of root. What it
starts lacks it too, so that what is tested meets the real thing, and has to find out by itself."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.process.supervisor import cgroups

ROOT = Path(__file__).parents[1]
NOBODY = 65534
Restriction = Callable[[], None]

_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_CHILD_SUBREAPER = 36
_NEW_MOUNTS, _BIND, _RECURSIVE, _PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
# By machine: the number of the architecture, then those of the system calls.
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CALLS = {
    "sched_setscheduler": {"x86_64": 144, "aarch64": 119},
    "tee": {"x86_64": 276, "aarch64": 77},
    "splice": {"x86_64": 275, "aarch64": 76},
    "memfd_create": {"x86_64": 319, "aarch64": 279},
    "kill": {"x86_64": 62, "aarch64": 129},
    "pidfd_open": {"x86_64": 434, "aarch64": 434},
    "pidfd_send_signal": {"x86_64": 424, "aarch64": 424},
    "prctl": {"x86_64": 157, "aarch64": 167},
}


def run(work: Callable[[], None], *restrictions: Restriction) -> None:
    """Do `work` in a child of this process, under these restrictions. Raises AssertionError with what it raised there."""
    told, tell = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for restriction in restrictions:
                restriction()
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - whatever it is, the test fails with it
            os.write(tell, traceback.format_exc().encode()[-60_000:])  # less than a pipe takes
        finally:
            os._exit(status)
    os.close(tell)
    try:
        with open(told, "rb") as file:
            word = file.read().decode()
        _, status = os.waitpid(pid, 0)
        pid = 0
        assert status == 0, word or f"it ended with status {status}"
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def without(*names: str, error: int = errno.ENOSYS) -> Restriction:
    """No system calls of these names: ENOSYS as on a system that is too old for them, EPERM as in a container that forbids
    them. `subreaper` is what prctl does of it."""
    return lambda: _forbid(names, error)


def seccomp_missing() -> str | None:
    """Why `without` cannot be had here."""
    if platform.machine() not in _ARCHITECTURES:
        return f"the numbers of system calls are not known for {platform.machine()}"
    return None if Path("/proc/sys/kernel/seccomp").exists() else "this system cannot forbid system calls (seccomp)"


def as_nobody(folder: Path) -> Restriction:
    """As a user without rights, to whom `folder` belongs from now on. For root, where it can mount."""
    return lambda: _become_nobody(folder)


def within(group: Path) -> Restriction:
    """In a control group."""
    return lambda: _write(group / "cgroup.procs", str(os.getpid()))


@contextmanager
def delegated() -> Iterator[Path]:
    """A control group that belongs to the user without rights, as systemd's `Delegate=yes` would give it to him."""
    own = cgroups.path_of(cgroups.name_of("self") or "")
    group = Path(f"{own}/delegated-{os.getpid()}")
    group.mkdir()
    try:
        for path in (group, *(group / f"cgroup.{name}" for name in ("procs", "threads", "subtree_control"))):
            os.chown(path, NOBODY, NOBODY)
        yield group
    finally:
        group.rmdir()


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("yes", ctypes.c_ubyte), ("no", ctypes.c_ubyte), ("value", ctypes.c_uint))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction)))


def _forbid(names: tuple[str, ...], error: int) -> None:
    load, equal, answer = 0x20, 0x15, 0x06
    allow, refuse = (answer, 0, 0, 0x7FFF0000), (answer, 0, 0, 0x00050000 | error)
    number, architecture, first_argument = 0, 4, 16
    machine = platform.machine()
    code = [(load, 0, 0, architecture), (equal, 1, 0, _ARCHITECTURES[machine]), allow]
    for name in names:
        code.append((load, 0, 0, number))
        if name == "subreaper":
            code += [
                (equal, 0, 3, _CALLS["prctl"][machine]),
                (load, 0, 0, first_argument),
                (equal, 0, 1, _CHILD_SUBREAPER),
            ]
        else:
            code.append((equal, 0, 1, _CALLS[name][machine]))
        code.append(refuse)
    code.append(allow)
    program = _Program(len(code), (_Instruction * len(code))(*[_Instruction(*one) for one in code]))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    assert libc.prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) == 0, os.strerror(ctypes.get_errno())


def _become_nobody(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    _open_ways_to((folder, ROOT, Path(sys.prefix), Path(sys.base_prefix)))
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    os.environ["HOME"] = "/nonexistent"


def _open_ways_to(paths: tuple[Path, ...]) -> None:
    """Let everybody reach these folders, also where they lie in ones that are closed; seen by this process and its children alone."""
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str, target: Path | str, kind: str, flags: int, data: str) -> None:
        done = libc.mount(source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data.encode())
        assert done == 0, os.strerror(ctypes.get_errno())

    assert libc.unshare(_NEW_MOUNTS) == 0, os.strerror(ctypes.get_errno())
    mount("none", "/", "", _RECURSIVE | _PRIVATE, "")
    closed: dict[Path, list[tuple[Path, int]]] = {}
    for path in paths:
        barrier = next((parent for parent in reversed(path.parents) if not parent.stat().st_mode & 0o001), None)
        if barrier is not None:
            closed.setdefault(barrier, []).append((path, os.open(path, os.O_PATH)))
    for barrier, ways in closed.items():
        mount("none", barrier, "tmpfs", 0, "mode=755")
        for path, descriptor in ways:
            path.mkdir(parents=True, exist_ok=True)
            mount(f"/proc/self/fd/{descriptor}", path, "", _BIND | _RECURSIVE, "")
            os.close(descriptor)


def _write(path: Path, text: str) -> None:
    path.write_text(text)
