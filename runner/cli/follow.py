"""Shows a group while it runs: what its tasks print, and what becomes of them, as lines with the task's name before them.

    build  -- started
    build   | cc -c main.c
    build  -- failed after 310 ms: exit code 1

The lines of the runner have `--`, those of tasks `|`; a task's output never comes behind the line that tells its end.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Sequence

from msgspec import Struct, field

from runner.cli.report import column, event_line
from runner.cli.terminal import Output, is_plain, visible_line
from runner.model.event import Event, Kind
from runner.model.log import Frame, LogGap, Stream
from runner.model.watch import Happening

MAX_LINE_BYTES = 64 << 10
"""A longer line is shown in pieces, so that memory stays bounded."""

_NEWLINE = re.compile(rb"\r\n|\n|\r")
_ENDS = (Kind.TASK_FINISHED, Kind.TASK_RETRYING, Kind.TASK_HELD)

Attempt = tuple[str, int]
"""A task's name and the number of the attempt."""


class _Log(Struct):
    """How far an attempt's log is shown."""

    lines: Lines
    started_at: float | None = None
    ends: dict[Stream, int] = field(default_factory=dict)
    """The offset up to which each stream is shown."""
    gaps: list[LogGap] = field(default_factory=list)


class Follower:
    """Writes one group's story to `output`, at the pace of whoever reads it: nothing queues up here."""

    def __init__(self, tasks: Iterable[str], output: Output, *, events: bool = True) -> None:
        """`tasks` are the names of the group's tasks, for the width of their column; without `events` only what they print is
        shown."""
        self._output = output
        self._events = events
        self._width = column(tasks)
        self._logs: dict[Attempt, _Log] = {}

    async def show(self, story: AsyncIterator[Sequence[Happening]]) -> None:
        """Show all of it, to its end."""
        async for happenings in story:
            await self._write(b"".join([self._shown(happening) for happening in happenings]))
            if not self._events and self._output.lost is not None:
                return  # whoever wanted to read it has left
        # What was printed without a newline by attempts whose end nobody has told.
        await self._write(b"".join([log.lines.rest() for log in self._logs.values()]))

    def _shown(self, happening: Happening) -> bytes:
        if isinstance(happening, Event):
            return self._told(happening)
        log = self._log(happening.task, happening.attempt)
        frame = happening.frame
        gap = self._gap(log, happening.task, frame) if frame.missing else b""
        log.ends[frame.stream] = frame.offset + len(frame.data)
        return gap + log.lines.feed(frame.stream, frame.data)

    def _told(self, event: Event) -> bytes:
        task, attempt = event.task or "", event.attempt or 0
        rest, seconds = b"", None
        if event.kind is Kind.TASK_STARTED:
            self._log(task, attempt).started_at = event.at
        elif event.kind is Kind.LOG_GAP and not self._events:
            self._log(task, attempt).gaps.append(LogGap(**event.fields))
        elif event.kind in _ENDS:
            log = self._logs.pop((task, attempt), None)
            if log is not None:
                rest = b"".join([self._gap(log, task, gap.as_frame()) for gap in log.gaps]) + log.lines.rest()
                seconds = None if log.started_at is None else max(0.0, event.at - log.started_at)
        line = event_line(event, seconds) if self._events else None
        return rest if line is None else rest + f"{task or 'group':{self._width}} -- {line}\n".encode()

    def _log(self, task: str, attempt: int) -> _Log:
        log = self._logs.get((task, attempt))
        if log is None:
            log = self._logs[task, attempt] = _Log(Lines(f"{task:{self._width}}  | ".encode()))
        return log

    def _gap(self, log: _Log, task: str, frame: Frame) -> bytes:
        """What is said where the log has lost what was not shown yet: its reader was slow, or came late."""
        missed = min(frame.missing, frame.offset - log.ends.get(frame.stream, 0))
        if missed <= 0:
            return b""
        told = f"{task:{self._width}} -- … {missed:,} bytes of {frame.stream} are not kept …\n"
        return log.lines.rest(frame.stream) + told.encode()

    async def _write(self, data: bytes) -> None:
        if not data or self._output.lost is not None:
            return
        if self._output.takes(len(data)):
            self._output.write(data)
        else:
            # The reader of a pipe may rest for hours; the group goes on meanwhile.
            await asyncio.to_thread(self._output.write, data)


class Lines:
    """Cuts what an attempt prints into lines with `prefix` before each, for each stream apart."""

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._partial: dict[str, bytes] = {}

    def feed(self, stream: str, data: bytes) -> bytes:
        """All lines that are whole now."""
        data = self._partial.get(stream, b"") + data
        if is_plain(data):
            whole, newline, partial = data.rpartition(b"\n")
            shown = self._prefix + whole.replace(b"\n", b"\n" + self._prefix) + b"\n" if newline else b""
        else:
            # A carriage return at the very end may be the first half of a line's end.
            held = b"\r" if data.endswith(b"\r") else b""
            *pieces, partial = _NEWLINE.split(data.removesuffix(held) if held else data)
            partial += held
            shown = b"".join(self._shown(piece) for piece in pieces)
        if len(partial) > MAX_LINE_BYTES:
            shown += self._shown(partial)
            partial = b""
        self._partial[stream] = partial
        return shown

    def _shown(self, line: bytes) -> bytes:
        return self._prefix + visible_line(line) + b"\n"

    def rest(self, *streams: str) -> bytes:
        """What was printed without a newline at its end; on these streams, or on all."""
        return b"".join(
            self.feed(stream, b"\n") for stream in streams or tuple(self._partial) if self._partial.get(stream)
        )
