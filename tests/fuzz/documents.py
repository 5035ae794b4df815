"""Documents: what is read of any bytes, and what of that the formatter, the JSON Schema and the digest make.

An input is a document. One that begins with a NUL decides instead which keys of a task group have which values. Judged is:

- a document is a task group, or refused with faults, each at a place that it has;
- read again it is the same, faults and digest too;
- what is JSON is the same when it is read as YAML, and what is YAML the same when it is written as JSON;
- the canonical form means the same, and is its own canonical form;
- what is valid fits the JSON Schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml
from jsonschema import Draft7Validator

from drivers.registry import Registry
from runner import schema
from runner.config import load_settings
from runner.errors import DocumentError, RunnerError
from runner.formatting import formatted
from runner.model import codec, document, scalars
from runner.model.fault import Fault
from runner.model.group import TaskGroup
from runner.model.limits import Limits
from runner.model.scalars import Plain
from runner.tasktypes import registry
from runner.validation import load
from runner.validation.forwarding import unjudged
from tests.fuzz.choices import Choices

LIMITS = Limits(document_bytes=64 << 10, tasks=50, nodes=4000, nesting=24, faults=40)
WORDS = (
    b"taskGroup:\n", b"- name: ", b"\n  type: os_exec", b"\n  spec: ", b"{command: x}", b"command: ", b"\n  exports: [", b"\n  imports: ", b"inputs:\n  ",
    b"{{ .", b" }}", b"depends_on: ", b"&a ", b"*a", b"<<: ", b"!!str ", b"!!int ", b"|\n", b">-\n", b"---\n", b"...\n", b"%TAG ! x\n", b"%YAML 1.2\n", b"? ", b"- ",
    b": ", b"{", b"}", b"[", b"]", b", ", b'"', b"'", b" #", b"\\ud800", b"\\u0000", b"\t", b"\r\n", b"\xc2\x85", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\xc2\xa0",
    b"matrix: ", b"retry: ", b"{attempts: 2}", b"if: ", b"env:\n  ", b"labels: ", b"timeout: 1m", b"forward: ", b"null", b"~", b"true", b"0x1F", b"1e5", b"1_000", b"-0",
)  # fmt: skip


def check(data: bytes) -> None:
    """Raises AssertionError for an input that finds a fault."""
    if data[:1] == b"\0":
        group = _built(Choices(data[1:]))
        text = json.dumps(group, ensure_ascii=len(data) % 2 == 0)
        if len(data) % 4 == 3:
            _same_in_blocks(group, text)
        else:
            _judge(text.encode(), form=len(data) % 4 == 2)
    else:
        _judge(data)


Reading = tuple[TaskGroup | None, tuple[Fault, ...]]


def _judge(data: bytes, *, form: bool = True) -> None:
    """`form`: also its canonical one, which takes longer than all else."""
    group, faults = _load(data)
    assert (group is None) == any(not fault.warning for fault in faults)
    _placed(data, faults)
    again, others = _load(data)
    assert (again, others) == (group, faults), "read once more"
    read = document.read(data, limits=LIMITS)
    if read._json and not read.faults:
        _same_as_yaml(data, group, faults)
    if read.complete and not read.faults:
        if form:
            _formatted(data, read.data, group)
        if group is not None and again is not None:
            assert _digest(group) == _digest(again)
            _written_as_json(read.data, group)


def _load(data: bytes) -> Reading:
    try:
        loaded = load(data, source="d", registry=_registry(), limits=LIMITS, judge=unjudged)
    except DocumentError as error:
        faults = tuple(fault for fault in error.faults if isinstance(fault, Fault))
        return None, faults
    assert 0 < len(loaded.group.tasks) <= LIMITS.tasks
    return loaded.group, loaded.warnings


def _group_of(data: bytes) -> TaskGroup:
    group, _ = _load(data)
    assert group is not None
    return group


def _placed(data: bytes, faults: tuple[Fault, ...]) -> None:
    # Lines end as YAML has it, or JSON: a fault of either may lie behind what the other one takes for an end.
    text = data.decode(errors="replace").lstrip("\ufeff")
    lines = max(len(re.split(ends, text)) for ends in ("\r\n|[\r\n\x85\u2028\u2029]", "\n"))
    longest = max(map(len, text.split("\n")))
    assert len(faults) <= 2 * LIMITS.faults + 100
    for fault in faults:
        str(fault).encode()
        assert fault.message
        assert "\n" not in str(fault)
        if "are not shown" in fault.message:
            continue  # of those beyond the limit
        assert 1 <= fault.line <= lines, fault
        assert 1 <= fault.column <= longest + 1, fault


def _same_as_yaml(data: bytes, group: TaskGroup | None, faults: tuple[Fault, ...]) -> None:
    """Nearly all of JSON is YAML. Where it is not it is refused as YAML with the fault's place, and was judged as JSON before."""
    again = b"---\n" + data.decode().lstrip("\ufeff").encode()
    other, others = _load(again)
    if other is None:
        read = document.read(again, limits=LIMITS)
        if not read.complete or read.faults:
            return
    assert other == group, "JSON that is read as YAML"
    assert sorted((f.path, f.warning) for f in others) == sorted((f.path, f.warning) for f in faults)


def _formatted(data: bytes, read: Any, group: TaskGroup | None) -> None:
    try:
        found = formatted(data.decode())
    except RunnerError:
        return  # PyYAML's own scanner does not take it, and it is left as it is
    if found.encode() == data:
        return
    again = document.read(found.encode(), limits=LIMITS)
    if group is not None:
        assert _group_of(found.encode()) == group, "the canonical form"
    # What is spelt otherwise today stands under other keys.
    if not re.search(rb"tasks|task_name|expression_evalation", data):
        assert again.complete
        assert _spelt(again.data) == _spelt(read), "the canonical form"
    assert formatted(found) == found, "the canonical form of the canonical form"


def _spelt(data: Any) -> Any:
    """Plain data, with text apart from what reads as something else."""
    if isinstance(data, dict):
        return {key: _spelt(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_spelt(item) for item in data]
    return type(data).__name__, str(data)


def _written_as_json(data: Any, group: TaskGroup) -> None:
    if _holds_nothing(data):
        return  # in YAML that may be what was left out, and an empty text; in JSON it is null
    plain = scalars.resolved(data)
    assert _validator().is_valid(plain), next(_validator().iter_errors(plain)).message
    numbers = {
        text
        for text in _plains(data)
        if not re.fullmatch(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false", text)
    }
    if not numbers:
        assert _group_of(_json(data).encode()) == group, "YAML that is written as JSON"


def _holds_nothing(data: Any) -> bool:
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return data is None or any(map(_holds_nothing, inner))


def _plains(data: Any) -> Iterator[str]:
    if isinstance(data, Plain):
        yield str(data)
    elif isinstance(data, dict | list):
        for item in data.values() if isinstance(data, dict) else data:
            yield from _plains(item)


def _json(data: Any) -> str:
    """With numbers as they were written."""
    if isinstance(data, Plain):
        return str(data)
    if isinstance(data, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_json(value)}" for key, value in data.items()) + "}"
    if isinstance(data, list):
        return "[" + ", ".join(map(_json, data)) + "]"
    return json.dumps(data)


def _digest(group: TaskGroup) -> str:
    return codec.digest(codec.encode_group(group), {})


@cache
def _registry() -> Registry:
    return registry(load_settings({}))


@cache
def _validator() -> Draft7Validator:
    return Draft7Validator(schema.of_documents(_registry()))


# What is built.

NAMES = ("a", "b", "c", "a-b", "B_2", "a,", "inputs", "")
TEXTS = (
    "x", "", "yes", "1.10", "0755", "{{ .inputs.tag }}", "{{ .a.out }}", "{{ .a.out | upper }}", "{{ matrix.os }}", "{{ task.name }}", "{{", "{% x %}", "two\nlines\n", "é🔑",
    " lead", "trail ", "# no comment", "a: b", "- a", "\t", "null", "~", "1m", "true", "\r", "\u2028", "\x7f",
)  # fmt: skip
DURATIONS = ("1m", "90", 90, 1.5, "2m30s", "0", -1, "x")
SPECS = ("command", "shell", "envs", "workdir", "files", "grace", "string_to_evaluate", "variables", "commnad")


def _built(choices: Choices) -> dict[str, Any]:
    group: dict[str, Any] = {choices.pick(("taskGroup", "tasks")): []}
    tasks = next(iter(group.values()))
    tasks += [_task(choices) for _ in range(1 + choices.below(3))]
    for _ in range(choices.below(5)):
        key, make = choices.pick(tuple(GROUP.items()))
        group[key] = make(choices)
    return group


def _task(choices: Choices) -> dict[str, Any]:
    type = choices.pick(("os_exec", "os_exec", "expression_evaluation", "expression_evalation", "no_such_type"))
    text = choices.pick(TEXTS)
    spec = {"command": text} if type == "os_exec" else {"string_to_evaluate": text}
    task = {"name": choices.pick(NAMES), "type": type, "spec": spec}
    for _ in range(choices.below(5)):
        key, make = choices.pick(tuple(TASK.items()))
        task[key] = make(choices)
    if choices.below(4) == 3:
        key = choices.pick(SPECS)
        spec[key] = _any(choices, 2)
    return task


def _any(choices: Choices, depth: int) -> Any:
    kinds = choices.below(8 if depth else 6)
    if kinds == 6:
        return [_any(choices, depth - 1) for _ in range(choices.below(3))]
    if kinds == 7:
        return {_text(choices): _any(choices, depth - 1) for _ in range(choices.below(3))}
    return (True, choices.below(256), 10**20, None, _text(choices), choices.pick(NAMES))[kinds]


def _text(choices: Choices) -> str:
    return choices.pick(TEXTS) if choices.chance() else choices.text(8)


def _texts(choices: Choices) -> dict[str, str]:
    return {
        choices.pick(("A", "B_2", "x y", "A=")) if choices.chance() else "K": _text(choices)
        for _ in range(choices.below(3))
    }


def _records(first: str, second: str) -> Any:
    return lambda choices: [
        {first: choices.pick(NAMES), second: choices.pick(("out", "url", True, "a"))} for _ in range(choices.below(3))
    ]


GROUP: dict[str, Any] = {
    "name": _text,
    "description": _text,
    "labels": _texts,
    "env": _texts,
    "timeout": lambda choices: choices.pick(DURATIONS),
    "failFast": lambda choices: choices.pick((True, False, "true", "no")),
    "inputs": lambda choices: {
        "tag": choices.pick(({"default": "x"}, {"required": True}, "latest", {"default": 1.5, "confidential": True}))
    },
    "version": lambda choices: choices.pick((1, "1", 2)),
    "id": lambda choices: choices.pick(("x-1", "-", 7)),
}
TASK: dict[str, Any] = {
    "depends_on": lambda choices: choices.pick(("a", ["a"], ["a", "b"], ["c", "a-b"], [])),
    "imports": _records("from", "variable"),
    "exports": _records("name", "confidential"),
    "if": _text,
    "when": lambda choices: choices.pick(("success", "failure", "always", "never", "")),
    "timeout": lambda choices: choices.pick(DURATIONS),
    "retry": lambda choices: choices.pick(
        ({"attempts": 2}, {"attempts": 0}, {"attempts": 3, "delay": "1s", "on": ["failed", 3]}, 2)
    ),
    "matrix": lambda choices: choices.pick(
        ({"os": ["a", "b"]}, {"os": ["a", 1.10], "py": ["x"]}, {"os": ["a", "b"], "exclude": [{"os": "a"}]}, {"os": []})
    ),
    "allow_failure": lambda choices: choices.chance(),
    "template": lambda choices: choices.chance(),
    "description": _text,
    "forward": lambda choices: choices.pick(("onprem", {"to": "onprem"}, {"labels": {"a": "b"}}, {})),
    "any": lambda choices: _any(choices, 2),
}


def _same_in_blocks(group: dict[str, Any], text: str) -> None:
    """Written by somebody else, in blocks, with other quotes. It may break lines where a text has white space of its own."""
    blocks = yaml.safe_dump(group, sort_keys=False, allow_unicode=True, width=10**6)
    read = document.read(blocks.encode(), limits=LIMITS)
    assert read.complete
    known = document.read(text.encode(), limits=LIMITS)
    if _spelt(read.data) == _spelt(known.data):
        assert _load(blocks.encode())[0] == _load(text.encode())[0], "the same in blocks"
