"""The JSON Schema of a document, for editors: what validation accepts fits it, and what a schema can refuse does not.

It is of draft 7, which the YAML language server and its kin know best. What a schema cannot see (that a name is known, a cycle, what
a template reads) is left to validation, and so is what only the YAML shows: `~` is nothing, and so is what was left out.
"""

from __future__ import annotations

from typing import Any

from drivers import specschema
from drivers.registry import AnyDriver, Registry
from runner.model.parse import TASK_KEYS
from runner.model.taskparse import TYPE_SPELLINGS
from runner.schema import forms, keys
from runner.schema.forms import Schema

DIALECT = "http://json-schema.org/draft-07/schema#"


def of_documents(registry: Registry) -> Schema:
    """Of documents with tasks of these types, as plain data."""
    definitions: Schema = {"variable": keys.record(keys.VARIABLE, required=("key",))}
    task = keys.record(keys.TASK, required=("name", "type"))
    types = {driver.type: _spellings(driver.type) for driver in registry.drivers}
    known = [name for names in types.values() for name in names]
    # Editors offer the known ones; whoever forwards may name another one.
    task["properties"]["type"] = {**task["properties"]["type"], **forms.either({"enum": known}, forms.WORD)}
    task["allOf"] = [
        {
            "if": {"required": ["template"], "properties": {"template": {"const": False}}},
            "then": {"properties": {"if": forms.PLAIN_CONDITION}},
        }
    ]
    for driver in registry.drivers:
        spec = _spec_of(driver, definitions)
        then: Schema = {"properties": {"spec": {"$ref": f"#/definitions/{driver.type}"}}}
        if _wants_something(spec):
            then["required"] = ["spec"]
        task["allOf"].append(
            {"if": {"required": ["type"], "properties": {"type": {"enum": types[driver.type]}}}, "then": then}
        )
    definitions["task"] = task
    definitions["taskOfKnownType"] = {
        "anyOf": [{"required": ["forward"]}, {"properties": {"type": {"enum": known}}}],
    }
    return {
        "$schema": DIALECT,
        "title": "Task group",
        "description": "Tasks, and what each needs from the others.",
        **keys.record(keys.GROUP),
        **forms.one_of(TASK_KEYS),
        "if": {"not": {"required": ["forward"]}},
        "then": {
            "properties": {key: {"items": {"$ref": "#/definitions/taskOfKnownType"}} for key in TASK_KEYS},
        },
        "definitions": definitions,
    }


def _spellings(type: str) -> list[str]:
    return [type, *(spelt for spelt, meant in TYPE_SPELLINGS.items() if meant == type)]


def _spec_of(driver: AnyDriver, definitions: Schema) -> Schema:
    """The schema of its specs, put among the definitions, its parts under names that no other type has."""
    spec: Schema = _moved(specschema.known_of(driver.spec_model), f"{driver.type}.")
    parts = spec.pop("$defs", {})
    definitions[driver.type] = spec
    definitions.update({f"{driver.type}.{name}": part for name, part in parts.items()})
    return spec


def _moved(schema: Any, prefix: str) -> Any:
    """With references to where the parts are going to be."""
    if isinstance(schema, list):
        return [_moved(item, prefix) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: f"#/definitions/{prefix}{value.removeprefix('#/$defs/')}"
        if key == "$ref" and isinstance(value, str)
        else _moved(value, prefix)
        for key, value in schema.items()
    }


def _wants_something(spec: Schema) -> bool:
    return bool(spec.get("required")) or any("anyOf" in condition for condition in spec.get("allOf", ()))
