"""Masks a stream of bytes, however its writes are cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from runner.masking.matcher import Span

MARK = b"***"

Piece = tuple[bytes, bool]
"""Bytes of a stream, and whether needles cover all of them or none."""


class Searcher(Protocol):
    @property
    def active(self) -> bool:
        """Whether there is anything to look for."""

    def search(self, data: bytes) -> tuple[Sequence[Span], int]:
        """(start, end) of what needles cover in `data`, by growing start; and the size of the longest end of `data` that
        is the beginning of a needle."""


class Held(NamedTuple):
    """What a stream has not decided yet: the end of what came, of which `told` bytes at its beginning are covered and were
    told; and whether the last decided byte is part of a mark. `place` is where the tail begins: it grows by what leaves its
    beginning, from 0 in each stream that continues another one."""

    tail: bytes = b""
    told: int = 0
    covered: bool = False
    place: int = 0


NOTHING = Held()


class Finder:
    """Tells which bytes of a stream are covered by needles, each byte as soon as that is decided and never later.

    It keeps the longest end of the stream that is the beginning of a needle, so never more than the longest needle.
    """

    def __init__(self, searcher: Searcher, tail: bytes = b"", told: int = 0) -> None:
        self._searcher = searcher
        self._tail = tail
        self.place = 0
        """How much was told before the tail begins, since this finder began."""
        self._told = told
        """How many bytes at the beginning of the tail are covered and were told: they are kept for what they may begin."""

    @property
    def undecided(self) -> tuple[bytes, int]:
        """The tail, and how much of it was told."""
        return self._tail, self._told

    def feed(self, data: bytes, *, final: bool = False) -> list[Piece]:
        """The pieces that are decided now, one behind the other, none of them empty. `final`: nothing follows."""
        data = self._tail + data if self._tail else data
        if not data:
            return []
        if not self._searcher.active:
            self.place += len(data)
            return [(data, False)]
        spans, held = self._searcher.search(data)
        limit = len(data) if final else len(data) - held
        at = self._told
        pieces: list[Piece] = []
        for start, end in spans:
            if start > limit and start > at:
                break
            if start > at:
                pieces.append((data[at:start], False))
                at = start
            if end > at:
                pieces.append((data[at:end], True))
                at = end
        if at < limit:
            pieces.append((data[at:limit], False))
            at = limit
        self._tail = data[limit:]
        self.place += limit
        self._told = at - limit
        return pieces


class MaskingStream:
    """Puts MARK in the place of what needles cover: one mark however many of them overlap or touch."""

    def __init__(self, searcher: Searcher, held: Held = NOTHING) -> None:
        """`held`: of a former stream that this one continues."""
        self._finder = Finder(searcher, held.tail, held.told)
        self._covered = held.covered
        """The last byte that was decided is part of a mark."""

    @property
    def held(self) -> Held:
        return Held(*self._finder.undecided, self._covered, self._finder.place)

    def feed(self, data: bytes) -> bytes:
        """What can be said now of all that was fed."""
        return self._masked(self._finder.feed(data))

    def flush(self) -> bytes:
        """The rest: nothing follows, so nothing held can become a needle."""
        return self._masked(self._finder.feed(b"", final=True))

    def _masked(self, pieces: Sequence[Piece]) -> bytes:
        if len(pieces) == 1 and not pieces[0][1]:
            self._covered = False
            return pieces[0][0]
        shown = []
        for data, covered in pieces:
            if not covered:
                shown.append(data)
            elif not self._covered:
                shown.append(MARK)
            self._covered = covered
        return b"".join(shown)
