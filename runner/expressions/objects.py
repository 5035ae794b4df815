"""The objects that expressions work on, and how they are written as text.

An object is what JSON can say: text, number, boolean, none, a list or a mapping. Variables are always text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from runner.errors import TemplateError

MAX_TEXT_CHARS = 4 << 20
"""No expression and no rendered template is longer."""

MAX_DEPTH = 64
"""How deep lists and mappings may be nested."""

PLAIN = (str, int, float, type(None))
"""What is neither list nor mapping. Asked for first: whether something is a Mapping is a slow question."""

_ITEM_COST_CHARS = 150
"""An item of a list or mapping takes about as long as so many characters of a text."""

_FALSE = ("false", "False", "FALSE")

_CONTROL = [chr(code) for code in range(32)]


class UndefinedError(TemplateError):
    """The name is not known here."""

    def __init__(self, explain: Callable[[], str]) -> None:
        """`explain` says what is there instead: costly, and often not asked for, e.g. where there is a `default`."""
        super().__init__()
        self._explain = explain

    @property
    def message(self) -> str:
        return self._explain()

    def __str__(self) -> str:
        return self.message


def kind(value: object) -> str:
    """What a person calls this object."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    return "a mapping" if isinstance(value, Mapping) else "a list"


def truth(value: object) -> bool:
    """Whether a condition holds. Empty things, none, zero and the text `false`, `False` or `FALSE` do not: variables are text,
    and a program that writes `changed=false` means it."""
    return bool(value) and value not in _FALSE


def text_of(value: object) -> str:
    """As it stands in a rendered text: none is empty, `true` and `false` are lower case, lists and mappings are compact JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else json_text(value)


def json_text(value: object) -> str:
    """Compact JSON, not escaped beyond what JSON asks for; refused before it is built when it would be too long."""
    if isinstance(value, float) and not math.isfinite(value):
        raise TemplateError("the number is too large")
    _check_size(value)
    # Beyond quoting, which is counted, JSON adds little: at worst some digits to a number.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    check_length(len(text))
    return text


def check_length(chars: int) -> None:
    if chars > MAX_TEXT_CHARS:
        raise TemplateError(f"the result is longer than {MAX_TEXT_CHARS >> 20} MiB")


def check_text(text: str) -> str:
    """`text`, if it may be a value: it can be written as UTF-8, and has no NUL."""
    if "\0" in text:
        raise TemplateError("the result contains a NUL character")
    if not text.isascii():
        encode(text)
    return text


def encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise TemplateError("the result contains half of a surrogate pair, which is no character") from None


def read_json(text: str) -> Any:
    """The object that `text` describes, strictly JSON and not nested too deeply."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        at = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise TemplateError(f"fromjson: the text is not JSON{at}") from None
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value)
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(digits)
    return number


def _too_deep() -> TemplateError:
    return TemplateError(f"fromjson: the data is nested more than {MAX_DEPTH} levels deep")


def _children(value: object) -> list[object]:
    if isinstance(value, PLAIN):
        return []
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    raise _too_deep()


def cost(value: object, limit: int) -> int:
    """What looking at all of `value` costs, in characters; the count ends where it exceeds `limit`."""
    if isinstance(value, str):
        return len(value)
    size = 0
    rest = [value]
    while rest and size <= limit:
        item = rest.pop()
        size += len(item) if isinstance(item, str) else _ITEM_COST_CHARS
        rest += _children(item)
    return size


def _check_size(value: object) -> None:
    size = 0
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            size += _quoted_length(item)
        elif isinstance(item, Mapping):
            size += sum(_quoted_length(str(key)) for key in item)
        else:
            size += 1
        check_length(size)
        rest += _children(item)


def _quoted_length(text: str) -> int:
    if 6 * len(text) <= 4096:
        return len(text) + 2
    escaped = text.count('"') + text.count("\\") + sum(5 * text.count(char) for char in _CONTROL)
    return len(text) + 2 + escaped
