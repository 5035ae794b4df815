"""Encoding the model: what goes in comes out, and equal values give equal bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from runner.errors import StoreCorruptError
from runner.model import codec
from runner.model.group import Input, TaskGroup
from runner.model.result import Outcome, Status
from runner.model.task import Export, Import, Retry, Scope, Task, When
from runner.model.value import Value

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
seconds = st.floats(min_value=0, max_value=1e9, allow_nan=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
retries = st.builds(
    Retry,
    attempts=st.integers(1, 9),
    delay=seconds,
    backoff=seconds,
    max_delay=seconds,
    on=st.frozensets(st.sampled_from(["failed", "errored", "timeout", "7"])),
)
tasks = st.builds(
    Task,
    name=text,
    type=text,
    spec=st.dictionaries(text, plain, max_size=3),
    description=text,
    depends_on=st.lists(text, max_size=3).map(tuple),
    imports=st.lists(st.builds(Import, task=text, variable=text), max_size=2).map(tuple),
    exports=st.lists(
        st.builds(
            Export,
            name=text,
            confidential=st.booleans(),
            scope=st.sampled_from(Scope),
            default=st.none() | text,
        ),
        max_size=2,
    ).map(tuple),
    timeout=st.none() | seconds,
    retry=retries,
    when=st.sampled_from(When),
    condition=st.none() | st.booleans() | text,
    allow_failure=st.booleans(),
    template=st.booleans(),
)
inputs = st.builds(
    Input,
    name=text,
    default=st.none() | text,
    required=st.booleans(),
    confidential=st.booleans(),
    description=text,
)
groups = st.builds(
    TaskGroup,
    name=text,
    description=text,
    id=st.none() | text,
    labels=st.dictionaries(text, text, max_size=2),
    inputs=st.lists(inputs, max_size=2).map(tuple),
    timeout=st.none() | seconds,
    fail_fast=st.booleans(),
    cleanup_timeout=seconds,
    env=st.dictionaries(text, text, max_size=2),
    tasks=st.lists(tasks, min_size=1, max_size=3).map(tuple),
)
outcomes = st.builds(
    Outcome,
    status=st.sampled_from(Status),
    reason=st.none() | text,
    exit_code=st.none() | st.integers(0, 255),
    signal=st.none() | st.integers(1, 64),
    error=st.none() | text,
    kill=st.none() | st.dictionaries(text, plain, max_size=2),
    started_at=st.none() | seconds,
    finished_at=st.none() | seconds,
)


def flip(data: bytes) -> bytes:
    return bytes(byte ^ 0x5A for byte in data)


@given(groups)
def test_a_group_survives(group: TaskGroup) -> None:
    data = codec.encode_group(group)
    assert codec.decode_group(data) == group
    assert codec.encode_group(codec.decode_group(data)) == data


@given(outcomes)
def test_an_outcome_survives_without_its_outputs(outcome: Outcome) -> None:
    secret = replace(outcome, outputs={"password": Value("hunter2", True)})
    assert b"hunter2" not in codec.encode_outcome(secret)
    assert codec.decode_outcome(codec.encode_outcome(secret)) == outcome


@given(st.dictionaries(text, st.builds(Value, text, st.booleans())))
def test_values_survive(values: dict[str, Value]) -> None:
    assert codec.decode_values(codec.encode_values(values, flip), flip) == values


def test_confidential_values_are_sealed_and_others_are_not() -> None:
    data = codec.encode_values({"password": Value("hunter2", True), "url": Value("http://x")}, flip)
    assert b"hunter2" not in data
    assert json.loads(data)["url"] == {"text": "http://x"}


def test_a_mapping_in_another_order_gives_the_same_bytes() -> None:
    one = TaskGroup(env={"A": "1", "B": "2"}, tasks=(Task(name="t", type="x", spec={"a": 1, "b": 2}),))
    two = TaskGroup(env={"B": "2", "A": "1"}, tasks=(Task(name="t", type="x", spec={"b": 2, "a": 1}),))
    assert codec.encode_group(one) == codec.encode_group(two)


def test_defaults_are_left_out() -> None:
    group = TaskGroup(tasks=(Task(name="t", type="x"),))
    assert codec.encode_group(group) == b'{"tasks":[{"name":"t","type":"x"}]}'


def test_the_digest_covers_document_and_inputs() -> None:
    group = TaskGroup(name="g", tasks=(Task(name="t", type="x"),))
    values = {"tag": Value("1")}
    encoded = codec.encode_group(group)
    digests = {
        codec.digest(encoded, {}),
        codec.digest(encoded, values),
        codec.digest(encoded, {"tag": Value("1", True)}),
        codec.digest(codec.encode_group(replace(group, name="h")), values),
        codec.digest(encoded, values, key=b"k"),
    }
    assert len(digests) == 5
    assert all(len(digest) == 64 for digest in digests)
    assert codec.digest(encoded, values) == codec.digest(codec.encode_group(replace(group)), dict(values))


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"{}", b"null", b"\xff", b'{"tasks":[{"name":"t"}]}', b'{"tasks":[],"surprise":1}'],
)
def test_damaged_bytes_are_named_as_such(data: bytes) -> None:
    with pytest.raises(StoreCorruptError, match="a stored task group cannot be read"):
        codec.decode_group(data)


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"status":"dizzy"}'])
def test_a_damaged_outcome_is_named_as_such(data: bytes) -> None:
    with pytest.raises(StoreCorruptError, match="a stored outcome cannot be read"):
        codec.decode_outcome(data)


@pytest.mark.parametrize("data", [b"[]", b'{"a":1}', b'{"a":{}}', b'{"a":{"sealed":"%"}}', b'{"a":{"text":1}}'])
def test_damaged_values_are_named_as_such(data: bytes) -> None:
    with pytest.raises(StoreCorruptError, match="a stored set of values cannot be read"):
        codec.decode_values(data, flip)
