"""The schema of documents against the validation: what is valid fits it, and what a schema can refuse does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from drivers.base import Spec
from runner import schema
from runner.errors import DocumentError
from runner.model import document, environment, matrixparse, parse, scalars, taskparse
from runner.model.fields import Readers
from runner.schema import keys
from runner.validation import load, shape
from taskimpl.expression_evaluation import ExpressionEvaluationSpec
from taskimpl.os_exec.spec import EnvEntry, Limits, OsExecSpec
from tests.unit.test_validation import INVALID, VALID, registry

EXAMPLES = Path(__file__).parents[3] / "examples"
NO_GROUPS = {"manifest.yaml"}
EXAMPLE_GROUPS = sorted(path for path in EXAMPLES.glob("*.yaml") if path.name not in NO_GROUPS)

# What is wrong with these: names that nobody has, cycles, sizes in bytes, what templates read, what a driver finds, and null, which YAML
# also has where a value was left out.
NOT_FOR_A_SCHEMA = {
    "concurrency-key.yaml",
    "concurrency-long.yaml",
    "confidential-if.yaml",
    "cycles.yaml",
    "driver-check.yaml",
    "forward-group.yaml",
    "nulls.json",
    "template-places.yaml",
    "templates.yaml",
}


@cache
def validator() -> Draft7Validator:
    documents = schema.of_documents(registry())
    Draft7Validator.check_schema(documents)
    return Draft7Validator(documents)


def fits(data: Any) -> bool:
    return bool(validator().is_valid(data))


def is_valid(data: Any) -> bool:
    try:
        load(json.dumps(data).encode(), source="test.json", registry=registry())
    except DocumentError:
        return False
    return True


@pytest.mark.parametrize("path", [*VALID, *EXAMPLE_GROUPS], ids=lambda path: path.name)
def test_what_is_valid_fits(path: Path) -> None:
    read = document.read(path.read_bytes())
    assert [error.message for error in validator().iter_errors(scalars.resolved(read.data))] == []


def readable() -> Iterator[Path]:
    """The invalid documents that are sound YAML or JSON; the others never come before a schema."""
    for path in INVALID:
        read = document.read(path.read_bytes())
        if read.complete and not read.faults:
            yield path


@pytest.mark.parametrize("path", list(readable()), ids=lambda path: path.name)
def test_what_is_invalid_does_not_fit_unless_a_schema_cannot_see_it(path: Path) -> None:
    read = document.read(path.read_bytes())
    assert fits(scalars.resolved(read.data)) == (path.name in NOT_FOR_A_SCHEMA)


def test_the_list_of_what_a_schema_cannot_see_names_documents_that_are_there() -> None:
    assert {path.name for path in readable()} >= NOT_FOR_A_SCHEMA


@pytest.mark.parametrize(
    ("keyword", "where"),
    [("taskGroup", {"tasks": []}), ("tasks", {"taskGroup": []})],
)
def test_both_spellings_at_once_do_not_fit(keyword: str, where: Mapping[str, Any]) -> None:
    assert fits({keyword: [TASK]})
    assert not fits({keyword: [TASK], **where})


def test_a_type_that_is_not_known_fits_where_another_runner_may_know_it() -> None:
    unknown = {"name": "a", "type": "gpu_exec", "spec": {"image": "cuda"}}
    assert not fits({"tasks": [unknown]})
    assert fits({"tasks": [{**unknown, "forward": {"to": "gpu-1"}}]})
    assert fits({"tasks": [unknown], "forward": {"to": "gpu-1"}})


def test_without_templates_a_condition_is_no_template() -> None:
    condition = {"if": "{{ .group.id }}"}
    assert fits(task(**condition))
    assert not fits(task(**condition, template=False))
    assert fits(task(**{"if": True}, template=False))


@pytest.mark.parametrize(
    ("readers", "described"),
    [
        pytest.param(parse.GROUP, keys.GROUP, id="group"),
        pytest.param(parse.CONCURRENCY, keys.CONCURRENCY, id="concurrency"),
        pytest.param(parse.INPUT, keys.INPUT, id="input"),
        pytest.param(taskparse.TASK, keys.TASK, id="task"),
        pytest.param(taskparse.IMPORT, keys.IMPORT, id="import"),
        pytest.param(taskparse.EXPORT, keys.EXPORT, id="export"),
        pytest.param(taskparse.RETRY, keys.RETRY, id="retry"),
        pytest.param(taskparse.FORWARD, keys.FORWARD, id="forward"),
        pytest.param(matrixparse.MATRIX, keys.MATRIX, id="matrix"),
        pytest.param(environment.ENTRY, keys.VARIABLE, id="variable"),
    ],
)
def test_every_key_that_is_read_is_described(readers: Readers, described: keys.Keys) -> None:
    assert list(described) == list(readers)


def test_every_key_of_every_built_in_spec_is_described() -> None:
    definitions = schema.of_documents(registry())["definitions"]
    models: Mapping[str, type[Spec]] = {
        "os_exec": OsExecSpec,
        "os_exec.Limits": Limits,
        "os_exec.EnvEntry": EnvEntry,
        "expression_evaluation": ExpressionEvaluationSpec,
    }
    for name, model in models.items():
        properties = definitions[name]["properties"]
        assert set(properties) == set(shape.known_keys(model))
        assert [key for key, about in properties.items() if not (about.get("description") and about["examples"])] == []


# A key at a time with values of every kind, in a document that is valid without it.

TASK = {"name": "b", "type": "os_exec", "spec": {"command": "x"}}
OTHER = {"name": "a", "type": "os_exec", "spec": {"command": "x"}, "exports": [{"name": "a"}]}


def group(task: Mapping[str, Any] = TASK, **more: Any) -> dict[str, Any]:
    return {"tasks": [OTHER, dict(task)], **more}


def task(**more: Any) -> dict[str, Any]:
    return group({**TASK, **more})


def spec(**more: Any) -> dict[str, Any]:
    return task(spec={"command": "x", **more})


def evaluation(**more: Any) -> dict[str, Any]:
    return task(type="expression_evaluation", spec={"string_to_evaluate": "x", **more})


Place = Callable[[Any], Any]


def each(prefix: str, names: Iterable[str], make: Callable[[Any], Any]) -> dict[str, Place]:
    """The keys `names` of one record, which `make` makes a document of."""

    def place(name: str) -> Place:
        return lambda value: make({name: value})

    return {f"{prefix}.{name}": place(name) for name in names}


PLACES: Mapping[str, Place] = {
    **each("group", [key for key in keys.GROUP if key not in parse.TASK_KEYS], lambda given: group(**given)),
    **each("group", parse.TASK_KEYS, lambda given: given),
    **each("concurrency", keys.CONCURRENCY, lambda given: group(concurrency={"key": "k", **given})),
    **each("task", keys.TASK, lambda given: task(**given)),
    **each("input", keys.INPUT, lambda given: group(inputs={"x": given})),
    **each("retry", keys.RETRY, lambda given: task(retry={"attempts": 2, **given})),
    **each("forward", keys.FORWARD, lambda given: task(forward=given)),
    **each("matrix", [*keys.MATRIX, "os"], lambda given: task(matrix={"py": ["1", "2"], **given})),
    **each("export", keys.EXPORT, lambda given: task(exports=[{"name": "n", **given}])),
    **each("variable", keys.VARIABLE, lambda given: group(env=[{"key": "K", **given}])),
    **each("import", ["from"], lambda given: task(imports=[{"variable": "a", **given}])),
    **each("import", ["variable"], lambda given: task(imports=[{"from": "a", **given}])),
    **each("import", ["task_name"], lambda given: task(imports=[{"name": "a", **given}])),
    **each("import", ["name"], lambda given: task(imports=[{"task_name": "a", **given}])),
    **each("inputs", ["x"], lambda given: group(inputs=given)),
    **each("os_exec", shape.known_keys(OsExecSpec), lambda given: spec(**given)),
    **each("limits", shape.known_keys(Limits), lambda given: spec(limits=given)),
    **each("entry", shape.known_keys(EnvEntry), lambda given: spec(envs=[{"key": "K", **given}])),
    **each("evaluation", shape.known_keys(ExpressionEvaluationSpec), lambda given: evaluation(**given)),
}
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, 5, -1, 300, 1.5, 10**9, "", "a", "a,", ",", "1", "1024", "007", "true", "True", "yes",
    "success", "failure", "local", "failed", "aborted", "sh", "fish", "perl {0}", "5m", "1m30s", "1ms", "0s", "0.0s", "5 m",
    "-1", "512MiB", "1 GB", "12XB", "os_exec", "expression_evalation", "no_such_type", "{{ .group.id }}", " {{ .group.id }} ",
    "x{{ .group.id }}", "a b", "A=b", "=b", "../x", "line\nline", "group", "x" * 300, "1000:1000",
    [], [""], ["a"], ["a,"], ["A=b"], ["=b"], ["{{ .group.id }}"], [1], [True], [None], [[]], [{}],
    [{"key": "A"}], [{"key": "A", "value": None}], [{"key": ""}], [{"from": "a", "variable": "a"}], [{"name": "n"}], [{"name": "n", "x": 1}],
    ["a", "a"], [{"py": "2"}], [{"py": "{{ .group.id }}"}], [{"py": ["2"]}], {"os": ["a", "b"]}, {"os": ["a"], "max_parallel": 1},
    {"include": [{"os": "a"}]}, {"max_parallel": 1}, {"os": [], "failFast": True}, {"include": []},
    [{"from": "a", "task_name": "a", "variable": "a"}], [OTHER], [{"name": "a"}], [{"name": "a", "type": "os_exec"}],
    {}, {"a": "b"}, {"a": None}, {"a": 1}, {"a": []}, {"A=": "b"}, {"": "b"}, {"{{ .group.id }}": "b"}, {"a": "{{ .group.id }}"},
    {"-a": "b"}, {"to": "a"}, {"to": ""}, {"labels": {}}, {"labels": {"a": "b"}}, {"to": "a", "labels": {"a": "b"}},
    {"attempts": 3}, {"delay": "1s"}, {"default": "a"}, {"command": "x"}, {"command": []}, {"command": ["x"], "shell": "sh"},
    {"command": "x", "shell": "sh"}, {"a": {"default": "b"}}, {"a": {"default": "b", "required": True}}, {"memory": 1 << 20},
    {"env": "a"}, {"group": "a"},
)  # fmt: skip


NAMES = (
    True, False, "true", "True", "yes", "success", "failure", "local", "failed", "aborted", "sh", "fish", "os_exec",
    "expression_evalation", "no_such_type",
)  # fmt: skip
NO_TASK_OF_THIS_NAME = dict.fromkeys(["import.from", "import.variable", "import.task_name", "import.name"], NAMES)
# In JSON null is always written; in YAML the value may have been left out, and that is the empty text.
NULLS = ([{"key": "A", "value": None}], {"a": None})
NO_KEY = ("{{ .group.id }}", " {{ .group.id }} ", "x{{ .group.id }}")
NO_AXES = (
    [{"key": "A"}], [{"key": ""}], [{"from": "a", "variable": "a"}], [{"name": "n"}], [{"name": "n", "x": 1}], [{"name": "a"}],
    [{"from": "a", "task_name": "a", "variable": "a"}], [{"name": "a", "type": "os_exec"}],
)  # fmt: skip
NO_VARIABLE = (["{{ .group.id }}"], *NULLS)
LOOSE: Mapping[str, tuple[Any, ...]] = {
    **NO_TASK_OF_THIS_NAME,
    "task.name": ("a",),  # it is taken
    "task.depends_on": (*NAMES, [True]),
    "group.env": NULLS,
    "group.concurrency": NO_KEY,
    "concurrency.key": NO_KEY,
    "variable.value": (None,),
    "entry.value": (None,),
    "matrix.exclude": NO_AXES,
    "os_exec.envs": NO_VARIABLE,
    "os_exec.env": NO_VARIABLE,
    "os_exec.data": NO_VARIABLE,
    "os_exec.files": ({"a": None},),
    # The amount that a number in quotes stands for.
    "limits.memory": ("1", "1024", "007"),
    "limits.log": ("1", "1024", "007"),
    "limits.nofile": ("1", "-1"),
    "limits.nice": ("1024",),
    "limits.oom_score_adj": ("1024",),
}
"""What is refused and fits all the same, by place."""


@pytest.mark.parametrize("place", list(PLACES))
def test_what_a_key_may_hold_fits_and_the_rest_does_not(place: str) -> None:
    documents = [(value, PLACES[place](value)) for value in VALUES]
    valid = [value for value, data in documents if is_valid(data)]
    fitting = [value for value, data in documents if fits(data)]
    assert without(valid, fitting) == []
    assert without(without(fitting, valid), LOOSE.get(place, ())) == []


def test_what_is_loose_is_so() -> None:
    for place, values in LOOSE.items():
        assert [value for value in values if is_valid(PLACES[place](value)) or not fits(PLACES[place](value))] == []


def without(values: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """`True` is no 1 here."""
    spelt = {json.dumps(other) for other in others}
    return [value for value in values if json.dumps(value) not in spelt]
