"""The last of what attempts have printed, for those who look on and for the report at the end. Bounded, however much it is."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence

from runner.cli.terminal import bare_line
from runner.model.event import Event, Kind
from runner.model.log import Stream
from runner.model.result import Status
from runner.model.watch import Happening

KEPT_BYTES = 4 << 10
MOST_LINES = 10
MOST_FAILURES = 10
"""Of so many tasks that failed the last lines are kept to the end: of those that failed first."""


class Tail:
    """The end of what one attempt has printed, of both streams as it came."""

    def __init__(self) -> None:
        self.shortened = False
        """Whether there was more."""
        self._pieces: deque[tuple[Stream, bytes]] = deque()
        self._size = 0
        self._last: str | None = ""

    def feed(self, stream: Stream, data: bytes) -> None:
        self.shortened |= len(data) > KEPT_BYTES
        data = data[-KEPT_BYTES:]
        if self._pieces and self._pieces[-1][0] == stream:
            before = self._pieces.pop()[1]
            self._size -= len(before)
            data = before + data
        self._pieces.append((stream, data))
        self._size += len(data)
        while self._size > KEPT_BYTES:
            oldest, first = self._pieces.popleft()
            rest = first[self._size - KEPT_BYTES :]
            self._size -= len(first) - len(rest)
            self.shortened = True
            if rest:
                self._pieces.appendleft((oldest, rest))
        self._last = None

    def forget(self) -> None:
        """What was shown should not have been."""
        self._pieces.clear()
        self._size = 0
        self._last = ""
        self.shortened = True

    def last_line(self) -> str:
        """The last line that is not empty, be it whole or not."""
        if self._last is None:
            self._last = next(iter(self.lines(1)), "").strip()
        return self._last

    def lines(self, most: int = MOST_LINES) -> list[str]:
        """The last lines that are not empty, without colours; those of a stream together as they came."""
        kept: list[str] = []
        partial: dict[Stream, bytes] = {}
        for stream, piece in self._pieces:
            whole, newline, rest = (partial.pop(stream, b"") + piece).rpartition(b"\n")
            if newline:
                kept += _lines(whole)
            partial[stream] = rest
        for rest in partial.values():
            kept += _lines(rest)
        return [line for line in kept if line][-most:]


def _lines(data: bytes) -> list[str]:
    """A carriage return begins a line anew: what stood there before is not what one would see."""
    return [
        next((text for piece in reversed(line.split(b"\r")) if (text := bare_line(piece).rstrip())), "")
        for line in data.split(b"\n")
    ]


class Tails:
    """Of all attempts of a group that run, and of the tasks that failed."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, int], Tail] = {}
        self._failed: dict[str, tuple[int, Tail]] = {}

    async def tapped(self, story: AsyncIterator[Sequence[Happening]]) -> AsyncIterator[Sequence[Happening]]:
        """The same story, of which the ends are kept."""
        async for happenings in story:
            for happening in happenings:
                self.take(happening)
            yield happenings

    def take(self, happening: Happening) -> None:
        if not isinstance(happening, Event):
            self._of(happening.task, happening.attempt).feed(happening.frame.stream, happening.frame.data)
            return
        task, attempt = happening.task or "", happening.attempt or 0
        if happening.kind is Kind.TASK_RETRYING:
            self._running.pop((task, attempt), None)
        elif happening.kind is Kind.TASK_DISPATCHED:
            self._failed.pop(task, None)
        elif happening.kind in (Kind.TASK_FINISHED, Kind.TASK_HELD):
            tail = self._running.pop((task, attempt), None)
            is_failure = happening.fields.get("status") in (Status.FAILED, Status.ERRORED)
            if tail is not None and is_failure and len(self._failed) < MOST_FAILURES:
                self._failed[task] = (attempt, tail)
        elif happening.kind is Kind.LOG_REDACTED:
            number, tail = self._failed.get(task, (attempt, None))
            if tail is None or number != attempt:
                tail = self._running.get((task, attempt))
            if tail is not None:
                tail.forget()

    def last_line(self, task: str, attempt: int) -> str:
        """Of an attempt that runs."""
        tail = self._running.get((task, attempt))
        return tail.last_line() if tail is not None else ""

    def of_failed(self, task: str) -> Tail | None:
        kept = self._failed.get(task)
        return None if kept is None else kept[1]

    def _of(self, task: str, attempt: int) -> Tail:
        tail = self._running.get((task, attempt))
        if tail is None:
            tail = self._running[task, attempt] = Tail()
        return tail
