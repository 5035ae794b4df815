"""A spec for people: its keys, read from the JSON Schema that `specschema` makes, also where another runner made it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from drivers import specschema

_KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping",
}
_SPELLING = "Another spelling of "
_DEEPEST = 4


class Key(Struct, frozen=True, kw_only=True):
    """One key of a spec. `kind` is what may stand there, in words; `default` and `examples` are as JSON; `keys` are those of what
    stands there, if that has some."""

    name: str
    kind: str
    required: bool
    about: str = ""
    default: str | None = None
    examples: tuple[str, ...] = ()
    spellings: tuple[str, ...] = ()
    keys: tuple[Key, ...] = ()


def keys(schema: Mapping[str, Any]) -> tuple[Key, ...]:
    """In the order in which the model has them. Of a schema that is not as ours are, as much as can be read."""
    return _keys(schema, _mapping(schema.get("$defs")), _DEEPEST)


def _keys(schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> tuple[Key, ...]:
    properties = _mapping(schema.get("properties"))
    required = set(_required(schema))
    others: dict[str, list[str]] = {}
    for name, about in properties.items():
        said = str(_mapping(about).get("description", ""))
        if said.startswith(_SPELLING):
            others.setdefault(said.removeprefix(_SPELLING).removesuffix("."), []).append(name)
    spellings = {name for names in others.values() for name in names}
    return tuple(
        _key(name, _mapping(about), name in required, tuple(others.get(name, ())), definitions, depth)
        for name, about in properties.items()
        if name not in spellings
    )


def _key(
    name: str,
    about: Mapping[str, Any],
    required: bool,
    spellings: tuple[str, ...],
    definitions: Mapping[str, Any],
    depth: int,
) -> Key:
    leaves = list(_leaves(about, definitions, depth))
    inner = next((leaf for leaf in leaves if _mapping(leaf.get("properties"))), None)
    examples = about.get("examples")
    return Key(
        name=name,
        kind=" or ".join(dict.fromkeys(kind for leaf in leaves for kind in _kinds(leaf, definitions, depth)))
        or "anything",
        required=required,
        about=str(about.get("description") or ""),
        default=_json(about["default"]) if "default" in about else None,
        examples=tuple(map(_json, examples)) if isinstance(examples, list) else (),
        spellings=spellings,
        keys=_keys(inner, definitions, depth - 1) if inner is not None and depth else (),
    )


def _required(schema: Mapping[str, Any]) -> Iterator[str]:
    """Also those of several spellings, one of which has to be there: by the first."""
    yield from _list(schema.get("required"))
    for condition in _list(schema.get("allOf")):
        for choice in _list(_mapping(condition).get("anyOf"))[:1]:
            yield from _list(_mapping(choice).get("required"))


def _leaves(schema: Any, definitions: Mapping[str, Any], depth: int) -> Iterator[Mapping[str, Any]]:
    """What may stand there, without the templates that may stand everywhere."""
    schema = _mapping(schema)
    if specschema.is_stand_in(schema):
        return
    if isinstance(choices := schema.get("anyOf", schema.get("oneOf")), list):
        for choice in choices:
            yield from _leaves(choice, definitions, depth)
    elif isinstance(reference := schema.get("$ref"), str):
        if depth:
            yield from _leaves(definitions.get(reference.rpartition("/")[2]), definitions, depth - 1)
    elif schema.get("type") != "null":
        yield schema


def _kinds(leaf: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> Iterator[str]:
    if words := _list(leaf.get("enum")):
        yield from map(_json, words)
    elif "const" in leaf:
        yield _json(leaf["const"])
    elif leaf.get("type") == "array" and depth:
        items = [
            kind
            for item in _leaves(leaf.get("items"), definitions, depth - 1)
            for kind in _kinds(item, definitions, depth - 1)
        ]
        yield f"list of {' or '.join(dict.fromkeys(items))}" if items else "list"
    else:
        types = leaf.get("type")
        for type in types[:1] if isinstance(types, list) else [types]:  # of texts the first says what is meant
            if type in _KINDS:
                yield _KINDS[type]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _json(value: Any) -> str:
    return value if isinstance(value, str) and value and "\n" not in value else json.dumps(value, ensure_ascii=False)
