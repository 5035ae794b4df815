"""Outlines say what the parser of templates says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import expressions
from runner.errors import TemplateError
from runner.validation import outline

FRAGMENTS = """
{{ }} {{- -}} .a.b .fetch-x.y-z inputs.tag .a ['x'] [0] 'text' "te'xt" 'a\\'b' '{{' '}}' 'a' | default ( ) , upper join == != and or not in
if else true none is . - 1 2.5 .a.__class__ ' " { } { x ü \\n
"""
words = st.sampled_from([*FRAGMENTS.split(), " ", "it's ", "\n"])


def outcome(text: str, *, parsed: bool) -> object:
    try:
        template = expressions.parse(text) if parsed else outline.read(text)
    except TemplateError as error:
        return error.message, error.offset
    return set(template.names), template.whole


@given(st.lists(words, max_size=14).map(" ".join) | st.lists(words, max_size=14).map("".join))
def test_free_texts(text: str) -> None:
    assert outcome(text, parsed=False) == outcome(text, parsed=True)


@given(st.lists(words, max_size=8).map(" ".join))
def test_texts_around_one_template(inner: str) -> None:
    for text in (f"{{{{ {inner} }}}}", f"before '{{{{ {inner} }}}}' after", f"{{{{ .x.y }}}}{{{{{inner}}}}}"):
        assert outcome(text, parsed=False) == outcome(text, parsed=True)


@pytest.mark.parametrize(
    ("text", "names", "whole"),
    [
        ("{{ .fetch-secret.password }}", {("fetch-secret", "password")}, True),
        ("{{ fetch.password }}", {("fetch", "password")}, True),
        ("x {{ .a.b | default('y') }} {{ .c.d }}", {("a", "b"), ("c", "d")}, False),
        ('{{ .a.b if .c.d == "it\'s" else .a.b }}', {("a", "b"), ("c", "d")}, True),
        ("{{ .a['b'] }}", {("a", "b")}, True),
        ("{{ 'plain' }}", set(), True),
        ("it's {{ .a.b }} isn't it", {("a", "b")}, False),
        ("{{ .a }}" + " " * 2000, {("a",)}, False),
    ],
)
def test_what_is_read(text: str, names: set[tuple[str, ...]], whole: bool) -> None:
    read = outline.read(text)
    assert set(read.names) == names
    assert read.whole is whole
