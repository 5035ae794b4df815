"""The filters. Each takes the value before `|` and plain arguments, and refuses a result before it becomes too long."""

from __future__ import annotations

import base64
import binascii
import shlex
from collections.abc import Callable, Mapping
from typing import NamedTuple

from runner.errors import TemplateError
from runner.expressions.objects import (
    check_length,
    encode,
    json_text,
    kind,
    read_json,
    text_of,
)

MAX_PIECES = 100_000
"""How many pieces `split` makes at most."""

MAX_TRIMMED = 100
"""How many different characters `trim` takes off: every one of the text may be compared with all of them."""


class Filter(NamedTuple):
    """`call` gets the value and between `least` and `most` arguments. `weight` is what a character costs, in the coin of `Work`:
    for the slowest text that was found, e.g. `upper` of many `ß`."""

    call: Callable[..., object]
    least: int = 0
    most: int = 0
    weight: int = 1


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple | Mapping) or value is None:
        raise TemplateError(f"a text is needed, not {kind(value)}")
    return text_of(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TemplateError(f"a whole number is needed, not {kind(value)}")
    return value


def _lower(value: object) -> str:
    return _text(value).lower()


def _upper(value: object) -> str:
    return _text(value).upper()


def _trim(value: object, chars: object = None) -> str:
    taken = None if chars is None else "".join(set(_text(chars)))
    if taken is not None and len(taken) > MAX_TRIMMED:
        raise TemplateError(f"more than {MAX_TRIMMED} different characters are to be taken off")
    return _text(value).strip(taken)


def _replace(value: object, old: object, new: object, count: object = -1) -> str:
    text, before, after, most = _text(value), _text(old), _text(new), _count(count)
    times = text.count(before)
    times = min(times, most) if most >= 0 else times
    check_length(len(text) + times * (len(after) - len(before)))
    return text.replace(before, after, most)


def _b64encode(value: object) -> str:
    data = encode(_text(value))
    check_length((len(data) + 2) // 3 * 4)
    return base64.b64encode(data).decode()


def _b64decode(value: object) -> str:
    try:
        return base64.b64decode("".join(_text(value).split()), validate=True).decode()
    except UnicodeDecodeError:
        raise TemplateError("the decoded bytes are not UTF-8 text") from None
    except (binascii.Error, ValueError):
        raise TemplateError("the text is not base64") from None


def _fromjson(value: object) -> object:
    return read_json(_text(value))


def _shquote(value: object) -> str:
    text = _text(value)
    check_length(len(text) + 4 * text.count("'") + 2)
    return shlex.quote(text)


def _join(value: object, separator: object = "") -> str:
    if not isinstance(value, list | tuple):
        raise TemplateError(f"a list is needed, not {kind(value)}")
    between = _text(separator)
    size = max(0, len(value) - 1) * len(between)
    items = []
    for item in value:
        items.append(_text(item))
        size += len(items[-1])
        check_length(size)
    return between.join(items)


def _split(value: object, separator: object = None) -> list[str]:
    text = _text(value)
    by = None if separator is None else _text(separator)
    if by == "":
        raise TemplateError("the separator is empty")
    pieces = text.split(by, MAX_PIECES)
    if len(pieces) > MAX_PIECES:
        raise TemplateError(f"the text has more than {MAX_PIECES:,} pieces")
    return pieces


def _length(value: object) -> int:
    if isinstance(value, str | list | tuple | Mapping):
        return len(value)
    raise TemplateError(f"{kind(value)} has no length")


def _first(value: object) -> object:
    return _at(value, 0)


def _last(value: object) -> object:
    return _at(value, -1)


def _at(value: object, index: int) -> object:
    if not isinstance(value, str | list | tuple):
        raise TemplateError(f"a list or a text is needed, not {kind(value)}")
    if not value:
        raise TemplateError(f"{kind(value)} without items has no first and no last")
    return value[index]


FILTERS: Mapping[str, Filter] = {
    "lower": Filter(_lower, weight=8),
    "upper": Filter(_upper, weight=18),
    "trim": Filter(_trim, most=1, weight=20),
    "replace": Filter(_replace, least=2, most=3, weight=14),
    "b64encode": Filter(_b64encode, weight=6),
    "b64decode": Filter(_b64decode, weight=8),
    "tojson": Filter(json_text, weight=22),
    "fromjson": Filter(_fromjson, weight=22),
    "shquote": Filter(_shquote, weight=18),
    "join": Filter(_join, most=1, weight=3),
    "split": Filter(_split, most=1, weight=4),
    "length": Filter(_length),
    "first": Filter(_first),
    "last": Filter(_last),
}
"""By name. `default` is not here: it alone may look at a name that is not defined (`compiler`)."""

FILTER_NAMES = ("default", *FILTERS)
