"""Finds expressions in a text, and prepares one for Jinja2's parser.

Jinja2 reads names without `-`, has no leading dot, and tells of a node only its line. So every token is given to it on a line of
its own (a line number is then a token, and a token has an offset), and names are disguised in letters that no expression may contain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from runner.errors import TemplateError
from runner.expressions.scope import Path

MAX_EXPRESSION_CHARS = 10_000
MAX_TOKENS = 1_000
MAX_BRACKETS = 32
MAX_NUMBER_CHARS = 32

WHITE = " \t\r\n"
CONSTANTS = {"true": True, "false": False, "none": None, "True": True, "False": False, "None": None}
KEYWORDS = frozenset({*CONSTANTS, "and", "or", "not", "in", "if", "else", "is"})

_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
_STRING = r"'(?:\\.|[^'\\])*+'|\"(?:\\.|[^\"\\])*+\""
_PLAIN = re.compile(rf"\{{\{{(-(?=[{WHITE}]))?[{WHITE}]*(\.?)({_NAME}(?:\.{_NAME})*)[{WHITE}]*((?<=[{WHITE}])-)?\}}\}}")
_PATH = re.compile(rf"[{WHITE}]*(\.?)({_NAME}(?:\.{_NAME})*)[{WHITE}]*")
_TAG = re.compile(rf"\{{\{{((?:[^'\"}}]++|{_STRING}|\}}(?!\}}))*+)\}}\}}", re.DOTALL)
_ANGLE = re.compile(rf"<\+((?:[^'\">]++|{_STRING})*+)>", re.DOTALL)
_TOKEN = re.compile(
    rf"(?P<white>[{WHITE}]+)|(?P<string>{_STRING})|(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"
    rf"|(?P<path>\.?{_NAME}(?:\.{_NAME})*)|(?P<mark>==|!=|<=|>=|[()\[\],|<>.-])|(?P<sum>//|\*\*|[+*/%])",
    re.DOTALL,
)
_DUNDER = re.compile(r"__.*__", re.DOTALL)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "\n": ""}
_ADVICE = {
    "~": "`~` is not allowed: write two templates side by side",
    "=": "arguments have no names, and `==` compares",
    "&": "write `and`",
    "!": "write `not`",
    "{": "there are no mappings in expressions",
    "}": "there are no mappings in expressions",
    ":": "there are no slices and no mappings in expressions",
}

_ROOT_MARK = "ˍ"
_HYPHEN = "ˉ"


class Tag(NamedTuple):
    """One expression in a text: all of it from `start` to `end`; its source begins at `inner`.

    `path` is set, and `source` empty, where it is nothing but a dotted path.
    """

    start: int
    end: int
    inner: int
    source: str
    path: Path | None = None
    trim_before: bool = False
    trim_after: bool = False


class Tokens(NamedTuple):
    """`source` for Jinja2's parser; line n of it is the token at `offsets[n - 1]`."""

    source: str
    offsets: list[int]


def plain_path(text: str) -> Path | None:
    """The path, if `text` is one whole `{{ … }}` around nothing but a path: most templates are, so this has to be fast."""
    match = _PLAIN.fullmatch(text)
    return _path(*match.group(2, 3)) if match is not None else None


def bare_path(source: str) -> Path | None:
    """The path, if an expression is nothing else."""
    match = _PATH.fullmatch(source)
    return _path(match[1], match[2]) if match is not None else None


def tags(text: str) -> Iterator[Tag]:
    """The `{{ … }}` of a text, in order. Raises TemplateError for one that is not closed."""
    at = text.find("{{")
    while at >= 0:
        match = _PLAIN.match(text, at)
        path = _path(*match.group(2, 3)) if match is not None else None
        if match is not None and path is not None:
            tag = Tag(at, match.end(), match.start(3), "", path, bool(match[1]), bool(match[4]))
        else:
            tag = curly_tag(text, at)
        yield tag
        at = text.find("{{", tag.end)


def angle_tag(text: str, start: int) -> Tag:
    """The `<+ … >` that begins at `start`. Raises TemplateError when it is not closed."""
    match = _ANGLE.match(text, start, start + MAX_EXPRESSION_CHARS)
    if match is None:
        raise TemplateError("`<+` is not closed by `>`", offset=start)
    return Tag(start, match.end(), match.start(1), match[1])


def curly_tag(text: str, start: int) -> Tag:
    """The `{{ … }}` that begins at `start`. Raises TemplateError when it is not closed."""
    match = _TAG.match(text, start, start + MAX_EXPRESSION_CHARS)
    if match is None:
        raise _unclosed(text, start)
    return _tag(match)


def trimmed(text: str, start: bool, end: bool) -> str:
    """What stands between two expressions, without the white space that their dashes ask to drop."""
    text = text.lstrip(WHITE) if start else text
    return text.rstrip(WHITE) if end else text


def _path(dot: str, path: str) -> Path | None:
    if "__" in path or len(path) > MAX_EXPRESSION_CHARS:
        return None
    parts = tuple(path.split("."))
    return parts if dot or parts[0] not in KEYWORDS else None


def _tag(match: re.Match[str]) -> Tag:
    source, inner = match[1], match.start(1)
    before = source[:1] == "-" and source[1:2] in WHITE and len(source) > 1
    if before:
        source, inner = source[1:], inner + 1
    after = source[-1:] == "-" and source[-2:-1] in WHITE and len(source) > 1
    if after:
        source = source[:-1]
    return Tag(match.start(), match.end(), inner, source, None, before, after)


def _unclosed(text: str, start: int) -> TemplateError:
    quote = ""
    for match in re.finditer(rf"{_STRING}|['\"]|\}}\}}", text[start : start + MAX_EXPRESSION_CHARS]):
        if match[0] in ("'", '"'):
            quote = match[0]
            break
    if quote:
        return TemplateError(f"`{{{{` is not closed by `}}}}`: the quote {quote} in it has no end", offset=start)
    if len(text) - start > MAX_EXPRESSION_CHARS:
        return TemplateError(f"`{{{{` is not closed by `}}}}` within {MAX_EXPRESSION_CHARS:,} characters", offset=start)
    return TemplateError("`{{` is not closed by `}}` (a literal one is written `{{ '{{' }}`)", offset=start)


def tokens(source: str, base: int) -> Tokens:
    """Takes an expression apart and refuses what can be refused by its looks. `base` is where `source` begins in its text."""
    if len(source) > MAX_EXPRESSION_CHARS:
        raise TemplateError(
            f"an expression is longer than {MAX_EXPRESSION_CHARS:,} characters: make several of it", offset=base
        )
    lines: list[str] = []
    offsets: list[int] = []
    depth = 0
    at = 0
    before = ""
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise _unexpected(source, at, base)
        token, sort = match[0], match.lastgroup
        if sort == "sum":
            raise TemplateError(f"arithmetic (`{token}`) is not allowed in an expression", offset=base + at)
        if sort != "white":
            depth += (token in "([") - (token in ")]")
            if depth > MAX_BRACKETS:
                raise TemplateError(f"brackets are nested more than {MAX_BRACKETS} deep", offset=base + at)
            if sort == "path":
                spelt = _disguised(token, attribute=before != "" and before in ")]'\"", offset=base + at)
            else:
                spelt = [_safe(token, sort, source[match.end() :], offset=base + at)]
            lines += spelt
            offsets += [base + at] * len(spelt)
        before = token[-1] if sort != "white" else ""
        at = match.end()
    if not lines:
        raise TemplateError("the expression is empty", offset=base)
    if len(lines) > MAX_TOKENS:
        raise TemplateError(f"an expression has more than {MAX_TOKENS:,} words", offset=base)
    return Tokens("\n".join(lines), offsets)


def _unexpected(source: str, at: int, base: int) -> TemplateError:
    char = source[at]
    if char in "'\"":
        return TemplateError(f"the quote {char} has no end", offset=base + at)
    advice = _ADVICE.get(char)
    return TemplateError(f"unexpected character {char!r}" + (f": {advice}" if advice else ""), offset=base + at)


def _safe(token: str, sort: str | None, rest: str, *, offset: int) -> str:
    """A token that is no path, as Jinja2 reads it without surprises."""
    if sort == "string":
        value = _unescape(token[1:-1], offset)
        return "'" + value.encode("unicode-escape").decode("ascii").replace("'", "\\'") + "'"
    if sort == "number" and len(token) > MAX_NUMBER_CHARS:
        raise TemplateError(f"a number has more than {MAX_NUMBER_CHARS} characters", offset=offset)
    if token == "-" and not rest.lstrip(WHITE)[:1].isdecimal():
        raise TemplateError("arithmetic (`-`) is not allowed in an expression", offset=offset)
    return token


def _unescape(text: str, offset: int) -> str:
    def one(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] in "xuU" and len(code) > 1:
            number = int(code[1:], 16)
            if number == 0 or number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
                raise TemplateError(f"\\{code} is not a character that a text may contain", offset=offset)
            return chr(number)
        # What means nothing special stays as it was written, the backslash too.
        return _ESCAPED.get(code, match[0])

    if "\0" in text:
        raise TemplateError("a NUL character stands in a quoted text: leave it away", offset=offset)
    return _ESCAPE.sub(one, text) if "\\" in text else text


def _disguised(token: str, *, attribute: bool, offset: int) -> list[str]:
    """A path as Jinja2's tokens. A name with a leading dot cannot be a keyword; behind a bracket the dot asks for a member."""
    dotted = token[0] == "."
    parts = token.lstrip(".").split(".")
    for part in parts:
        check_name(part, offset)
    if token == "is":
        raise TemplateError("tests (`is`) are not allowed: compare, or give a `default`", offset=offset)
    names = [part.replace("-", _HYPHEN) for part in parts]
    if dotted and not attribute:
        names[0] = _ROOT_MARK + names[0]
    spelt = [word for name in names for word in (".", name)]
    return spelt if dotted and attribute else spelt[1:]


def check_name(name: str, offset: int) -> None:
    if _DUNDER.fullmatch(name):
        raise TemplateError(f"{name!r} is not allowed: names that begin and end with two underscores", offset=offset)


def has_leading_dot(name: str) -> bool:
    """Whether the name, as Jinja2 got it, was written with a dot before it."""
    return name.startswith(_ROOT_MARK)


def revealed(name: str) -> str:
    """The name that was disguised for Jinja2."""
    return name.removeprefix(_ROOT_MARK).replace(_HYPHEN, "-")


def revealed_message(message: str) -> str:
    return message.replace(_ROOT_MARK, ".").replace(_HYPHEN, "-")
