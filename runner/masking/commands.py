"""Reads what a task says to the runner on its output: `::add-mask::VALUE`, as GitHub's workflow commands are written.

A command is a line; white space may stand before it. `%25`, `%0D` and `%0A` in the value stand for `%` and the ends of lines.
The value itself is shown nowhere, not even where it is too short to be masked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from runner.masking.stream import MARK

LONGEST_COMMAND_BYTES = 64 << 10
"""Of a longer line nothing is kept: its value cannot be masked, and it is not shown either."""

_BEGINNING = b"::add-mask"
_COMMAND = re.compile(rb"::[aA][dD][dD]-[mM][aA][sS][kK]")
_HEAD = re.compile(_COMMAND.pattern + rb"(?: [^\r\n]*?)?::")
_LINE_END = re.compile(rb"[\r\n]")
_WHITE = b" \t\v\f"
_BETWEEN = re.compile(rb"\s*")
_MOST_LINES_BYTES = 4 << 10


class Line(NamedTuple):
    """Where a stream stands in its line."""

    text: bytes = b""
    """What may be a command: a line without its end, from `::` or a part of that on."""
    fresh: bool = True
    """What was told last is the beginning of a line, white space apart."""
    hiding: bool = False
    """The rest of the line belongs to a value that is too long."""
    place: int = 0
    """Where the text begins: it grows by what comes before it, from 0 for each `MaskCommands`."""


BEGINNING = Line()


class MaskCommands:
    """Takes the commands out of one stream of bytes, wherever its writes are cut."""

    def __init__(self, register: Callable[[str | None], object], line: Line = BEGINNING) -> None:
        """`register` is given each value, None in place of one that is too long, before anything behind its line is told.
        `line`: of a former stream that this one continues."""
        self._register = register
        self._held, self._fresh, self._hiding, _ = line
        self._end = len(self._held)
        """How much has come, with what was held from the start."""

    @property
    def line(self) -> Line:
        return Line(self._held, self._fresh, self._hiding, self._end - len(self._held))

    def feed(self, data: bytes, *, final: bool = False) -> Iterator[bytes]:
        """What a task says to everybody. `final`: nothing follows. To be exhausted before the next call."""
        self._end += len(data)
        known = len(self._held)
        """So much of the data was looked through before: no line ends in it."""
        if self._held:
            data, self._held = self._held + data, b""
        at = 0
        if self._hiding:
            end = _LINE_END.search(data)
            if end is None:
                return
            self._hiding, at = False, end.start()
        lines = b""
        """Of commands, one behind the other, as they are told: many become one piece."""
        found = _COMMAND.search(data, at)
        while found is not None:
            start = found.start()
            if not self._begins_line(data, at, start):
                found = _COMMAND.search(data, found.end())
                continue
            end = _LINE_END.search(data, max(found.end(), known))
            if end is None and not final and self._may_become_one(data, start):
                yield from self._told(lines + data[at:start])
                yield from self._hold(data[start:])
                return
            stop = len(data) if end is None else end.start()
            head = _head(data, start, stop)
            if head is not None and head.end() < stop:
                lines += data[at:start]
                value = data[head.end() : stop]
                if (
                    len(lines) > _MOST_LINES_BYTES
                    or not _BETWEEN.fullmatch(data, at, start)
                    or _may_be_in(lines, value)
                ):
                    yield from self._told(lines)
                    lines = b""
                # Also of a line that has come in one piece nothing is kept if it is too long: where writes are cut is chance.
                self._register(_unescaped(value) if stop - start <= LONGEST_COMMAND_BYTES else None)
                lines += head[0] + MARK
                at = stop
            found = _COMMAND.search(data, max(stop, found.end()))
        size = 0 if final else self._begun(data, at)
        self._held = data[len(data) - size :]
        yield from self._told(lines + data[at : len(data) - size])

    def _told(self, data: bytes) -> Iterator[bytes]:
        if data:
            said = data.rstrip(_WHITE)
            if said:
                self._fresh = said[-1] in b"\r\n"
            yield data

    def _hold(self, line: bytes) -> Iterator[bytes]:
        if len(line) <= LONGEST_COMMAND_BYTES:
            self._held = line
            return
        head = _head(line, 0, len(line))
        if head is None:
            yield from self._told(line)
            return
        self._register(None)
        self._hiding = True
        yield from self._told(head[0] + MARK)

    def _begins_line(self, data: bytes, at: int, start: int) -> bool:
        """Whether there is but white space between `start` and the beginning of its line. `at` is where the untold begins."""
        while start > at and data[start - 1] in _WHITE:
            start -= 1
        return self._fresh if start == at else data[start - 1] in b"\r\n"

    def _may_become_one(self, data: bytes, start: int) -> bool:
        behind = data[start + len(_BEGINNING) :]
        return not behind or behind == b":" or behind.startswith((b"::", b" "))

    def _begun(self, data: bytes, at: int) -> int:
        """How many bytes at the end of `data` may be the beginning of a command's name."""
        for size in range(min(len(_BEGINNING), len(data) - at), 0, -1):
            start = len(data) - size
            if _BEGINNING.startswith(data[start:].lower()) and self._begins_line(data, at, start):
                return size
        return 0


def _head(data: bytes, start: int, stop: int) -> re.Match[bytes] | None:
    return _HEAD.match(data, start, min(stop, start + LONGEST_COMMAND_BYTES))


def _may_be_in(lines: bytes, value: bytes) -> bool:
    """Whether a part of the lines of former commands may be masked for the sake of `value`, which comes later."""
    return b":" in value or b"*" in value or any(part in lines for part in _unescaped_bytes(value).split())


def _unescaped(value: bytes) -> str:
    return _unescaped_bytes(value).decode(errors="surrogateescape")


def _unescaped_bytes(value: bytes) -> bytes:
    return value.replace(b"%0D", b"\r").replace(b"%0A", b"\n").replace(b"%25", b"%")
