"""Masking as slow and as plain as can be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.masking import MARK
from runner.masking.matcher import Matcher, Span


def masked(needles: Iterable[bytes], data: bytes) -> bytes:
    covered = [False] * (len(data) + 1)
    for needle in needles:
        for at in range(len(data)):
            if data.startswith(needle, at):
                covered[at : at + len(needle)] = [True] * len(needle)
    pieces = []
    for at in range(len(data)):
        if not covered[at]:
            pieces.append(data[at : at + 1])
        elif not covered[at - 1]:
            pieces.append(MARK)
    return b"".join(pieces)


def held(needles: Iterable[bytes], data: bytes) -> int:
    return max((size for text in needles for size in range(1, len(text)) if data.endswith(text[:size])), default=0)


class Found:
    """A Searcher over bare needles."""

    active = True

    def __init__(self, needles: Iterable[bytes]) -> None:
        self.matcher = Matcher(needles)

    def search(self, data: bytes) -> tuple[Sequence[Span], int]:
        spans, size = self.matcher.search(data)
        return sorted(spans), size
