"""Who looks at a kept run by a shell: a file in its folder, which its process holds a lock on. So whoever is about to remove what the
shell works in can tell, and ask it to end."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

END_SECONDS = 10.0
"""How long a shell has to end: it ends what runs in it, by force after some seconds."""
_LOOK_SECONDS = 0.02
_NAMES = "shell-*.lock"


@contextmanager
def visit(run_dir: Path) -> Iterator[None]:
    """While this is entered the run is looked at by this process. Raises OSError."""
    path = run_dir / f"shell-{os.getpid()}.lock"
    descriptor = _locked(path)
    try:
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
        os.close(descriptor)


def _locked(path: Path) -> int:
    """A descriptor of the file at this path, which it holds the lock on."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # whoever looked before it was locked has taken it for that of one that was killed


def visitors(run_dir: Path) -> list[int]:
    """The processes that look at it."""
    found = []
    for path in run_dir.glob(_NAMES):
        with suppress(OSError, ValueError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                path.unlink()  # of one that was killed
            except BlockingIOError:
                found.append(int(os.read(descriptor, 20)))
            finally:
                os.close(descriptor)
    return found


def end(run_dir: Path) -> bool:
    """Hang up on all of them, and wait for their ends; False where one goes on all the same."""
    until = time.monotonic() + END_SECONDS
    told: set[int] = set()
    while there := visitors(run_dir):
        for pid in set(there) - told:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGHUP)
        told.update(there)
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_SECONDS)
    return True
