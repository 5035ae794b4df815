"""Gives the room of a part of a file back to its file system: fallocate(2). Python has no function of its own for it."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from functools import cache

_log = logging.getLogger(__name__)

_KEEP_SIZE = 1
_PUNCH_HOLE = 2
_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM)
"""What a disk may say that can make holes at another time: some need room for one."""

Punch = Callable[[int, int, int], None]
"""Makes a hole in an open file, from one place to another: it reads as zeros, and takes no room. Raises OSError."""


class Holes:
    """What the files of one store can give up."""

    def __init__(self, punch: Punch | None = None) -> None:
        """`punch`: the system's own where none is given."""
        self._punch = punch or punch_hole
        self._told = False

    def possible(self, descriptor: int) -> bool:
        """Whether this file can have holes. It is said once where it cannot. Raises OSError where that is not known at this
        moment."""
        end = os.fstat(descriptor).st_size
        try:
            self._punch(descriptor, end, end + 1)
        except OSError as error:
            if error.errno in _PASSING:
                raise
            self._tell(error)
            return False
        return True

    def make(self, descriptor: int, begin: int, end: int) -> bool:
        """False when the system refuses: the room stays taken until the next time."""
        try:
            self._punch(descriptor, begin, end)
        except OSError as error:
            self._tell(error)
            return False
        return True

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            _log.warning(
                "logs cannot be kept below their limit: the file system they lie on gives no room back: %s",
                error.strerror or error,
                extra={"action": "log_limit"},
            )


def punch_hole(descriptor: int, begin: int, end: int) -> None:
    """As `Punch`, by the system."""
    _function()(descriptor, begin, end)


@cache
def _function() -> Punch:
    try:
        import ctypes  # takes some milliseconds, which only a log that passes its limit spends

        library = ctypes.CDLL(None, use_errno=True)
        function = getattr(library, "fallocate64", None) or library.fallocate
    except (ImportError, OSError, AttributeError) as error:
        raise OSError(errno.ENOSYS, "there is no fallocate") from error
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    function.restype = ctypes.c_int

    def punch(descriptor: int, begin: int, end: int) -> None:
        while function(descriptor, _PUNCH_HOLE | _KEEP_SIZE, begin, end - begin):
            number = ctypes.get_errno()
            if number != errno.EINTR:
                raise OSError(number, os.strerror(number))

    return punch
