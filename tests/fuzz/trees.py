"""Expressions that are built, each with the value that it has: evaluated as a tree, by Python itself, without reading its text."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.fuzz.choices import Choices


class FailedError(Exception):
    """There is an error in place of a value."""


class UndefinedError(FailedError):
    """`default` has an answer to that."""


class Tree(NamedTuple):
    """`binds` is how tightly: 0 choice, 1 or, 2 and, 3 not, 4 comparison, 5 filter and what stands for itself."""

    text: str
    binds: int
    value: Callable[[], Any]


DATA: dict[str, Any] = {
    "t": "a,b",
    "e": "",
    "f": "false",
    "n": 3,
    "z": 0,
    "l": ["x", "y", 3],
    "m": {"k": "v", "k-2": [1, 2]},
    "u": "ünï",
    "yes": True,
    "nothing": None,
}
CONSTANTS: tuple[tuple[str, Any], ...] = (
    ("1", 1), ("-2", -2), ("2.50", 2.5), ("'x'", "x"), ('"a,b"', "a,b"), ("''", ""), ("true", True), ("False", False), ("none", None), ("'\\u0041\\n'", "A\n"), ("[]", []),
)  # fmt: skip
PATHS: tuple[tuple[str, Any], ...] = (
    *((f".{name}", value) for name, value in DATA.items()), ("t", "a,b"), ("m.k", "v"), (".m.k-2", [1, 2]), ("m['k']", "v"), ("l[0]", "x"), ("l[-1]", 3), (".m.k-2[1]", 2),
)  # fmt: skip
UNKNOWN = (".what", "m.what", "l[7]", "t.x")
FALSE = ("false", "False", "FALSE")


def tree(choices: Choices, depth: int) -> Tree:
    kind = choices.below(10) if depth else choices.below(4)
    match kind:
        case 0:
            text, value = choices.pick(CONSTANTS)
            return Tree(text, 5, lambda: value)
        case 1 | 2:
            text, value = choices.pick(PATHS)
            return Tree(text, 5, lambda: value)
        case 3:
            return _unknown(choices) if choices.below(4) == 3 else _listed(choices)
        case 4:
            inner = tree(choices, depth - 1)
            return Tree(f"not {_within(inner, 3, choices)}", 3, lambda: not _truth(inner.value()))
        case 5:
            left, right = tree(choices, depth - 1), tree(choices, depth - 1)
            if choices.chance():
                return Tree(
                    f"{_within(left, 2, choices)} and {_within(right, 3, choices)}",
                    2,
                    lambda: right.value() if _truth(it := left.value()) else it,
                )
            return Tree(
                f"{_within(left, 1, choices)} or {_within(right, 2, choices)}",
                1,
                lambda: it if _truth(it := left.value()) else right.value(),
            )
        case 6:
            then, test, other = (tree(choices, depth - 1) for _ in range(3))
            text = f"{_within(then, 1, choices)} if {_within(test, 1, choices)} else {_within(other, 0, choices)}"
            return Tree(text, 0, lambda: then.value() if _truth(test.value()) else other.value())
        case 7:
            sign, holds = choices.pick(COMPARISONS)
            one, two = tree(choices, depth - 1), tree(choices, depth - 1)
            return Tree(
                f"{_within(one, 5, choices)} {sign} {_within(two, 5, choices)}",
                4,
                lambda: holds(one.value(), two.value()),
            )
        case _:
            return _filtered(choices, tree(choices, depth - 1))


def _unknown(choices: Choices) -> Tree:
    text = choices.pick(UNKNOWN)

    def fail() -> Any:
        raise UndefinedError(text)

    if choices.chance():
        return Tree(f"{text} | default('d')", 5, lambda: "d")
    return Tree(text, 5, fail)


def _listed(choices: Choices) -> Tree:
    items = [choices.pick(CONSTANTS[:-1] + PATHS) for _ in range(choices.below(3))]
    return Tree("[" + ", ".join(text for text, _ in items) + "]", 5, lambda: [value for _, value in items])


def _within(tree: Tree, binds: int, choices: Choices) -> str:
    return f"({tree.text})" if tree.binds < binds or choices.chance() else tree.text


def _filtered(choices: Choices, inner: Tree) -> Tree:
    text, apply = choices.pick(FILTERS)

    def value() -> Any:
        try:
            return apply(inner.value())
        except UndefinedError:
            if text.startswith("default"):
                return "d"
            raise
        except (ValueError, TypeError, IndexError) as error:
            raise FailedError(text) from error

    # A minus belongs to what all filters behind it get.
    return Tree(f"{_within(inner, 5, choices)} | {text}", 5, value)


def _truth(value: Any) -> bool:
    return bool(value) and value not in FALSE


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, list | dict):
        raise TypeError
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(one: Any, two: Any) -> bool:
    for text, other in ((one, two), (two, one)):
        if isinstance(text, str) and isinstance(other, int | float):
            raise FailedError("a text and a number")
    return _same(one, two)


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(_same, one, two))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_same(one[key], two[key]) for key in one)
    return isinstance(one, bool) == isinstance(two, bool) and bool(one == two)


def _ordered(order: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def holds(one: Any, two: Any) -> bool:
        if (_number(one) and _number(two)) or (isinstance(one, str) and isinstance(two, str)):
            return order(one, two)
        raise FailedError("no order")

    return holds


def _in(one: Any, two: Any) -> bool:
    if isinstance(two, str):
        if isinstance(one, str):
            return one in two
        raise FailedError("not in a text")
    if isinstance(two, list | dict):
        return any(_same(one, item) for item in two)
    raise FailedError("nothing is in it")


COMPARISONS: tuple[tuple[str, Callable[[Any, Any], bool]], ...] = (
    ("==", _equal), ("!=", lambda one, two: not _equal(one, two)), ("<", _ordered(lambda one, two: one < two)), ("<=", _ordered(lambda one, two: one <= two)),
    (">", _ordered(lambda one, two: one > two)), (">=", _ordered(lambda one, two: one >= two)), ("in", _in), ("not in", lambda one, two: not _in(one, two)),
)  # fmt: skip


def _default(fallback: Any) -> Callable[[Any], Any]:
    return lambda value: value if _truth(value) else fallback


def _joined(value: Any) -> str:
    if not isinstance(value, list):
        raise TypeError
    return "+".join(map(_text, value))


def _at(index: int) -> Callable[[Any], Any]:
    def item(value: Any) -> Any:
        if isinstance(value, dict):
            raise TypeError
        return value[index]

    return item


def _decoded(value: Any) -> str:
    return base64.b64decode("".join(_text(value).split()), validate=True).decode()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


FILTERS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("upper", lambda value: _text(value).upper()), ("lower", lambda value: _text(value).lower()), ("trim", lambda value: _text(value).strip()),
    ("trim('a')", lambda value: _text(value).strip("a")), ("replace('a', 'bb')", lambda value: _text(value).replace("a", "bb")),
    ("replace('', '-', 2)", lambda value: _text(value).replace("", "-", 2)), ("b64encode", lambda value: base64.b64encode(_text(value).encode()).decode()),
    ("b64decode", _decoded), ("tojson", _json), ("fromjson", lambda value: json.loads(_text(value), parse_constant=float.fromhex)), ("shquote", lambda value: shlex.quote(_text(value))),
    ("join('+')", _joined), ("split(',')", lambda value: _text(value).split(",")), ("length", len), ("first", _at(0)), ("last", _at(-1)), ("default('d', true)", _default("d")), ("default('d')", lambda value: value),
)  # fmt: skip
