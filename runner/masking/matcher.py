"""Finds needles in bytes, and what may be the beginning of one.

Nearly all that a task prints is far from any needle, so the work is done in two steps. The first looks for *probes*, the first
bytes of the needles, with Aho–Corasick automata small enough for the library's vector search. Only where a probe was found
the second compares the needles that begin with it, each in linear time, also those that overlap themselves.
"""

from __future__ import annotations

import threading
from array import array
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ahocorasick_rs import BytesAhoCorasick

Span = tuple[int, int]

_EXTENDING = threading.Lock()
"""A log is masked again beside the thread that masks all others, with the same needles."""

PROBE_BYTES = 16
_PROBES_A_GROUP = 48
"""More make the vector search slow; beyond 64 there is none."""
_MANY_HITS = 64
"""From here on it is cheaper to look for each probe of the group by itself."""


class Matcher:
    """A set of needles, prepared. Immutable; may be used by several threads."""

    def __init__(self, needles: Iterable[bytes], joined: Iterable[Matcher] = ()) -> None:
        """`needles` are not empty. Those of the `joined` ones are taken over as they are prepared there."""
        self.longest = 0
        """In bytes."""
        begun: defaultdict[bytes, list[Needle]] = defaultdict(list)
        known = {needle.text: needle for other in joined for same in other._needles.values() for needle in same}
        for text in sorted({*needles, *known}):
            needle = known.get(text) or Needle(text)
            begun[needle.probe].append(needle)
            self.longest = max(self.longest, len(text))
        self._needles: dict[bytes, list[Needle]] = dict(begun)
        """By their probe."""
        probes = list(begun)
        count = -(-len(probes) // _PROBES_A_GROUP)
        # Dealt out, not cut: with few different first bytes in a group the library would look for these alone.
        self._groups = [_Group(probes[number::count]) for number in range(count)]
        self._beginnings = frozenset(
            text[:size]
            for needles_of_probe in begun.values()
            for text in (needle.text for needle in needles_of_probe)
            for size in range(1, min(PROBE_BYTES, len(text)))
        )
        self._letters = frozenset(b"".join(self._beginnings))

    def search(self, data: bytes) -> tuple[list[Span], int]:
        """Where needles stand in `data`, in no order, overlapping or not; and how many bytes at its end are the beginning
        of a needle that more data may complete."""
        spans: list[Span] = []
        held = 0
        for group in self._groups:
            for probe, at in group.search(data).items():
                for needle in self._needles[probe]:
                    found, begun = needle.search(data, at)
                    spans += found
                    held = max(held, begun)
        return spans, max(held, self._begun_at_end(data))

    def _begun_at_end(self, data: bytes) -> int:
        """As `search`, of what is too short for a probe."""
        if data and data[-1] in self._letters:
            for size in range(min(PROBE_BYTES - 1, len(data)), 0, -1):
                if data[-size:] in self._beginnings:
                    return size
        return 0


class _Group:
    """A few probes."""

    def __init__(self, probes: list[bytes]) -> None:
        # Imported here: whoever has nothing to hide does not pay for it.
        from ahocorasick_rs import BytesAhoCorasick, MatchKind

        self._probes = probes
        self._any = BytesAhoCorasick(probes, matchkind=MatchKind.LeftmostFirst)
        """Finds probes that do not overlap; only this kind of search is a vector search."""

    def search(self, data: bytes) -> dict[bytes, int]:
        """The probes that are in `data`, each with the place where it is first."""
        hits = [start for _, start, _ in self._any.find_matches_as_indexes(data)]
        if not hits:
            return {}
        if len(hits) > _MANY_HITS:
            places = ((probe, data.find(probe, hits[0])) for probe in self._probes)
            return {probe: place for probe, place in places if place >= 0}
        first: dict[bytes, int] = {}
        for hit in hits:
            # What overlaps a hit was not told.
            window = data[hit : hit + 2 * PROBE_BYTES]
            for number, at, _ in self._each.find_matches_as_indexes(window, overlapping=True):
                first.setdefault(self._probes[number], hit + at)
        return first

    @cached_property
    def _each(self) -> BytesAhoCorasick:
        from ahocorasick_rs import BytesAhoCorasick

        return BytesAhoCorasick(self._probes)


class Needle:
    """One needle. The table that the algorithm of Knuth, Morris and Pratt needs is made as far as texts agree with it."""

    __slots__ = ("_borders", "_retries", "probe", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.probe = text[:PROBE_BYTES]
        self._borders = array("i", [-1, 0])
        """For each size of a beginning: how much of it is both its beginning and its end, itself not counted."""
        self._retries = array("i", [-1])
        """The same, of those alone that another byte follows: where to go on when the next byte is not the needle's."""

    def search(self, data: bytes, at: int) -> tuple[list[Span], int]:
        """As `Matcher.search`, for this needle from `at` on. A beginning that is shorter than the probe is not told."""
        text, probe = self.text, self.probe
        spans: list[Span] = []
        agreed = 0
        start = data.find(probe, at)
        while start >= 0:
            if not agreed and data.startswith(text, start):
                agreed = len(text)
            else:
                agreed = agreement(text, agreed, data, start + agreed)
            if agreed == len(text):
                end, period = start + agreed, agreed - self._border(agreed)
                if end < len(data) and data[end] == data[end - period]:
                    # It may overlap or touch itself again and again: one span, found by comparing the data with itself.
                    repeated = agreement(data, start, data, start + period) + period
                    end = repeated - (repeated - end) % period
                spans.append((start, end))
                start, agreed = end - agreed + period, agreed - period
            elif start + agreed == len(data):
                return spans, agreed
            else:
                retry = self._retry(agreed)
                start, agreed = start + agreed - retry, max(0, retry)
            if agreed < len(probe):
                start, agreed = data.find(probe, start), 0
        return spans, 0

    def _border(self, size: int) -> int:
        if len(self._borders) <= size:
            with _EXTENDING:
                self._extend_borders(size)
        return self._borders[size]

    def _retry(self, size: int) -> int:
        """For a size that is not the whole: -1 when there is nothing to go on with but the byte behind."""
        if len(self._retries) <= size:
            with _EXTENDING:
                self._extend_borders(size)
                self._extend_retries(size)
        return self._retries[size]

    def _extend_borders(self, size: int) -> None:
        borders, text = self._borders, self.text
        while len(borders) <= size:
            byte = text[len(borders) - 1]
            border = borders[-1]
            while border >= 0 and text[border] != byte:
                border = borders[border]
            borders.append(border + 1)

    def _extend_retries(self, size: int) -> None:
        retries, text = self._retries, self.text
        while len(retries) <= size:
            border = self._borders[len(retries)]
            same = text[border] == text[len(retries)]
            retries.append(retries[border] if same else border)


def agreement(one: bytes, at: int, other: bytes, start: int) -> int:
    """The first place from `at` on where `one` differs from `other` (there from `start` on), or where one of them ends.

    Compares a few times as many bytes as agree, never more: growing steps as long as they are equal, then halves.
    """
    size = min(len(one) - at, len(other) - start)
    known, end, step = 0, 0, 32
    while known < size:
        end = min(known + step, size)
        if one[at + known : at + end] != other[start + known : start + end]:
            break
        known = end
        step *= 2
    while end - known > 1:
        middle = (known + end) // 2
        if one[at + known : at + middle] == other[start + known : start + middle]:
            known = middle
        else:
            end = middle
    return at + known
