"""Masks again what is stored already, frame by frame, so that no frame becomes longer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from runner.masking import MARK, Finder, Masker

Key = TypeVar("Key")


@dataclass(slots=True)
class _Undecided(Generic[Key]):
    """A frame of which `left` bytes are not decided yet; `data` is what stays of the others."""

    key: Key
    left: int
    data: bytearray = field(default_factory=bytearray)


class Redactor(Generic[Key]):
    """One stream of one log. Memory is bounded by the longest needle, and by the frames that such a one spans."""

    def __init__(self, masker: Masker) -> None:
        self.marks = 0
        self.offset = 0
        """Where the first mark stands."""
        self._finder = Finder(masker)
        self._frames: deque[_Undecided[Key]] = deque()
        self._size = 0
        self._covered = False
        self._due = b""
        """What is left to be written of a mark: a frame may have room for a part of it only."""

    def redacted(self, frames: Iterable[tuple[Key, bytes]]) -> Iterator[tuple[Key, bytes]]:
        """The frames, given in the order of the stream, with what they are to hold."""
        for key, data in frames:
            self._frames.append(_Undecided(key, len(data)))
            yield from self._decided(data, final=False)
        yield from self._decided(b"", final=True)

    def _decided(self, data: bytes, *, final: bool) -> Iterator[tuple[Key, bytes]]:
        for piece, covered in self._finder.feed(data, final=final):
            if covered and not self._covered:
                self._due = MARK
                self.offset = self.offset if self.marks else self._size
                self.marks += 1
            self._covered = covered
            self._place(piece, covered)
        while self._frames and not self._frames[0].left:
            frame = self._frames.popleft()
            yield frame.key, bytes(frame.data)

    def _place(self, piece: bytes, covered: bool) -> None:
        at = 0
        for frame in self._frames:
            if at == len(piece):
                return
            size = min(frame.left, len(piece) - at)
            kept = self._due[:size] if covered else piece[at : at + size]
            if covered:
                self._due = self._due[size:]
            frame.data += kept
            frame.left -= size
            self._size += len(kept)
            at += size
