"""Unquoted scalars: the text as written, and what YAML 1.2 core reads it as.

Which of the two is meant depends on who reads: `1.10` is text in an environment and a number in a typed field. So the
reader keeps a `Plain`, which is the text, and `resolve` gives the other reading.
"""

from __future__ import annotations

import math
import re
from typing import Any

_NULLS = ("", "~", "null", "Null", "NULL")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

WORDS = frozenset([*_NULLS, *_BOOLEANS])
FIRST_OF_NUMBER = frozenset("-+.0123456789")
"""An unquoted scalar that is none of the words and begins with none of these is simply text."""

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BASES = {"0o": 8, "0x": 16}


class Plain(str):
    """An unquoted scalar that reads as a boolean or a number; as text it is what was written."""

    __slots__ = ()

    def resolve(self) -> bool | int | float | str:
        """The typed value; the text itself where no finite number of this machine can hold it."""
        text = str(self)
        boolean = _BOOLEANS.get(text)
        if boolean is not None:
            return boolean
        try:
            if _INTEGER.fullmatch(text):
                base = _BASES.get(text[:2])
                return int(text[2:], base) if base else int(text)
            number = float(text)
        except ValueError:  # more digits than Python converts
            return text
        return number if math.isfinite(number) else text

    def faithful(self) -> bool | int | float | str:
        """The typed value where it is written in just this way, else the text: 3 and true, but `1.10`, `0755` and `True`."""
        value = self.resolve()
        written = str(value).lower() if isinstance(value, bool) else str(value)
        return value if written == str(self) else str(self)


def read_plain(text: str) -> str | Plain | None:
    """An unquoted scalar by the rules of YAML 1.2 core; infinities and NaN are text, because JSON cannot say them."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS or _FLOAT.fullmatch(text) or _INTEGER.fullmatch(text):
        return Plain(text)
    return text


def as_text(value: Any) -> str | None:
    """A scalar where text is expected; None when `value` is no scalar or nothing at all."""
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        # From a JSON document, which spells it in this way only.
        return "true" if value else "false"
    return None


def resolved(value: Any) -> Any:
    """Plain data with every unquoted scalar typed. No deeper than the reader's limit on nesting."""
    if isinstance(value, Plain):
        return value.resolve()
    if isinstance(value, dict):
        return {key: resolved(item) for key, item in value.items()}
    if isinstance(value, list):
        return [resolved(item) for item in value]
    return value
