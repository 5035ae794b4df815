"""Documents through the whole validation: what is valid, and every fault with its exact words and place."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, Field, field_validator

from drivers.base import Driver, Finding, SimpleDriver, Spec, TaskContext
from drivers.registry import Registry
from runner.errors import DocumentError
from runner.model.group import Input
from runner.model.limits import Limits
from runner.model.task import Export, Forward, Import, Retry, Scope, Task, When
from runner.validation import Loaded, load
from taskimpl import built_in_drivers

GROUPS = Path(__file__).parents[1] / "testdata" / "groups"
VALID = sorted(path for path in (GROUPS / "valid").iterdir() if path.suffix != ".warnings")
INVALID = sorted(path for path in (GROUPS / "invalid").iterdir() if path.suffix != ".faults")


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("must be even")
    return value


class Inner(Spec):
    depth: int
    note: str = ""


class ProbeSpec(Spec):
    """A field of every kind that a spec may have."""

    text: str
    texts: list[str] = Field(default_factory=list)
    table: dict[str, str | None] = Field(default_factory=dict)
    whole: int = 0
    number: float = 0.0
    flag: bool = False
    mode: Literal["fast", "slow"] = "fast"
    positive: int = Field(default=1, gt=0)
    short: str = Field(default="", max_length=8)
    pair: list[int] = Field(default_factory=lambda: [1, 2], min_length=2, max_length=2)
    either: int | str = 0
    any: Any = None
    inner: Inner | None = None
    inners: list[Inner] = Field(default_factory=list)
    even: Annotated[int, AfterValidator(_even)] = 0

    @field_validator("pair")
    @classmethod
    def _ordered(cls, value: list[int]) -> list[int]:
        assert value[0] <= value[1], "must be in order"
        return value


class Probe(SimpleDriver[ProbeSpec]):
    """Has an opinion of its own about the text `forbidden`, and says what it was told to be confidential."""

    type = "probe"
    spec_model = ProbeSpec

    def check(
        self, spec: Mapping[str, Any], exports: Sequence[str], confidential: Collection[str] = ()
    ) -> Sequence[Finding]:
        findings = []
        if spec.get("text") == "forbidden":
            findings.append(Finding(("text",), f"this text is forbidden to {', '.join(exports) or 'nobody'}"))
        texts = spec.get("texts")
        if isinstance(texts, list) and "forbidden" in texts:
            findings.append(
                Finding(("texts", texts.index("forbidden")), f"look: {', '.join(sorted(confidential))}", True)
            )
        return findings

    async def run(self, ctx: TaskContext, spec: ProbeSpec) -> Mapping[str, str]:
        return {"text": spec.text}


def registry() -> Registry:
    drivers: tuple[Driver[Any], ...] = (*built_in_drivers({}), Probe())
    return Registry(drivers)


def loaded(text: str | bytes, limits: Limits | None = None) -> Loaded:
    data = text.encode() if isinstance(text, str) else text
    return load(data, source="test.yaml", registry=registry(), limits=limits)


def refused(text: str | bytes, limits: Limits | None = None) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        loaded(text, limits)
    return [str(fault) for fault in caught.value.faults]


def task(text: str) -> Task:
    (only,) = loaded(f"tasks:\n- {{name: one, type: probe, spec: {{text: x}}, {text}}}").group.tasks
    return only


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.name)
def test_valid_documents(path: Path) -> None:
    result = load(path.read_bytes(), source=path.name, registry=registry())
    assert result.group.tasks
    warnings = path.with_name(path.name + ".warnings")
    expected = warnings.read_text(encoding="utf-8") if warnings.exists() else ""
    assert "".join(f"{warning}\n" for warning in result.warnings) == expected


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.name)
def test_invalid_documents(path: Path) -> None:
    expected = path.with_name(path.name + ".faults").read_text(encoding="utf-8")
    with pytest.raises(DocumentError) as caught:
        load(path.read_bytes(), source=path.name, registry=registry())
    assert "".join(f"{fault}\n" for fault in caught.value.faults) == expected
    assert caught.value.message + "\n" == expected


@pytest.mark.parametrize("line_end", [b"\r\n", b"\r"])
def test_places_do_not_depend_on_line_ends(line_end: bytes) -> None:
    path = GROUPS / "invalid" / "template-places.yaml"
    data = path.read_bytes()
    assert refused(data) == refused(b"\xef\xbb\xbf" + data.replace(b"\n", line_end))


def test_places_of_templates_in_json() -> None:
    spec = r'{"text": "\u00e9\"{{ .a.b }}\n {{ 1 + 1 }}", "texts": ["\u007b{ .c }} {{ .d }}"]}'
    faults = refused('{"tasks": [\n{"name": "one", "type": "probe",\n"spec": ' + spec + "}]}")
    assert [fault.split(": ", 2)[:2] for fault in faults] == [
        ["test.yaml:3:27", "tasks[0].spec.text"],
        ["test.yaml:3:45", "tasks[0].spec.text"],
        # Whatever hides its braces is told of where its text begins.
        ["test.yaml:3:64", "tasks[0].spec.texts[0]"],
        ["test.yaml:3:64", "tasks[0].spec.texts[0]"],
    ]


def valid_tasks(name: str) -> dict[str, Task]:
    path = GROUPS / "valid" / name
    return {task.name: task for task in load(path.read_bytes(), source=name, registry=registry()).group.tasks}


def test_every_key_arrives_in_the_model() -> None:
    path = GROUPS / "valid" / "full.yaml"
    group = load(path.read_bytes(), source="full.yaml", registry=registry()).group
    assert (group.name, group.description, group.id) == ("deploy", "What the team deploys", "8c1f-deploy-1")
    assert group.labels == {"team": "web", "rank": "1"}
    assert group.inputs == (
        Input(name="tag", default="latest", description="What to deploy"),
        Input(name="db_password", required=True, confidential=True),
        Input(name="region", default="eu-1"),
        Input(name="comment"),
    )
    assert (group.timeout, group.fail_fast, group.cleanup_timeout) == (3600.0, False, 300.0)
    assert group.env == {"LANG": "C.UTF-8", "TAG": "{{ .inputs.tag }} of {{ .group.name }}", "EMPTY": ""}
    fetch, build, deploy, clean = group.tasks
    assert fetch.exports == (Export(name="password", confidential=True),)
    assert build.exports == (Export(name="changed", scope=Scope.GLOBAL, default=""), Export(name="url", default="none"))
    assert deploy == Task(
        name="deploy",
        type="os_exec",
        depends_on=("build",),
        imports=(Import(task="fetch-secret", variable="password"), Import(task="build", variable="changed")),
        spec={
            "command": ["/bin/bash", "-c", "./deploy.sh"],
            "envs": {
                "DB_PASSWORD": "{{ .fetch-secret.password }}",
                "ATTEMPT": "{{ .task.attempt }} of {{ task.name }}",
            },
        },
        timeout=600.0,
        retry=Retry(attempts=3, delay=2.0, backoff=2.0, max_delay=60.0, on=frozenset({"failed", "errored", "7"})),
        condition="{{ .build.changed == 'true' }}",
    )
    assert clean == Task(
        name="clean",
        type="os_exec",
        depends_on=("deploy",),
        when=When.ALWAYS,
        condition=True,
        template=False,
        spec={"command": "echo '{{ not a template }}'"},
    )


def test_other_spellings_mean_the_same() -> None:
    path = GROUPS / "valid" / "spellings.yaml"
    group = load(path.read_bytes(), source="spellings.yaml", registry=registry()).group
    assert group.env == {"A": "yes", "B": "0755", "C": ""}
    evaluate, show = group.tasks
    assert evaluate.type == "expression_evaluation"
    assert evaluate.spec["variables"] == {"n": 1, "deep": {"yes": True, "list": [1.5, "x"]}}
    assert show.depends_on == ("evaluate",)
    assert show.imports == (Import(task="evaluate", variable="result"),)


def test_text_is_kept_and_numbers_are_read() -> None:
    assert valid_tasks("texts.yaml")["texts"].spec == {
        "text": "1.10",
        "texts": [
            *["yes", "no", "on", "0755", "22:22", "1e3", "true", "False", "0x1F", "~x", "5", "6", "2024-01-01", "1_000"]
        ],
        "table": {"A": "yes", "B": "0o17", "C": None, "D": ".inf", "E": "12345678901234567890123", "F": "", "G": "-0"},
        "whole": 31,
        "number": 1000.0,
        "flag": True,
        "either": "010",
        "any": {"a": 15, "b": [1.5, True, None, ".inf", "text"], "c": "1"},
    }


def test_merge_keys_aliases_and_tags() -> None:
    tasks = valid_tasks("merge.yaml")
    assert tasks["two"].spec == {"text": "hello", "table": {"A": "a", "B": "mine", "C": "c"}}
    assert tasks["three"].spec == tasks["one"].spec == {"text": "hello", "table": {"A": "a", "B": "b"}}
    assert tasks["four"].spec == {
        "text": "5",
        "any": {"whole": 7, "half": 1, "yes": True, "none": None, "plain": "5", "list": [1]},
    }


def test_where_tasks_are_forwarded_to() -> None:
    tasks = valid_tasks("forward.yaml")
    assert {name: task.forward for name, task in tasks.items()} == {
        "pick": None,
        "there": Forward(to="onprem-1"),
        "address": Forward(to="10.0.0.5:8888"),
        "given": Forward(to="{{ .inputs.site }}"),
        "by-env": Forward(to="{{ .env.WHERE }}-{{ .task.attempt }}"),
        "chosen": Forward(to="{{ .pick.runner }}"),
        "any": Forward(labels={"site": "eu", "gpu": "true", "rank": "1.0"}),
        "plain": Forward(to="{{ no template }}"),
    }
    assert tasks["there"].spec == {"text": "1.10"}
    assert tasks["any"].spec == {
        "image": "cuda:12",
        "version": 1.1,
        "quoted": "1.10",
        "deep": {"on": ["yes", True, "{{ .task.name }}"]},
    }


def test_json_is_read_like_yaml() -> None:
    one = valid_tasks("document.json")["one"]
    assert one.spec == {
        "text": "a \U0001f600",
        "flag": True,
        "whole": 3,
        "table": {"A": "true", "B": "1.10"},
        "any": [1, 2.5, False, None],
    }


def test_a_short_default_and_a_plain_condition() -> None:
    assert task("if: false").condition is False
    assert task("if: 'True'").condition is True
    assert task('if: "{{ .task.attempt == 1 }}\\n"').condition == "{{ .task.attempt == 1 }}"
    assert task("timeout: 90").timeout == 90.0
    assert task("retry: {attempts: 2, on: timeout}").retry.on == frozenset({"timeout"})
    assert task("depends_on: []").depends_on == ()


def test_a_variable_that_no_process_can_be_given_is_refused() -> None:
    tasks = "\ntasks: [{name: a, type: probe, spec: {text: x}}]\n"
    assert loaded(f"env: {{A: {'x' * 131_069}}}{tasks}").group.env["A"]
    (fault,) = refused(f"env:\n- A={'ä' * 65_535}{tasks}")
    assert fault == "test.yaml:2:3: env[0]: 131,072 bytes with its name; at most 131,071 are possible: use files"


def test_a_reason_that_only_a_driver_may_know_is_a_warning() -> None:
    result = loaded("tasks: [{name: a, type: probe, spec: {text: x}, retry: {attempts: 2, on: [quota_exceeded]}}]")
    assert [str(warning) for warning in result.warnings] == [
        'test.yaml:1:75: warning: tasks[0].retry.on[0]: "quota_exceeded" is no reason that the runner itself gives'
    ]
    assert result.group.tasks[0].retry.on == frozenset({"quota_exceeded"})


TASKS = "tasks: [{name: a, type: probe, spec: {text: x}}, {name: b, type: probe, spec: {text: x}}]\n"


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(document_bytes=50), "test.yaml:1:1: the document has more than 50 bytes, which is the limit"),
        (Limits(tasks=1), "test.yaml:1:8: tasks: the group has 2 tasks, and 1 is the limit"),
        (
            Limits(nesting=3),
            "test.yaml:1:38: tasks[0]: mappings and lists are nested more than 3 deep, which is the limit",
        ),
        (Limits(nodes=10), "test.yaml:1:39: the document has more than 10 nodes, which is the limit"),
    ],
)
def test_limits_are_named(limits: Limits, message: str) -> None:
    assert len(loaded(TASKS).group.tasks) == 2
    assert refused(TASKS, limits) == [message]


def test_the_limit_on_nodes_counts_in_json_and_behind_aliases() -> None:
    limits = Limits(nodes=20)
    document = '{"tasks": [{"name": "a", "type": "probe", "spec": {"text": "", "texts": [%s]}}]}'
    assert loaded(document % '"1,2,3,4,5,6,7,8,9,10,11,12:13:14,15,16"', limits).group.tasks[0].name == "a"
    message = "test.yaml:1:1: the document has more than 20 nodes, which is the limit"
    assert refused(document % ("1," * 20 + "1"), limits) == [message]
    message = (
        "test.yaml:2:21: the document has more than 20 nodes, counting what its aliases stand for, which is the limit"
    )
    assert refused("labels: &a {a: a, b: b, c: c}\ninputs: {x: &x {<<: *a}, y: {<<: *a}}\n", limits) == [message]


def test_no_more_faults_than_the_limit_are_told() -> None:
    text = "tasks:\n" + "- {name: 1, type: probe, spec: {text: x}}\n" * 5
    told = refused(text, Limits(faults=2))
    assert len(told) == 3
    assert told[-1] == "test.yaml: 3 more faults are not shown: the limit is 2"


def test_a_document_with_more_warnings_than_the_limit_is_valid() -> None:
    script = "{type: os_exec, spec: {command: 'echo {{ .inputs.a }}'}, name: "
    text = "inputs: {a: b}\ntasks:\n" + "".join(f"- {script}t{number}}}\n" for number in range(5))
    warnings = loaded(text, Limits(faults=2)).warnings
    assert [warning.line for warning in warnings] == [3, 4, 0]
    assert warnings[-1].message == "3 more warnings are not shown: the limit is 2"


def test_aliases_may_add_up_to_the_limit() -> None:
    text = "tasks:\n- {name: a, type: probe, spec: &s {text: x, texts: [a, a, a, a, a, a]}}\n" + "".join(
        f"- {{name: b{number}, type: probe, spec: *s}}\n" for number in range(20)
    )
    assert len(loaded(text).group.tasks) == 21
    assert "more than 1 times as large" in refused(text, Limits(alias_expansion=1))[0]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"a" * (100 * 1024 * 1024), id="a scalar of 100 MiB"),
        pytest.param(b"name: " + b"x" * (30 * 1024 * 1024), id="a scalar of 30 MiB"),
        pytest.param(b"[" * 1_000_000, id="lists in lists"),
        pytest.param(b'{"a":' * 1_000_000, id="mappings in mappings"),
        pytest.param(b"- " * 1_000_000, id="lists in block style"),
        pytest.param(b"? " * 1_000_000, id="keys of keys"),
        pytest.param(b"{" * 1_000_000, id="braces"),
        pytest.param(b"name: 'a\n" + b"\n" * 1_000_000, id="a quote without end"),
        pytest.param(b"%TAG !a! x\n" * 100_000, id="tag directives"),
        pytest.param(b"".join(b"%%TAG !a%d! x\n" % n for n in range(20_000)) + b"--- x", id="many tag directives"),
        pytest.param(b"".join(b"%%TAG !a%d! x\r" % n for n in range(40_000)) + b"--- x", id="tags, old Mac lines"),
        pytest.param(b"tasks: [" + b"&a x, *a, " * 100_000 + b"]", id="anchors"),
        pytest.param(
            b"tasks: [{name: a, type: os_exec, spec: {command: '" + b"{{ task.name }}" * 300_000 + b"'}}]",
            id="many templates in a text",
        ),
        pytest.param(
            b"tasks: [{name: a, type: probe, spec: {text: '" + b"{{" * 1_000_000 + b"'}}]", id="braces in a text"
        ),
        pytest.param(b"tasks:\n" + b"- x\n" * 100_001, id="more tasks than allowed"),
        pytest.param(b"labels: {" + b"".join(b"a%d: [], " % n for n in range(50_000)) + b"}", id="faults"),
        pytest.param(b'name: "' + b"\\0" * 100_000 + b'"', id="NULs"),
        pytest.param(b'{"tasks": [' + b'{"a": 1, "a": 2},' * 30_000 + b"1]}", id="JSON in one line"),
        pytest.param(b"x" * 1_000_000 + b": 1", id="a long key"),
        pytest.param(b"tasks: [{name: " + b"x" * 1_000_000 + b", type: y}]", id="a long name"),
        pytest.param(b"tasks: [{name: a, type: b, retry: {attempts: " + b"9" * 100_000 + b"}}]", id="a long number"),
    ],
)
def test_hostile_documents_are_refused_shortly(data: bytes) -> None:
    faults = refused(data)
    assert max(len(fault) for fault in faults) < 500


def test_long_cycles_are_told_shortly() -> None:
    count = 20_000
    text = "tasks:\n" + "".join(
        f"- {{name: t{n}, type: probe, spec: {{text: x}}, depends_on: t{(n + 1) % count}}}\n" for n in range(count)
    )
    first = " → ".join(f"t{n}" for n in range(10))
    last = " → ".join(f"t{n}" for n in range(19_991, 20_000))
    (fault,) = refused(text)
    assert fault == (
        f"test.yaml:2:56: tasks[0].depends_on: these tasks wait for each other: {first} → … 19981 more … → {last} → t0"
    )


def test_many_unknown_names_do_not_take_for_ever() -> None:
    text = "tasks:\n" + "".join(
        f"- {{name: task-{n}, type: probe, spec: {{text: x}}, depends_on: tusk-{n}}}\n" for n in range(1_000)
    )
    faults = refused(text)
    assert len(faults) == 1_000
    assert "did you mean" in faults[0]


def test_faults_are_told_in_the_order_of_the_text() -> None:
    text = "tasks:\n- {type: probe, name: 1, spec: {}}\nnaem: x\n"
    assert [fault.split(" ")[0] for fault in refused(text)] == ["test.yaml:2:23:", "test.yaml:2:32:", "test.yaml:3:1:"]
