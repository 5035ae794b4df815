"""A configuration as it is in effect: as TOML that reads back as the same, and as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runner.config.configuration import Configuration
from runner.config.keys import NODE_KEYS, Key
from runner.config.kinds import spell_rule
from runner.config.reading import Origin, Source, Value

_COMMENT_COLUMN = 52


def as_toml(configuration: Configuration) -> str:
    """Every key with its value and where that comes from; what is not set, as a comment."""
    lines = [f"# {_comment(configuration.file)}" if configuration.file else "# no file"]
    table: tuple[str, ...] = ()
    for key in NODE_KEYS:
        value = configuration.values[key.name]
        if key.name == "rules":
            lines += _rules(value)
            continue
        if key.path[:-1] != table:
            table = key.path[:-1]
            lines += ["", f"[{'.'.join(table)}]"]
        lines.append(_line(key, value))
    return "\n".join(lines)


def _line(key: Key, value: Value) -> str:
    name = key.path[-1]
    if value.value is None:
        return f"# {name} is not set"
    return f"{f'{name} = {key.kind.spelled(value.value)}':<{_COMMENT_COLUMN}} # {_comment(value.source)}"


def _rules(value: Value) -> Iterator[str]:
    for rule in value.value:
        yield ""
        yield f"{'[[rules]]':<{_COMMENT_COLUMN}} # {_comment(value.source)}"
        yield from spell_rule(rule)


def _comment(words: object) -> str:
    return "".join(character if character.isprintable() else "?" for character in str(words))


def as_data(configuration: Configuration) -> dict[str, Any]:
    """For JSON; values as they would be written in TOML."""
    import tomllib  # takes 10 ms

    values = {}
    for key in NODE_KEYS:
        value = configuration.values[key.name]
        written = None if value.value is None else tomllib.loads(f"x = {key.kind.spelled(value.value)}")["x"]
        values[key.name] = {"value": written, "source": _source(value.source)}
    file = str(configuration.file) if configuration.file else None
    return {"file": file, "values": values}


def _source(source: Source) -> dict[str, Any]:
    match source.origin:
        case Origin.DEFAULT:
            return {"kind": source.origin.value}
        case Origin.FILE:
            return {"kind": source.origin.value, "name": source.name, "line": source.line}
        case _:
            return {"kind": source.origin.value, "name": source.name}
