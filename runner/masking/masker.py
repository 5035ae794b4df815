"""What one attempt keeps confidential."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from runner.masking.encodings import to_bytes
from runner.masking.matcher import Matcher, Span
from runner.masking.needles import SHORTEST_NEEDLE_BYTES, lines, maskable, needles, structural
from runner.masking.stream import MARK, MaskingStream

_REMEMBERED_LAYERS = 64

MOST_COMMANDED = 4 << 20
"""How much a task can ask to mask: each text and each of its lines counts with its characters and COMMANDED_EACH more. Needles
take some thirty times that in memory, and a program can ask for ever."""
COMMANDED_EACH = 256


class _Layer(NamedTuple):
    texts: frozenset[str]
    matcher: Matcher


class Masker:
    """The confidential values of one attempt. They can be added at any time; streams see them from their next byte on, what
    they hold back included.

    Copies share what was prepared: a matcher is made once for a set of values, before the first search or copy. What is
    added later is prepared apart and joined with its like, so that adding one by one stays cheap.
    """

    def __init__(self) -> None:
        self._layers: tuple[_Layer, ...] = ()
        self._new: dict[str, None] = {}
        """Added, and not prepared yet."""
        self._prepared: dict[frozenset[str], Matcher] = {}
        """Shared by all copies."""
        self.count = 0
        """How many values were added. It grows with each that was not known."""
        self.on_refused: Callable[[str | None], object] | None = None
        """Is told of a value that the task itself asked to mask and that cannot be; None in place of one that is too long, or too
        much."""
        self._commanded = 0
        self._unmaskable: set[str] = set()
        """Of what was asked to be masked."""

    def add(self, text: str) -> bool:
        """Mask `text` from now on. False when it is too short or too common to be masked without harm."""
        if not maskable(text):
            return False
        if not self._knows(text):
            self._new[text] = None
            self.count += 1
        return True

    def command(self, text: str | None) -> bool:
        """The task itself asks to mask `text`, and each of its lines; None stands for one that is too long. False when that is
        more than is remembered."""
        texts = () if text is None else (text, *(line for line in lines(text) if not structural(line)))
        new = [one for one in dict.fromkeys(texts) if one not in self._unmaskable and not self._knows(one)]
        size = sum(len(one) + COMMANDED_EACH for one in new)
        if text is None or self._commanded + size > MOST_COMMANDED:
            self._refuse(None)
            return False
        self._commanded += size
        self._unmaskable.update(one for one in new if not self.add(one))
        if text in self._unmaskable:
            self._refuse(text)
        return True

    def _refuse(self, text: str | None) -> None:
        if self.on_refused is not None:
            self.on_refused(text)

    def copy(self) -> Masker:
        """Another one with the same values. `on_refused` is not copied."""
        if self._new:
            self._prepare()
        other = Masker()
        other._layers, other._prepared, other.count = self._layers, self._prepared, self.count
        return other

    @property
    def active(self) -> bool:
        return self.count > 0

    def contains(self, text: str) -> bool:
        """Whether a value stands in `text`, in any encoding."""
        return self.active and (self._knows(text) or bool(self.search(to_bytes(text))[0]))

    def mask(self, text: str) -> str:
        """`text` with every value replaced, for errors and other short texts."""
        if not self.active:
            return text
        stream = self.stream()
        return (stream.feed(to_bytes(text)) + stream.flush()).decode(errors="replace")

    def mask_cut(self, text: str) -> str:
        """As `mask`, of a text that something has cut: at its end also what a value begins with is replaced, if it is as long as
        the shortest value."""
        data = to_bytes(text)
        begun = self.search(data)[1] if self.active else 0
        if begun < SHORTEST_NEEDLE_BYTES:
            return self.mask(text)
        return self.mask(data[:-begun].decode(errors="replace")) + MARK.decode()

    def stream(self) -> MaskingStream:
        return MaskingStream(self)

    def search(self, data: bytes) -> tuple[Sequence[Span], int]:
        """As `Searcher.search`."""
        if self._new:
            self._prepare()
        spans: list[Span] = []
        held = 0
        for layer in self._layers:
            found, begun = layer.matcher.search(data)
            spans += found
            held = max(held, begun)
        spans.sort()
        return spans, held

    def reversed(self) -> Matcher:
        """Finds the values in reversed bytes: what of a text may be the end of a value that began before it."""
        texts = itertools.chain(self._new, *(layer.texts for layer in self._layers))
        return Matcher(needle[::-1] for text in texts for needle in needles(text))

    def _knows(self, text: str) -> bool:
        return text in self._new or any(text in layer.texts for layer in self._layers)

    def _prepare(self) -> None:
        texts = frozenset(self._new)
        layers = list(self._layers)
        joined: list[Matcher] = []
        while layers and len(layers[-1].texts) <= 2 * len(texts):
            layer = layers.pop()
            texts |= layer.texts
            joined.append(layer.matcher)
        matcher = self._prepared.get(texts)
        if matcher is None:
            matcher = Matcher((needle for text in self._new for needle in needles(text)), joined)
            if len(self._prepared) >= _REMEMBERED_LAYERS:
                self._prepared.pop(next(iter(self._prepared)))
            self._prepared[texts] = matcher
        self._layers = (*layers, _Layer(texts, matcher))
        self._new = {}
