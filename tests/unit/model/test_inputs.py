from __future__ import annotations

import pytest

from runner.errors import UsageError
from runner.model.group import Input, TaskGroup
from runner.model.inputs import bind_inputs
from runner.model.task import Task
from runner.model.value import Value

GROUP = TaskGroup(
    tasks=(Task(name="t", type="os_exec"),),
    inputs=(
        Input(name="tag", default="latest"),
        Input(name="password", required=True, confidential=True),
        Input(name="note"),
    ),
)


def test_inputs_take_what_is_given_then_the_default_then_nothing() -> None:
    assert bind_inputs(GROUP, {"password": "hunter2", "tag": "v1"}) == {
        "tag": Value("v1"),
        "password": Value("hunter2", confidential=True),
        "note": Value(""),
    }
    assert bind_inputs(GROUP, {"password": "x"})["tag"] == Value("latest")


def test_all_that_is_wrong_with_inputs_is_said_at_once() -> None:
    with pytest.raises(UsageError) as refused:
        bind_inputs(GROUP, {"tga": "v1", "note": "a\0b"})
    assert refused.value.message == (
        "input 'tga' is not declared by the document; did you mean 'tag'?\n"
        "input 'note' is not valid text (UTF-8 without NUL)\n"
        "input 'password' is required; give it with --set-secret password=@file, or password=- to type it unseen"
    )


def test_an_input_for_a_group_without_inputs() -> None:
    with pytest.raises(UsageError, match="it declares none"):
        bind_inputs(TaskGroup(tasks=GROUP.tasks), {"a": "b"})
