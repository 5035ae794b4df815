"""What all log stores share: masking on the way in, and telling followers that a log has grown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from runner.logs.progress import Progress
from runner.masking import Masker, MaskingStream
from runner.masking.commands import MaskCommands
from runner.model.dispatch import AttemptId
from runner.model.log import STREAMS, Stream

CallSoon = Callable[[Callable[[], None]], object]


class Keeper(Protocol):
    """Where one attempt's log is kept."""

    def recall(self) -> Mapping[Stream, Progress]:
        """How far each stream has come; `asked` are all texts that were ever asked to be masked. Called once, first.
        Raises OSError and StoreCorruptError."""

    def append(self, stream: Stream, data: bytes, progress: Progress) -> None:
        """Keep both or neither. Raises OSError."""

    def limit(self, bytes: int) -> None:
        """As `LogSink.limit`."""

    @property
    def shortened(self) -> bool:
        """As `LogSink.shortened`."""

    def close(self) -> None:
        """Called once, last, but for `shortened`."""


class MaskingSink:
    """A LogSink that obeys the `::add-mask::` lines in each stream, masks it and keeps what comes out of it."""

    def __init__(self, masker: Masker, keeper: Keeper) -> None:
        self._masker = masker
        self._keeper = keeper
        self._streams: dict[Stream, _MaskedStream] = {}
        """Empty until they are asked for: most attempts print nothing."""
        self._open = True

    def write(self, stream: Stream, data: bytes, end: int | None = None) -> None:
        if self._open:
            masked = self._stream(stream)
            said = masked.feed(data, end)
            progress = masked.progress
            if said or end is not None or progress.holds:
                self._keeper.append(stream, said, progress)

    def foresee(self, stream: Stream, data: bytes) -> None:
        if self._open:
            self._stream(stream).foresee(data)

    def taken(self, stream: Stream) -> int:
        return self._stream(stream).end

    def limit(self, bytes: int) -> None:
        self._keeper.limit(bytes)

    @property
    def shortened(self) -> bool:
        return self._keeper.shortened

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        try:
            for stream, masked in self._streams.items():
                rest = masked.finish()
                if rest:
                    self._keeper.append(stream, rest, masked.progress)
        finally:
            self._keeper.close()

    def _stream(self, stream: Stream) -> _MaskedStream:
        if not self._streams:
            known = self._keeper.recall()
            for progress in known.values():
                for text in progress.asked:
                    self._masker.command(text)
            self._streams = {name: _MaskedStream(self._masker, known.get(name, Progress())) for name in STREAMS}
        return self._streams[stream]


class _MaskedStream:
    """One stream on its way."""

    def __init__(self, masker: Masker, progress: Progress) -> None:
        self.end = progress.end
        self._masker = masker
        self._asked: list[str] = []
        self._ever_asked = set(progress.asked)
        """A task may ask for the same again and again: it is told once."""
        self._commands = MaskCommands(self._ask, progress.line)
        self._masking = MaskingStream(masker, progress.held)

    @property
    def progress(self) -> Progress:
        """Since it was asked for last."""
        asked, self._asked = tuple(self._asked), []
        return Progress(self.end, self._masking.held, self._commands.line, asked)

    def feed(self, data: bytes, end: int | None) -> bytes:
        """What can be said now."""
        if end is not None:
            self.end = end
        # One piece after the other: a command is obeyed before what stands behind it is masked.
        return b"".join([self._masking.feed(piece) for piece in self._commands.feed(data)])

    def foresee(self, data: bytes) -> None:
        for _ in MaskCommands(self._masker.command, self._commands.line).feed(data):
            pass

    def finish(self) -> bytes:
        """The rest: nothing follows."""
        said = [self._masking.feed(piece) for piece in self._commands.feed(b"", final=True)]
        return b"".join([*said, self._masking.flush()])

    def _ask(self, text: str | None) -> None:
        kept = self._masker.command(text)
        # Of one that is too long it is known later at least that it could not be masked: as of one that is empty.
        told = text if kept and text else ""
        if told not in self._ever_asked:
            self._ever_asked.add(told)
            self._asked.append(told)


class Growth:
    """Tells subscribers which logs have grown: once per turn of the loop and log, however often it was written."""

    def __init__(self, call_soon: CallSoon | None) -> None:
        """`call_soon` runs a callback in the loop's next turn; None for the asyncio loop that runs at that time."""
        self._call_soon = call_soon
        self._callbacks: list[Callable[[AttemptId], None]] = []
        self._grown: dict[AttemptId, None] = {}

    def subscribe(self, callback: Callable[[AttemptId], None]) -> Callable[[], None]:
        self._callbacks.append(callback)

        def unsubscribe() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return unsubscribe

    def note(self, id: AttemptId) -> None:
        if not self._callbacks or id in self._grown:
            return
        if not self._grown:
            call_soon = self._call_soon or asyncio.get_running_loop().call_soon
            call_soon(self._tell)
        self._grown[id] = None

    def _tell(self) -> None:
        grown, self._grown = self._grown, {}
        for id in grown:
            for callback in tuple(self._callbacks):
                callback(id)
