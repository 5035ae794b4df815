"""Masks again what is stored already, frame by frame, so that no frame becomes longer.

A gap may have cut a value in two, and what is left of it is told by nothing else: a beginning before the gap, or an end behind it,
that is long enough to be a value itself is masked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Generic, TypeVar

from msgspec import Struct, field

from runner.masking import MARK, SHORTEST_NEEDLE_BYTES, Finder, Masker

Key = TypeVar("Key")
Piece = tuple[bytes, bool]
"""As `Finder` tells them."""


class _Undecided(Struct, Generic[Key]):
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
        self._masker = masker
        self._finder = Finder(masker)
        self._frames: deque[_Undecided[Key]] = deque()
        self._size = 0
        self._told = 0
        """What is decided, and what of it belongs to frames that were told."""
        self._begun = 0
        """So many of the next bytes are the end of a value that the gap has cut."""
        self._covered = False
        self._due = b""
        """What is left to be written of a mark: a frame may have room for a part of it only."""

    def redacted(
        self, head: Iterable[tuple[Key, bytes]], missing: int = 0, tail: Iterable[tuple[Key, bytes]] = ()
    ) -> Iterator[tuple[Key, int, bytes]]:
        """The frames, given in the order of the stream, with what they are to hold and its offset. `missing` bytes of a gap
        lie between `head` and `tail`."""
        if not missing:
            yield from self._run(chain(head, tail), cut=False)
            return
        yield from self._run(head, cut=True)
        self._finder, self._covered, self._due = Finder(self._masker), False, b""
        self._size += missing
        self._told = self._size
        yield from self._run(self._looked_through(iter(tail)), cut=False)

    def _run(self, frames: Iterable[tuple[Key, bytes]], *, cut: bool) -> Iterator[tuple[Key, int, bytes]]:
        for key, data in frames:
            self._frames.append(_Undecided(key, len(data)))
            yield from self._decided(self._finder.feed(data))
        undecided, told = self._finder.undecided
        if cut and len(undecided) >= SHORTEST_NEEDLE_BYTES:
            yield from self._decided([(undecided[told:], True)])
        else:
            yield from self._decided(self._finder.feed(b"", final=True))

    def _looked_through(self, tail: Iterator[tuple[Key, bytes]]) -> Iterator[tuple[Key, bytes]]:
        """The same, once it is known what at its beginning is the end of a value."""
        needles = self._masker.reversed()
        first: list[tuple[Key, bytes]] = []
        data = bytearray()
        for frame in tail:
            first.append(frame)
            data += frame[1]
            if len(data) >= needles.longest:
                break
        _, size = needles.search(bytes(data[: needles.longest])[::-1])
        self._begun = size if size >= SHORTEST_NEEDLE_BYTES else 0
        yield from first
        yield from tail

    def _decided(self, pieces: Iterable[Piece]) -> Iterator[tuple[Key, int, bytes]]:
        for piece, covered in self._with_begun(pieces):
            if covered and not self._covered:
                self._due = MARK
                self.offset = self.offset if self.marks else self._size
                self.marks += 1
            self._covered = covered
            self._place(piece, covered)
        while self._frames and not self._frames[0].left:
            frame = self._frames.popleft()
            yield frame.key, self._told, bytes(frame.data)
            self._told += len(frame.data)

    def _with_begun(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        for piece, covered in pieces:
            begun = piece[: self._begun]
            if begun:
                self._begun -= len(begun)
                yield begun, True
            if len(begun) < len(piece):
                yield piece[len(begun) :], covered

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
