"""Kills its own process, without a word, at a chosen call of the standard library: before it, behind it, or for what writes
after half of the bytes. The product knows nothing of it.

The standard library alone: the supervisor's interpreter loads it too.
"""

from __future__ import annotations

import builtins
import functools
import io
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

ANY = "any"
MESSAGE = "message"
FILE = "file"
COMMIT = "commit"
PROCESS = "process"
TIME = "time"
CALLS = (ANY, MESSAGE, FILE, COMMIT, PROCESS)
MODES = ("before", "half", "after")

_WRITING = frozenset("wax+")
_SQL = ("BEGIN", "COMMIT", "ROLLBACK", "PRAGMA")
_write, _getpid, _kill, _fork = os.write, os.getpid, os.kill, os.fork


class Point(NamedTuple):
    """The `number`th call of a kind, from 1; 0 for never. In the mode `half` only calls that can be halved are counted. Of
    the kind `time`, when so many milliseconds are over."""

    kind: str = ANY
    number: int = 0
    mode: str = "before"

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}:{self.mode}"


NEVER = Point()


class Saboteur:
    """Counts the calls of one process."""

    def __init__(self, point: Point, tell: int) -> None:
        """`tell` is a descriptor on which the last words are said."""
        self._point = point
        self._tell = tell
        self._pid = _getpid()
        self._forks = 0
        self._done: object = None
        """Of the call that is died after: a file that nobody holds would be complained of first."""
        self.counted = 0

    def call(self, kind: str, name: str, function: Callable[..., Any], half: Callable[[], object] | None) -> Any:
        """`function` takes no arguments any more; `half` does a part of it, where there are parts."""
        point = self._point
        if point.kind not in (ANY, kind) or (point.mode == "half" and half is None) or _getpid() != self._pid:
            return function()
        self.counted += 1
        if self.counted != point.number:
            return function()
        if point.mode == "half" and half is not None:
            half()
        elif point.mode == "after":
            self._done = function()
        self._die(name)
        return None

    def _die(self, name: str) -> None:
        _write(
            self._tell, f"killed {self._point.mode} call {self._point.number} ({self._point.kind}): {name}\n".encode()
        )
        _kill(_getpid(), signal.SIGKILL)

    def fork(self) -> int:
        """As os.fork: a supervisor's first fork is how it leaves its parent, the later ones are tasks."""
        self._forks += 1
        pid = _fork()
        if pid == 0 and self._forks == 1:
            self._pid = _getpid()
            self.start_clock()
        return pid

    def start_clock(self) -> None:
        if self._point.kind == TIME:
            signal.setitimer(signal.ITIMER_REAL, self._point.number / 1000)  # the end comes without a word of Python


def arm(point: Point, tell: int) -> Saboteur:
    """Sabotage this process from now on."""
    saboteur = Saboteur(point, tell)
    saboteur.start_clock()
    for name in ("read", "ftruncate", "fsync", "fdatasync", "close"):
        _wrap(saboteur, FILE, os, name)
    for name in ("replace", "rename", "link", "unlink", "rmdir", "mkdir"):
        _wrap(saboteur, FILE, os, name)
    for name in ("write", "pwrite"):
        _wrap(saboteur, FILE, os, name, _first_half_of_a_file)
    for name in ("posix_spawn", "waitpid", "waitid", "kill", "killpg", "splice", "pidfd_open"):
        _wrap(saboteur, PROCESS, os, name)
    _wrap(saboteur, PROCESS, signal, "pidfd_send_signal")
    for name in ("connect", "recv", "recvmsg", "accept", "shutdown"):
        _wrap(saboteur, MESSAGE, socket.socket, name)
    _wrap(saboteur, MESSAGE, socket.socket, "send", _first_half)
    _wrap(saboteur, MESSAGE, socket.socket, "sendmsg", _first_half_of_buffers)
    _wrap_opens(saboteur)
    _wrap_sql(saboteur)
    os.fork = saboteur.fork
    return saboteur


Halve = Callable[[tuple[Any, ...]], tuple[Any, ...] | None]
"""The arguments of a call that does the first half of it; None for one that is too short."""


def _wrap(saboteur: Saboteur, kind: str, owner: Any, name: str, halve: Halve | None = None) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        halved = halve(arguments) if halve is not None else None
        half = None if halved is None else functools.partial(original, *halved, **named)
        return saboteur.call(kind, name, functools.partial(original, *arguments, **named), half)

    setattr(owner, name, wrapped)


def _first_half_of_a_file(arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Not of what the kernel reads as one word: half the number of a process is the number of another one."""
    path = os.readlink(f"/proc/self/fd/{arguments[0]}")
    return None if path.startswith(("/sys/", "/proc/")) else _first_half(arguments)


def _first_half(arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    target, data, *rest = arguments
    return (target, data[: len(data) // 2], *rest) if len(data) > 1 else None


def _first_half_of_buffers(arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    target, (data, *_), *rest = arguments
    return (target, [data[: len(data) // 2]], *rest) if len(data) > 1 else None


def _wrap_opens(saboteur: Saboteur) -> None:
    """Only those that may make a file, or change it."""
    open_descriptor, open_file = os.open, io.open

    def sabotaged_descriptor(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        opened = functools.partial(open_descriptor, path, flags, *rest, **named)
        if not flags & (os.O_CREAT | os.O_TRUNC | os.O_TMPFILE):
            return opened()
        return int(saboteur.call(FILE, "os.open", opened, None))

    def sabotaged_file(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        opened = functools.partial(open_file, file, mode, *rest, **named)
        return saboteur.call(FILE, "open", opened, None) if _WRITING & set(mode) else opened()

    os.open = sabotaged_descriptor
    io.open = sabotaged_file
    builtins.open = sabotaged_file


def _wrap_sql(saboteur: Saboteur) -> None:
    if "sqlite3" not in sys.modules:
        return  # a supervisor has no database
    import sqlite3

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *rest: Any) -> sqlite3.Cursor:
            done = functools.partial(super().execute, sql, *rest)
            if not sql.startswith(_SQL):
                return done()
            cursor: sqlite3.Cursor = saboteur.call(COMMIT, sql.partition("\n")[0], done, None)
            return cursor

        def executescript(self, sql: str) -> sqlite3.Cursor:
            done = functools.partial(super().executescript, sql)
            cursor: sqlite3.Cursor = saboteur.call(COMMIT, "script", done, None)
            return cursor

    connect: Any = functools.partial(sqlite3.connect, factory=Connection)
    sqlite3.connect = connect
