"""The file that a program exports variables by: GitHub's grammar, or one JSON object.

    NAME=VALUE                 up to the line end; a carriage return before it belongs to the value
    NAME<<DELIMITER            the lines below, up to one that is exactly DELIMITER, without the last line end
    …
    DELIMITER

Empty lines between are skipped, the last write of a name wins. A file whose first character is `{` is one JSON object; values
that are no strings are kept as compact JSON, numbers as they were written. Errors name file and line and never quote what
stands there: it may be a secret.
Source: actions/runner, `src/Runner.Worker/FileCommandManager.cs`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

from runner.errors import OutputFileError

MAX_OUTPUT_FILE_BYTES = 1 << 20

BOM = b"\xef\xbb\xbf"


def parse_output(data: bytes, source: str) -> dict[str, str]:
    """The variables in `data`, in the order of their first write. `source` is how errors call the file."""
    if len(data) > MAX_OUTPUT_FILE_BYTES:
        raise OutputFileError(
            f"{source}: {len(data):,} bytes are more than the {MAX_OUTPUT_FILE_BYTES:,} that are allowed"
        )
    text = _decode(data.removeprefix(BOM), source)
    return _json_object(text, source) if text.startswith("{") else dict(_lines(text, source))


def parse_begun(data: bytes) -> Iterator[tuple[str, str]]:
    """Names and values in a file that is still being written, each as often as it is there, in the order in which they are: what is
    whole, and what stands in the last line by now. Never fails: what is malformed ends it."""
    text = data.removeprefix(BOM).decode(errors="surrogateescape")
    with suppress(OutputFileError):
        yield from _json_object(text, "").items() if text.startswith("{") else _lines(text, "")


def _decode(data: bytes, source: str) -> str:
    nul = data.find(b"\0")
    if nul >= 0:
        raise _fault(source, _line_of(data, nul), "a NUL byte")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _fault(source, _line_of(data, error.start), "not UTF-8") from None


def _lines(text: str, source: str) -> Iterator[tuple[str, str]]:
    lines = text.split("\n")
    complete = len(lines) - 1
    """How many lines have a line end."""
    at = 0
    while at < len(lines):
        line, number = lines[at], at + 1
        at += 1
        if not line:
            continue
        equals, marker = line.find("="), line.find("<<")
        if equals >= 0 and not 0 <= marker < equals:
            name, value = line[:equals], line[equals + 1 :]
        elif marker >= 0:
            name, delimiter = line[:marker], line[marker + 2 :]
            if not delimiter:
                raise _fault(source, number, "no delimiter behind `<<`")
            end = _find(lines, delimiter, at)
            if end is None:
                missing_end = complete < len(lines) and lines[complete] != ""
                also = " (and the last line has no line end)" if missing_end else ""
                raise _fault(source, number, f"the delimiter of this value does not follow on a line of its own{also}")
            value, at = "\n".join(lines[at:end]), end + 1
        else:
            raise _fault(source, number, "expected NAME=VALUE or NAME<<DELIMITER")
        if not name:
            raise _fault(source, number, "the name is empty")
        yield name, value


def _find(lines: list[str], delimiter: str, start: int) -> int | None:
    try:
        return lines.index(delimiter, start)
    except ValueError:
        return None


def _json_object(text: str, source: str) -> dict[str, str]:
    try:
        parsed = json.loads(text, parse_constant=_refuse, parse_int=_Number, parse_float=_Number)
    except json.JSONDecodeError as error:
        raise _fault(source, error.lineno, f"malformed JSON at column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise OutputFileError(f"{source}: the JSON is nested too deeply") from None
    except ConstantError as error:
        raise OutputFileError(f"{source}: malformed JSON: {error} is no value") from None
    return {_checked(name, source): value_text(value, source) for name, value in parsed.items()}


class _Number(str):
    """A number as it was written: `1.10` is a version more often than a fraction."""

    __slots__ = ()


class ConstantError(Exception):
    """NaN or an infinity."""


def _refuse(name: str) -> float:
    raise ConstantError(name)


DECODER = json.JSONDecoder(parse_constant=_refuse, parse_int=_Number, parse_float=_Number, strict=False)
"""Takes what JSON has not: control characters in strings."""


def _compact(value: object) -> str:
    if isinstance(value, _Number):
        return value
    if isinstance(value, dict):
        return "{" + ",".join(f"{_compact(key)}:{_compact(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_compact, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _checked(name: str, source: str) -> str:
    if not name:
        raise OutputFileError(f"{source}: a name is empty")
    return value_text(name, source)


def value_text(value: object, source: str) -> str:
    """What is exported of a value of JSON. Raises OutputFileError."""
    try:
        text = str(value) if isinstance(value, str) else _compact(value)
        text.encode()
    except RecursionError:
        raise OutputFileError(f"{source}: the JSON is nested too deeply") from None
    except UnicodeEncodeError:
        raise OutputFileError(f"{source}: half of a surrogate pair, which is no character") from None
    if "\0" in text:
        raise OutputFileError(f"{source}: a NUL character (\\u0000)")
    return text


def _line_of(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1


def _fault(source: str, line: int, message: str) -> OutputFileError:
    return OutputFileError(f"{source}:{line}: {message}")
