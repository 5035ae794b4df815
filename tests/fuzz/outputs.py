"""Output files: what a program exports, and what a malformed file may have meant.

An input is a file. One that begins with a NUL decides instead which names and values are written, in which of the forms, and what is cut or spoilt.
Judged is:

- a file has values, or an error that names a line of it and quotes nothing;
- what was read and is written again is read as the same, in every form;
- what is read while it is being written is what stands whole in it by then;
- what a file exports, or exported if the line with its fault were not there, is among what is masked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from runner.errors import OutputFileError
from runner.model.fragments import parse_malformed
from runner.model.outputfile import BOM, parse_begun, parse_output
from tests.fuzz.choices import Choices

WORDS = (
    b"A=", b"token=", b"token<<EOF\n", b"EOF\n", b"EOF", b"<<", b"=", b"\n", b"\r\n", b"{", b"}", b'"token": ', b'"', b"\\u0000", b"\\ud83d", b"\\n", b", ", b": ",
    b"[", b"]", b"NaN", b"1e999", b"null", b"\xef\xbb\xbf", b"export ", b"hunter2", b"'", b"\xff", b"\0",
)  # fmt: skip

NAMES = ("token", "A", "other", "a_b-c", "x y", "é")
VALUES = (
    "",
    "x",
    "hunter2",
    "a=b",
    "a<<EOF",
    "EOF",
    "two\nlines",
    "\n",
    "\nx\n",
    " x ",
    "x\r",
    '"q"',
    "{",
    '{"a": 1}',
    "\\",
    "é🔑",
    "\u2028",
    "A=1\nEOF\nB=2",
    "\ufeff",
)
DELIMITERS = ("EOF", "ghadelimiter_1", "=", "{", " ", "EOF=")

_NUMBERS = re.compile(r"[\d,]+")
_ERRORS = re.compile(
    "a NUL byte|not UTF-8|no delimiter behind `<<`|expected NAME=VALUE or NAME<<DELIMITER|the name is empty|a name is empty"
    "|the delimiter of this value does not follow on a line of its own( \\(and the last line has no line end\\))?"
    "|the JSON is nested too deeply|half of a surrogate pair, which is no character|a NUL character \\(\\\\u0000\\)"
    "|malformed JSON: (NaN|-?Infinity) is no value"
    "|malformed JSON at column \\d+: (Expecting (value|property name enclosed in double quotes|',' delimiter|':' delimiter)|Extra data"
    "|Illegal trailing comma before end of (object|array)"
    "|Unterminated string starting at|Invalid control character at|Invalid \\\\escape|Invalid \\\\uXXXX escape)"
)
"""All that is said of a file. Nothing of what stands in it is part of that."""


def check(data: bytes) -> None:
    """Raises AssertionError for an input that finds a fault."""
    if data[:1] == b"\0":
        _judge_built(Choices(data[1:]))
    else:
        _judge(data)


def _judge(data: bytes) -> dict[str, str] | None:
    try:
        values = parse_output(data, "out")
    except OutputFileError as error:
        _judge_malformed(data, error.message)
        return None
    for name, value in values.items():
        assert name
        assert "\0" not in name + value
    assert dict(parse_begun(data)) == values, "what is looked at while it is written"
    for written in _written(values):
        assert parse_output(written, "out") == values, "written again"
    return values


def _judge_malformed(data: bytes, message: str) -> None:
    found = re.fullmatch(r"out(?::(\d+))?: (.*)", message, re.DOTALL)
    assert found
    assert _ERRORS.fullmatch(found[2]), message
    lines = data.split(b"\n")
    assert found[1] is None or 1 <= int(found[1]) <= len(lines)
    told = set(parse_malformed(data))
    assert all(text for _, text in told)
    _masked(parse_begun(data), told)
    if found[1] is not None and found[2] not in ("a NUL byte", "not UTF-8"):
        # The line was never meant to be written. (A byte may be at fault within a value.)
        number = int(found[1])
        rest = b"\n".join([*lines[: number - 1], *lines[number:]])
        try:
            values = parse_output(rest, "out")
        except OutputFileError:
            return
        if not rest.startswith((b"{", BOM)) and not data.removeprefix(BOM).startswith(b"{"):
            _masked(values.items(), told)


def _masked(pairs: Iterable[tuple[str, str]], told: set[tuple[str, str]]) -> None:
    """Without the white space around a value, which does not hide it."""
    known = {(name, text.strip()) for name, text in told}
    for name, text in pairs:
        assert not text.strip() or (name, text.strip()) in known, (name, text)


def _written(values: Mapping[str, str]) -> Iterable[bytes]:
    yield json.dumps(values).encode()
    yield json.dumps(values, ensure_ascii=False, indent=1).encode()
    if all(not re.search("[=<\n]", name) and not name.startswith(("{", "\ufeff")) for name in values):
        lines = [_heredoc(name, value, "__END__") for name, value in values.items()]
        yield "".join(lines).encode()
        yield BOM + "".join(lines).removesuffix("\n").encode()


def _heredoc(name: str, value: str, delimiter: str) -> str:
    while delimiter in value.split("\n"):
        delimiter += "_"
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"


def _judge_built(choices: Choices) -> None:
    wanted: dict[str, str] = {}
    statements: list[tuple[str, str, int, int]] = []
    """With where each value ends, and where the statement does."""
    text = choices.pick(("", "\n", "\ufeff"))
    spoilt, at, sign = (
        choices.below(3),
        choices.below(256),
        choices.pick((b"", b"\n", b"\xff", b"\0", b"x", b'"', b"=")),
    )
    while choices.left:
        name = choices.pick(NAMES)
        value = choices.pick(VALUES) if choices.chance() else choices.text(12)
        wanted.pop(name, None) if choices.chance() else None
        wanted[name] = value
        if "\n" not in value and choices.chance():
            text += f"{name}={value}\n"
            spelt = len(text.encode()) - 1
        else:
            written = _heredoc(name, value, choices.pick(DELIMITERS))
            head = written.partition("\n")[0] + "\n"
            spelt = len((text + head + value).encode())
            text += written
        statements.append((name, value, spelt, len(text.encode()) - 1))
        text += choices.pick(("", "", "\n"))
    data = text.encode()
    assert _judge(data) == wanted
    if spoilt == 1:
        cut = data[: at % (len(data) + 1)]
        begun, told = list(parse_begun(cut)), set(parse_malformed(cut))
        whole = [(name, value) for name, value, _, end in statements if end <= len(cut)]
        assert begun[: len(whole)] == whole, "what is whole by now"
        if _judge(cut) is None:
            _masked([(name, value) for name, value, end, _ in statements if end <= len(cut)], told)
    elif spoilt == 2:
        place = at % (len(data) + 1)
        _judge(data[:place] + sign + data[place + 1 :])
