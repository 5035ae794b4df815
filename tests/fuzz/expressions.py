"""Templates: what they may say, what they give, and what they must not do.

An input is a text. One that begins with a NUL decides instead which expression is written, whose value is known without reading it. Judged is:

- a text has a value, or an error with a place in it; rendered again it has the same, for the same work;
- a value is plain data; nothing is opened, imported or started for it, and no attribute of an object of Python looked at;
- whatever depends on a secret is confidential, and no error tells one;
- what stands before a template changes nothing of it: `{%` and `{#` are text;
- an expression has the value that its own tree has, evaluated by hand.
"""

from __future__ import annotations

import base64
import json
import shlex
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from runner import expressions
from runner.errors import TemplateError
from runner.expressions import DataScope, Scope, Work
from runner.expressions.filters import MAX_PIECES
from runner.expressions.objects import MAX_TEXT_CHARS, text_of
from runner.model.value import Bindings, Value
from tests.fuzz.choices import Choices

WORDS = (
    b"{{ ", b" }}", b"{{- ", b" -}}", b"{{", b"}}", b"{%", b"%}", b"{#", b"<+", b">", b".a.b", b"a.secret", b".fetch-it.password", b"inputs.tag", b"group.id", b"env.E",
    b"task.name", b" and ", b" or ", b" not ", b" in ", b" if ", b" else ", b" is ", b"true", b"none", b"'x'", b'"', b"\\u0041", b"\\x00", b"(", b")", b"[", b"]", b"[0]",
    b"['a']", b", ", b" | ", b" | default('x')", b" | upper", b" | split(',')", b" | join", b" | replace('a', 'bb')", b" | fromjson", b" | tojson", b" | length", b" | first",
    b" | trim", b" | b64encode", b" | b64decode", b" | shquote", b" == ", b" != ", b" < ", b" >= ", b" ~ ", b"+", b"-1", b"1e9", b"2.50", b"__class__", b".__init__", b"*", b"**",
    b"\xcb\x8d", b"\xcb\x89", b"\n", b"{", b"}", b":", b"\xc3\x9f",
)  # fmt: skip

SECRETS = ("s3cr3t-one!", "another0ne,[1]")
MARK = "{% if x %}{# no comment #}{ {% raw"
NEVER = ("open", "exec", "compile", "import", "object.", "os.", "subprocess.", "socket.", "shutil.", "ctypes.", "code.", "marshal.", "pickle.")


def check(data: bytes) -> None:
    """Raises AssertionError for an input that finds a fault."""
    if data[:1] == b"\0":
        _judge_built(Choices(data[1:]))
    else:
        _judge(data.decode(errors="surrogateescape"))


class Outcome(NamedTuple):
    value: Value | None
    error: str
    offset: int | None
    left: int


def _judge(text: str) -> None:
    first = _rendered(text, SECRETS[0])
    assert _rendered(text, SECRETS[0]) == first, "rendered again"
    other = _rendered(text, SECRETS[1])
    for outcome in (first, other):
        assert not any(secret in outcome.error for secret in SECRETS if secret not in text), outcome.error
    if first.value != other.value:
        assert all(found.value is None or found.value.confidential for found in (first, other)), "it depends on a secret"
    if "{{" not in text:
        assert first.value == Value(text)
    _judge_behind(text, first)
    _judge_object(text, first)
    _judge_data(text)


def _rendered(text: str, secret: str) -> Outcome:
    scope = _scope(secret)
    try:
        with _WATCH:
            value = expressions.render(text, scope)
    except TemplateError as error:
        assert error.message
        assert error.offset is None or 0 <= error.offset <= len(text), error.offset
        return Outcome(None, error.message, error.offset, scope.work.left)
    assert scope.work.left >= 0
    assert len(value.text) <= max(MAX_TEXT_CHARS, len(text))
    if "{{" in text and text.isascii():
        value.text.encode()
    return Outcome(value, "", None, scope.work.left)


def _judge_behind(text: str, alone: Outcome) -> None:
    """Of a text with no white space at its beginning, which a dash might drop."""
    behind = _rendered(MARK + text, SECRETS[0])
    if alone.value is not None and behind.value is not None:
        assert behind.value.text == MARK + alone.value.text
        assert behind.value.confidential == alone.value.confidential
    elif "too much work" not in alone.error + behind.error:
        assert (behind.value, behind.error) == (alone.value, alone.error)
        assert (alone.offset is None) or behind.offset == alone.offset + len(MARK)


def _judge_object(text: str, rendered: Outcome) -> None:
    try:
        value, confidential = expressions.evaluate(text, _scope(SECRETS[0]))
    except TemplateError:
        assert rendered.value is None
        return
    _plain(value)
    if rendered.value is not None:
        assert (text_of(value), confidential) == (rendered.value.text, rendered.value.confidential)


def _plain(value: object) -> None:
    assert value is None or type(value) in (str, int, float, bool, list, tuple, dict), type(value)
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        _plain(item)


def _judge_data(text: str) -> None:
    outcomes = []
    for secret in SECRETS:
        scope = DataScope({"a": {"b": "x", "secret": Value(secret, True)}, "l": ["x", {"y": "z"}]}, work=Work(20))
        with _WATCH:
            outcomes.append(expressions.resolve_data(text, scope))
    for found in outcomes:
        assert all(fault.message and fault.offset is not None and 0 <= fault.offset <= len(text) for fault in found.faults)
        assert not any(secret in fault.message for fault in found.faults for secret in SECRETS if secret not in text)
        if "{{" not in text and "<+" not in text:
            assert (found.text, found.faults, found.confidential) == (text, (), False)
    if outcomes[0].text != outcomes[1].text:
        assert all(found.confidential for found in outcomes), "it depends on a secret"


def _scope(secret: str) -> Scope:
    return Scope(
        Bindings(
            imports={
                "a": {"b": Value("x,y,z"), "secret": Value(secret, True), "json": Value('{"k": [1, "two", null]}'), "no": Value("false")},
                "fetch-it": {"password": Value(secret, True)},
            },
            inputs={"tag": Value("1.10"), "key": Value(secret, True)},
            env={"E": "{{ .inputs.tag }}", "S": "{{ .inputs.key }}", "BAD": "{{ nothing }}"},
            group_id="g-1",
            group_name="group",
            task_name="t",
            task_attempt=1,
        ),
        Work(20),
    )


class _Watch:
    """Python tells of what a program does by events."""

    def __init__(self) -> None:
        self._on = False
        self._seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._on and event.startswith(NEVER) and not (event == "compile" and _is_number(arguments[0])):
            self._seen.append(f"{event} {arguments!r}")

    def __enter__(self) -> None:
        self._on = True

    def __exit__(self, *raised: object) -> None:
        self._on = False
        seen, self._seen = self._seen, []
        assert not seen, seen


def _is_number(source: object) -> bool:
    """Jinja2 has Python read fractions."""
    return isinstance(source, str | bytes) and not set(source if isinstance(source, bytes) else source.encode()) - set(b"0123456789.eE+-")


def _warm() -> None:
    """What is imported where it is needed first."""
    for text in ("{{ nothin }}", "{{ a.b | uper }}", "{{ a.b == 'x' and ('y' | replace('a', 'b')) }}", "{{ a. }}", "{{ a.b ="):
        try:
            expressions.render(text, _scope(SECRETS[0]))
        except TemplateError as error:
            str(error)


_warm()
_WATCH = _Watch()


# What is built: an expression, and its value.


class _Failed(Exception):
    """There is an error in place of a value."""


class _Undefined(_Failed):
    """`default` has an answer to that."""


class Tree(NamedTuple):
    """`binds` is how tightly: 0 choice, 1 or, 2 and, 3 not, 4 comparison, 5 filter and what stands for itself."""

    text: str
    binds: int
    value: Callable[[], Any]


DATA: dict[str, Any] = {"t": "a,b", "e": "", "f": "false", "n": 3, "z": 0, "l": ["x", "y", 3], "m": {"k": "v", "k-2": [1, 2]}, "u": "ünï", "yes": True, "nothing": None}
CONSTANTS: tuple[tuple[str, Any], ...] = (
    ("1", 1), ("-2", -2), ("2.50", 2.5), ("'x'", "x"), ('"a,b"', "a,b"), ("''", ""), ("true", True), ("False", False), ("none", None), ("'\\u0041\\n'", "A\n"), ("[]", []),
)  # fmt: skip
PATHS: tuple[tuple[str, Any], ...] = (
    *((f".{name}", value) for name, value in DATA.items()), ("t", "a,b"), ("m.k", "v"), (".m.k-2", [1, 2]), ("m['k']", "v"), ("l[0]", "x"), ("l[-1]", 3), (".m.k-2[1]", 2),
)  # fmt: skip
UNKNOWN = (".what", "m.what", "l[7]", "t.x")
FALSE = ("false", "False", "FALSE")


def _judge_built(choices: Choices) -> None:
    tree = _tree(choices, 4)
    text = "{{" + choices.pick((" ", "\n", "\t ")) + tree.text + choices.pick((" ", "\r\n")) + "}}"
    try:
        wanted: Any = (tree.value(),)
    except _Failed:
        wanted = None
    try:
        with _WATCH:
            found: Any = (expressions.evaluate(text, DataScope(DATA))[0],)
    except TemplateError as error:
        assert error.message
        assert error.offset is not None
        assert 0 <= error.offset <= len(text)
        assert wanted is None, (text, wanted, error.message)
        return
    assert wanted is not None, (text, found)
    assert repr(found) == repr(wanted), text


def _tree(choices: Choices, depth: int) -> Tree:
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
            inner = _tree(choices, depth - 1)
            return Tree(f"not {_within(inner, 3, choices)}", 3, lambda: not _truth(inner.value()))
        case 5:
            left, right = _tree(choices, depth - 1), _tree(choices, depth - 1)
            if choices.chance():
                return Tree(f"{_within(left, 2, choices)} and {_within(right, 3, choices)}", 2, lambda: right.value() if _truth(it := left.value()) else it)
            return Tree(f"{_within(left, 1, choices)} or {_within(right, 2, choices)}", 1, lambda: it if _truth(it := left.value()) else right.value())
        case 6:
            then, test, other = (_tree(choices, depth - 1) for _ in range(3))
            text = f"{_within(then, 1, choices)} if {_within(test, 1, choices)} else {_within(other, 0, choices)}"
            return Tree(text, 0, lambda: then.value() if _truth(test.value()) else other.value())
        case 7:
            sign, holds = choices.pick(COMPARISONS)
            one, two = _tree(choices, depth - 1), _tree(choices, depth - 1)
            return Tree(f"{_within(one, 5, choices)} {sign} {_within(two, 5, choices)}", 4, lambda: holds(one.value(), two.value()))
        case _:
            return _filtered(choices, _tree(choices, depth - 1))


def _unknown(choices: Choices) -> Tree:
    text = choices.pick(UNKNOWN)

    def fail() -> Any:
        raise _Undefined(text)

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
        except _Undefined:
            if text.startswith("default"):
                return "d"
            raise
        except (ValueError, TypeError, IndexError) as error:
            raise _Failed(text) from error

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
            raise _Failed("a text and a number")
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
        raise _Failed("no order")

    return holds


def _in(one: Any, two: Any) -> bool:
    if isinstance(two, str):
        if isinstance(one, str):
            return one in two
        raise _Failed("not in a text")
    if isinstance(two, list | dict):
        return any(_same(one, item) for item in two)
    raise _Failed("nothing is in it")


COMPARISONS: tuple[tuple[str, Callable[[Any, Any], bool]], ...] = (
    ("==", _equal), ("!=", lambda one, two: not _equal(one, two)), ("<", _ordered(lambda one, two: one < two)), ("<=", _ordered(lambda one, two: one <= two)),
    (">", _ordered(lambda one, two: one > two)), (">=", _ordered(lambda one, two: one >= two)), ("in", _in), ("not in", lambda one, two: not _in(one, two)),
)  # fmt: skip


def _default(fallback: Any) -> Callable[[Any], Any]:
    return lambda value: value if _truth(value) else fallback


def _split(value: Any) -> list[str]:
    pieces = _text(value).split(",")
    assert len(pieces) <= MAX_PIECES
    return pieces


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
    ("join('+')", _joined), ("split(',')", _split), ("length", len), ("first", _at(0)), ("last", _at(-1)), ("default('d', true)", _default("d")), ("default('d')", lambda value: value),
)  # fmt: skip
