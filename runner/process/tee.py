"""tee(2): copies what is in a pipe without taking it out. Python has no function of its own for it."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache

SCRATCH_BYTES = 1 << 20
_SPLICE_F_NONBLOCK = 2

_Tee = Callable[[int, int, int], int]


class Copier:
    """Copies through a pipe of its own, in which nothing stays."""

    def __init__(self) -> None:
        """Raises OSError where there is no tee."""
        self._tee = _function()
        self._out, self._in = os.pipe2(os.O_CLOEXEC)
        with suppress(OSError):  # the user's share of pipes is used up: smaller copies, then
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, SCRATCH_BYTES)

    def copy(self, descriptor: int, limit: int) -> bytes:
        """What the pipe behind `descriptor` begins with, at most `limit` bytes; empty when there is nothing. Raises OSError."""
        try:
            count = self._tee(descriptor, self._in, limit)
        except BlockingIOError:
            return b""
        data = os.read(self._out, count) if count else b""
        while len(data) < count:
            data += os.read(self._out, count - len(data))
        return data

    def close(self) -> None:
        os.close(self._out)
        os.close(self._in)


def works() -> bool:
    """Whether this system has it, and lets us use it. Raises OSError when no descriptor is free."""
    out, into = os.pipe2(os.O_CLOEXEC)
    try:
        os.write(into, b"x")
        copier = Copier()
        try:
            return copier.copy(out, 1) == b"x" and os.read(out, 2) == b"x"
        finally:
            copier.close()
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
        return False
    finally:
        os.close(out)
        os.close(into)


@cache
def _function() -> _Tee:
    try:
        import ctypes  # takes some milliseconds, which a runner whose tasks print nothing does not spend

        library = ctypes.CDLL(None, use_errno=True)
        function = library.tee
    except (ImportError, OSError, AttributeError) as error:
        raise OSError("there is no tee") from error
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint)
    function.restype = ctypes.c_ssize_t

    def tee(source: int, target: int, limit: int) -> int:
        count: int = function(source, target, limit, _SPLICE_F_NONBLOCK)
        if count < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return count

    return tee
