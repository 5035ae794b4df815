"""A line that somebody is writing, as the words that a shell would make of it."""

from __future__ import annotations

import pytest

from runner.cli import shellwords


@pytest.mark.parametrize(
    ("text", "words", "last"),
    [
        ("", [], ""),
        ("runner", [], "runner"),
        ("runner ", ["runner"], ""),
        ("runner  run\tx", ["runner", "run"], "x"),
        (r"runner my\ file", ["runner"], "my file"),
        ("runner 'my file", ["runner"], "my file"),
        ("runner 'my file' ", ["runner", "my file"], ""),
        ("runner '' x", ["runner", ""], "x"),
        ("runner ''", ["runner"], ""),
        (r"""runner "a\"b\c" 'd\e'f""", ["runner", r'a"b\c'], r"d\ef"),
        ("runner --set=a='b c", ["runner"], "--set=a=b c"),
        ("runner x\\", ["runner"], "x"),
    ],
)
def test_the_words_before_the_cursor(text: str, words: list[str], last: str) -> None:
    assert shellwords.split_open(text) == (words, last)


@pytest.mark.parametrize(
    ("text", "words"),
    [("", []), (" ", []), ("un", []), ("un x", ["x"]), (" x 'y z'", ["x", "y z"]), (" x y", ["x", "y"])],
)
def test_the_words_behind_the_cursor(text: str, words: list[str]) -> None:
    assert shellwords.rest(text) == words
