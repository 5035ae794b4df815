"""The `matrix` of a task, as a document says it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.model import fields
from runner.model.fault import Faults, Path, quote
from runner.model.fields import Readers
from runner.model.limits import Limits
from runner.model.matrix import Matrix, Values

EXAMPLE = '{os: [linux, mac], py: ["3.12", "3.13"]}'


def read(faults: Faults, path: Path, value: Any) -> Matrix | None:
    given = fields.mapping(faults, path, value, EXAMPLE)
    if not isinstance(value, dict):
        return None
    settings = {key: item for key, item in given.items() if key in MATRIX}
    axes = {
        key: values
        for key, item in given.items()
        if key not in MATRIX and (values := _axis(faults, (*path, key), key, item)) is not None
    }
    read = fields.record(faults, path, settings, MATRIX)
    if len(settings) == len(given) and "include" not in settings:
        faults.add(path, "has no values", hint=f"such as {EXAMPLE}")
    for number, excluded in read.get("exclude", ()):
        for name in excluded:
            if name not in axes:
                hint = faults.nearest(name, axes)
                faults.add((*path, "exclude", number, name), "is no axis of the matrix", hint=hint, about_key=True)
    return Matrix(axes=axes, **read)


def _axis(faults: Faults, path: Path, name: str, value: Any) -> tuple[str, ...] | None:
    if not fields.NAME.fullmatch(name):
        faults.add(path, f"{quote(name)} is not a name: {fields.NAME_EXPECTED}", about_key=True)
        return None
    if not isinstance(value, list):
        fields.expected(faults, path, "a list of values", value, faults.nearest(name, MATRIX))
        return None
    if not value:
        faults.add(path, "has no values, so that there would be no instance at all")
    texts: dict[str, int] = {}
    for index, item in enumerate(value):
        text = _text(faults, (*path, index), item)
        if texts.setdefault(text, index) != index:
            faults.add((*path, index), f"the value {quote(text)} stands twice")
    return tuple(texts)


def _text(faults: Faults, path: Path, value: Any) -> str:
    text = fields.text(faults, path, value)
    if "{{" in text:
        faults.add(
            path,
            "a value of a matrix is plain text and no template",
            hint="what is to vary can be a template in the spec",
        )
    return text


def _include(faults: Faults, path: Path, value: Any) -> tuple[tuple[int, Values], ...]:
    return tuple(_entries(faults, path, value))


def _entries(faults: Faults, path: Path, value: Any) -> Iterator[tuple[int, Values]]:
    for place, item in fields.items(faults, path, value, "a list such as [{os: linux}]"):
        read: dict[str, str] = {}
        entry = fields.mapping(faults, place, item, "{os: linux}")
        if entry == {} and isinstance(item, Mapping):
            faults.add(place, "names no value")
        for name, text in entry.items():
            if not fields.NAME.fullmatch(name):
                faults.add((*place, name), f"{quote(name)} is not a name: {fields.NAME_EXPECTED}", about_key=True)
            read[name] = _text(faults, (*place, name), text)
        yield int(place[-1]), read


MATRIX: Readers = {
    "include": ("include", _include),
    "exclude": ("exclude", _include),
    "max_parallel": ("max_parallel", fields.whole_number(1, Limits().tasks)),
    "failFast": ("fail_fast", fields.flag),
}
"""What is no axis."""
