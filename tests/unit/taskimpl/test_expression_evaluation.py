from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from drivers.registry import Registry
from runner.model.codec import decode_group, encode_group
from runner.model.group import TaskGroup
from runner.model.result import Outcome, Status
from runner.model.task import Export, Import, Task
from runner.model.value import Bindings, Value
from runner.validation import load
from taskimpl import built_in_drivers
from tests.unit.dispatch.harness import running

MANIFEST = """\
image: app:{{ image.tag }}
user: <+variables.user>
{% raw %} stays
"""


def evaluate(
    text: str, variables: Mapping[str, Any] | None = None, imports: Mapping[str, Mapping[str, Value]] | None = None
) -> Outcome:
    task = Task(
        name="evaluate",
        type="expression_evaluation",
        spec={"string_to_evaluate": text, "variables": variables or {}},
        imports=tuple(Import(task=task, variable=name) for task, names in (imports or {}).items() for name in names),
        exports=(Export(name="result", default=None),),
    )
    bindings = Bindings(
        imports=imports or {},
        inputs={"token": Value("t0ken", True)},
        group_id="g",
        group_name="n",
        task_name="evaluate",
        task_attempt=1,
    )

    async def main() -> Outcome:
        async with running() as harness:
            return await harness.outcome(task, bindings)

    return asyncio.run(main())


def test_data_is_evaluated_a_second_time() -> None:
    outcome = evaluate(
        "{{ .fetch-manifest.yaml_data }}",
        {"image": {"tag": "v1"}, "variables": {"user": "{{ .fetch-manifest.user }}"}},
        {"fetch-manifest": {"yaml_data": Value(MANIFEST), "user": Value("bob")}},
    )
    assert outcome.status is Status.SUCCESS
    assert outcome.outputs == {"result": Value("image: app:v1\nuser: bob\n{% raw %} stays\n")}


def test_imports_can_be_named_and_variables_hide_them() -> None:
    imports = {"a": {"x": Value("{{ a.x }} {{ b.y }}")}, "b": {"y": Value("import")}}
    assert evaluate("{{ .a.x }}", {"a": {"x": "variable"}}, imports).outputs["result"].text == "variable import"


def test_all_that_cannot_be_resolved_is_reported_with_its_line() -> None:
    data = Value("one: {{ nothing }}\ntwo: {{ image.tag }}\nthree: <+image.tga> {{ a b }}\n{{ inputs.token }}\n")
    outcome = evaluate("{{ .fetch.data }}", {"image": {"tag": "v1"}}, {"fetch": {"data": data}})
    assert (outcome.status, outcome.reason, outcome.exit_code) == (Status.FAILED, "unresolved_expression", None)
    assert outcome.outputs == {}
    assert outcome.error == (
        "4 expressions in string_to_evaluate cannot be resolved:\n"
        "line 1: nothing is called 'nothing' here; there is: fetch, image\n"
        "line 3: image has no 'tga' (did you mean 'tag'?); there is: tag\n"
        "line 3: unexpected 'b' behind the expression\n"
        "line 4: nothing is called 'inputs' here; there is: fetch, image"
    )


def test_a_long_report_is_cut_with_a_count() -> None:
    outcome = evaluate("{{ .fetch.data }}", {}, {"fetch": {"data": Value("{{ x }}\n" * 60)}})
    assert outcome.error is not None
    assert outcome.error.startswith("60 expressions in")
    assert outcome.error.endswith("and 10 more")
    assert outcome.error.count("\n") == 51


@pytest.mark.parametrize(
    ("text", "variables", "imports", "confidential"),
    [
        ("{{ '{{ a.b }}' }}", {"a": {"b": "x"}}, {}, False),
        ("{{ .s.pin }}", {}, {"s": {"pin": Value("123", True)}}, True),
        ("{{ '{{ a.b }}' }}", {"a": {"b": "{{ .s.pin }}"}}, {"s": {"pin": Value("123", True)}}, True),
        ("{{ '{{ a.b }}' }}", {"a": {"b": "x", "c": "{{ .s.pin }}"}}, {"s": {"pin": Value("123", True)}}, False),
        ("{{ '<+s.pin>' }}", {}, {"s": {"pin": Value("123", True)}}, True),
    ],
)
def test_what_comes_from_a_confidential_value_is_confidential(
    text: str, variables: Mapping[str, Any], imports: Mapping[str, Mapping[str, Value]], confidential: bool
) -> None:
    outcome = evaluate(text, variables, imports)
    assert outcome.status is Status.SUCCESS, outcome
    assert outcome.outputs["result"].confidential is confidential


VARIABLES = """\
taskGroup:
- name: evaluate
  type: expression_evaluation
  exports: [{name: result}]
  spec:
    string_to_evaluate: ""
    variables:
      short: 1.10
      mode: 0755
      time: 22:22
      power: 1e3
      hex: 0x1F
      off: False
      replicas: 3
      half: 1.5
      on: true
      none: ~
      quoted: "3"
      deep: {version: 2.0, list: [1.0, 01, -0, "x"]}
"""


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("short", "1.10"),
        ("mode", "0755"),
        ("time", "22:22"),
        ("power", "1e3"),
        ("hex", "0x1F"),
        ("off", "False"),
        ("replicas", "3"),
        ("half", "1.5"),
        ("on", "true"),
        ("none", ""),
        ("deep.version", "2.0"),
        ("deep", '{"list":[1.0,"01","-0","x"],"version":2.0}'),
        ("short == '1.10'", "true"),
        ("mode == '0755'", "true"),
        ("replicas > 2 and half < 2", "true"),
        ("on == true", "true"),
        ("quoted == '3'", "true"),
        ("'yes' if off else 'no'", "no"),
    ],
)
def test_variables_are_what_was_written(expression: str, result: str) -> None:
    registry = Registry(built_in_drivers({}))
    (task,) = load(VARIABLES.encode(), source="test.yaml", registry=registry).group.tasks
    spec = decode_group(encode_group(TaskGroup(name="", tasks=(task,)))).tasks[0].spec  # as a store keeps it
    outcome = evaluate("{{ .fetch.data }}", spec["variables"], {"fetch": {"data": Value(f"{{{{ {expression} }}}}")}})
    assert outcome.status is Status.SUCCESS, outcome
    assert outcome.outputs["result"].text == result


def test_a_number_is_no_text() -> None:
    outcome = evaluate("{{ .fetch.data }}", {"a": 3}, {"fetch": {"data": Value("{{ a == '3' }}")}})
    assert outcome.error is not None
    assert "a text is never equal to a number" in outcome.error
    assert "quote a number where it is set" in outcome.error


def test_a_malformed_spec_is_refused() -> None:
    outcome = evaluate("{{ '' }}", {"a": {"b": "{{ .x.y }}"}})
    assert (outcome.status, outcome.reason) == (Status.ERRORED, "bad_template")
    assert outcome.error == "spec.variables.a.b: nothing is called 'x' here; there is: env, group, inputs, task"
