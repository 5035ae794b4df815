"""What holds of every expression."""

from __future__ import annotations

import base64
import json
import shlex

from hypothesis import given
from hypothesis import strategies as st

from runner import expressions
from runner.errors import TemplateError
from runner.expressions import compiler, grammar, objects
from runner.model.value import Value
from tests.unit.test_expressions import scope

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,5}", fullmatch=True)
KEYWORDS = sorted(grammar.KEYWORDS)


@given(
    st.lists(NAMES | st.sampled_from(KEYWORDS), min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from(["", " ", "\n\t"]),
)
def test_the_fast_and_the_slow_way_agree(parts: list[str], dotted: bool, white: str) -> None:
    source = white + ("." if dotted else "") + ".".join(parts) + (white or " ")
    fast = grammar.plain_path("{{" + source + "}}")
    try:
        slow = compiler.compile_expression(source)
    except TemplateError:
        assert fast is None
        return
    if fast is None:
        # Names with two underscores are looked at closely, and an undotted keyword means itself.
        assert "__" in source or (not dotted and parts[0] in grammar.KEYWORDS)
        return
    data: object = "found"
    for part in reversed(parts):
        data = {part: data}
    assert isinstance(data, dict)
    assert slow.names == (fast,) == (tuple(parts),)
    assert slow.evaluate(compiler.Run(expressions.DataScope(data))) == "found"
    assert expressions.render("{{" + source + "}}", expressions.DataScope(data)).text == "found"


WORDS = [
    ".build.csv", "fetch-secret.password", "inputs", "x", "and", "or", "not", "in", "if", "else", "is", "true", "none",
    "'a'", '"{{"', "'", '"', "\\", "1", "-1", "2.5e3", "(", ")", "[", "]", "{", "}", ",", "|", "default", "upper", "split",
    "join", "replace('a','b')", "fromjson", "tojson", "length", "==", "<", ">=", "!=", "~", "+", "-", "*", ":", ".", ".b",
    "__class__", "[0]", "['a']", "ˍ", "\n", "é", "{{", "}}", "{{-", "-}}", "%}",
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=14), st.sampled_from(["", " "]))
def test_an_expression_has_a_value_or_a_template_error(words: list[str], between: str) -> None:
    text = "{{ " + between.join(words) + " }}"
    fault = None
    try:
        expressions.render(text, scope()).text.encode()
    except TemplateError as error:
        fault = error
    assert fault is None or (fault.message and 0 <= fault.offset <= len(text))


@given(st.text())
def test_any_text_has_a_value_or_a_template_error(text: str) -> None:
    for template in (text, "{{" + text + "}}"):
        try:
            value = expressions.render(template, scope())
        except TemplateError:
            continue
        if "{{" not in template:
            assert value == Value(template)


PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(PLAIN)
def test_filters_that_undo_each_other(text: str) -> None:
    data = expressions.DataScope({"t": text})
    assert expressions.render("{{ t | b64encode | b64decode }}", data).text == text
    assert expressions.render("{{ t | tojson | fromjson }}", data).text == text
    assert expressions.render("{{ t | b64encode }}", data).text == base64.b64encode(text.encode()).decode()
    assert expressions.render("{{ t | split('e') | join('e') }}", data).text == text


@given(PLAIN)
def test_a_quoted_text_is_one_word_of_a_shell(text: str) -> None:
    quoted = expressions.render("{{ t | shquote }}", expressions.DataScope({"t": text})).text
    assert shlex.split(quoted) == [text]


@given(PLAIN)
def test_a_constant_is_what_json_would_write(text: str) -> None:
    literal = json.dumps(text, ensure_ascii=False)
    if "\\u0000" not in literal and "\\b" not in literal and "\\f" not in literal:
        assert expressions.render("{{ " + literal + " }}", scope()).text == text


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False), lambda children: st.lists(children) | st.dictionaries(st.text(), children), max_leaves=8))  # fmt: skip
def test_objects_are_written_as_json(value: object) -> None:
    assert json.loads(objects.json_text(value)) == value
