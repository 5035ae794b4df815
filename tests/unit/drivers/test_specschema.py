"""What a node tells of the specs of its task types refuses nothing that a document may say."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field

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
    assert properties["text"]["type"] == "string"
    assert properties["count"]["anyOf"][0] == {"type": "integer", "minimum": 1}
    assert {"type": "null"} in properties["share"]["anyOf"]


@pytest.mark.parametrize("name", ["memory", "log"])
def test_a_size_may_be_written_in_words(name: str) -> None:
    assert {"type": "string"} in specschema.of(OsExecSpec)["$defs"]["Limits"]["properties"][name]["anyOf"]
    assert OsExecSpec.model_validate({"command": "x", "limits": {name: "512MiB"}}).limits is not None
