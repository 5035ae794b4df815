"""Reading bytes: the data that comes out, and where things stand in the text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runner.model import document
from runner.model import yaml as reader
from runner.model.fault import Fault, Path
from runner.model.limits import Limits
from runner.model.scalars import resolved

keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False).filter(math.isfinite)
data = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)
groups = st.dictionaries(keys, data, min_size=1, max_size=4)

FRAGMENTS = r"""
a b:_ -_ N __ N__ N____ { } [ ] ,_ :_ " ' &x_ *x_ <<:_ !!str_ !x_ ?_ | > # % --- ... T \\ 1 true null {{_.a_}} \\ud800 é
"""
words = st.sampled_from([word.replace("_", " ").replace("N", "\n").replace("T", "\t") for word in FRAGMENTS.split()])


@given(groups)
def test_json_comes_out_as_it_went_in(plain: dict[str, Any]) -> None:
    for ascii_only in (True, False):
        read = document.read(json.dumps(plain, ensure_ascii=ascii_only, indent=1).encode())
        assert read.faults == ()
        assert resolved(read.data) == plain


@given(groups)
def test_yaml_comes_out_as_it_went_in(plain: dict[str, Any]) -> None:
    # Quoted throughout: what is no text has a tag then.
    read = document.read(yaml.safe_dump(plain, default_style='"').encode())
    assert read.faults == ()
    assert resolved(read.data) == plain


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    _read_or_refused(raw)


@given(st.lists(words, max_size=30).map("".join))
def test_any_text_that_looks_like_yaml_is_read_or_refused(text: str) -> None:
    _read_or_refused(text.encode())


@given(st.lists(words, max_size=30).map("".join))
def test_both_parsers_of_yaml_give_the_same_data(text: str) -> None:
    fast, slow = reader.read(text, Limits(), yaml.CSafeLoader), reader.read(text, Limits(), yaml.SafeLoader)
    if fast.complete and slow.complete:
        assert resolved(fast.data) == resolved(slow.data)
        assert [fault.message for fault in fast.faults] == [fault.message for fault in slow.faults]


def _read_or_refused(raw: bytes) -> None:
    read = document.read(raw, source="s")
    assert read.complete or read.faults
    for fault in read.locate(read.faults):
        assert fault.source == "s"
        assert fault.line >= 1
        assert fault.column >= 1
        assert fault.message
        str(fault).encode()


def _places(text: str, paths: list[Path], *, keys: bool = False) -> list[tuple[int, int]]:
    read = document.read(text.encode())
    located = {
        fault.path: (fault.line, fault.column)
        for fault in read.locate(Fault(path=path, message="x", about_key=keys) for path in paths)
    }
    return [located[path] for path in paths]


YAML_TEXT = """\
name: x
tasks:
  - name: one
    spec: &s
      "quoted key": value
      list: [a, {b: c}]
  - name: two
    spec: *s
  - {name: three, <<: {spec: 1}}
"""


def test_places_of_values() -> None:
    paths: list[Path] = [
        (),
        ("name",),
        ("tasks",),
        ("tasks", 0),
        ("tasks", 0, "spec", "quoted key"),
        ("tasks", 0, "spec", "list", 1, "b"),
        ("tasks", 2, "name"),
    ]
    assert _places(YAML_TEXT, paths) == [(1, 1), (1, 7), (3, 3), (3, 5), (5, 21), (6, 21), (9, 12)]


def test_places_of_keys() -> None:
    paths: list[Path] = [("name",), ("tasks", 0, "spec", "quoted key"), ("tasks", 0, "spec", "list", 1, "b")]
    assert _places(YAML_TEXT, paths, keys=True) == [(1, 1), (5, 7), (6, 18)]


@pytest.mark.parametrize(
    ("text", "place"),
    [("{j ", (1, 4)), ("{j\n", (2, 1)), ("[a, # why", (1, 10)), ("a: [\r\n b", (2, 3)), ("a: [\u2028b", (2, 2)), ("a:\n- [", (2, 4)), ("a:\n- <<: x", (2, 3)), ("\ufeff\ufeff{ext", (1, 5)), ("a: \u2028\xa0b: x", (2, 1))],
)  # fmt: skip
def test_a_fault_has_a_place_in_the_text(text: str, place: tuple[int, int]) -> None:
    [fault] = document.read(text.encode()).faults
    assert (fault.line, fault.column) == place


def test_places_of_what_is_not_in_the_text_itself() -> None:
    paths: list[Path] = [
        ("tasks", 0, "type"),  # missing: the mapping that should have it
        ("tasks", 1, "spec", "list", 0),  # behind an alias: the alias
        ("tasks", 2, "spec"),  # merged: the mapping that it was merged into
        ("nowhere", "at", "all"),
    ]
    assert _places(YAML_TEXT, paths) == [(3, 5), (8, 11), (9, 5), (1, 1)]


def test_places_in_json() -> None:
    text = '{"a": 1, "b": {"c\\ud83d\\ude00": [10, "x,y{", {"d": null}],\n\t"e": [[], [true]]}}'
    paths: list[Path] = [
        ("a",),
        ("b", "c\U0001f600"),
        ("b", "c\U0001f600", 1),
        ("b", "c\U0001f600", 2, "d"),
        ("b", "e", 1, 0),
    ]
    assert _places(text, paths) == [(1, 7), (1, 33), (1, 38), (1, 52), (2, 13)]
    assert _places(text, paths[:1], keys=True) == [(1, 2)]


@given(groups)
def test_both_kinds_of_marks_agree_on_json(plain: dict[str, Any]) -> None:
    text = json.dumps(plain, ensure_ascii=False)
    as_yaml = reader.read(text, Limits())
    if not as_yaml.complete or as_yaml.faults:
        return  # a few characters that JSON allows unescaped and YAML does not
    paths = list(_paths(plain))
    read = document.read(text.encode())
    twin = document.Document(data=None, _text=text, _json=False)
    wanted = [Fault(path=path, message="x") for path in paths]
    if any(character in text for character in "\x85\u2028\u2029"):
        return  # libyaml counts these as ends of lines
    assert read.locate(wanted) == twin.locate(wanted)


def _paths(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _paths(item, (*path, key))


@pytest.mark.parametrize(
    ("raw", "line", "column", "message"),
    [
        (b"a: \xff", 1, 4, "the byte 0xFF is not UTF-8, the encoding of a document"),
        ("ä: b\né\xa0".encode() + b"\xc3(", 2, 3, "the byte 0xC3 is not UTF-8, the encoding of a document"),
        (b"a: b\n\0", 2, 1, "a NUL byte is not allowed in a document"),
        ("a: b\nä\x07".encode(), 2, 2, "the character U+0007 is not allowed in a document"),
        (b"%TAG !a! x\n" * 40, 1, 1, "there are more than 32 %TAG directives"),
    ],
)
def test_what_is_no_text(raw: bytes, line: int, column: int, message: str) -> None:
    (fault,) = document.read(raw).faults
    assert (fault.line, fault.column, fault.message) == (line, column, message)


def test_indentation_from_a_web_page_is_mended_and_told() -> None:
    read = document.read("a:\n\u00a0\u00a0b: 1\n\u00a0\u00a0c: |\n\u00a0\u00a0\u00a0\u00a0x\n".encode())
    assert resolved(read.data) == {"a": {"b": 1, "c": "x\n"}}
    (fault,) = read.locate(read.faults)
    assert (fault.line, fault.column) == (2, 1)
    assert fault.message == "the indentation has the character U+00A0 in place of a space"


def test_a_space_of_another_kind_is_fine_in_a_text() -> None:
    read = document.read("a: |\n  \u00a0indented\n  b\u00a0c\n".encode())
    assert read.faults == ()
    assert read.data == {"a": "\u00a0indented\nb\u00a0c\n"}


def test_what_was_whole_is_kept_when_the_text_cannot_be_read_on() -> None:
    read = document.read(b"name: x\ntasks:\n- {a: 1}\n- {b: 2}\n- {c: [}\n")
    assert not read.complete
    assert resolved(read.data) == {"name": "x", "tasks": [{"a": 1}, {"b": 2}]}
