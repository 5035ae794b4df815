"""What an attempt's driver is given, and what happens when that cannot be prepared."""

from __future__ import annotations

from typing import Any

import pytest

from drivers.base import Spec, TaskContext
from drivers.scripted import ScriptedDriver
from runner.model.dispatch import Started
from runner.model.result import Outcome, Status
from runner.model.task import Task
from runner.model.value import Value
from tests.unit.dispatch.harness import KEY, SUCCESS, Harness, bindings, within


class TypedSpec(Spec):
    command: list[str]
    count: int = 0
    loud: bool = False
    envs: dict[str, str] = {}  # noqa: RUF012 - pydantic copies defaults


def typed(spec: dict[str, Any], **fields: Any) -> Task:
    return Task(name="t", type="typed", spec=spec, **fields)


def prepare(task: Task, **values: Any) -> tuple[Outcome, TaskContext | None, Harness]:
    """The outcome of a task that succeeds at once, and the context that its driver saw."""
    driver = ScriptedDriver("typed", spec_model=TypedSpec)

    async def body(harness: Harness) -> tuple[Outcome, TaskContext | None, Harness]:
        driver.finish(KEY, SUCCESS)
        outcome = await harness.outcome(task, bindings(**values))
        return outcome, driver.attempt(KEY).context, harness

    return within(body, drivers=[driver])


def test_the_driver_gets_a_rendered_and_validated_spec() -> None:
    outcome, context, _ = prepare(
        typed(
            {
                "command": ["echo", "{{ .build.image }}"],
                "count": "{{ .task.attempt }}",
                "loud": "{{ .inputs.loud }}",
                "envs": {"A": "x{{ .env.REGION }}", "B": ""},
            },
            timeout=5.0,
        ),
        imports={"build": {"image": Value("app:v1")}},
        inputs={"loud": Value("true")},
        env={"REGION": "eu-{{ .group.id }}"},
    )
    assert outcome.status is Status.SUCCESS
    assert context is not None
    assert context.spec == TypedSpec(command=["echo", "app:v1"], count=1, loud=True, envs={"A": "xeu-g", "B": ""})
    assert (context.env, context.timeout, context.grace) == ({"REGION": "eu-g"}, 5.0, 1.0)
    assert (context.group_id, context.group_name, context.task_name, context.attempt) == ("g", "group", "t", 1)
    assert (context.workspace, context.temp) == ("/workspace", "/temp")
    assert context.bindings.imports["build"]["image"] == Value("app:v1")


def test_nothing_is_a_template_where_the_task_says_so() -> None:
    _, context, _ = prepare(typed({"command": ["{{ .State.Pid }}"]}, template=False), env={"A": "{{ .group.name }}"})
    assert context is not None
    assert context.spec == TypedSpec(command=["{{ .State.Pid }}"])
    assert context.env == {"A": "group"}


@pytest.mark.parametrize(
    ("task", "reason", "error"),
    [
        (Task(name="t", type="vualt"), "unknown_type",
         "this runner has no task type 'vualt'; it has: scripted, expression_evaluation, typed"),
        (typed({"command": ["a", "{{ .x.y }}"]}), "bad_template",
         "spec.command[1]: nothing is called 'x' here; there is: env, group, inputs, s, task"),
        (typed({"command": ["{{ 1 % 2 }}"]}), "bad_template",
         "spec.command[0]: arithmetic (`%`) is not allowed in an expression"),
        (typed({"command": [], "count": "{{ .group.name }}"}), "bad_spec",
         "spec.count: expected a whole number"),
        (typed({"count": 1, "x": 1}), "bad_spec",
         "spec.command: is required; spec.x: unknown key"),
        (typed({"command": ["{{ .env.BAD }}"]}), "bad_template",
         "spec.command[0]: env.BAD: nothing is called 'no' here; there is: group, inputs"),
        (typed({"command": []}), "bad_template", "env.BAD: nothing is called 'no' here; there is: group, inputs"),
        (typed({"command": ["{{ .s.secret | fromjson }}{{ '***' }}"]}), "bad_template",
         "spec.command[0]: fromjson: the text is not JSON at character 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_prepared_is_errored(task: Task, reason: str, error: str) -> None:
    values = {"imports": {"s": {"secret": Value("hushhush", True)}}, "env": {"BAD": "{{ .no.such }}"}}
    if "count" in task.spec or "{{ .s." in str(task.spec):
        values["env"] = {}
    outcome, context, harness = prepare(task, **values)
    assert (outcome.status, outcome.reason, outcome.error) == (Status.ERRORED, reason, error)
    assert outcome.finished_at is not None
    assert context is None
    assert not any(isinstance(report, Started) for report in harness.reports)


def test_an_error_shows_no_confidential_value() -> None:
    task = typed({"command": [], "{{": "{{ .s.secret }}"})
    outcome, _, _ = prepare(
        Task(name="t", type="typed", spec={**task.spec, "hushhush": 1}),
        imports={"s": {"secret": Value("hushhush", True)}},
    )
    assert outcome.error is not None
    assert "hushhush" not in outcome.error
    assert "spec.***: unknown key" in outcome.error
