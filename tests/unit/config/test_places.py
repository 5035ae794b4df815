from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.config.places import place, places
from runner.model.fault import Path

TEXT = """\
# a comment with [brackets] and = signs
name = "a"   # and another
a.b . "c d" = 1

[limits]
  groups = 5
text = \"\"\"
groups = 6 \\\"\"\"
more\"\"\"\"
list = [
  1, # one
  [2, 'x]'], { y = 3 },
]

[[rules]]
callers = ["a", "b"]
when = 1979-05-27 07:32:00
[rules.more]
deep = {}
[[rules]]
'quoted' = ''' ''' # end"""


def test_where_keys_and_items_stand() -> None:
    assert places(TEXT) == {
        ("name",): (2, 1),
        ("a",): (3, 1),
        ("a", "b"): (3, 3),
        ("a", "b", "c d"): (3, 7),
        ("limits",): (5, 1),
        ("limits", "groups"): (6, 3),
        ("limits", "text"): (7, 1),
        ("limits", "list"): (10, 1),
        ("limits", "list", 0): (11, 3),
        ("limits", "list", 1): (12, 3),
        ("limits", "list", 1, 0): (12, 4),
        ("limits", "list", 1, 1): (12, 7),
        ("limits", "list", 2): (12, 14),
        ("limits", "list", 2, "y"): (12, 16),
        ("rules",): (15, 1),
        ("rules", 0): (15, 1),
        ("rules", 0, "callers"): (16, 1),
        ("rules", 0, "callers", 0): (16, 12),
        ("rules", 0, "callers", 1): (16, 17),
        ("rules", 0, "when"): (17, 1),
        ("rules", 0, "more"): (18, 1),
        ("rules", 0, "more", "deep"): (19, 1),
        ("rules", 1): (20, 1),
        ("rules", 1, "quoted"): (21, 1),
    }


def test_what_has_no_place_has_that_around_it() -> None:
    known = places(TEXT)
    assert place(("rules", 0, "scopes"), known) == (15, 1)
    assert place(("nowhere",), known) == (1, 1)


@pytest.mark.parametrize("text", ["", "\n\n# only a comment", "\ufeff".removeprefix("\ufeff")])
def test_a_text_without_keys(text: str) -> None:
    assert places(text) == {}


def test_lines_that_end_as_in_other_systems() -> None:
    assert places("a = 1\r\nb = '''\r\n'''\r\nc = 2\r\n") == {("a",): (1, 1), ("b",): (2, 1), ("c",): (4, 1)}


KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=5)
SCALARS = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), KEYS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


def spelled(value: Any) -> str:
    match value:
        case dict():
            return f"{{ {', '.join(f'{spelled(key)} = {spelled(item)}' for key, item in value.items())} }}"
        case list():
            return "[\n" + ", # ]\n".join(map(spelled, value)) + "\n]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def paths(value: Any, path: Path = ()) -> set[Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = {path} if path else set()
    for key, item in items:
        found |= paths(item, (*path, key))
    return found


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.dictionaries(KEYS, VALUES, max_size=3))
def test_every_key_that_tomllib_reads_has_its_place(top: dict[str, Any], table: dict[str, Any]) -> None:
    lines = [f"{spelled(key)} = {spelled(value)}" for key, value in top.items() if key != "t"]
    text = "\n".join(
        [*lines, "[[t]]", "[[t]]", *(f"{spelled(key)} = {spelled(value)}" for key, value in table.items())]
    )
    data = tomllib.loads(text)
    known = places(text)
    assert known.keys() == paths(data)
    rows = text.split("\n")
    for path, (line, column) in known.items():
        if isinstance(path[-1], str) and path[0] != "t":
            assert rows[line - 1][column - 1 :].startswith(spelled(path[-1]))
