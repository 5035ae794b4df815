"""What a malformed output file may have meant: every value that stands whole in it, wherever it was cut or damaged."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.errors import OutputFileError
from runner.model import fragments
from runner.model.fragments import MOST_TOLD, MOST_TOLD_OF_ONE, parse_malformed
from runner.model.outputfile import MAX_OUTPUT_FILE_BYTES, parse_output


class Statement(NamedTuple):
    """Where the value of a name stands in a file: `begin` to `end`, and its name from `name_at` on."""

    name: str
    text: str
    name_at: int
    name_end: int
    begin: int
    end: int


class File(NamedTuple):
    data: bytes
    statements: tuple[Statement, ...]


def told(data: bytes) -> set[tuple[str, str]]:
    return set(parse_malformed(data))


def strings(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        return [text for part in (value.values() if isinstance(value, dict) else value) for text in strings(part)]
    return [value] if isinstance(value, str) else []


def is_malformed(data: bytes) -> bool:
    try:
        parse_output(data, "f")
    except OutputFileError:
        return True
    return False


NAMES = ("token", "other", "a_b-c")
DELIMITERS = ("EOF", "ghadelimiter_1", "_-_")
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
LINES = st.lists(WORDS.filter(lambda word: word not in DELIMITERS), min_size=1, max_size=4).map("\n".join)


@st.composite
def line_files(draw: st.DrawFn) -> File:
    data = b""
    statements = []
    for _ in range(draw(st.integers(1, 4))):
        name = draw(st.sampled_from(NAMES))
        head = len(data)
        if draw(st.booleans()):
            text = draw(WORDS)
            data += f"{name}=".encode()
            begin = len(data)
            data += text.encode()
            end = len(data)
        else:
            text, delimiter = draw(LINES), draw(st.sampled_from(DELIMITERS))
            data += f"{name}<<{delimiter}\n".encode()
            begin = len(data)
            data += text.encode()
            end = len(data)
            data += f"\n{delimiter}".encode()
        data += b"\n"
        statements.append(Statement(name, text, head, head + len(name), begin, end))
    return File(data, tuple(statements))


VALUES: st.SearchStrategy[Any] = st.recursive(
    WORDS | LINES | st.integers() | st.text(st.sampled_from('"\\\t/é😀x'), min_size=1, max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*NAMES, "x"]), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def json_files(draw: st.DrawFn) -> File:
    ascii_only, indent = draw(st.booleans()), draw(st.sampled_from(["", "\n  "]))
    data = b"{"
    statements = []
    for number, name in enumerate(draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))):
        value = draw(VALUES)
        data += b"," * (number > 0) + indent.encode()
        head = len(data)
        data += json.dumps(name).encode()
        name_end = len(data)
        data += draw(st.sampled_from([b":", b": ", b" : "]))
        written = json.dumps(value, ensure_ascii=ascii_only).encode()
        is_text = isinstance(value, str)
        begin = len(data) + is_text
        data += written
        end = len(data) - is_text
        [(_, text)] = parse_output(b'{"x": %s}' % written, "f").items()
        statements.append(Statement(name, text, head, name_end, begin, end))
    return File(data + indent.strip(" ").encode() + b"}\n", tuple(statements))


FILES = line_files() | json_files()


@settings(max_examples=60, deadline=None)
@given(FILES)
@example(File(b"token<<EOF\nx\nEOF", (Statement("token", "x", 0, 5, 11, 12),)))
def test_cut_at_every_byte_all_that_stands_whole_before_is_told(file: File) -> None:
    for cut in range(len(file.data)):
        found = told(file.data[:cut])
        for statement in file.statements:
            if statement.end <= cut:
                assert any(name == statement.name and text.strip() == statement.text.strip() for name, text in found), (
                    cut,
                    statement,
                )


@settings(max_examples=60, deadline=None)
@given(FILES)
def test_cut_at_every_byte_nothing_is_told_that_is_not_of_its_name(file: File) -> None:
    """But the beginning of a value that was cut, with that of its delimiter, or a text in one."""
    starts = [*(one.name_at for one in file.statements[1:]), len(file.data)]
    own: dict[str, list[str]] = {}
    for one, start in zip(file.statements, starts, strict=True):
        parts = strings(json.loads(one.text)) if one.text[0] in "{[" and file.data[:1] == b"{" else []
        own.setdefault(one.name, []).extend([one.text, file.data[one.begin : start].decode(), *parts])
    for cut in range(len(file.data)):
        for name, text in told(file.data[:cut]):
            if name in NAMES:
                whole = text.encode(errors="surrogateescape").decode(errors="ignore").strip()
                assert any(whole in text for text in own[name]), (cut, name, text)


@settings(max_examples=60, deadline=None)
@given(FILES, st.data())
def test_damaged_at_any_byte_all_is_told_whose_name_and_value_are_whole(file: File, chance: st.DataObject) -> None:
    at = chance.draw(st.integers(0, len(file.data) - 1))
    damaged = bytearray(file.data)
    damaged[at] = chance.draw(st.sampled_from(list(b'x#\0\n"}\xff9 ')))
    if not is_malformed(bytes(damaged)):
        return
    found = told(bytes(damaged))
    for number, one in enumerate(file.statements):
        begins = file.statements[number - 1].end if number else 0
        # From behind the value before, where this one has its place; where nothing but its end bounds it, to that.
        if begins <= at < one.end + (file.data[one.begin - 1 : one.begin] not in (b'"', b"\n")):
            continue
        assert any(name == one.name and text.strip() == one.text.strip() for name, text in found), (at, one)


CASES: dict[bytes, set[tuple[str, str]]] = {
    b"token<<EOF\nhunter2\n": {("token", "hunter2\n")},
    b"token<<EOF\nhunter2\nEOF \nother=1\n": {("token", "hunter2"), ("other", "1")},
    b"token<<EOF\nhunter2EOF\nother=1\n": {("token", "hunter2"), ("other", "1")},
    b"token<<EOF\nhunter2\nother=1\n": {("token", "hunter2"), ("other", "1")},
    b"token<<\nhunter2\n\nother=1\n": {("token", "hunter2"), ("other", "1")},
    b"no variable\ntoken=hunter2\n": {("token", "hunter2")},
    b"no variable\nexport token=hunter2\n": {("token", "hunter2")},
    b"token: hunter2\n": {("token", "hunter2")},
    b'- token: "hunter2"\r\n': {("token", "hunter2")},
    b"token hunter2\n": {("token", "hunter2")},
    b"token<EOF\nhunter2\nEOF\n": {("token", "hunter2")},
    b"token=hunter2\xff\nother=1": {("token", "hunter2\udcff"), ("other", "1")},
    b"token=hunter2\0": {("token", "hunter2\0")},
    b'{"token": "hunter2': {("token", "hunter2")},
    b'{"token": "hun"ter2", "other": "1"}': {("token", 'hun"ter2'), ("other", "1")},
    b'{"token": "hun\nter2", "other": 1': {("token", "hun\nter2"), ("other", "1")},
    b'{"token": "hunter\\2"}': {("token", "hunter\\2")},
    b'{"token": "hunter2, "other": "1"}': {("token", "hunter2"), ("other", "1")},
    b'{"token": hunter2", "other": "1"}': {("token", "hunter2"), ("other", "1")},
    b'{"token": hunter2}': {("token", "hunter2")},
    b'{"token" "hunter2"}': {("token", "hunter2")},
    b"{'token': 'hunter2', 'other': '1'}": {("token", "hunter2"), ("other", "1")},
    b"{token: 'hunter2'}": {("token", "hunter2")},
    b'[{"token": "hunter2"}]': {("token", "hunter2")},
    b' {"token": "hunter2"}': {("token", "hunter2")},
    b'{"other": NaN, "token": "hunter2"}': {("token", "hunter2")},
    b'{"token": "hunter2", "token": ["a", "': {("token", "hunter2"), ("token", '["a","')},
    b'{"token": {"a": "hunter2-hunter2", "b": "x"': {("token", "hunter2-hunter2"), ("token", '{"a":"hunter2-hunter2","b":"x"')},
    b'{"other": "x" "y", "token": "hunter2"}': {("token", "hunter2")},
    b'{"token": "hunter2\\ud83d': {("token", "hunter2")},
    b'{"token": "hunter2\\u00': {("token", "hunter2")},
}  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), CASES.items(), ids=map(repr, CASES))
def test_faults_that_programs_make(data: bytes, expected: set[tuple[str, str]]) -> None:
    assert is_malformed(data)
    assert expected <= told(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"other": {"token": "public"}, "x": ',
        b'{"other": "it says token: public, doesn\'t it',
        b'{"other": "it says \\"token\\": \\"public\\"", "x": tru',
        b"other<<EOF\ntoken=public\nEOF\nno variable",
        b"other=token=public\nno variable",
        b'other={"token": "public"}\nno variable',
    ],
)
def test_what_stands_in_a_value_that_is_whole_is_no_name(data: bytes) -> None:
    assert is_malformed(data)
    assert "token" not in dict(told(data))


@given(st.binary(max_size=200) | st.text(st.sampled_from("token<=\n{}[]\":,'\\ ")).map(str.encode))
def test_it_never_fails(data: bytes) -> None:
    for name, text in parse_malformed(data):
        assert name is not None
        assert text


PIECES = [
    b"a<<x\n", b"a<<x\nx x\n", b"x", b'"', b'{"a":', b'{"a":[', b'a:"x"y ', b"a:", b"\\", b'"\\', b" ", b"{", b'"a":"x"y ',
    b"'", b"a: ", b"\n", b"a<b\n", b'"a": {"b": "c" ', b"=", b"<<", b"a b\n", b'{"a":"" ',
]  # fmt: skip


BEGINNINGS = [b"", b"{", b'{"a": ']
SHARE = 16
LARGEST = [
    (b"{", b"a<<x\nx x\n"), (b"", b"a<b\n"), (b"", b"a:"), (b"{", b'a:"x"y '), (b"{", b'{"a":'), (b"{", b'{"a":['),
    (b'{"a": ', b'"a": {"b": "c" '), (b"", b"a b\n"),
]  # fmt: skip
"""Those that without bounds would take for ever, and those that take longest all the same."""


def assert_bounded(beginning: bytes, piece: bytes, share: int) -> None:
    most = MAX_OUTPUT_FILE_BYTES // share
    sizes: dict[str, int] = {}
    for name, text in parse_malformed((beginning + piece * (most // len(piece) + 1))[:most]):
        sizes[name] = sizes.get(name, 0) + len(text)
    assert all(size <= MOST_TOLD_OF_ONE // share for size in sizes.values())
    assert sum(sizes.values()) <= MOST_TOLD // share


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize("piece", PIECES)
def test_what_it_tells_is_bounded(monkeypatch: pytest.MonkeyPatch, beginning: bytes, piece: bytes) -> None:
    """The bounds and the file are smaller here, in the same proportion."""
    for name in ("MOST_TOLD", "MOST_TOLD_OF_ONE", "MOST_LOOKED_THROUGH"):
        monkeypatch.setattr(fragments, name, getattr(fragments, name) // SHARE)
    assert_bounded(beginning, piece, SHARE)


@pytest.mark.parametrize(("beginning", "piece"), LARGEST)
def test_what_it_tells_of_the_largest_file_is_bounded(beginning: bytes, piece: bytes) -> None:
    assert_bounded(beginning, piece, 1)
