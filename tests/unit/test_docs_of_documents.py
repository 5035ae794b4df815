"""docs/document.md and docs/expressions.md: every key stands there, every example is accepted, every expression gives what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from drivers.registry import Registry
from runner.expressions import Scope, evaluate, render
from runner.expressions.filters import FILTER_NAMES
from runner.model import matrixparse, parse, taskparse
from runner.model.result import Skip, Status, Waiting
from runner.model.value import Bindings, Value
from runner.validation import load
from taskimpl import built_in_drivers
from taskimpl.expression_evaluation import ExpressionEvaluationSpec
from taskimpl.os_exec.spec import SHELLS, Limits, OsExecSpec

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = (DOCS / "document.md").read_text()
EXPRESSIONS = (DOCS / "expressions.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
GIVES = re.findall(r"^\| `(.*\{\{.*)` \| `(.*)` \|$", EXPRESSIONS, re.MULTILINE)
INPUTS = {"name": "Ada", "count": "3", "list": "a,b,c", "json": '{"tag": "v1", "ports": [80, 443]}', "empty": ""}


def section(title: str) -> str:
    """What stands under a heading, up to the next one."""
    match = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert match is not None, title
    return match[1]


def keys(title: str) -> set[str]:
    """Of the first column of its tables."""
    return {match[1] for match in re.finditer(r"^\| `([^`]+)` \|", section(title), re.MULTILINE)}


@pytest.mark.parametrize("text", EXAMPLES, ids=[str(number) for number in range(len(EXAMPLES))])
def test_every_example_is_accepted(text: str) -> None:
    loaded = load(text.encode(), source="document.md", registry=Registry(built_in_drivers({})))
    assert loaded.group.tasks
    assert not loaded.warnings


def written(readers: Mapping[str, object], *others: str) -> set[str]:
    return set(readers) - set(others)


def test_every_key_stands_there_and_no_other() -> None:
    assert keys("The group") == written(parse.GROUP, "tasks")
    assert keys("Inputs") == written(parse.INPUT)
    assert keys("A task") == written(taskparse.TASK)
    assert keys("Imports and exports") == written(taskparse.EXPORT) | written(taskparse.IMPORT, "task_name", "name")
    assert keys("Retry") == written(taskparse.RETRY)
    assert keys("Forward") == written(taskparse.FORWARD)
    assert keys("Matrix") == written(matrixparse.MATRIX)
    assert keys("os_exec") == set(OsExecSpec.model_fields)
    assert keys("expression_evaluation") == set(ExpressionEvaluationSpec.model_fields)
    for word in ("`tasks`", "`task_name`", *(f"`{name}`" for name in (*SHELLS, *Limits.model_fields))):
        assert word in DOCUMENT, word


def test_every_status_and_reason_stands_there() -> None:
    told = section("What becomes of a task")
    assert keys("What becomes of a task") == {status.value for status in Status}
    for word in Skip:
        assert f"`{word.value}`" in told, word
    [waits] = re.findall(r"what it waits for: (.*?) \|", told)
    assert set(re.findall("`(.*?)`", waits)) <= {waiting.value for waiting in Waiting}


def gives() -> Iterator[tuple[str, str]]:
    for expression, result in GIVES:
        yield expression.replace("\\|", "|"), result


@pytest.mark.parametrize(("expression", "result"), list(gives()))
def test_every_expression_gives_what_stands_beside_it(expression: str, result: str) -> None:
    inputs = {name: Value(text, False) for name, text in INPUTS.items()}
    bindings = Bindings(inputs=inputs, group_id="g", group_name="demo", task_name="t", task_attempt=1)
    assert render(expression, Scope(bindings)).text == result


def test_every_filter_stands_there() -> None:
    shown = " ".join(expression for expression, _ in gives())
    assert [name for name in FILTER_NAMES if f"| {name}" not in shown] == []
    for name, text in INPUTS.items():
        assert re.search(rf"`{name}: ['\"]?{re.escape(text)}['\"]?`", EXPRESSIONS), name


def test_the_number_of_an_attempt_is_a_number() -> None:
    bindings = Bindings(group_id="g", group_name="demo", task_name="t", task_attempt=2)
    assert evaluate("{{ .task.attempt > 1 }}", Scope(bindings)) == (True, False)
