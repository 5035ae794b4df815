"""The model as canonical JSON bytes, for the store: equal values give equal bytes.

A field that has its default value is left out, so that a field added later changes no stored bytes; the defaults of
`TaskGroup`, `Task` and their parts are therefore part of the format and never change. Whatever does not decode raises
StoreCorruptError.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import NODEFAULT
from msgspec.structs import fields

from runner.errors import StoreCorruptError
from runner.model.group import Concurrency, Input, TaskGroup
from runner.model.result import Outcome, Status
from runner.model.task import Cell, Export, Forward, Import, Retry, Scope, Task, When
from runner.model.value import Value

_encode = msgspec.json.Encoder(order="sorted").encode
_decode_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode

T = TypeVar("T")
Transform = Callable[[bytes], bytes]


def encode_group(group: TaskGroup) -> bytes:
    plain = _without_defaults(group)
    # One by one: no other thread runs while all of a large group is written as a whole.
    plain["tasks"] = [msgspec.Raw(encode_task(task)) for task in group.tasks]
    if group.inputs:
        plain["inputs"] = [_without_defaults(item) for item in group.inputs]
    if group.forward is not None:
        plain["forward"] = _without_defaults(group.forward)
    if group.concurrency is not None:
        plain["concurrency"] = _without_defaults(group.concurrency)
    return _dump(plain)


def decode_group(data: bytes) -> TaskGroup:
    return _read("task group", lambda: _group(_decode_parts(data)))


def decode_foreign_group(data: bytes) -> TaskGroup:
    """Of whoever it is: what is no group raises StoreCorruptError, down to the last field of its tasks. What these say of each other
    is for others to look at."""

    def read() -> TaskGroup:
        group = _group(_decode_parts(data), msgspec.json.decode)  # as in `decode_task`
        return msgspec.convert(msgspec.to_builtins(group), TaskGroup)

    return _read("task group", read)


def encode_task(task: Task) -> bytes:
    return _dump(_plain_task(task))


def decode_task(data: bytes) -> Task:
    """Of whoever it is: what is no task raises StoreCorruptError, down to the last of its fields."""

    def read() -> Task:
        # Its constructor looks at no types; and what JSON cannot say (a NaN, half of a pair of surrogates) is not read.
        return msgspec.convert(msgspec.to_builtins(_task(msgspec.json.decode(data))), Task)

    return _read("task", read)


def encode_outcome(outcome: Outcome) -> bytes:
    """All but the outputs, which may be confidential: see `encode_values`."""
    plain = _without_defaults(outcome)
    plain.pop("outputs", None)
    return _dump(plain)


def decode_outcome(data: bytes) -> Outcome:
    """The outcome without its outputs."""
    return _decoded("outcome", data, _outcome)


def encode_values(values: Mapping[str, Value], seal: Transform) -> bytes:
    """Named values; each confidential one goes through `seal`, so these bytes are equal only where sealing is."""
    return _dump({name: _plain_value(value, seal) for name, value in values.items()})


def decode_values(data: bytes, open: Transform) -> dict[str, Value]:
    """Raises also what `open` raises."""
    stored = _decoded("set of values", data, lambda plain: {name: _stored_value(item) for name, item in plain.items()})
    return {
        name: Value(item) if isinstance(item, str) else Value(open(item).decode(), True)
        for name, item in stored.items()
    }


def digest(group: bytes, inputs: Mapping[str, Value], *, key: bytes = b"") -> str:
    """What is submitted, a group by `encode_group` and its inputs, as hex of SHA-256; under a `key` (HMAC) nobody who reads it can try out confidential inputs."""
    plain = {name: [value.text, value.confidential] for name, value in inputs.items()}
    # The group's bytes are JSON and hold no NUL.
    data = group + b"\0" + _dump(plain)
    return (hmac.new(key, data, "sha256") if key else hashlib.sha256(data)).hexdigest()


def _dump(plain: Any) -> bytes:
    return _encode(plain)


def _decoded(what: str, data: bytes, build: Callable[[Any], T]) -> T:
    return _read(what, lambda: build(json.loads(data)))


def _read(what: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StoreCorruptError(f"the state is damaged: a stored {what} cannot be read ({error})") from error


def _without_defaults(value: Any) -> dict[str, Any]:
    """The fields of a value that differ from their default, unconverted."""
    plain = {}
    for name, default in _defaults(value.__class__):
        content = getattr(value, name)
        if content != default:
            plain[name] = content
    return plain


@cache
def _defaults(model: Any) -> tuple[tuple[str, object], ...]:
    return tuple(
        (field.name, field.default if field.default_factory is NODEFAULT else field.default_factory())
        for field in fields(model)
    )


def _plain_task(task: Task) -> dict[str, Any]:
    plain = _without_defaults(task)
    if task.imports:
        plain["imports"] = [[item.task, item.variable] for item in task.imports]
    if task.exports:
        plain["exports"] = [_without_defaults(item) for item in task.exports]
    if task.forward is not None:
        plain["forward"] = _without_defaults(task.forward)
    if task.matrix is not None:
        plain["matrix"] = _without_defaults(task.matrix)
    if "retry" in plain:
        retry = plain["retry"] = _without_defaults(task.retry)
        if "on" in retry:
            retry["on"] = sorted(task.retry.on)
    return plain


def _plain_value(value: Value, seal: Transform) -> dict[str, str]:
    if value.confidential:
        return {"sealed": base64.b64encode(seal(value.text.encode())).decode()}
    return {"text": value.text}


def _stored_value(plain: dict[str, str]) -> str | bytes:
    """The text of a clear value, the bytes of a sealed one."""
    if "sealed" in plain:
        return base64.b64decode(plain["sealed"], validate=True)
    if not isinstance(plain["text"], str):
        raise TypeError("a value is not text")
    return plain["text"]


def _group(parts: dict[str, msgspec.Raw], loads: Callable[[bytes], Any] = json.loads) -> TaskGroup:
    """The tasks are read one by one: no other thread runs while a large text is read as a whole."""
    tasks = tuple(_task(loads(bytes(item))) for item in _decode_list(parts.pop("tasks")))
    plain = {name: loads(bytes(part)) for name, part in parts.items()}
    plain["inputs"] = tuple(Input(**item) for item in plain.get("inputs", ()))
    if "forward" in plain:
        plain["forward"] = Forward(**plain["forward"])
    if "concurrency" in plain:
        plain["concurrency"] = Concurrency(**plain["concurrency"])
    return TaskGroup(tasks=tasks, **plain)


def _task(plain: dict[str, Any]) -> Task:
    plain["depends_on"] = tuple(plain.get("depends_on", ()))
    plain["imports"] = tuple(Import(task=task, variable=variable) for task, variable in plain.get("imports", ()))
    plain["exports"] = tuple(_exports(plain.get("exports", ())))
    if "retry" in plain:
        retry = plain["retry"]
        if "on" in retry:
            retry["on"] = frozenset(retry["on"])
        plain["retry"] = Retry(**retry)
    if "when" in plain:
        plain["when"] = When(plain["when"])
    if "forward" in plain:
        plain["forward"] = Forward(**plain["forward"])
    if "matrix" in plain:
        plain["matrix"] = Cell(**plain["matrix"])
    return Task(**plain)


def _exports(items: Iterable[dict[str, Any]]) -> Iterable[Export]:
    for item in items:
        if "scope" in item:
            item["scope"] = Scope(item["scope"])
        yield Export(**item)


def _outcome(plain: dict[str, Any]) -> Outcome:
    return Outcome(**{**plain, "status": Status(plain["status"])})
