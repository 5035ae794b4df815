"""Which process carries a run out, and how it is asked to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Each of them cancels a run; who started it may have had some of them ignored."""


def find(lock: Path) -> int | None:
    """The process that holds the lock of a state. Its number is in the file, and may be an old one: what counts is that
    this process has the file open, and locked."""
    try:
        pid = int(lock.read_text())
        status = lock.stat()
        return pid if any(_is_locked(entry, status) for entry in _descriptors(pid)) else None
    except (OSError, ValueError):
        return None


def interrupt(lock: Path) -> bool:
    """What Ctrl-C does to the process that holds the lock; False where there is none, or it does not care."""
    pid = find(lock)
    if pid is None:
        return False
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        number = _caught(pid)
        if find(lock) != pid or number is None:  # it may have been another's number meanwhile
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)


def _descriptors(pid: int) -> Iterator[Path]:
    return Path("/proc", str(pid), "fd").iterdir()


def _is_locked(entry: Path, status: os.stat_result) -> bool:
    with suppress(OSError):
        if os.path.samestat(entry.stat(), status):
            told = entry.parent.with_name("fdinfo") / entry.name
            return any(line.startswith("lock:") and "FLOCK" in line for line in told.read_text().splitlines())
    return False


def _caught(pid: int) -> signal.Signals | None:
    """The first of the interrupts that the process listens to."""
    with suppress(OSError):
        for line in Path("/proc", str(pid), "status").read_text().splitlines():
            name, _, mask = line.partition(":")
            if name == "SigCgt":
                return next((number for number in _INTERRUPTS if int(mask, 16) >> (number - 1) & 1), None)
    return None
