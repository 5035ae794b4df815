"""JSON text → plain data, and the places in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from runner.model.fault import Fault
from runner.model.place import Mark, Shape
from runner.model.scalars import Plain

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_TOKEN = re.compile(rf'[\s,:]*({_STRING.pattern}|[{{}}\[\]]|[^\s,:{{}}\[\]"]+)')
_OPENING = {"{": Shape.MAPPING, "[": Shape.LIST}


def has_more_nodes(text: str, limit: int) -> bool:
    """Whether a text has more nodes than `limit` (mappings, lists, keys and scalars; found at twice the limit at the latest)."""
    if text.count(",") + text.count(":") <= limit:
        return False
    bare = _STRING.sub("", text)
    return bare.count(",") + bare.count(":") > limit


def read(text: str) -> tuple[Any, bool]:
    """The data, and whether a key stands twice in some mapping (its last value is kept).

    Numbers are `Plain`. Raises JSONDecodeError where the text is no JSON, RecursionError where it is nested beyond reason.
    """
    twice = False

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice
        data = dict(pairs)
        twice = twice or len(data) != len(pairs)
        return data

    def refuse(constant: str) -> Any:
        raise json.JSONDecodeError(f"{constant} is no value", text, text.find(constant))

    decoder = json.JSONDecoder(
        object_pairs_hook=mapping, parse_int=Plain, parse_float=Plain, parse_constant=refuse, strict=True
    )
    data = decoder.decode(text)
    return data, twice


def malformed(error: json.JSONDecodeError) -> Fault:
    message = f"the JSON is malformed: {error.msg[:1].lower()}{error.msg[1:]}"
    return Fault(path=(), message=message, line=error.lineno, column=error.colno)


def marks(text: str) -> Iterator[Mark]:
    """The structure of a text that `read` accepts."""
    line, line_start, at = 1, 0, 0
    for match in _TOKEN.finditer(text):
        start = match.start(1)
        newlines = text.count("\n", at, start)
        if newlines:
            line += newlines
            line_start = text.rfind("\n", at, start) + 1
        at = start
        token = match[1]
        column = start - line_start + 1
        if token in "}]":
            yield Mark(Shape.END, "", line, column, start, match.end(1))
        elif token in _OPENING:
            yield Mark(_OPENING[token], "", line, column, start, match.end(1))
        else:
            scalar = json.loads(token) if token.startswith('"') else token
            yield Mark(Shape.SCALAR, scalar, line, column, start, match.end(1))
