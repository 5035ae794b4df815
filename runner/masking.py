"""Keeps confidential values out of what leaves a task.

A `Masker` holds the needles of one attempt; `stream()` gives a filter for one stream of bytes that finds needles across
writes: what may be the beginning of a needle is held until it is known to be none. Overlapping finds become one mark.
"""

from __future__ import annotations

from collections.abc import Iterator

MARK = b"***"
SHORTEST_NEEDLE_BYTES = 4
_PROBE_BYTES = 32
COMMON_WORDS = frozenset({"true", "false", "null", "none", "yes", "no", "on", "off"})


class Masker:
    """The needles of one attempt. Needles can be added at any time; streams see them from their next write on."""

    def __init__(self) -> None:
        self._needles: list[bytes] = []

    def add(self, text: str) -> bool:
        """Mask `text` from now on. False when it is too short or too common to be masked without harm."""
        stripped = text.strip()
        if len(stripped.encode()) < SHORTEST_NEEDLE_BYTES or stripped.lower() in COMMON_WORDS:
            return False
        for needle in {text.encode(), stripped.encode()}:
            if needle not in self._needles:
                self._needles.append(needle)
        return True

    def copy(self) -> Masker:
        """Another one with the same needles."""
        other = Masker()
        other._needles = self._needles.copy()
        return other

    @property
    def active(self) -> bool:
        return bool(self._needles)

    def contains(self, text: str) -> bool:
        """Whether a needle stands in `text`."""
        data = text.encode(errors="surrogatepass")
        return any(needle in data for needle in self._needles)

    def mask(self, text: str) -> str:
        """`text` with every needle replaced, for errors and other short texts."""
        if not self._needles:
            return text
        stream = self.stream()
        data = stream.feed(text.encode(errors="surrogatepass")) + stream.flush()
        return data.decode(errors="replace")

    def stream(self) -> MaskingStream:
        return MaskingStream(self)

    def find(self, data: bytes) -> list[tuple[int, int]]:
        """Where needles stand in `data`: disjoint, growing (start, end)."""
        found = sorted(span for needle in self._needles for span in _occurrences(needle, data))
        merged: list[tuple[int, int]] = []
        for start, end in found:
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end))
            else:
                merged.append((start, end))
        return merged

    def held(self, data: bytes) -> int:
        """How many bytes at the end of `data` may be the beginning of a needle."""
        return max((_begun(needle, data) for needle in self._needles), default=0)


def _begun(needle: bytes, data: bytes) -> int:
    """The size of the longest end of `data` that is a beginning of `needle`, but not all of it."""
    probe = needle[:_PROBE_BYTES]  # a long needle is compared only where it may well be
    at = data.find(probe, max(0, len(data) - len(needle) + 1))
    while at >= 0:
        if needle.startswith(data[at:]):
            return len(data) - at
        at = data.find(probe, at + 1)
    for size in range(min(len(probe) - 1, len(data)), 0, -1):
        if data.endswith(needle[:size]):
            return size
    return 0


def _occurrences(needle: bytes, data: bytes) -> Iterator[tuple[int, int]]:
    at = data.find(needle)
    while at >= 0:
        yield at, at + len(needle)
        at = data.find(needle, at + 1)


class MaskingStream:
    """Masks one stream of bytes. Not a byte of a needle ever leaves it, wherever writes are cut."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._tail = b""
        self._open = 0
        """How many bytes of the tail are covered by a find that a longer overlap may still extend."""

    def feed(self, data: bytes) -> bytes:
        """What can be said now of all that was fed."""
        if not self._masker.active and not self._tail:
            return data
        return self._emit(self._tail + data, final=False)

    def flush(self) -> bytes:
        """The rest: nothing follows, so nothing held can become a needle."""
        if not self._tail:
            return b""
        return self._emit(self._tail, final=True)

    def _emit(self, data: bytes, *, final: bool) -> bytes:
        masker = self._masker
        spans = masker.find(data)
        if self._open:
            spans = _joined(spans, self._open)
        limit = len(data) if final else len(data) - masker.held(data)
        out = bytearray()
        at = 0
        self._open = 0
        for start, end in spans:
            if start >= limit:
                break
            out += data[at:start]
            if end >= limit and not final:
                # What is held may begin a needle that overlaps or touches this find: one mark for both, later.
                self._tail = data[start:]
                self._open = end - start
                return bytes(out)
            out += MARK
            at = end
        out += data[at:limit] if at < limit else b""
        self._tail = data[max(at, limit) :]
        return bytes(out)


def _joined(spans: list[tuple[int, int]], covered: int) -> list[tuple[int, int]]:
    """`spans` with the first `covered` bytes known to be part of a find."""
    end = covered
    rest = []
    for start, stop in spans:
        if start <= end:
            end = max(end, stop)
        else:
            rest.append((start, stop))
    return [(0, end), *rest]
