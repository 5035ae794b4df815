"""Templates: what they may say, what they give, and what they must not do.

An input is a text. One that begins with a NUL decides instead which expression is written, whose value is known without reading it. Judged is:

- a text has a value, or an error with a place in it; rendered again it has the same, for the same work;
- a value is plain data; nothing is opened, imported or started for it, and no attribute of an object of Python looked at;
- whatever depends on a secret is confidential, and no error tells one;
- what stands before a template changes nothing of it: `{%` and `{#` are text;
- an expression has the value that its own tree has, evaluated by hand.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from runner import expressions
from runner.errors import TemplateError
from runner.expressions import DataScope, Scope, Work
from runner.expressions.objects import MAX_TEXT_CHARS, text_of
from runner.model.value import Bindings, Value
from tests.fuzz import trees
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
NEVER = (
    "open",
    "exec",
    "compile",
    "import",
    "object.",
    "os.",
    "subprocess.",
    "socket.",
    "shutil.",
    "ctypes.",
    "code.",
    "marshal.",
    "pickle.",
)


def check(data: bytes) -> None:
    """Raises AssertionError for an input that finds a fault."""
    if data[:1] == b"\0":
        _judge_built(Choices(data[1:]))
    else:
        _judge(data.decode(errors="surrogateescape"))


class Outcome(NamedTuple):
    value: Value | None
    error: str
    offset: int
    left: int


def _judge(text: str) -> None:
    first = _rendered(text, SECRETS[0])
    assert _rendered(text, SECRETS[0]) == first, "rendered again"
    other = _rendered(text, SECRETS[1])
    for outcome in (first, other):
        assert not any(secret in outcome.error for secret in SECRETS if secret not in text), outcome.error
    if first.value != other.value:
        assert all(found.value is None or found.value.confidential for found in (first, other)), (
            "it depends on a secret"
        )
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
        _placed(error, text)
        return Outcome(None, error.message, error.offset, scope.work.left)
    assert scope.work.left >= 0
    assert len(value.text) <= max(MAX_TEXT_CHARS, len(text))
    if "{{" in text and text.isascii():
        value.text.encode()
    return Outcome(value, "", 0, scope.work.left)


def _placed(error: TemplateError, text: str) -> None:
    assert error.message
    assert 0 <= error.offset <= len(text), error.offset


def _judge_behind(text: str, alone: Outcome) -> None:
    """Of a text with no white space at its beginning, which a dash might drop."""
    behind = _rendered(MARK + text, SECRETS[0])
    if alone.value is not None and behind.value is not None:
        assert behind.value.text == MARK + alone.value.text
        assert behind.value.confidential == alone.value.confidential
    elif "too much work" not in alone.error + behind.error:
        assert (behind.value, behind.error) == (alone.value, alone.error)
        assert behind.offset == alone.offset + len(MARK)


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
        for fault in found.faults:
            _placed(fault, text)
        assert not any(secret in fault.message for fault in found.faults for secret in SECRETS if secret not in text)
        if "{{" not in text and "<+" not in text:
            assert (found.text, found.faults, found.confidential) == (text, (), False)
    if outcomes[0].text != outcomes[1].text:
        assert all(found.confidential for found in outcomes), "it depends on a secret"


def _scope(secret: str) -> Scope:
    return Scope(
        Bindings(
            imports={
                "a": {
                    "b": Value("x,y,z"),
                    "secret": Value(secret, True),
                    "json": Value('{"k": [1, "two", null]}'),
                    "no": Value("false"),
                },
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
    return isinstance(source, str | bytes) and not set(source if isinstance(source, bytes) else source.encode()) - set(
        b"0123456789.eE+-"
    )


def _warm() -> None:
    """What is imported where it is needed first."""
    for text in (
        "{{ nothin }}",
        "{{ a.b | uper }}",
        "{{ a.b == 'x' and ('y' | replace('a', 'b')) }}",
        "{{ a. }}",
        "{{ a.b =",
    ):
        try:
            expressions.render(text, _scope(SECRETS[0]))
        except TemplateError as error:
            str(error)


_warm()
_WATCH = _Watch()


def _judge_built(choices: Choices) -> None:
    built = trees.tree(choices, 4)
    text = "{{" + choices.pick((" ", "\n", "\t ")) + built.text + choices.pick((" ", "\r\n")) + "}}"
    try:
        wanted: Any = (built.value(),)
    except trees.FailedError:
        wanted = None
    try:
        with _WATCH:
            found: Any = (expressions.evaluate(text, DataScope(trees.DATA))[0],)
    except TemplateError as error:
        _placed(error, text)
        found = None
    assert repr(found) == repr(wanted), (text, found, wanted)
