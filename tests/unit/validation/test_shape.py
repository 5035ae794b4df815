"""What a model expects where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NewType

import pytest
from pydantic import AliasChoices, BaseModel, Field, RootModel, SecretStr, TypeAdapter, create_model

from drivers.base import AS_WRITTEN
from runner.model.scalars import Plain
from runner.validation import shape

Name = NewType("Name", str)


class Colour(StrEnum):
    RED = "red"


class Level(Enum):
    ONE = 1


class Point(BaseModel):
    x: int
    label: str = Field(default="", validation_alias=AliasChoices("label", "name"))
    next: Point | None = None


class Numbers(RootModel[list[int]]):
    pass


def prepared(annotation: Any, value: Any) -> Any:
    model = create_model("Spec", field=(annotation, ...))
    return shape.of_model(model).prepare({"field": value})["field"]


ONE = Plain("1")


@pytest.mark.parametrize(
    "annotation",
    [
        *[str, str | None, int | str, Annotated[str, Field(max_length=3)], Name, SecretStr, Path, Literal["a", "1"]],
        *[Colour, list[int] | str],
    ],
)
def test_scalars_that_are_kept(annotation: Any) -> None:
    assert type(prepared(annotation, ONE)) is str


@pytest.mark.parametrize(
    "annotation", [int, float, bool, Decimal, int | None, Literal[1, 2], Level, Any, object, list[str] | int]
)
def test_scalars_that_are_typed(annotation: Any) -> None:
    assert prepared(annotation, ONE) == 1
    assert type(prepared(annotation, ONE)) is int


@pytest.mark.parametrize("text", ["1.10", "0755", "+1", "1e3", "0o17", "True", "FALSE", "-0", ".5"])
def test_scalars_that_would_be_written_otherwise(text: str) -> None:
    assert prepared(Annotated[Any, AS_WRITTEN], Plain(text)) == text
    assert prepared(dict[str, Annotated[Any, AS_WRITTEN]], {"a": [{"b": Plain(text)}]}) == {"a": [{"b": text}]}


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("-7", -7), ("1.5", 1.5), ("2.0", 2.0), ("true", True)])
def test_scalars_that_are_written_in_the_usual_way(text: str, value: object) -> None:
    found = prepared(dict[str, Annotated[Any, AS_WRITTEN]], {"a": Plain(text)})["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("annotation", "value", "paths"),
    [
        (str, None, [()]),
        (str | None, None, []),
        (int, None, []),
        (Any, None, []),
        (dict[str, str], {"a": None, "b": "x"}, [("a",)]),
        (dict[str, str | None], {"a": None}, []),
        (dict[str, Any], {"a": None}, []),
        (dict[str, str] | list[str], [None, "x", None], [(0,), (2,)]),
        (Point, {"x": None, "label": None, "unknown": None}, [("label",)]),
        (list[Point], [{"x": None}, {"label": None}], [(1, "label")]),
    ],
)
def test_where_nothing_stands_for_a_text(annotation: Any, value: Any, paths: list[Any]) -> None:
    model = create_model("Spec", field=(annotation, ...))
    assert list(shape.of_model(model).nulls({"field": value})) == [("field", *path) for path in paths]


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (list[str], [ONE, "a"], ["1", "a"]),
        (Sequence[int], [ONE], [1]),
        (set[str], [ONE], ["1"]),
        (tuple[str, ...], [ONE], ["1"]),
        (list, [ONE], [1]),
        (dict[str, str], {"a": ONE, "b": None}, {"a": "1", "b": None}),
        (Mapping[str, int], {"a": ONE}, {"a": 1}),
        (dict, {"a": ONE}, {"a": 1}),
        (dict[str, Any], {"a": [ONE, {"b": ONE}]}, {"a": [1, {"b": 1}]}),
        (dict[str, list[str]], {"a": [ONE]}, {"a": ["1"]}),
        (dict[str, str] | list[str], {"a": ONE}, {"a": "1"}),
        (dict[str, str] | list[str], [ONE], ["1"]),
        (dict[str, str] | list[dict[str, str] | str], [ONE, {"key": ONE}], ["1", {"key": "1"}]),
        (str | list[str], [ONE], ["1"]),
        (
            Point,
            {"x": ONE, "label": ONE, "name": ONE, "unknown": ONE},
            {"x": 1, "label": "1", "name": "1", "unknown": 1},
        ),
        (Point, {"x": ONE, "next": {"x": ONE, "label": ONE}}, {"x": 1, "next": {"x": 1, "label": "1"}}),
        (list[Point], [{"x": ONE, "label": ONE}], [{"x": 1, "label": "1"}]),
        (Point | str, {"x": ONE, "label": ONE}, {"x": 1, "label": "1"}),
        (Numbers, [ONE], [1]),
    ],
)
def test_nested_values(annotation: Any, value: Any, expected: Any) -> None:
    assert prepared(annotation, value) == expected


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (dict[str, str], [ONE], ["1"]),
        (dict[str, str], ONE, "1"),
        (list[int], {"a": ONE}, {"a": 1}),
        (int, [ONE, {"a": ONE}], [1, {"a": 1}]),
        (str, [ONE], ["1"]),
    ],
)
def test_what_does_not_fit_is_treated_like_the_scalars_that_were_expected(
    annotation: Any, value: Any, expected: Any
) -> None:
    assert prepared(annotation, value) == expected


def test_booleans_of_json() -> None:
    assert prepared(str, True) == "true"
    assert prepared(bool, True) is True


def test_what_is_prepared_for_a_model_suits_it() -> None:
    data = {"x": Plain("0x10"), "label": Plain("0x10")}
    point = TypeAdapter(Point).validate_python(shape.of_model(Point).prepare(data))
    assert (point.x, point.label) == (16, "0x10")


def test_known_keys() -> None:
    assert shape.known_keys(Point) == ["x", "label", "name", "next"]
