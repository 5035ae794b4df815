"""What lies between a process and whoever converses with it: a terminal, or three pipes."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios

from runner.process.supervisor.program import COULD_NOT_START, CannotStartError

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is slow to import, and the start of this program is waited for
    from collections.abc import Sequence

_OWN_MODE = 0o600
"""Nobody else writes to the terminal, whatever the system's group for that is."""


def opened(size: Sequence[int]) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Of a terminal with [rows, columns], or for [] of pipes: the descriptors of whoever converses (that of the terminal, or the
    other ends of stdin, stdout and stderr), those of the process, and as which it gets them. Raises CannotStartError."""
    taken: list[int] = []
    try:
        return _terminal(size, taken) if size else _pipes(taken)
    except OSError as error:
        for descriptor in taken:
            os.close(descriptor)
        what = "terminal" if size else "pipe"
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise CannotStartError(COULD_NOT_START, f"no {what} can be opened: too many open files") from None
        raise CannotStartError(COULD_NOT_START, f"no {what} can be opened: {error.strerror}") from None


def _terminal(size: Sequence[int], taken: list[int]) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    ours, theirs = os.openpty()
    taken += [ours, theirs]
    os.fchmod(theirs, _OWN_MODE)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", *size, 0, 0))
    return [ours], [theirs], [(theirs, end) for end in (0, 1, 2)]


def _pipes(taken: list[int]) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    for _ in range(3):
        taken += os.pipe2(os.O_CLOEXEC)
    stdin, stdin_ours, stdout_ours, stdout, stderr_ours, stderr = taken
    return [stdin_ours, stdout_ours, stderr_ours], [stdin, stdout, stderr], [(stdin, 0), (stdout, 1), (stderr, 2)]
