"""Masks what an attempt has exported in confidence in all that it prints from then on, while it still runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from runner.masking import Masker
from runner.model.log import LogSink, Stream

MOST_FORESEEN = 4 << 20
"""How many characters of values are masked so, of an attempt: one that exports other values again and again must not fill the
memory. Those that come later are masked when it ends, as are those that nobody foresees; then it is so much once more."""

Look = Callable[[], Iterable[tuple[str, str]]]
"""As `TaskContext.foresee_exports` has it."""


class Foresight:
    """A LogSink before another one. It looks at what is exported before it passes a piece on."""

    def __init__(self, sink: LogSink, masker: Masker, confidential: Collection[str]) -> None:
        """`confidential` are the names of the exports whose values are."""
        self.look: Look | None = None
        self._sink = sink
        self._masker = masker
        self._confidential = frozenset(confidential)
        self._foreseen: set[str] = set()
        self._size = 0

    def write(self, stream: Stream, data: bytes, end: int | None = None) -> None:
        self._look()
        self._sink.write(stream, data, end)

    def foresee(self, stream: Stream, data: bytes) -> None:
        self._sink.foresee(stream, data)

    def taken(self, stream: Stream) -> int:
        return self._sink.taken(stream)

    def limit(self, bytes: int) -> None:
        self._sink.limit(bytes)

    @property
    def shortened(self) -> bool:
        return self._sink.shortened

    def close(self) -> None:
        self._size = 0
        self._look()  # of a file that is malformed nothing is exported, but what it tells is confidential all the same
        self._sink.close()

    def _look(self) -> None:
        if self.look is not None:
            for name, text in self.look():
                if name in self._confidential and text not in self._foreseen:
                    self._mask(text)

    def _mask(self, text: str) -> None:
        if self._size + len(text) <= MOST_FORESEEN:
            self._size += len(text)
            self._foreseen.add(text)
            self._masker.add(text)  # one that cannot be masked is told at the end, when it is known to be whole
