"""Text that is no YAML: what the parser says, in words for the person who wrote it."""

from __future__ import annotations

import re
from typing import Any

from yaml.reader import ReaderError

from runner.model.fault import Fault
from runner.model.place import end_of

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNQUOTED_TEMPLATE = re.compile(r"(?:^|[:,\[-])\s*\{\{")

_PROBLEMS = {
    "did not find expected key": "expected a key, or the end of the mapping",
    "did not find expected '-' indicator": "expected `-`, or the end of the list",
    "did not find expected ',' or ']'": "expected `,` or `]`",
    "did not find expected ',' or '}'": "expected `,` or `}`",
    "did not find expected node content": "expected a value",
    "did not find expected <document start>": "expected the end of the document",
    "could not find expected ':'": "expected `:` behind a key",
    "mapping values are not allowed in this context": "a `:` is not allowed here",
    "found character that cannot start any token": "no value can begin with this character",
    "found unexpected end of stream": "the text ends too early",
}
"""libyaml's words, and ours."""


def malformed(text: str, error: Exception) -> Fault:
    if isinstance(error, ReaderError):
        return _forbidden(text)
    problem: Any = getattr(error, "problem_mark", None)
    begun: Any = getattr(error, "context_mark", None)
    said: str = getattr(error, "problem", None) or "it cannot be read"
    message = f"the YAML is malformed: {_PROBLEMS.get(said, said)}"
    if problem is None:
        return Fault(path=(), message=message)
    line, column = _place(text, problem)
    if begun is not None and begun.line < line:
        message += f" ({getattr(error, 'context', '')}, begun in line {begun.line + 1})"
    return Fault(
        path=(),
        message=message,
        hint=_hint(_line(text, line), column),
        line=line + 1,
        column=column + 1,
    )


def _place(text: str, problem: Any) -> tuple[int, int]:
    """Line and column, from 0. At the end of a text libyaml is in a new line, also where there is none."""
    if problem.index < len(text):
        return problem.line, problem.column
    line, column = end_of(text)
    return line - 1, column - 1


def _forbidden(text: str) -> Fault:
    match = _FORBIDDEN.search(text)
    at = match.start() if match else 0
    character = f"U+{ord(text[at]):04X}" if text else "at the end"
    name = "a NUL byte" if match and match[0] == "\0" else f"the character {character}"
    return Fault(
        path=(),
        message=f"{name} is not allowed in a document",
        line=text.count("\n", 0, at) + 1,
        column=at - text.rfind("\n", 0, at),
    )


def _line(text: str, number: int) -> str:
    """Line `number`, from 0."""
    at = 0
    for _ in range(number):
        at = text.find("\n", at) + 1
        if at == 0:
            return ""
    end = text.find("\n", at)
    return text[at : end if end >= 0 else len(text)]


def _hint(line: str, column: int) -> str | None:
    character = line[column : column + 1]
    if character == "\t" or "\t" in line[:column].strip(" "):
        return "YAML is indented with spaces, not with tabs"
    if character == ",":
        return "a line of a mapping does not end in a comma"
    if _UNQUOTED_TEMPLATE.search(line, 0, column + 2):
        return "a text that begins with {{ must stand in quotes"
    if character == ":":
        return "a text that contains `: ` must stand in quotes"
    if character and character in "@`%":
        return f"a text that begins with {character} must stand in quotes"
    return None
