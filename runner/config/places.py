"""Where in a TOML text each key and each item of a list stands: what tomllib does not tell."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Generator, Iterator

from runner.model.fault import Path

Place = tuple[int, int]
"""Line and column, both from 1."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})|' + r"'''.*?'''(?:'{0,2})|" + r'"(?:\\.|[^"\\])*"|' + r"'[^']*'", re.DOTALL
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


def places(text: str) -> dict[Path, Place]:
    """By the path of a key, where it is first written; by that of an item of a list, where its value begins. `text` is one that
    tomllib has read."""
    lines = [0, *(found.end() for found in re.finditer("\n", text))]
    found: dict[Path, Place] = {}
    for path, offset in _Scan(text).document():
        if path not in found:
            line = bisect_right(lines, offset)
            found[path] = (line, offset - lines[line - 1] + 1)
    return found


def place(path: Path, known: dict[Path, Place]) -> Place:
    """That of the path, or of the innermost around it that has one; the beginning of the text where none has."""
    while path and path not in known:
        path = path[:-1]
    return known.get(path, (1, 1))


class _Scan:
    """One way through a text, which gives paths and offsets in the order in which they are written."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._last: dict[Path, int] = {}
        """By the path of a list of tables, the index of the table that was begun last."""

    def document(self) -> Iterator[tuple[Path, int]]:
        table: Path = ()
        self._skip_blank()
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = yield from self._header()
            else:
                yield from self._pair(table)
            self._skip_blank()

    def _header(self) -> Generator[tuple[Path, int], None, Path]:
        """Returns the path of the table that begins here."""
        opens = self._at
        brackets = 2 if self._text.startswith("[[", opens) else 1
        self._at += brackets
        parts = [name for name, _ in self._key()]
        self._at += brackets
        path: Path = ()
        for name in parts[:-1]:
            path = self._within((*path, name))
            yield path, opens
        path = (*path, parts[-1])
        yield path, opens
        if brackets == 2:
            self._last[path] = self._last.get(path, -1) + 1
        path = self._within(path)
        yield path, opens
        return path

    def _within(self, path: Path) -> Path:
        return (*path, self._last[path]) if path in self._last else path

    def _pair(self, table: Path) -> Iterator[tuple[Path, int]]:
        path = table
        for name, offset in self._key():
            path = (*path, name)
            yield path, offset
        self._at += 1  # the sign between key and value
        self._skip_blank()
        yield from self._value(path)

    def _value(self, path: Path) -> Iterator[tuple[Path, int]]:
        match self._text[self._at]:
            case "[":
                self._at += 1
                yield from self._items(path)
            case "{":
                self._at += 1
                yield from self._inline_table(path)
            case '"' | "'":
                self._pass(_STRING)
            case _:
                self._pass(_SCALAR)

    def _items(self, path: Path) -> Iterator[tuple[Path, int]]:
        index = 0
        while not self._closes("]"):
            yield (*path, index), self._at
            yield from self._value((*path, index))
            index += 1

    def _inline_table(self, path: Path) -> Iterator[tuple[Path, int]]:
        while not self._closes("}"):
            yield from self._pair(path)

    def _closes(self, bracket: str) -> bool:
        """Go to the next item, or behind the bracket if there is none."""
        self._skip_blank()
        if self._text[self._at] == ",":
            self._at += 1
            self._skip_blank()
        if self._text[self._at] != bracket:
            return False
        self._at += 1
        return True

    def _key(self) -> list[tuple[str, int]]:
        """The parts of a dotted key, each with its offset; then stands at what follows."""
        parts = []
        while True:
            self._skip_blank()
            start = self._at
            if self._text[start] in "\"'":
                self._pass(_STRING)
                written = self._text[start : self._at]
                parts.append((tomllib.loads(f"x = {written}")["x"], start))
            else:
                self._pass(_BARE_KEY)
                parts.append((self._text[start : self._at], start))
            self._skip_blank()
            if self._text[self._at] != ".":
                return parts
            self._at += 1

    def _pass(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        assert match is not None, "tomllib has read this text"
        self._at = match.end()

    def _skip_blank(self) -> None:
        self._pass(_BLANK)
