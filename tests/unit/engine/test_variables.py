from __future__ import annotations

import pytest
from msgspec.structs import replace

from runner.engine import variables
from runner.errors import TemplateError
from runner.model import codec
from runner.model.group import Input
from runner.model.inputs import bind_inputs
from runner.model.result import Status
from runner.model.task import Export, Import, Task
from runner.model.value import Bindings, Value
from tests.unit.model.test_inputs import GROUP


def _bindings(**imported: Value) -> Bindings:
    return Bindings(imports={"a": imported}, group_id="g", group_name="", task_name="t", task_attempt=1)


def test_a_group_is_stored_without_what_its_inputs_hide() -> None:
    group = replace(GROUP, inputs=(*GROUP.inputs, Input(name="token", default="hunter2", confidential=True)))
    stored = variables.without_secrets(group)
    assert [item.default for item in stored.inputs] == ["latest", None, None, None]
    assert bind_inputs(group, {"password": "x"})["token"] == Value("hunter2", confidential=True)


def test_a_group_is_stored_without_the_confidential_defaults_of_its_exports() -> None:
    exports = (Export(name="a", default="hunter2", confidential=True), Export(name="b", default="c"))
    others = (Export(name="a", confidential=True), Export(name="c", default="hunter3", confidential=True))
    tasks = (Task(name="t-1", type="os_exec", exports=exports), Task(name="u", type="os_exec", exports=others))
    group = replace(GROUP, tasks=tasks)
    inputs = bind_inputs(group, {"password": "x"})
    document = codec.encode_group(variables.without_secrets(group))
    assert b"hunter" not in document
    stored = {**inputs, **variables.secrets(group)}
    assert variables.with_secrets(codec.decode_group(document), stored) == (group, inputs)
    assert all(value.confidential for value in variables.secrets(group).values())


SOURCE = Task(name="a", type="os_exec", exports=(Export(name="v", default="d"), Export(name="w")))


@pytest.mark.parametrize(
    ("status", "reason", "allow_failure", "outputs", "value"),
    [
        (Status.SUCCESS, None, False, {"v": Value("x")}, Value("x")),
        (Status.FAILED, None, False, {"v": Value("x")}, Value("x")),
        (Status.FAILED, None, False, {}, None),
        (Status.FAILED, None, True, {}, Value("d")),
        (Status.ERRORED, None, True, {}, Value("d")),
        (Status.SKIPPED, "condition_false", False, {}, Value("d")),
        (Status.SKIPPED, "no_failure", False, {}, Value("d")),
        (Status.SKIPPED, "dependency_failed", False, {}, None),
        (Status.SKIPPED, "group_aborted", True, {}, None),
        (Status.ABORTED, None, True, {}, None),
    ],
)
def test_an_import_takes_the_value_or_the_default_where_one_is_due(
    status: Status, reason: str | None, allow_failure: bool, outputs: dict[str, Value], value: Value | None
) -> None:
    task = Task(name="a", type="os_exec", exports=SOURCE.exports, allow_failure=allow_failure)
    assert variables.Source(task, status, reason, outputs).value("v") == value


def test_an_export_without_default_has_no_value_after_a_skip() -> None:
    assert variables.Source(SOURCE, Status.SKIPPED, "condition_false", {}).value("w") is None


def test_the_first_import_without_a_value_is_named() -> None:
    task = Task(name="t", type="os_exec", imports=(Import(task="a", variable="v"), Import(task="b", variable="w")))
    sources = {
        "a": variables.Source(SOURCE, Status.SUCCESS, None, {"v": Value("x")}),
        "b": variables.Source(SOURCE, Status.SUCCESS, None, {}),
    }
    assert variables.imported(task, sources.__getitem__) == "b"
    sources["b"] = variables.Source(SOURCE, Status.SUCCESS, None, {"w": Value("y")})
    assert variables.imported(task, sources.__getitem__) == {"a": {"v": Value("x")}, "b": {"w": Value("y")}}


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (None, True),
        (True, True),
        (False, False),
        ("true", True),
        (" False ", False),
        ("", False),
        ("{{ .a.v == 'yes' }}", True),
        ("{{ .a.v != 'yes' }}", False),
        ("{{ .a.flag }}", True),
    ],
)
def test_a_condition_holds_when_it_says_true(condition: str | bool | None, holds: bool) -> None:
    assert variables.condition_holds(condition, _bindings(v=Value("yes"), flag=Value("true"))) is holds


def test_a_condition_that_is_neither_true_nor_false_is_an_error() -> None:
    with pytest.raises(TemplateError, match="must give true or false, not 'maybe'"):
        variables.condition_holds("{{ .a.v }}", _bindings(v=Value("maybe")))


def test_a_condition_may_not_tell_about_a_secret() -> None:
    with pytest.raises(
        TemplateError,
        match=r"^`if` names a confidential value; whether a task ran would tell something about it: use another one$",
    ):
        variables.condition_holds("{{ .a.v == 'x' }}", _bindings(v=Value("x", confidential=True)))
