"""Appends to one log file, and goes on in it where a former life of the runner has stopped."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import SealError, StoreCorruptError
from runner.logs import framing, rewriting
from runner.logs.progress import Progress
from runner.model.dispatch import AttemptId
from runner.model.log import STREAMS, Stream
from runner.sealing import Sealer

_ASKED = 8
"""The flag of a frame in whose secret there are texts that the task has asked to mask."""
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class Writer:
    """Implements runner.logs.sink.Keeper. The file is made with the first write.

    Sinks of one attempt share it; it ends with the last one.
    """

    def __init__(
        self, id: AttemptId, path: Callable[[AttemptId], Path], sealer: Sealer, now: Callable[[], float]
    ) -> None:
        self.users = 0
        self.on_append: Callable[[AttemptId], None] = lambda id: None
        self.on_close: Callable[[AttemptId], None] = lambda id: None
        self._id = id
        self._find_path = path
        self._sealer = sealer
        self._now = now
        self._descriptor: int | None = None
        self._closed = False
        self._offsets: dict[Stream, int] = dict.fromkeys(STREAMS, 0)
        self._end = 0

    def recall(self) -> Mapping[Stream, Progress]:
        if self._descriptor is not None or self._closed:
            return {}
        path = self._find_path(self._id)
        try:
            known = self._continue(os.open(path, _FLAGS))
        except FileNotFoundError:
            return {}
        rewriting.remove_draft(path)
        return known

    def append(self, stream: Stream, data: bytes, progress: Progress) -> None:
        if self._closed:
            return
        if self._descriptor is None:
            self._continue(self._made())
        assert self._descriptor is not None
        written = self._frames(stream, data, progress)
        self._write(self._descriptor, written if self._end else framing.FILE_HEADER + written)
        self._offsets[stream] += len(data)
        if data:
            self.on_append(self._id)

    def close(self) -> None:
        self.users -= 1
        if self.users <= 0:
            self.abandon()
            self.on_close(self._id)

    def abandon(self) -> None:
        """Write no more, whoever may still want to."""
        self._closed = True
        self._let_go()

    def reopen(self) -> None:
        """The file was replaced: go on in the new one."""
        if self._descriptor is not None:
            self._let_go()
            self._continue(os.open(self._find_path(self._id), _FLAGS))

    def _let_go(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _frames(self, stream: Stream, data: bytes, progress: Progress) -> bytes:
        """One write. That the source has been taken so far stands in the last frame: they count all or not at all."""
        at, offset = self._now(), self._offsets[stream]
        begun = []
        while len(data) > framing.LONGEST_DATA_BYTES:
            head = framing.head(stream, offset, at, 0, 0, more=True)
            begun.append(framing.encode(head, framing.Content(data[: framing.LONGEST_DATA_BYTES])))
            data = data[framing.LONGEST_DATA_BYTES :]
            offset += framing.LONGEST_DATA_BYTES
        secret = progress.secret
        flags = progress.flags | _ASKED * bool(progress.asked)
        content = framing.Content(data, self._sealer.seal(secret, self._context) if secret else b"")
        last = framing.encode(framing.head(stream, offset, at, progress.end, flags), content)
        return b"".join([*begun, last]) if begun else last

    def _write(self, descriptor: int, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):  # the disk takes a part when it is nearly full; the next call says why
                written += os.write(descriptor, data[written:] if written else data)
        except OSError:
            os.ftruncate(descriptor, self._end)
            raise
        self._end += written

    def _made(self) -> int:
        path = self._find_path(self._id)
        for folder in (path.parent.parent, path.parent):  # `mkdir` gives the mode to the last one alone
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(path, _FLAGS | os.O_CREAT, 0o600)

    def _continue(self, descriptor: int) -> Mapping[Stream, Progress]:
        """Go on behind the last whole write; how far each stream has come there. Takes over the descriptor."""
        try:
            reader = framing.Reader(descriptor, f"the log of {self._id}")
            kept = _Kept.of(reader)
            if kept.end < reader.size:
                os.ftruncate(descriptor, kept.end)
            known = {stream: self._progress(reader, head) for stream, head in kept.last.items()}
            for head in kept.asking:
                known[head.stream] = known[head.stream].also(self._progress(reader, head).asked)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        self._end = kept.end
        self._offsets = dict.fromkeys(STREAMS, 0) | {
            name: head.offset + head.length for name, head in kept.last.items()
        }
        return known

    def _progress(self, reader: framing.Reader, head: framing.Head) -> Progress:
        content = reader.content(head)
        if content is None:
            raise StoreCorruptError(f"{reader.name} is damaged at byte {head.start}")
        try:
            secret = self._sealer.unseal(content.secret, self._context) if content.secret else b""
        except SealError as error:
            raise StoreCorruptError(f"{reader.name}: {error.message}") from error
        return Progress.of(head.taken, head.flags, secret)

    @property
    def _context(self) -> str:
        return f"log {self._id}"


@dataclass(slots=True)
class _Kept:
    """What counts in a file: the last frame of each stream, and those in which something was asked to be masked."""

    last: dict[Stream, framing.Head] = field(default_factory=dict)
    asking: list[framing.Head] = field(default_factory=list)
    end: int = 0

    @classmethod
    def of(cls, reader: framing.Reader) -> _Kept:
        kept = cls(end=len(framing.FILE_HEADER) if reader.size >= len(framing.FILE_HEADER) else 0)
        newest = former = None
        former_end = kept.end
        for head in reader.heads(0):
            if not head.more:
                newest, former, former_end = head, kept.last.get(head.stream), kept.end
                kept.last[head.stream], kept.end = head, head.end
                if head.flags & _ASKED:
                    kept.asking.append(head)
        if newest is not None and reader.content(newest) is None:
            kept.end = former_end
            kept.asking = [head for head in kept.asking if head is not newest]
            kept.last.pop(newest.stream)
            if former is not None:
                kept.last[newest.stream] = former
        return kept
