"""The parts of which messages between origins and executors are made, and what each has to be. What reads them raises a UsageError that
says what is wrong.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from runner.errors import UsageError
from runner.model.dispatch import WHOLE, AttemptId
from runner.model.fields import NAME
from runner.model.log import Stream
from runner.model.matrix import is_instance_name
from runner.model.value import Bindings, Value
from runner.rpc.wire import STREAMS_BACK
from runner.v1 import peer_pb2 as pb

LARGEST = (1 << 62) - 1
"""Of every number; what is stored has 63 bits."""

LAST_SECONDS = 2.5e11
"""Since the epoch. In ten thousand years a calendar ends (`datetime`), which times are shown by."""

LONGEST_ATTEMPT = (1 << 31) - 1
LONGEST_NAME_CHARS = 1000


def id_to_proto(id: AttemptId) -> pb.AttemptId:
    return pb.AttemptId(group=id.group, task=id.task, attempt=id.attempt)


def id_from_proto(message: pb.AttemptId) -> AttemptId:
    if not 1 <= message.attempt <= LONGEST_ATTEMPT:
        raise UsageError(f"its attempt is {message.attempt}; expected 1 to {LONGEST_ATTEMPT:,}")
    task = message.task if message.task == WHOLE else task_name_of(message.task)
    return AttemptId(group_of(message.group), task, message.attempt)


def bindings_to_proto(bindings: Bindings) -> pb.Bindings:
    message = pb.Bindings(
        inputs={name: value_to_proto(value) for name, value in bindings.inputs.items()},
        env=bindings.env,
        group_id=bindings.group_id,
        group_name=bindings.group_name,
        task_name=bindings.task_name,
        task_attempt=bindings.task_attempt,
    )
    for task, values in bindings.imports.items():
        message.imports[task].SetInParent()
        for name, value in values.items():
            message.imports[task].values[name].CopyFrom(value_to_proto(value))
    return message


def bindings_from_proto(message: pb.Bindings) -> Bindings:
    for task, values in message.imports.items():
        for name in (task, *values.values):
            task_name_of(name)
    for name in message.inputs:
        task_name_of(name)
    return Bindings(
        imports={
            task: {name: value_from_proto(value) for name, value in values.values.items()}
            for task, values in message.imports.items()
        },
        inputs={name: value_from_proto(value) for name, value in message.inputs.items()},
        env={text_of("env", name): text_of("env", text) for name, text in message.env.items()},
        group_id=text_of("group_id", message.group_id, LONGEST_NAME_CHARS),
        group_name=text_of("group_name", message.group_name),
        task_name=text_of("task_name", message.task_name, LONGEST_NAME_CHARS),
        task_attempt=message.task_attempt,
    )


def value_to_proto(value: Value) -> pb.Value:
    return pb.Value(text=value.text, confidential=value.confidential)


def value_from_proto(message: pb.Value) -> Value:
    return Value(text_of("value", message.text), message.confidential)


def stream_from_proto(number: Any) -> Stream:
    stream = STREAMS_BACK.get(number)
    if stream is None:
        raise UsageError(f"there is no stream {number}")
    return stream


def text_of(field: str, text: str, longest: float = math.inf) -> str:
    if "\0" in text:
        raise UsageError(f"its `{field}` holds a NUL")
    if len(text) > longest:
        raise UsageError(f"its `{field}` has {len(text):,} characters, and may have {longest:,}")
    return text


def name_of(field: str, text: str) -> str:
    if not text:
        raise UsageError(f"its `{field}` is empty")
    if not text.isprintable():
        raise UsageError(f"its `{field}` holds what cannot be printed")
    return text_of(field, text, LONGEST_NAME_CHARS)


group_of = partial(name_of, "group")


def task_name_of(text: str) -> str:
    name, bracket, values = text.partition("[")
    if not NAME.fullmatch(name) or (bracket and not is_instance_name(bracket + values)):
        raise UsageError(f"{text[:200]!r} cannot be the name of a task or of a variable")
    return text


def number_of(field: str, number: int) -> int:
    if not 0 <= number <= LARGEST:
        raise UsageError(f"its `{field}` is {number}; expected 0 to {LARGEST}")
    return number


def seconds_of(field: str, seconds: float) -> float:
    if not 0 <= seconds <= LAST_SECONDS:  # a NaN is neither
        raise UsageError(f"its `{field}` is {seconds}; expected a number of seconds")
    return seconds


def seconds_if_any(message: Any, field: str) -> float | None:
    """None where the message has no such field."""
    return seconds_of(field, getattr(message, field)) if message.HasField(field) else None
