"""Puts a log that was copied from another runner, and masked again there, in the place of what was copied before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from runner.errors import StoreCorruptError
from runner.logs import framing, rewriting
from runner.logs.limit import Gap
from runner.model.log import STREAMS, Stream


class FileReplacement:
    """Implements `runner.logs.copying.Replacement` for a log file. Every frame stays where it is, so that who reads on finds his place;
    the old file is there until all of the new one is."""

    def __init__(self, reader: framing.Reader, path: Path, on_commit: Callable[[], None]) -> None:
        """`reader` is of the file at `path`, and stays open up to the end of this, which `on_commit` is told of. Raises OSError and
        StoreCorruptError."""
        self._on_commit = on_commit
        self._reader = reader
        self._stack = ExitStack()
        self._descriptor = self._stack.enter_context(rewriting.replacing(path))
        self._writes = _writes(reader)
        self._next: list[framing.Head] | None = next(self._writes, None)
        self._offsets: dict[Stream, int] = dict.fromkeys(STREAMS, 0)
        self._gap = reader.gap
        try:
            rewriting.copy(reader, self._descriptor)
        except BaseException as error:
            self.abandon(error)
            raise

    def put(self, stream: Stream, data: bytes, position: int) -> None:
        while self._next is not None and self._next[-1].taken < position:
            self._write(self._next, b"")
        if self._next is not None and self._next[-1].taken == position and self._next[-1].stream == stream:
            self._write(self._next, data)

    def commit(self) -> None:
        while self._next is not None:
            self._write(self._next, b"")
        if self._gap is not None:
            header = framing.MAGIC + framing.encode_gap(self._gap) + bytes(framing.GAP_BYTES)
            rewriting.write_all(self._descriptor, header, 0)
        self._stack.close()
        self._on_commit()

    def abandon(self, error: BaseException | None = None) -> None:
        error = error or StoreCorruptError("the log was not replaced")
        self._stack.__exit__(type(error), error, None)

    def _write(self, heads: list[framing.Head], data: bytes) -> None:
        """In the place of what one write has become."""
        if self._gap is self._reader.gap and self._gap is not None and heads[0].start >= self._gap.end.place:
            self._gap = self._passed(self._gap)
        for head in heads:
            room = head.end - head.start - framing.FRAME_HEADER_BYTES - head.secret_length
            piece, data = data[:room], data[room:]
            former = self._reader.content(head)
            if former is None:
                raise StoreCorruptError(f"{self._reader.name} is damaged at byte {head.start}")
            content = framing.Content(piece, former.secret)
            encoded = framing.encode(head._replace(offset=self._offsets[head.stream]), content)
            rewriting.write_all(self._descriptor, encoded, head.start)
            self._offsets[head.stream] += len(piece)
        if data:
            raise StoreCorruptError(f"what is to stand in {self._reader.name} is longer than what stands there")
        self._next = next(self._writes, None)

    def _passed(self, gap: Gap) -> Gap:
        """The gap, by the offsets that it has now."""
        for stream in STREAMS:
            gap = gap.moved(stream, self._offsets[stream])
            self._offsets[stream] = gap.end.offset(stream)
        return gap


def _writes(reader: framing.Reader) -> Iterator[list[framing.Head]]:
    """The frames, by the writes that have made them."""
    heads: list[framing.Head] = []
    for head in reader.heads(0):
        heads.append(head)
        if not head.more:
            yield heads
            heads = []
