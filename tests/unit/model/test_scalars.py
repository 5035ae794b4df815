"""Unquoted scalars by the rules of YAML 1.2 core."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.model.scalars import FIRST_OF_NUMBER, WORDS, Plain, as_text, read_plain, resolved


@pytest.mark.parametrize("text", ["", "~", "null", "Null", "NULL"])
def test_nulls(text: str) -> None:
    assert read_plain(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("0755", 755),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.10", 1.1),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1e3", -1000.0),
        ("1E-2", 0.01),
    ],
)
def test_booleans_and_numbers_keep_their_text(text: str, value: object) -> None:
    plain = read_plain(text)
    assert isinstance(plain, Plain)
    assert plain == text
    assert plain.resolve() == value
    assert type(plain.resolve()) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "No",
        "on",
        "tRUE",
        "nULL",
        "22:22",
        "1_000",
        "0b11",
        "-0x1",
        "0o8",
        "0xg",
        "1.2.3",
        ".",
        "-",
        "+",
        "e3",
        ".e3",
        ".inf",
        "-.Inf",
        ".nan",
        "nan",
        "inf",
        "2024-01-01",
        "x",
        "١",
    ],
)
def test_everything_else_is_text(text: str) -> None:
    assert type(read_plain(text)) is str


@pytest.mark.parametrize("text", ["1e999", "-1e999", "9" * 5000])
def test_what_no_number_of_this_machine_can_hold_stays_text(text: str) -> None:
    plain = read_plain(text)
    assert isinstance(plain, Plain)
    assert plain.resolve() == text
    assert type(plain.resolve()) is str


@given(st.one_of(st.text(max_size=6), st.floats().map(repr), st.integers().map(str)))
def test_the_quick_look_misses_nothing(text: str) -> None:
    if not (text[:1] in FIRST_OF_NUMBER or text in WORDS):
        assert type(read_plain(text)) is str


def test_as_text() -> None:
    assert as_text("a") == "a"
    assert as_text(Plain("1.10")) == "1.10"
    assert type(as_text(Plain("1.10"))) is str
    assert as_text(True) == "true"
    nothing: list[object] = [None, [], {}]
    assert [as_text(value) for value in nothing] == [None, None, None]


def test_resolved_is_deep() -> None:
    data = {"a": [Plain("1"), {"b": Plain("true")}, "2", None, False]}
    assert resolved(data) == {"a": [1, {"b": True}, "2", None, False]}
