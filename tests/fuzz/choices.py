"""Bytes as a source of decisions: what a fuzzer mutates then decides what is built, and every input builds something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Choices:
    """Where the bytes end the first of everything is chosen, so that what is built ends too."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> bool:
        return self._at < len(self._data)

    def below(self, count: int) -> int:
        """0 to `count` - 1; `count` is 256 at the most."""
        if not self.left:
            return 0
        self._at += 1
        return self._data[self._at - 1] % count

    def pick(self, items: Sequence[Item]) -> Item:
        return items[self.below(len(items))]

    def chance(self) -> bool:
        return self.below(2) == 1

    def bytes(self, most: int) -> bytes:
        size = self.below(most + 1)
        taken = self._data[self._at : self._at + size]
        self._at += len(taken)
        return taken

    def text(self, most: int) -> str:
        """Any that may stand in a document: without NUL, and no half of a surrogate pair."""
        return self.bytes(most).decode(errors="ignore").replace("\0", "")


def cuts(data: bytes, pieces: Choices) -> list[bytes]:
    """The same in pieces, some of them empty."""
    found, at = [], 0
    while at < len(data):
        size = pieces.below(9) if pieces.left else len(data)
        found.append(data[at : at + size])
        at += size
    return found
