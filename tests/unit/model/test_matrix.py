"""The matrix of a task: its combinations, the names of its instances, and what it stands for."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from runner.model import codec, matrix, matrixparse
from runner.model.fault import Faults
from runner.model.matrix import Matrix
from runner.model.task import Cell, Export, Import, Scope, Task, When
from runner.rpc import peerparts

LIMIT = 100_000


def cells(written: Mapping[str, Any], limit: int = LIMIT) -> list[dict[str, str]]:
    """Nothing is wrong with it."""
    faults = Faults(10)
    read = matrixparse.read(faults, ("matrix",), written)
    assert read is not None
    found = matrix.combinations(faults, ("matrix",), read, limit, limit)
    assert [str(fault) for fault in faults.all()] == []
    return found


def names(written: Mapping[str, Any], task: str = "t") -> list[str]:
    read = matrixparse.read(Faults(10), (), written)
    assert read is not None
    return matrix.names(task, read, cells(written))


def test_what_is_included_adds_to_what_it_fits_or_is_one_of_its_own() -> None:
    """What GitHub's documentation says of this very matrix."""
    found = cells(
        {
            "fruit": ["apple", "pear"],
            "animal": ["cat", "dog"],
            "include": [
                {"color": "green"},
                {"color": "pink", "animal": "cat"},
                {"fruit": "apple", "shape": "circle"},
                {"fruit": "banana"},
                {"fruit": "banana", "animal": "cat"},
            ],
        }
    )
    assert found == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        # What is included is added behind what is excluded, and may bring it back.
        ({"os": ["a", "b"], "exclude": [{"os": "b"}], "include": [{"os": "b"}]}, ["t[a]", "t[b]"]),
        # Part of a combination is enough to exclude it.
        ({"os": ["a", "b"], "n": ["1", "2"], "exclude": [{"os": "a"}, {"os": "b", "n": "2"}]}, ["t[b,1]"]),
        # An entry that says just what there is adds nothing.
        ({"os": ["a"], "include": [{"os": "a"}]}, ["t[a]"]),
        ({"include": [{"os": "a"}, {"os": "b", "x": "1"}]}, ["t[a]", "t[b,1]"]),
        ({"os": ["a"]}, ["t[a]"]),
    ],
)
def test_combinations(written: Mapping[str, Any], expected: Sequence[str]) -> None:
    assert names(written) == expected


def test_a_name_says_the_values_as_they_are_where_that_harms_nobody() -> None:
    assert names({"image": ["python:3.12", "node@18", "c++", "a_b-c"]}) == [
        "t[python:3.12]",
        "t[node@18]",
        "t[c++]",
        "t[a_b-c]",
    ]


@pytest.mark.parametrize(
    ("value", "begins"),
    [
        ("a/b", "t[a_b,~"),
        ("../../etc", "t[.._.._etc,~"),
        ("a,b", "t[a_b,~"),
        ("x]", "t[x_,~"),
        ("", "t[_,~"),
        ("two words", "t[two_words,~"),
        ("line\nfeed\x1b[2J", "t[line_feed_2J,~"),
        ("$(id)`;'\"*?", "t[_id_,~"),
        ("ä", "t[_,~"),
        ("x" * 41, "t[" + "x" * 40 + ",~"),
        ("~x", "t[_x,~"),
    ],
)
def test_of_other_values_a_name_has_what_can_be_shown_and_a_mark(value: str, begins: str) -> None:
    [name] = names({"v": [value]})
    assert name.startswith(begins)
    assert len(name) == len(begins) + 12 + 1
    assert name == names({"v": ["other", value]})[1]  # what else there is does not change it


def test_two_that_would_be_called_the_same_both_have_a_mark() -> None:
    first, second = names({"include": [{"a": "x"}, {"b": "x"}]})
    assert first.startswith("t[x,~")
    assert second.startswith("t[x,~")
    assert first != second


_VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0{"), max_size=60) | st.text(
    string.punctuation.replace("{", "") + " ab", max_size=4
)


@given(st.lists(_VALUES, min_size=1, max_size=6, unique=True), st.lists(_VALUES, min_size=1, max_size=6, unique=True))
def test_whatever_the_values_names_differ_and_are_harmless(first: list[str], second: list[str]) -> None:
    found = names({"a": first, "b": second}, task="t" * 128)
    assert len(set(found)) == len(first) * len(second)
    for name in found:
        assert peerparts.task_name_of(name) == name
        assert not set(name) - set(string.ascii_letters + string.digits + "._+:@,~[]-")
        assert len(name) <= 330


@pytest.mark.parametrize(
    "name", ["t[]", "t[a", "t]a[", "t[a]b", "t[a/b]", "t[a b]", "[a]", "t[[a]", "t[\n]", "t[" + "a" * 201 + "]"]
)
def test_what_cannot_be_the_name_of_an_instance_is_not_taken_from_a_peer(name: str) -> None:
    with pytest.raises(Exception, match="cannot be the name"):
        peerparts.task_name_of(name)


def test_marks_that_are_the_same_are_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "_MARK_DIGITS", (0, 64))
    first, second = names({"v": ["a b", "a  b"]})
    assert first != second


def test_what_a_task_with_a_matrix_stands_for() -> None:
    read = Matrix(axes={"os": ("a", "b")}, include=((0, {"os": "c", "extra": "x"}),), max_parallel=2, fail_fast=True)
    task = Task(
        name="test",
        type="os_exec",
        description="Tests",
        imports=(Import(task="build", variable="url"),),
        exports=(Export(name="path", scope=Scope.GLOBAL, default="none"), Export(name="key", confidential=True)),
        when=When.ALWAYS,
        allow_failure=True,
    )
    values = matrix.combinations(Faults(1), (), read, LIMIT, LIMIT)
    *instances, join = matrix.expanded(task, read, values)
    assert [(it.name, it.matrix, it.imports, it.when) for it in instances] == [
        (name, Cell(of="test", values=values, max_parallel=2, fail_fast=True), task.imports, When.ALWAYS)
        for name, values in (
            ("test[a]", {"os": "a", "extra": ""}),
            ("test[b]", {"os": "b", "extra": ""}),
            ("test[c,x]", {"os": "c", "extra": "x"}),
        )
    ]
    assert join == Task(
        name="test",
        type="matrix",
        description="Tests",
        depends_on=("test[a]", "test[b]", "test[c,x]"),
        exports=(Export(name="path", scope=Scope.GLOBAL), Export(name="key", confidential=True)),
        when=When.ALWAYS,
        allow_failure=True,
        joins=True,
    )
    for one in (*instances, join):
        assert codec.decode_task(codec.encode_task(one)) == one


def test_a_task_of_a_former_version_is_stored_as_it_was() -> None:
    assert codec.encode_task(Task(name="a", type="b")) == b'{"name":"a","type":"b"}'
    stored = codec.decode_task(b'{"name":"a","type":"b"}')
    assert (stored.matrix, stored.joins) == (None, False)


def test_many_combinations_take_no_longer_to_be_included_in_one_by_one() -> None:
    axis = [str(number) for number in range(300)]
    included = [{"a": value, "b": value, "c": "x"} for value in axis]
    found = cells({"a": axis, "b": axis, "include": included})
    assert len(found) == 90_000
    assert [values for values in found if "c" in values] == included


class _Spec(Struct):
    written: Mapping[str, Any]
    fault: str


@pytest.mark.parametrize(
    "case",
    [
        _Spec({"a": ["1"] * 1, "b": ["1", "2", "3"], "c": ["1", "2", "3", "4"]}, "its 12 combinations"),
        _Spec({"a": ["1"], "include": [{"a": str(number)} for number in range(2, 13)]}, "its 12 combinations"),
    ],
)
def test_the_limit(case: _Spec) -> None:
    faults = Faults(10)
    read = matrixparse.read(faults, ("matrix",), case.written)
    assert read is not None
    assert matrix.combinations(faults, ("matrix",), read, 11, 100) == []
    [fault] = faults.all()
    assert fault.path == ("matrix",)
    assert f"{case.fault} make more than 100 tasks of the group, which is the limit" == fault.message
