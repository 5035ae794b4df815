"""Where things stand in a document: a second reading, made only when there is a fault.

Both readers tell the structure of their text as a stream of marks; `places` follows the wanted paths through it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from msgspec import Struct

from runner.model.fault import Path


class Shape(Enum):
    MAPPING = 1
    LIST = 2
    SCALAR = 3
    END = 4


class Mark(NamedTuple):
    """A node begins here (or the innermost mapping or list ends). `text` is a scalar's; lines and columns count from 1.
    `start` and `end` are where it stands in the source, in characters."""

    shape: Shape
    text: str
    line: int
    column: int
    start: int
    end: int


class Place(NamedTuple):
    """Where a value stands, and the key that it belongs to."""

    path: Path
    key: Mark | None
    value: Mark


class Opening(NamedTuple):
    """A `{{` in a scalar: where it is in its text, in the source, and for a person."""

    offset: int
    start: int
    line: int
    column: int


class _Open(Struct):
    """A mapping or list whose end has not come yet; `key` waits for its value."""

    path: Path
    shape: Shape
    count: int = 0
    key: Mark | None = None


def end_of(text: str) -> tuple[int, int]:
    """Line and column, from 1, behind the last character."""
    lines = _LINE_END.split(text)
    return len(lines), len(lines[-1]) + 1


def walk(marks: Iterable[Mark]) -> Iterator[Place]:
    """Every value of the document in order, outer ones before what they hold."""
    stack: list[_Open] = []
    for mark in marks:
        if mark.shape is Shape.END:
            stack.pop()
            continue
        path: Path = ()
        key: Mark | None = None
        if stack:
            parent = stack[-1]
            key = parent.key
            if parent.shape is Shape.MAPPING and key is None:
                parent.key = mark
                if mark.shape is not Shape.SCALAR:
                    stack.append(_Open((*parent.path, mark.text), mark.shape))
                continue
            path = (*parent.path, parent.count if key is None else key.text)
            parent.count += 1
            parent.key = None
        yield Place(path, key, mark)
        if mark.shape is not Shape.SCALAR:
            stack.append(_Open(path, mark.shape))


def places(marks: Iterable[Mark], wanted: Collection[Path]) -> dict[Path, Place]:
    """The places of the wanted paths and of all that they lead through, as far as the document has them."""
    along = {path[:length] for path in wanted for length in range(len(path) + 1)}
    found: dict[Path, Place] = {}
    if not along:
        return found
    for place in walk(marks):
        if place.path in along:
            found.setdefault(place.path, place)
            if len(found) == len(along):
                break
    return found


MOST_OPENINGS = 10_000
"""In a text with more only its own place is told."""

LINE_ENDS = "\n\r\x85\u2028\u2029"
_LINE_END = re.compile(f"\r\n|[{LINE_ENDS}]")
"""As YAML counts lines. A text in JSON has none."""


def openings(source: str, mark: Mark, *, json: bool) -> list[Opening]:
    """Every `{{` of a scalar, in order. Quotes, escapes and indentation make its text another one than what is written, but
    hide no brace; nothing where one was written as an escape after all."""
    count = mark.text.count("{{")
    if count > MOST_OPENINGS or source.count("{{", mark.start, mark.end) != count:
        return []
    found = []
    line, line_start, at = mark.line, mark.start - mark.column + 1, mark.start
    start, offset = mark.start - 2, -2
    for _ in range(count):
        start, offset = source.find("{{", start + 2), mark.text.find("{{", offset + 2)
        for end in () if json else _LINE_END.finditer(source, at, start):
            line, line_start = line + 1, end.end()
        at = start
        found.append(Opening(offset, start, line, start - line_start + 1))
    return found
