"""What all log stores share: masking on the way in, and telling followers that a log has grown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from runner.masking import Masker, MaskingStream
from runner.masking.commands import MaskCommands
from runner.model.dispatch import AttemptId
from runner.model.log import Stream

CallSoon = Callable[[Callable[[], None]], object]


class MaskingSink:
    """A LogSink that obeys the `::add-mask::` lines in each stream, masks it and appends what comes out of it."""

    def __init__(self, masker: Masker, append: Callable[[Stream, bytes], None], closed: Callable[[], None]) -> None:
        """`append` gets masked bytes, never none; `closed` is called once."""
        self._streams: dict[Stream, tuple[MaskCommands, MaskingStream]] = {
            "stdout": (MaskCommands(masker.command), masker.stream()),
            "stderr": (MaskCommands(masker.command), masker.stream()),
        }
        self._append = append
        self._closed = closed
        self._open = True

    def write(self, stream: Stream, data: bytes) -> None:
        if self._open:
            commands, masking = self._streams[stream]
            # One piece after the other: a command is obeyed before what stands behind it is masked.
            masked = b"".join([masking.feed(piece) for piece in commands.feed(data)])
            if masked:
                self._append(stream, masked)

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        try:
            for stream, (commands, masking) in self._streams.items():
                said = [masking.feed(piece) for piece in commands.feed(b"", final=True)]
                rest = b"".join([*said, masking.flush()])
                if rest:
                    self._append(stream, rest)
        finally:
            self._closed()


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
