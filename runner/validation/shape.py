"""What a spec model expects where, so that unquoted scalars are read as it means them: as text, or typed."""

from __future__ import annotations

import collections.abc
import enum
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from drivers.base import AS_WRITTEN
from runner.model.fault import Path
from runner.model.scalars import Plain

_LISTS = (collections.abc.Sequence, collections.abc.Set, collections.abc.Iterable)
_TYPED = (bool, int, float, complex, Decimal)
_MAY_BE_NULL = (type(None), dict, list)
"""Or hold something that is."""


class Shape:
    """The shape of one value. `text` tells whether a scalar is kept as its source text; `items`, `values` and `fields` are
    the shapes of what a list, a mapping and a model hold. Data of another shape is prepared like the scalars that were
    expected, and it is the model that refuses it. `written` is for what `AS_WRITTEN` says, `nullable` for what may be nothing."""

    __slots__ = ("fields", "items", "nullable", "text", "values", "written")

    def __init__(self, text: bool | None = None, *, written: bool = False) -> None:
        self.text = text
        self.written = written
        self.nullable = False
        self.items: Shape | None = None
        self.values: Shape | None = None
        self.fields: dict[str, Shape] | None = None

    def prepare(self, value: Any) -> Any:
        """`value`, as `document.read` gave it, as plain data: what JSON can say."""
        kind = type(value)
        if kind is str or value is None:
            return value
        if kind is Plain:
            if self.written:
                return value.faithful()
            return str(value) if self.text else value.resolve()
        if kind is dict:
            fields = self.fields
            if fields is not None:
                return {key: fields.get(key, _ANY).prepare(item) for key, item in value.items()}
            inner = self.values or self
            return {key: item if type(item) is str else inner.prepare(item) for key, item in value.items()}
        if kind is list:
            inner = self.items or self
            return [item if type(item) is str else inner.prepare(item) for item in value]
        if kind is bool and self.text:
            # From a JSON document.
            return "true" if value else "false"
        return value

    def nulls(self, value: Any, path: Path = ()) -> Iterator[Path]:
        """The paths in `value` where nothing stands although a text is expected."""
        if value is None:
            if self.text and not self.nullable:
                yield path
        elif type(value) is dict:
            for key, item in value.items():
                if type(item) in _MAY_BE_NULL:
                    inner = self.fields.get(key, _ANY) if self.fields is not None else self.values or self
                    yield from inner.nulls(item, (*path, key))
        elif type(value) is list:
            for index, item in enumerate(value):
                if type(item) in _MAY_BE_NULL:
                    yield from (self.items or self).nulls(item, (*path, index))

    def settle(self) -> Shape:
        """Where no scalar is expected, one that comes all the same is treated like those within."""
        if self.text is None:
            inner = self.items or self.values
            self.text = inner.text if inner is not None else False
        return self


_ANY = Shape(False)
_WRITTEN = Shape(False, written=True)


@cache
def of_model(model: type[BaseModel]) -> Shape:
    return _of(model, {})


def known_keys(model: type[BaseModel]) -> list[str]:
    """All keys that a document may use, a field's own name first."""
    return list(dict.fromkeys(key for name, field in model.model_fields.items() for key in _keys(name, field)))


def _of(annotation: Any, models: dict[type[BaseModel], Shape]) -> Shape:
    origin = get_origin(annotation)
    arguments = get_args(annotation)
    if origin is Annotated:
        return _WRITTEN if AS_WRITTEN in arguments[1:] else _of(arguments[0], models)
    if origin is Union or origin is UnionType:
        shape = _union([_of(item, models) for item in arguments if item is not type(None)])
        shape.nullable = shape.nullable or type(None) in arguments
        return shape
    if origin is Literal:
        return Shape(any(isinstance(item, str) for item in arguments))
    if hasattr(annotation, "__supertype__"):
        return _of(annotation.__supertype__, models)
    if hasattr(annotation, "__value__"):
        return _of(annotation.__value__, models)
    kind = origin or annotation
    if kind is Any or kind is object:
        return _ANY
    if isinstance(kind, type):
        return _of_type(kind, arguments, models)
    return _ANY


def _of_type(kind: type, arguments: tuple[Any, ...], models: dict[type[BaseModel], Shape]) -> Shape:
    if issubclass(kind, BaseModel):
        return _of_fields(kind, models)
    if issubclass(kind, enum.Enum):
        return Shape(any(isinstance(item.value, str) for item in kind))
    if issubclass(kind, _TYPED):
        return Shape(False)
    shape = Shape()
    if issubclass(kind, collections.abc.Mapping):
        shape.values = _of(arguments[1], models) if len(arguments) == 2 else _ANY
        return shape.settle()
    if issubclass(kind, _LISTS) and not issubclass(kind, str | bytes):
        shape.items = _union([_of(item, models) for item in arguments if item is not Ellipsis]) if arguments else _ANY
        return shape.settle()
    return Shape(True)


def _of_fields(model: type[BaseModel], models: dict[type[BaseModel], Shape]) -> Shape:
    if model.__pydantic_root_model__:
        return _of(model.model_fields["root"].annotation, models)
    if model in models:
        return models[model]
    shape = models[model] = Shape(False)
    shape.fields = {}
    for name, field in model.model_fields.items():
        inner = _WRITTEN if AS_WRITTEN in field.metadata else _of(field.annotation, models)
        shape.fields.update(dict.fromkeys(_keys(name, field), inner))
    return shape


def _keys(name: str, field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [name, *(choice for choice in alias.choices if isinstance(choice, str))]
    return [name, alias] if isinstance(alias, str) else [name]


def _union(members: list[Shape]) -> Shape:
    if len(members) == 1:
        return members[0]
    shape = Shape()
    scalars = [member.text for member in members if not (member.items or member.values or member.fields)]
    if scalars:
        shape.text = any(scalars)
    shape.items = next((member.items for member in members if member.items), None)
    shape.values = next((member.values for member in members if member.values), None)
    fields = [member.fields for member in members if member.fields is not None]
    if fields and not shape.values:
        shape.fields = {key: inner for known in reversed(fields) for key, inner in known.items()}
    return shape.settle()
