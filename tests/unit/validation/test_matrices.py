"""Documents with matrices: their limits, and what stands in the group that becomes of one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.model.limits import Limits
from tests.unit.test_validation import loaded, refused


def document(*matrices: dict[str, Any], text: str = "x") -> str:
    tasks = [
        {"name": f"t{number}", "type": "probe", "matrix": matrix, "spec": {"text": text}}
        for number, matrix in enumerate(matrices)
    ]
    return json.dumps({"tasks": tasks})


def axis(length: int) -> list[str]:
    return [str(number) for number in range(length)]


@pytest.mark.parametrize(
    ("matrices", "fits"),
    [
        ([{"a": axis(9)}], True),  # and the task that joins them
        ([{"a": axis(10)}], False),
        ([{"a": axis(4)}, {"a": axis(4)}], True),
        ([{"a": axis(4)}, {"a": axis(5)}], False),
        ([{"a": axis(3), "include": [{"a": "0", "b": str(number)} for number in range(20)]}], True),
        ([{"include": [{"a": str(number)} for number in range(9)]}], True),
        ([{"include": [{"a": str(number)} for number in range(10)]}], False),
        ([{"a": axis(3), "include": [{"a": str(number)} for number in range(10)]}], False),
    ],
)
def test_instances_count_as_tasks(matrices: list[dict[str, Any]], fits: bool) -> None:
    text = document(*matrices)
    limits = Limits(tasks=10)
    if fits:
        assert len(loaded(text, limits).group.tasks) <= 10
        return
    [fault] = refused(text, limits)
    assert f"tasks[{len(matrices) - 1}].matrix: its " in fault
    assert fault.endswith("combinations make more than 10 tasks of the group, which is the limit")


def test_an_axis_too_many_takes_no_time() -> None:
    [fault] = refused(document({f"a{number}": axis(100) for number in range(20)}))
    assert "make more than 100,000 tasks" in fault


def test_the_largest_matrix_takes_seconds_at_most() -> None:
    matrix = {"a": axis(99), "b": axis(1010), "max_parallel": 2, "exclude": [{"a": "7", "b": "9"}]}
    group = loaded(document(matrix)).group
    assert len(group.tasks) == 99 * 1010
    assert len({task.name for task in group.tasks}) == len(group.tasks)


def test_instances_are_not_larger_together_than_a_document_may_be() -> None:
    limits = Limits(document_bytes=100_000)
    assert len(loaded(document({"a": axis(100)}, text="x" * 800), limits).group.tasks) == 101
    [fault] = refused(document({"a": axis(100)}, text="x" * 2000), limits)
    assert "tasks[0].matrix: its instances are written down one by one, which takes 20" in fault
    assert (
        "bytes, and 100,000 is the limit of all such (what is long in the task can be a file in the workspace)" in fault
    )


def test_what_is_written_is_told_from_what_becomes_of_it() -> None:
    both = loaded(document({"a": ["1", "2"]}))
    assert [task.name for task in both.written.tasks] == ["t0"]
    assert [task.name for task in both.group.tasks] == ["t0[1]", "t0[2]", "t0"]
    assert loaded("tasks: [{name: a, type: probe, spec: {text: x}}]").group.tasks[0].matrix is None


def test_a_condition_and_a_runner_may_name_values_and_a_task_without_a_matrix_may_not() -> None:
    task = {"name": "t", "type": "probe", "spec": {"text": "x"}, "matrix": {"a": ["1"]}}
    task |= {"if": "{{ .matrix.a == '1' }}", "forward": {"to": "{{ .matrix.a }}"}}
    assert loaded(json.dumps({"tasks": [task]})).group.tasks[0].name == "t[1]"
    del task["matrix"]
    assert len(refused(json.dumps({"tasks": [task]}))) == 2
