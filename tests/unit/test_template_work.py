"""What templates may cost before they are refused: every kind of step has its price."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runner import expressions
from runner.config import load_settings
from runner.errors import TemplateError
from runner.expressions.work import TooMuchWorkError
from runner.model.value import Bindings, Value

MIB = 1 << 20

BINDINGS = Bindings(
    imports={"a": {"x": Value("v"), "big": Value("x" * MIB), "json": Value("[" + "1," * 200_000 + "1]")}},
    inputs={f"i{number}": Value("") for number in range(200)},
    group_id="g",
    group_name="n",
    task_name="t",
    task_attempt=1,
)
MANY: dict[str, Callable[[int], str]] = {
    "paths": lambda number: "{{ .a.x }} ",
    "different expressions": lambda number: f"{{{{ a.x == '{number}' }}}}",
    "long expressions": lambda number: "{{ a.x in [" + f"'{number}'," * 480 + "'x'] }}",
    "long names": lambda number: "{{ (.a" + ".b" * 400 + ") | default }}",
    "constants": lambda number: "{{ 'x' }}",
    "tables": lambda number: "{{ inputs | length }}",
    "tables that are not looked at": lambda number: "{{ 'x' if true else inputs }}",
    "comparisons": lambda number: "{{ 'xxxxxxxxxxxxxxxxxxxxxxxy' in a.big }}",
    "reading": lambda number: "{{ a.json | fromjson | length }}",
    "writing": lambda number: "{{ a.big | tojson | length }}",
    "quoting": lambda number: "{{ a.big | shquote | length }}",
    "encoding": lambda number: "{{ a.big | b64encode | length }}",
    "capitals": lambda number: "{{ a.big | upper | length }}",
}


@pytest.mark.parametrize("kind", MANY)
def test_much_of_anything_in_one_text_is_refused(kind: str) -> None:
    text = "".join(map(MANY[kind], range(10_000)))[: 4 * MIB]
    text = text[: text.rindex("}}") + 2]
    with pytest.raises(TooMuchWorkError, match=r"may take 40 ms .*RUNNER_TEMPLATE_MILLISECONDS"):
        expressions.render(text, expressions.Scope(BINDINGS))


@pytest.mark.parametrize("kind", MANY)
def test_much_of_anything_in_many_texts_is_refused(kind: str) -> None:
    scope = expressions.Scope(BINDINGS)

    def render_all() -> None:
        for number in range(10_000):
            expressions.render(MANY[kind](number), scope)

    with pytest.raises(TemplateError, match="too much work"):
        render_all()


@pytest.mark.parametrize(
    "kind",
    [
        *[lambda number: "{{ a.x }} ", lambda number: f"<+a.x == '{number}'>", lambda number: "{{ ' "],
        *[
            lambda number: "{{",
            lambda number: "<+",
            lambda number: f"{{{{ {number} + 1 }}}}",
            lambda number: "{{ b c }}",
        ],
        lambda number: "{{ a.big | upper | length }}",
    ],
)
def test_much_of_anything_in_data_ends_the_search(kind: Callable[[int], str]) -> None:
    """Either by the price, or by the number of faults."""
    text = "".join(map(kind, range(9_000)))
    found = expressions.resolve_data(text, expressions.DataScope(BINDINGS.imports))
    assert len(found.faults) == 1_000 or isinstance(found.faults[-1], TooMuchWorkError)


def test_a_search_looks_for_both_marks_at_once() -> None:
    """One of them is only at the very end: looking for it again behind each of the others would take minutes."""
    text = "{{ a }}" * 4_000 + "x" * 3 * MIB + "<+a>"
    found = expressions.resolve_data(text, expressions.DataScope({"a": "1"}))
    assert found.faults == ()
    assert found.text == "1" * 4_000 + "x" * 3 * MIB + "1"


def test_the_search_for_what_was_meant_is_bounded() -> None:
    names = {f"{number:x<127}": 1 for number in range(20_000)}
    with pytest.raises(TemplateError, match=r"nothing is called .y.*there is: 0x") as refused:
        expressions.render(f"{{{{ {'y' * 128} }}}}", expressions.DataScope(names))
    assert "did you mean" not in refused.value.message
    assert len(refused.value.message) < 2_000


def test_what_a_task_usually_says_is_far_from_the_limit() -> None:
    scope = expressions.Scope(BINDINGS, expressions.Work(4))
    script = "".join(f"echo {{{{ .a.x }}}} {{{{ .a.x | shquote }}}} {number}\n" for number in range(25))
    assert expressions.render(script, scope).text.startswith("echo v v 0\n")


def test_the_limit_can_be_set() -> None:
    text = "".join(f"{{{{ a.x == '{number}' }}}}" for number in range(1_000))
    with pytest.raises(TemplateError, match="may take 3 ms"):
        expressions.render(text, expressions.Scope(BINDINGS, expressions.Work(3)))
    assert expressions.render(text, expressions.Scope(BINDINGS, expressions.Work(200))).text == "false" * 1_000


def test_the_default_is_one() -> None:
    """The settings may not import the expressions, nor these the settings."""
    assert load_settings({"HOME": "/h"}).template_milliseconds == expressions.DEFAULT_MILLISECONDS
