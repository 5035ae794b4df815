"""A text with expressions in it: parsed once, rendered often."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from runner.errors import TemplateError
from runner.expressions import grammar
from runner.expressions.compiler import Expression, Run, compile_expression
from runner.expressions.objects import (
    MAX_TEXT_CHARS,
    check_length,
    check_text,
    text_of,
)
from runner.expressions.scope import Lookup, Path
from runner.expressions.work import PATH, RESULT_CHAR, TEXT, Work
from runner.model.value import Value

MAX_EXPRESSIONS = 10_000
"""In one text."""

OnConfidential = Callable[[str], None]

_CACHED_TEMPLATES = 16_384
_CACHED_CHARS = 1_024


class Template:
    """A parsed text. `names` are the paths that it reads, e.g. `(("fetch", "password"),)`, each once; `whole` says that it is
    exactly one `{{ … }}`, so that it stands for an object and not only for a text."""

    __slots__ = ("_parts", "_path", "_price", "names", "whole")

    def __init__(self, parts: tuple[str | _Part, ...], path: Path | None = None) -> None:
        self._parts = parts
        self._path = path
        if path is not None:
            self._price = PATH
            self.names: tuple[Path, ...] = (path,)
            self.whole = True
        else:
            found = [part.expression.names for part in parts if isinstance(part, _Part)]
            self._price = TEXT + sum(part.expression.price for part in parts if isinstance(part, _Part))
            self.names = tuple(dict.fromkeys(name for names in found for name in names))
            self.whole = len(parts) == 1 and isinstance(parts[0], _Part)

    def text(self, scope: Lookup, on_confidential: OnConfidential | None = None) -> str:
        """Every expression replaced by its value. `on_confidential` is given the text of each that names something
        confidential. Raises TemplateError."""
        scope.work.pay(self._price)
        if self._path is not None:
            text = text_of(scope.resolve(self._path))
            if on_confidential is not None and scope.is_confidential(self._path):
                on_confidential(text)
            return text
        run = Run(scope)
        size = 0
        texts = []
        for part in self._parts:
            texts.append(part if isinstance(part, str) else part.text(run))
            size += len(texts[-1])
            check_length(size)
            if on_confidential is not None and isinstance(part, _Part) and part.is_confidential(scope):
                on_confidential(texts[-1])
        return "".join(texts)

    def object(self, scope: Lookup) -> object:
        """The object that a `whole` template stands for, the text of any other. Raises TemplateError."""
        if self._path is not None:
            scope.work.pay(self._price)
            return scope.resolve(self._path)
        if self.whole and not isinstance(self._parts[0], str):
            scope.work.pay(self._price)
            value = self._parts[0].value(Run(scope))
            return check_text(value) if isinstance(value, str) else value
        return self.text(scope)

    def is_confidential(self, scope: Lookup) -> bool:
        """Whether it names something confidential, be it used or not."""
        return any(scope.is_confidential(name) for name in self.names)


class _Part:
    __slots__ = ("expression", "start")

    def __init__(self, expression: Expression, start: int) -> None:
        self.expression = expression
        self.start = start

    def value(self, run: Run) -> object:
        try:
            return self.expression.evaluate(run)
        except TemplateError as error:
            error.offset = self.start
            raise
        except RecursionError:
            raise TemplateError("the value is nested too deeply", offset=self.start) from None

    def text(self, run: Run) -> str:
        value = self.value(run)
        try:
            run.charge(value, RESULT_CHAR)
            return check_text(text_of(value))
        except TemplateError as error:
            error.offset = self.start
            raise

    def is_confidential(self, scope: Lookup) -> bool:
        return any(scope.is_confidential(name) for name in self.expression.names)


def has_template(text: str) -> bool:
    """Whether `text` is more than plain text."""
    return "{{" in text


def parse(text: str) -> Template:
    """`text` as a template; raises TemplateError with the offset of the first fault."""
    return _parse_cached(text) if len(text) <= _CACHED_CHARS else _parse(text)


def _parse_for(text: str, work: Work) -> Template:
    """Like `parse`, but no more of a long text than `work` can pay for. Using the template is what pays."""
    return _parse_cached(text) if len(text) <= _CACHED_CHARS else _parse(text, work)


def render(text: str, scope: Lookup, on_confidential: OnConfidential | None = None) -> Value:
    """`text` with its expressions replaced; confidential if it names something confidential. `on_confidential` is as of
    `Template.text`. Raises TemplateError."""
    if "{{" not in text:
        return Value(text)
    template = _parse_for(text, scope.work)
    return Value(template.text(scope, on_confidential), template.is_confidential(scope))


def evaluate(text: str, scope: Lookup) -> tuple[object, bool]:
    """What one whole `{{ … }}` stands for (any other text: its rendered text), and whether that is confidential."""
    if "{{" not in text:
        return text, False
    template = _parse_for(text, scope.work)
    return template.object(scope), template.is_confidential(scope)


def _parse(text: str, work: Work | None = None) -> Template:
    path = grammar.plain_path(text)
    if path is not None:
        return Template((), path)
    if len(text) > MAX_TEXT_CHARS:
        raise TemplateError(f"the template is longer than {MAX_TEXT_CHARS >> 20} MiB")
    parts: list[str | _Part] = []
    at = price = 0
    trim = False
    for count, tag in enumerate(grammar.tags(text)):
        if count == MAX_EXPRESSIONS:
            raise TemplateError(f"the template has more than {MAX_EXPRESSIONS:,} expressions", offset=tag.start)
        _add(parts, grammar.trimmed(text[at : tag.start], trim, tag.trim_before))
        expression = path_expression(tag.path) if tag.path else compile_expression(tag.source, tag.inner)
        parts.append(_Part(expression, tag.start))
        price += expression.price
        if work is not None and price > work.left:
            raise work.too_much()
        at, trim = tag.end, tag.trim_after
    _add(parts, grammar.trimmed(text[at:], trim, False))
    return Template(tuple(parts))


_parse_cached = lru_cache(maxsize=_CACHED_TEMPLATES)(_parse)


def path_expression(path: Path) -> Expression:
    """The expression that is nothing but a path."""
    return Expression((path,), lambda run: run.scope.resolve(path))


def _add(parts: list[str | _Part], text: str) -> None:
    if text:
        parts.append(text)
