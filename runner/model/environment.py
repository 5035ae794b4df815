"""Environment variables in all their spellings: a mapping, or a list of `{key: A, value: b}` and `A=b`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from runner.model import fields
from runner.model.fault import Faults, Path, quote
from runner.model.scalars import as_text

EXPECTED = "a mapping, or a list of {key: …, value: …} or KEY=VALUE"

LONGEST_BYTES = 131_071
"""Linux takes no single `NAME=VALUE` that is longer."""


class Variable(NamedTuple):
    """`path` leads to the value, or to the text that holds it from `start` on."""

    name: str
    text: str
    path: Path
    start: int = 0


def read(faults: Faults, path: Path, value: Any) -> list[Variable]:
    """Each name once; a variable given twice in a list is a fault."""
    variables: dict[str, Variable] = {}
    for variable in _variables(faults, path, value):
        size = len(f"{variable.name}={variable.text}".encode(errors="surrogatepass"))
        in_key = variable.path[-1] == variable.name
        if not variable.name or "=" in variable.name:
            message = f"{quote(variable.name)} cannot name an environment variable"
            faults.add(variable.path, message, about_key=in_key)
        elif "{{" in variable.name:
            faults.add(variable.path, "the name of a variable is no template", about_key=in_key)
        elif size > LONGEST_BYTES:
            message = f"{size:,} bytes with its name; at most {LONGEST_BYTES:,} are possible: use files"
            faults.add(variable.path, message)
        elif variable.name in variables:
            faults.add(variable.path, f"the variable {quote(variable.name)} is set twice")
        else:
            variables[variable.name] = variable
    return list(variables.values())


def _variables(faults: Faults, path: Path, value: Any) -> Iterator[Variable]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield Variable(name, _text(faults, (*path, name), item), (*path, name))
        return
    for place, item in fields.items(faults, path, value, EXPECTED):
        if isinstance(item, dict):
            yield from _entry(faults, place, item)
        elif (text := as_text(item)) is not None and "=" in text:
            name, _, rest = text.partition("=")
            yield Variable(name, rest, place, len(name) + 1)
        else:
            fields.expected(faults, place, "{key: …, value: …} or KEY=VALUE", item)


def _entry(faults: Faults, path: Path, item: dict[str, Any]) -> Iterator[Variable]:
    given = fields.record(faults, path, item, ENTRY)
    if fields.require(faults, path, given, key="key"):
        place = (*path, "value") if "value" in item else path
        yield Variable(given["key"], given.get("value", ""), place)


def refuse_null(faults: Faults, path: Path) -> None:
    """`~` and `null` may be meant as the empty text, as that word, or as no variable at all; a value that was left out is
    not refused."""
    message, hint = "expected text, found null", 'write "" for an empty text, "null" for the word'
    faults.add(path, message, hint=hint, if_written=True)


def _text(faults: Faults, path: Path, value: Any) -> str:
    """Nothing is the empty text: `DEBUG:` sets DEBUG to nothing."""
    if value is None:
        refuse_null(faults, path)
        return ""
    return fields.text(faults, path, value)


ENTRY: fields.Readers = {"key": ("key", fields.text), "value": ("value", _text)}
