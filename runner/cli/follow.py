"""Shows a group while it runs: what its tasks print, and what becomes of them, as lines with the task's name before them.

    build  -- started
    build   | cc -c main.c
    build  -- failed after 310 ms: exit code 1

The lines of the runner have `--`, those of tasks `|`; a task's output never comes behind the line that tells its end.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import ExitStack
from dataclasses import dataclass, field

from runner.cli.report import event_line
from runner.cli.terminal import Output, is_plain, visible_line
from runner.model.dispatch import AttemptId
from runner.model.event import Event, Kind
from runner.model.group import TaskGroup
from runner.model.log import Frame, Stream
from runner.model.result import TaskGroupResult
from runner.node import Node

MAX_LINE_BYTES = 64 << 10
"""A longer line is shown in pieces, so that memory stays bounded."""
MAX_NAME_WIDTH = 24

_NEWLINE = re.compile(rb"\r\n|\n|\r")
_ENDS = (Kind.TASK_FINISHED, Kind.TASK_RETRYING)


@dataclass(slots=True)
class _Log:
    """How far an attempt's log is shown."""

    started_at: float
    lines: Lines
    position: int = 0
    ends: dict[Stream, int] = field(default_factory=dict)
    """The offset up to which each stream is shown."""


class Follower:
    """Writes one group's story to `output`, at the pace of whoever reads it: nothing queues up here."""

    def __init__(self, node: Node, group: TaskGroup, id: str, output: Output) -> None:
        self._node = node
        self._id = id
        self._output = output
        self._width = min(MAX_NAME_WIDTH, max(len(task.name) for task in group.tasks))
        self._wake = asyncio.Event()
        self._last_event = 0
        self._grown: dict[AttemptId, None] = {}
        self._logs: dict[AttemptId, _Log] = {}

    async def run(self) -> TaskGroupResult:
        """The group's result, once it is over and all of it is shown."""
        with ExitStack() as stack:
            stack.callback(self._node.engine.subscribe(self._id, self._wake.set))
            stack.callback(self._node.logs.subscribe(self._log_grew))
            while True:
                self._wake.clear()
                if await self._show_events():
                    return self._node.engine.result(self._id)
                await self._show_logs()
                lost = self._node.engine.unwritten_end(self._id)
                if lost is not None:
                    await self._show_rest()
                    return lost
                await self._wake.wait()

    def _log_grew(self, id: AttemptId) -> None:
        if id.group == self._id:
            self._grown[id] = None
            self._wake.set()

    async def _show_events(self) -> bool:
        """Show what is new; True when the group is over."""
        lines = bytearray()
        while events := self._node.engine.events(self._id, self._last_event):
            for event in events:
                self._last_event = event.number
                if event.kind is Kind.GROUP_FINISHED:
                    await self._write(bytes(lines))
                    return True
                id = AttemptId(self._id, event.task or "", event.attempt or 0)
                if event.kind in _ENDS and id in self._logs:
                    await self._write(bytes(lines))
                    lines.clear()
                    while await self._show_log(id):
                        pass
                    lines += self._logs[id].lines.rest()
                lines += self._told(event, id)
        await self._write(bytes(lines))
        return False

    def _told(self, event: Event, id: AttemptId) -> bytes:
        seconds = None
        if event.kind is Kind.TASK_STARTED:
            self._logs[id] = _Log(event.at, Lines(f"{id.task:{self._width}}  | ".encode()))
            # What was printed before a runner that takes the group up again subscribed is shown too.
            self._grown[id] = None
        elif event.kind in _ENDS:
            log = self._logs.pop(id, None)
            self._grown.pop(id, None)
            seconds = None if log is None else max(0.0, event.at - log.started_at)
        line = event_line(event, seconds)
        return b"" if line is None else f"{id.task:{self._width}} -- {line}\n".encode()

    async def _show_logs(self) -> None:
        for id in list(self._grown):
            # A log may grow before the event that tells of its start; it is shown behind that.
            if id in self._logs:
                del self._grown[id]
                if await self._show_log(id):
                    self._log_grew(id)

    async def _show_rest(self) -> None:
        """What is left of the logs of attempts whose end nobody could write down."""
        for id, log in self._logs.items():
            while await self._show_log(id):
                pass
            await self._write(log.lines.rest())

    async def _show_log(self, id: AttemptId) -> bool:
        """Show the next piece of a log; False when there was none."""
        log = self._logs[id]
        frames = self._node.logs.frames(id, after=log.position)
        shown = bytearray()
        for frame in frames:
            log.position = frame.position
            if frame.missing:
                shown += self._gap(log, id, frame)
            log.ends[frame.stream] = frame.offset + len(frame.data)
            shown += log.lines.feed(frame.stream, frame.data)
        await self._write(bytes(shown))
        return bool(frames)

    def _gap(self, log: _Log, id: AttemptId, frame: Frame) -> bytes:
        """What is said where the log has lost what was not shown yet: its reader was slow, or came late."""
        missed = min(frame.missing, frame.offset - log.ends.get(frame.stream, 0))
        if missed <= 0:
            return b""
        told = f"{id.task:{self._width}} -- … {missed:,} bytes of {frame.stream} are not kept …\n"
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
