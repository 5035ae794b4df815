"""How far one stream has come on its way into a log, so that another life of the runner goes on as if nothing had happened."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from runner.errors import StoreCorruptError
from runner.masking.commands import BEGINNING, Line
from runner.masking.stream import NOTHING, Held

FRESH, COVERED, HIDING = 1, 2, 4


class Progress(NamedTuple):
    """`end` is how much the source had written; `held` and `line` is what of it is not decided yet; `asked` are the texts that
    the task has asked to mask since the progress before. The texts of all three are confidential."""

    end: int = 0
    held: Held = NOTHING
    line: Line = BEGINNING
    asked: tuple[str, ...] = ()

    def also(self, asked: Iterable[str]) -> Progress:
        """With the texts that were asked to be masked before."""
        return self._replace(asked=tuple(dict.fromkeys((*asked, *self.asked))))

    @property
    def flags(self) -> int:
        """What is not confidential of `held` and `line`."""
        return FRESH * self.line.fresh | HIDING * self.line.hiding | COVERED * self.held.covered

    @property
    def secret(self) -> bytes:
        """All else of them; empty when there is nothing."""
        if not (self.held.tail or self.line.text or self.asked):
            return b""
        fields = {
            "tail": _text(self.held.tail),
            "told": self.held.told,
            "line": _text(self.line.text),
            "asked": [_text(text.encode(errors="surrogateescape")) for text in self.asked],
        }
        return json.dumps(fields).encode()

    @classmethod
    def of(cls, end: int, flags: int, secret: bytes) -> Progress:
        """Raises StoreCorruptError."""
        try:
            fields: dict[str, Any] = json.loads(secret) if secret else {}
            if not isinstance(fields, dict):
                raise TypeError
            return cls(
                end,
                Held(_bytes(fields.get("tail", "")), fields.get("told", 0), bool(flags & COVERED)),
                Line(_bytes(fields.get("line", "")), bool(flags & FRESH), bool(flags & HIDING)),
                tuple(_bytes(text).decode(errors="surrogateescape") for text in fields.get("asked", ())),
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise StoreCorruptError("what a log's frame holds back cannot be read") from error


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
