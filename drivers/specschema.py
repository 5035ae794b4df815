"""The JSON Schema of a spec, as documents may say it."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from drivers.base import SpecModel

WHOLE_TEMPLATE = {"type": "string", "pattern": r"^\s*\{\{[\s\S]*\}\}\s*$"}


def of(model: SpecModel) -> dict[str, Any]:
    """A number or a boolean may be one whole template in its place."""
    return model.model_json_schema(schema_generator=_AsWritten)


class _AsWritten(GenerateJsonSchema):
    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        return _or_template(super().int_schema(schema))

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return _or_template(super().float_schema(schema))

    def bool_schema(self, schema: core_schema.BoolSchema) -> JsonSchemaValue:
        return _or_template(super().bool_schema(schema))


def _or_template(schema: JsonSchemaValue) -> JsonSchemaValue:
    return {"anyOf": [schema, WHOLE_TEMPLATE]}
