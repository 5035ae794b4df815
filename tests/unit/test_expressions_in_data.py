"""Expressions in the data of a task, which another one has brought."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner import expressions
from runner.model.value import Value


def test_data_scope_knows_what_is_secret() -> None:
    data = expressions.DataScope(
        {"a": {"b": ["x", {"c": "hush"}]}, "v": {"w": Value("y", True)}}, is_secret=lambda text: text == "hush"
    )
    assert expressions.render("{{ a.b[1].c }}", data) == Value("hush", True)
    assert expressions.render("{{ a }}", data) == Value('{"b":["x",{"c":"hush"}]}', True)
    assert expressions.render("{{ v.w }}", data) == Value("y", True)
    assert not expressions.render("{{ v.x | default('z') }}", data).confidential


def test_expressions_in_data_are_resolved_once_and_all_faults_are_found() -> None:
    data = expressions.DataScope({"a": {"b": "{{ a.c }}", "list": [1, 2]}, "s": Value("hush", True)})
    found = expressions.resolve_data("x: {{ .a.b }}\ny: <+a.list[1]> <+a['b']|upper>\nz: {{- '}}' -}} \n.", data)
    assert (found.text, found.confidential, found.faults) == ("x: {{ a.c }}\ny: 2 {{ A.C }}\nz:}}.", False, ())
    assert expressions.resolve_data("<+s>", data).confidential

    broken = expressions.resolve_data("{{ a.x }}\n<+b>\n<+call()>\n{{ a b }}\n<+a.b\n{{ open", data)
    assert [(fault.offset, fault.message) for fault in broken.faults] == [
        (0, "a has no 'x'; there is: b, list"),
        (10, "nothing is called 'b' here; there is: a, s"),
        (15, "calls are not allowed in an expression"),
        (25, "unexpected 'b' behind the expression"),
        (35, "`<+` is not closed by `>`"),
        (41, "`{{` is not closed by `}}` (a literal one is written `{{ '{{' }}`)"),
    ]


@given(st.text(st.sampled_from("{}<+>ab.'\"| \n-")))
def test_data_of_any_kind_is_searched(text: str) -> None:
    found = expressions.resolve_data(text, expressions.DataScope({"a": "1"}))
    assert all(0 <= fault.offset < len(text) for fault in found.faults)
    if "{{" not in text and "<+" not in text:
        assert (found.text, found.faults) == (text, ())


def test_a_search_in_hostile_data_ends_early() -> None:
    found = expressions.resolve_data("{{ '" * 100_000, expressions.DataScope({}))
    assert 50 < len(found.faults) < 100
    assert "too much work" in found.faults[-1].message
    unknown = expressions.resolve_data("{{ x }}" * 2_000, expressions.DataScope({}))
    assert len(unknown.faults) == 1_000


def test_the_number_of_expressions_in_data_is_bounded() -> None:
    data = expressions.DataScope({"a": "b"}, work=expressions.Work(1_000))
    assert expressions.resolve_data("{{ a }}<+a>" * 5_000, data).text == "bb" * 5_000
    (fault,) = expressions.resolve_data("{{ a }}<+a>" * 50_000, data).faults
    assert (fault.message, fault.offset) == ("the text has more than 10,000 expressions", 55_000)
