"""How far one stream has come on its way into a log, so that another life of the runner goes on as if nothing had happened.

A frame tells what is held back since the frame before: what has left the beginning, and what was added. So a long text that comes
byte by byte is told once, not once for each byte. Now and then a frame tells all of it, as often as that no more than doubles what
is written: what has to be read to go on is bounded by what is held back, too.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from runner.errors import StoreCorruptError
from runner.masking.commands import BEGINNING, Line
from runner.masking.stream import NOTHING, Held

FRESH, COVERED, HIDING, ASKED = 1, 2, 4, 8
"""The flags of a frame; with the last one there are texts in its secret that the task has asked to mask."""

_ALWAYS_WHOLE_BYTES = 256
"""Less than this that is held back is told whole: a change would not be shorter."""
_CHANGE_BYTES = 64
"""What telling a change costs beside what was added, about."""


class Told(NamedTuple):
    """What a frame tells. `secret` is confidential, and empty where there is nothing of that kind; where it `continues` it is
    about what has changed since the frame before."""

    end: int
    flags: int
    secret: bytes
    continues: bool = False


class Progress(NamedTuple):
    """`end` is how much the source had written; `held` and `line` is what of it is not decided yet; `asked` are the texts that
    the task has asked to mask since the progress before. The texts of all three are confidential."""

    end: int = 0
    held: Held = NOTHING
    line: Line = BEGINNING
    asked: tuple[str, ...] = ()

    def also(self, asked: Iterable[str]) -> Progress:
        """With the texts that were asked to be masked before."""
        return self._replace(asked=tuple(dict.fromkeys(itertools.chain(asked, self.asked))))

    @property
    def size(self) -> int:
        """Of what is held back, in bytes."""
        return len(self.held.tail) + len(self.line.text)

    @property
    def holds(self) -> bool:
        """Whether there is anything confidential in it."""
        return bool(self.held.tail or self.line.text or self.asked)

    @classmethod
    def of(cls, tellings: Iterable[Told]) -> Progress:
        """What frames have told one after the other, of which the first tells all; `asked` are all their texts. Raises
        StoreCorruptError."""
        end = flags = told = 0
        held_back = {"tail": bytearray(), "line": bytearray()}
        asked: list[str] = []
        try:
            for end, flags, secret, continues in tellings:  # noqa: B007 - those of the last one count
                fields: dict[str, Any] = json.loads(secret) if secret else {}
                if not isinstance(fields, dict):
                    raise TypeError
                for name, data in held_back.items():
                    del data[: fields.get(f"{name}_from", 0) if continues else len(data)]
                    data.extend(_bytes(fields.get(name, "")))
                told = fields.get("told", 0)
                asked += [text.decode(errors="surrogateescape") for text in map(_bytes, fields.get("asked", ()))]
        except (ValueError, TypeError, AttributeError) as error:
            raise StoreCorruptError("what a log's frame holds back cannot be read") from error
        held = Held(bytes(held_back["tail"]), told, bool(flags & COVERED))
        line = Line(bytes(held_back["line"]), bool(flags & FRESH), bool(flags & HIDING))
        return cls(end, held, line, tuple(asked))


class Trail:
    """What the frames of one stream tell, one behind the other."""

    def __init__(self) -> None:
        self._former: Progress | None = None
        self._since = 0
        """How much was told in changes since all was told."""

    def told(self, progress: Progress) -> Told:
        """For the next frame, which has to be kept: else the trail is to be begun anew."""
        changes = None if self._former is None else _changes(self._former, progress)
        whole = changes is None or self._since + _cost(changes) > progress.size
        self._former = progress
        self._since = 0 if whole or changes is None else self._since + _cost(changes)
        line, held = progress.line, progress.held
        flags = FRESH * line.fresh | HIDING * line.hiding | COVERED * held.covered | ASKED * bool(progress.asked)
        if whole and not progress.holds:
            return Told(progress.end, flags, b"")
        fields: dict[str, Any] = (
            {"tail": _text(held.tail), "line": _text(line.text)} if whole or changes is None else changes
        )
        fields["told"] = held.told
        fields["asked"] = [_text(text.encode(errors="surrogateescape")) for text in progress.asked]
        return Told(progress.end, flags, json.dumps(fields).encode(), not whole)


def _changes(former: Progress, progress: Progress) -> dict[str, Any] | None:
    """None where all has to be told."""
    if progress.size <= _ALWAYS_WHOLE_BYTES:
        return None
    tail = _change(former.held.tail, progress.held.tail, progress.held.place - former.held.place)
    line = _change(former.line.text, progress.line.text, progress.line.place - former.line.place)
    if tail is None or line is None:
        return None
    return {"tail_from": tail[0], "tail": _text(tail[1]), "line_from": line[0], "line": _text(line[1])}


def _change(former: bytes, text: bytes, gone: int) -> tuple[int, bytes] | None:
    """How much has `gone` from the beginning of `former`, and what was added. None where that is not what has happened: two sinks
    may write one stream by turns."""
    gone = min(gone, len(former))
    if gone < 0:
        return None
    stayed = former[gone:]
    return (gone, text[len(stayed) :]) if text.startswith(stayed) else None


def _cost(changes: dict[str, Any]) -> int:
    return _CHANGE_BYTES + len(changes["tail"]) + len(changes["line"])


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
