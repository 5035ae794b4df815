"""Starting one child process: its pipes, what it reads, its limits."""

from __future__ import annotations

import os
import resource
import signal

from runner.process.supervisor import forked, terminals
from runner.process.supervisor.processes import Mark, MarkedLimit
from runner.process.supervisor.program import COULD_NOT_START as COULD_NOT_START
from runner.process.supervisor.program import CannotStartError as CannotStartError
from runner.process.supervisor.program import Program as Program
from runner.process.supervisor.program import asked as asked

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to import, and the start of this program is waited for
    from collections.abc import Sequence

# A child begins with every signal at its default and none blocked, whatever this process or its parents ignore. The C library asks
# in the child what becomes of each that is not named here, while this process waits.
_DEFAULTED = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})

_MEMORY_FOLDERS = ("/dev/shm", "/tmp")
"""Where a file without a name is made in place of a memfd."""


class Child:
    """What was started. `outputs` are the read ends of its pipes, `handed` what whoever converses with it is to get: all of
    them close-on-exec."""

    __slots__ = ("handed", "outputs", "pid")

    def __init__(self, pid: int, outputs: tuple[int, ...], handed: tuple[int, ...] = ()) -> None:
        self.pid = pid
        self.outputs = outputs
        self.handed = handed


class Limits:
    """The limits that this process and its children do not share. It may open as many descriptors as it can get, they get
    the limit that it was started with; and they get the one that marks them."""

    def __init__(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._children = (soft, hard)
        self._own = (hard, hard)
        self._differ = soft != hard
        self._marked = MarkedLimit()
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._low = [os.dup(self._null) for _ in range(3)]
        """Below every limit."""
        self.for_own()

    def below(self, ends: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The same, for a child: posix_spawn does not take descriptors that the child could not open itself. To be followed by
        `done_below`."""
        return [
            (one if one < self._children[0] else os.dup2(one, self._low[to], inheritable=False), to) for one, to in ends
        ]

    def done_below(self, ends: list[tuple[int, int]]) -> None:
        for descriptor, end in ends:
            if descriptor == self._low[end]:
                os.dup2(self._null, descriptor, inheritable=False)

    def for_children(self, mark: Mark) -> None:
        self._marked.for_children(mark)
        if self._differ:
            resource.setrlimit(resource.RLIMIT_NOFILE, self._children)

    def for_own(self) -> None:
        self._marked.for_own()
        if self._differ:
            resource.setrlimit(resource.RLIMIT_NOFILE, self._own)


def spawn(program: Program, limits: Limits, mark: Mark) -> Child:
    """Start a program as the leader of a new session, stdin as this process has it unless the program says what it reads.
    Raises CannotStartError."""
    if program.terminal is not None:
        return _conversing(program, program.terminal, limits, mark)
    opened: list[int] = []
    try:
        ends = [(_input(program.stdin, opened), 0)] if program.stdin is not None else []
        for end in (1, 2):
            opened += os.pipe2(os.O_CLOEXEC)
            ends.append((opened[-1], end))
        if program.user is None and program.limits is None:
            pid = _spawned(program, ends, limits, mark)
        else:
            pid = forked.start(program, ends, lambda: limits.for_children(mark), _DEFAULTED)
        *stdin, stdout, child_stdout, stderr, child_stderr = opened
        opened = [stdout, stderr]
        _close([*stdin, child_stdout, child_stderr])
        return Child(pid, (stdout, stderr))
    except (CannotStartError, OSError, ValueError, TypeError, LookupError) as error:
        _close(opened)
        raise program.explained(error) from None


def _conversing(program: Program, size: Sequence[int], limits: Limits, mark: Mark) -> Child:
    """As `spawn`, of one that reads what somebody types, and whose output that one gets. Raises CannotStartError."""
    ours, theirs, ends = terminals.opened(size)
    try:
        pid = forked.start(program, ends, lambda: limits.for_children(mark), _DEFAULTED)
    except (CannotStartError, OSError, ValueError, TypeError, LookupError) as error:
        _close(ours)
        raise program.explained(error) from None
    finally:
        _close(theirs)
    return Child(pid, (), tuple(ours))


def _spawned(program: Program, ends: list[tuple[int, int]], limits: Limits, mark: Mark) -> int:
    """A quarter of what a fork costs, for a program that needs nothing but its descriptors."""
    try:
        program.enter()  # nothing else runs in this process that could be led astray
        path = program.path
        limits.for_children(mark)
        low = limits.below(ends)
        try:
            return os.posix_spawn(
                path,
                program.argv,
                program.env,
                file_actions=[(os.POSIX_SPAWN_DUP2, descriptor, end) for descriptor, end in low],
                setsid=True,
                setsigmask=(),
                setsigdef=_DEFAULTED,
            )
        finally:
            limits.for_own()
            limits.done_below(low)
    finally:
        os.chdir("/")  # so that folders can be removed and file systems unmounted


def _input(text: str, opened: list[int]) -> int:
    """A descriptor from which the program reads `text`: of a file that has no name, in memory."""
    data = text.encode()
    descriptor = _nameless()
    opened.append(descriptor)
    while data:
        data = data[os.write(descriptor, data) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _nameless() -> int:
    try:
        return os.memfd_create("stdin", os.MFD_CLOEXEC)
    except (AttributeError, OSError):  # a C library or a system without it
        folder = next(folder for folder in _MEMORY_FOLDERS if os.access(folder, os.W_OK))
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
