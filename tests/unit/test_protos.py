"""The protocols tell what they mean: there is no other documentation of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROTOS = Path(__file__).parents[2] / "proto" / "runner" / "v1"
DECLARED = re.compile(
    r"""
    (?: service | message | enum | oneof ) \s+ (?P<named> \w+ ) \s* \{
    | rpc \s+ (?P<method> \w+ )
    | (?: (?: optional | repeated ) \s+ )? [\w.]+ (?: < [^>]+ > )? \s+ (?P<field> \w+ ) \s* = \s* \d+ ;
    | (?P<value> [A-Z_0-9]+ ) \s* = \s* \d+ ;
    """,
    re.VERBOSE,
)


def declared(text: str) -> list[tuple[str, bool]]:
    """What is declared, and whether the line before, or the same one, says something about it."""
    found, before = [], ""
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if match := DECLARED.match(line):
            name = next(filter(None, match.groups()))
            found.append((f"{number}: {name}", before.startswith("//") or "//" in line))
        before = line
    return found


def test_what_is_declared_is_found() -> None:
    text = """
    // Says something.
    message Told {
      string name = 1;
      map<string, Value> values = 2;  // By name.
      // Which.
      oneof which {
        repeated google.protobuf.Timestamp at = 3;
      }
    }
    enum Kind {
      KIND_A = 0;
    }
    service S {
      rpc Do(Told) returns (stream Told);
    }
    """
    assert [(told.split()[1], commented) for told, commented in declared(text)] == [
        ("Told", True), ("name", False), ("values", True), ("which", True), ("at", False), ("Kind", False), ("KIND_A", False),
        ("S", False), ("Do", False),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["runner.proto", "peer.proto"])
def test_all_that_is_declared_is_explained(name: str) -> None:
    found = declared((PROTOS / name).read_text())
    assert len(found) > 50
    assert [told for told, commented in found if not commented] == []
