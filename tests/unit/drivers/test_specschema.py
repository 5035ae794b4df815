"""What a node tells of the specs of its task types refuses nothing that a document may say."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft7Validator
from pydantic import AliasChoices, Field, ValidationError

from drivers import specschema
from drivers.base import Spec
from taskimpl.os_exec.spec import OsExecSpec


class Typed(Spec):
    text: str
    count: Annotated[int, Field(ge=1)]
    share: float | None = None
    sure: bool = False


@pytest.mark.parametrize("name", ["count", "share", "sure"])
def test_what_is_no_text_may_be_one_whole_template(name: str) -> None:
    assert specschema.WHOLE_TEMPLATE in specschema.of(Typed)["properties"][name]["anyOf"]


def test_the_rest_is_as_the_model_has_it() -> None:
    properties = specschema.of(Typed)["properties"]
    assert properties["text"]["type"] == ["string", "number", "boolean"]  # of which it is what was written
    assert properties["count"]["anyOf"][0] == {"type": "integer", "minimum": 1}
    assert {"type": "null"} in properties["share"]["anyOf"]


@pytest.mark.parametrize("name", ["memory", "log"])
def test_a_size_may_be_written_in_words(name: str) -> None:
    forms = Draft7Validator(specschema.of(OsExecSpec)["$defs"]["Limits"]["properties"][name])
    for said in ("512MiB", "{{ .inputs.size }}", "{{ .inputs.megabytes }}MiB", 1 << 20):
        assert forms.is_valid(said)
        assert OsExecSpec.model_validate({"command": "x", "limits": {name: "512MiB"}}).limits is not None
    for said in ("a lot", "5 stones", -1, True):
        assert not forms.is_valid(said)


class Choice(enum.Enum):
    ONE = "1"
    TWO = "two"


class Node(Spec):
    """Of a kind that holds others of it."""

    name: Annotated[str, Field(min_length=2)] = "xx"
    nodes: list[Node] = Field(default_factory=list)


class Wide(Spec):
    """What plugins may have and the built-in types do not."""

    mode: Literal["fast", "true"] = "fast"
    choice: Choice = Choice.ONE
    pair: tuple[int, str] = (1, "x")
    words: set[str] = Field(default_factory=set)
    tree: Node | None = None
    given: str = Field(validation_alias=AliasChoices("given", "said"))


@pytest.mark.parametrize(
    ("spec", "fits"),
    [
        ({"given": "x"}, True),
        ({"said": 1.10}, True),
        ({}, False),
        ({"given": "x", "said": "x"}, False),
        ({"given": "x", "mode": True}, True),
        ({"given": "x", "mode": "slow"}, False),
        ({"given": "x", "mode": "{{ .inputs.mode }}"}, True),
        ({"given": "x", "mode": "not {{ .inputs.mode }}"}, False),
        ({"given": "x", "choice": 1}, True),
        ({"given": "x", "choice": 2}, False),
        ({"given": "x", "pair": "{{ .inputs.pair }}"}, True),
        ({"given": "x", "words": ["a", 1]}, True),
        ({"given": "x", "words": "a"}, False),
        ({"given": "x", "tree": "{{ .inputs.tree }}"}, True),
        ({"given": "x", "tree": {"nodes": [{"nodes": ["{{ .inputs.tree }}"]}]}}, True),
        ({"given": "x", "tree": {"nodes": [{"nodes": [{"name": "x"}]}]}}, False),
        ({"given": "x", "tree": {"nodes": [{"nodes": [{"name": "{{ .inputs.name }}"}]}]}}, True),
        ({"given": "x", "tree": {"nodes": [{"nodse": []}]}}, False),
        ({"given": "x", "another": "{{ .inputs.x }}"}, False),
    ],
    ids=str,
)
def test_what_plugins_may_ask_for(spec: dict[str, Any], fits: bool) -> None:
    schema = specschema.of(Wide)
    Draft7Validator.check_schema(schema)
    assert Draft7Validator(schema).is_valid(spec) is fits


def test_what_may_be_left_out_is_not_written_down_by_editors() -> None:
    assert "default" not in specschema.of(Typed)["properties"]["share"]


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("name", ["nofile", "nice", "oom_score_adj"])
def test_no_boolean_is_a_number_of_a_limit(name: str, written: bool) -> None:
    with pytest.raises(ValidationError, match="expected a whole number"):
        OsExecSpec.model_validate({"command": "x", "limits": {name: written}})
