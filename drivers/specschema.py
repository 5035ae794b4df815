"""The JSON Schema of a spec, as documents may say it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

from pydantic import AliasChoices, BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from drivers.base import Spec, SpecModel
from runner.model import wording
from runner.model.scalars import Plain, read_plain

TEXT_TYPES = ("string", "number", "boolean")
"""A text is what was written, also where a reader of YAML takes that for a number or a boolean."""

WHOLE_TEMPLATE = {"type": "string", "pattern": r"^\{\{[\s\S]*\}\}$"}
HOLDS_TEMPLATE = {"type": "string", "pattern": r"\{\{"}

# What a number or a boolean may be in quotes, for that is what templates give.
_WHOLE_NUMBER = {"type": "string", "pattern": r"^\s*[-+]?[0-9][0-9_]*(\.0*)?\s*$"}
_NUMBER = {"type": "string", "pattern": r"^\s*[-+]?([0-9]|\.[0-9]|[iI][nN][fF]|[nN][aA][nN])[0-9_.eE+a-zA-Z-]*\s*$"}
_BOOLEAN = {
    "type": "string",
    "pattern": "^([tT]([rR][uU][eE])?|[fF]([aA][lL][sS][eE])?|[yY]([eE][sS])?|[nN][oO]?|[oO]([nN]|[fF][fF])|[01])$",
}
_ZERO_OR_ONE = {"type": "integer", "minimum": 0, "maximum": 1}

_OURS = (WHOLE_TEMPLATE, HOLDS_TEMPLATE, _WHOLE_NUMBER, _NUMBER, _BOOLEAN)
_LIMITS_OF_TEXT = ("minLength", "maxLength", "pattern")
_ABOUT = ("title", "description", "examples", "default")
_NO_VALUES = frozenset({"propertyNames", "default", "examples", "enum", "required"})
_OF_SCHEMAS = frozenset({"properties", "$defs", "definitions", "patternProperties"})
"""Keys that hold schemas by name."""


def is_stand_in(schema: Mapping[str, Any]) -> bool:
    """Whether it is a template in the place of something, or a number or a boolean in quotes."""
    return schema in _OURS or schema == _ZERO_OR_ONE


def known_of(model: SpecModel) -> dict[str, Any]:
    """As `of`; where a model cannot say its schema, or none that is JSON, one that accepts everything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's, about defaults that are left out
        try:
            schema = of(model)
            json.dumps(schema, allow_nan=False)
        except Exception as error:  # noqa: BLE001 - a plugin's model may raise anything
            return {"description": f"There is no schema of this spec: {wording.exception(error)}"}
    return schema


def of(model: SpecModel) -> dict[str, Any]:
    """What is no text may be one whole template in its place, a text that has to be of some form may hold templates, and all
    spellings of a field are there. `true`, which pydantic takes for the number 1, is left out: nobody means it."""
    schema = model.model_json_schema(schema_generator=_AsWritten)
    if model is Spec:
        schema.pop("description", None)  # it is for authors
    return {key: _templates(value, named=key in _OF_SCHEMAS) for key, value in schema.items()}


class _AsWritten(GenerateJsonSchema):
    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        return {**super().str_schema(schema), "type": list(TEXT_TYPES)}

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchemaValue:
        return _either(super().int_schema(schema), _WHOLE_NUMBER, WHOLE_TEMPLATE)

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return _either(super().float_schema(schema), _NUMBER, WHOLE_TEMPLATE)

    def bool_schema(self, schema: core_schema.BoolSchema) -> JsonSchemaValue:
        return _either(super().bool_schema(schema), _ZERO_OR_ONE, _BOOLEAN, WHOLE_TEMPLATE)

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        return _words(super().literal_schema(schema))

    def enum_schema(self, schema: core_schema.EnumSchema) -> JsonSchemaValue:
        return _words(super().enum_schema(schema))

    def list_schema(self, schema: core_schema.ListSchema) -> JsonSchemaValue:
        return _either(super().list_schema(schema), WHOLE_TEMPLATE)

    def set_schema(self, schema: core_schema.SetSchema) -> JsonSchemaValue:
        return _either(super().set_schema(schema), WHOLE_TEMPLATE)

    def tuple_schema(self, schema: core_schema.TupleSchema) -> JsonSchemaValue:
        return _either(super().tuple_schema(schema), WHOLE_TEMPLATE)

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        return _either(super().dict_schema(schema), WHOLE_TEMPLATE)

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        said = super().model_schema(schema)
        if "properties" in said:
            _add_spellings(said, schema["cls"])
        return said


def _either(*schemas: Mapping[str, Any]) -> JsonSchemaValue:
    """Any of them; what is said about the value as a whole stays outside."""
    members: dict[str, Any] = {}
    for schema in schemas:
        for member in schema["anyOf"] if schema.keys() == {"anyOf"} else (schema,):
            members.setdefault(json.dumps(member, sort_keys=True), dict(member))
    return {"anyOf": list(members.values())}


def _words(schema: JsonSchemaValue) -> JsonSchemaValue:
    """Those of an enumeration as they may be written, and a template."""
    words = schema.get("enum", [schema["const"]] if "const" in schema else [])
    read = [read_plain(word) for word in words if isinstance(word, str)]
    typed = [word.resolve() for word in read if isinstance(word, Plain)]
    return _either({"enum": [*words, *typed]}, WHOLE_TEMPLATE)


def _add_spellings(schema: JsonSchemaValue, model: type[BaseModel]) -> None:
    """All keys of a field stand for one: at most one of them may be given."""
    for field in model.model_fields.values():
        choices = field.validation_alias
        if not isinstance(choices, AliasChoices):
            continue
        first, *others = [choice for choice in choices.choices if isinstance(choice, str)]
        about = schema["properties"][first]
        for other in others:
            schema["properties"][other] = {**about, "description": f"Another spelling of {first}."}
        pairs = [(one, two) for at, one in enumerate([first, *others]) for two in others[at:]]
        conditions: list[Any] = [{"not": {"required": [one, two]}} for one, two in pairs]
        if first in schema.get("required", ()):
            schema["required"].remove(first)
            conditions.append({"anyOf": [{"required": [key]} for key in (first, *others)]})
        schema.setdefault("allOf", []).extend(conditions)


def _templates(schema: Any, *, named: bool = False) -> Any:
    """`schema`, with templates where only the rendered value can be judged: one in the place of a model, some within a text of
    some form. `named` is for a mapping that holds schemas by name."""
    if isinstance(schema, list):
        return [_templates(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if named:
        return {key: _templates(value) for key, value in schema.items()}
    if schema.get("default", schema) is None:  # an editor would write it down
        schema = {key: value for key, value in schema.items() if key != "default"}
    if "$ref" in schema:
        about = {key: value for key, value in schema.items() if key != "$ref"}
        return {**about, "anyOf": [{"$ref": schema["$ref"]}, WHOLE_TEMPLATE]}
    if "string" in schema.get("type", ()) and schema not in _OURS and any(key in schema for key in _LIMITS_OF_TEXT):
        about = {key: schema[key] for key in _ABOUT if key in schema}
        form = {key: value for key, value in schema.items() if key not in _ABOUT}
        return {**about, "anyOf": [form, HOLDS_TEMPLATE]}
    return {
        key: value if key in _NO_VALUES else _templates(value, named=key in _OF_SCHEMAS)
        for key, value in schema.items()
    }
