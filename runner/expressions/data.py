"""Expressions inside data that somebody else wrote: `{{ … }}`, and Harness's `<+a.b.c>`."""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from runner.errors import TemplateError
from runner.expressions import grammar
from runner.expressions.compiler import Expression, Run, compile_expression
from runner.expressions.objects import check_length, check_text, text_of
from runner.expressions.scope import Lookup
from runner.expressions.template import MAX_EXPRESSIONS, path_expression
from runner.expressions.work import EXPRESSION, RESULT_CHAR, SEARCHED_CHAR, UNCLOSED_CHAR, WORD, TooMuchWorkError

MAX_FAULTS = 1_000
"""The search ends when so many expressions could not be resolved."""


class Resolution(Struct, frozen=True, kw_only=True):
    """The text with its expressions resolved, whether one of them named something confidential, and all that went wrong,
    each with its offset in the text as it was."""

    text: str
    confidential: bool
    faults: tuple[TemplateError, ...]


def resolve_data(text: str, scope: Lookup) -> Resolution:
    """Resolve every expression in `text` once: what they give is not looked at again. Where that is too much work, the text
    stays as it is and the last fault says so."""
    faults: list[TemplateError] = []
    openings = _Openings(text)
    try:
        scope.work.pay(SEARCHED_CHAR * len(text))
        return _resolved(text, scope, openings, faults)
    except TooMuchWorkError as error:
        error.offset = max(0, openings.last)
        return Resolution(text=text, confidential=False, faults=(*faults, error))


def _resolved(text: str, scope: Lookup, openings: _Openings, faults: list[TemplateError]) -> Resolution:
    """Raises TooMuchWorkError; `faults` are then those before it."""
    pieces: list[str] = []
    confidential = False
    run = Run(scope)
    size = at = count = 0
    trim = False
    while (opening := openings.after(at)) is not None and len(faults) < MAX_FAULTS:
        start, mark = opening
        count += 1
        if count > MAX_EXPRESSIONS:
            faults.append(TemplateError(f"the text has more than {MAX_EXPRESSIONS:,} expressions", offset=start))
            break
        try:
            find = grammar.curly_tag if mark == "{{" else grammar.angle_tag
            tag = find(text, start)
        except TemplateError as error:
            faults.append(error)
            at = start + len(mark)
            scope.work.pay(UNCLOSED_CHAR * min(grammar.MAX_EXPRESSION_CHARS, len(text) - start))
            continue
        pieces += [grammar.trimmed(text[at:start], trim, tag.trim_before), ""]
        at, trim = tag.end, tag.trim_after
        try:
            expression = _expression(tag.source)
        except TemplateError as error:
            error.offset = start
            faults.append(error)
            scope.work.pay(EXPRESSION + WORD * min(grammar.MAX_TOKENS, len(tag.source)))
            continue
        try:
            scope.work.pay(expression.price)
            confidential = confidential or any(scope.is_confidential(name) for name in expression.names)
            value = expression.evaluate(run)
            run.charge(value, RESULT_CHAR)
            pieces[-1] = check_text(text_of(value))
            size += len(pieces[-1])
            check_length(size)
        except TooMuchWorkError:
            raise
        except TemplateError as error:
            error.offset = start
            faults.append(error)
    pieces.append(grammar.trimmed(text[at:], trim, False))
    return Resolution(text="".join(pieces), confidential=confidential, faults=tuple(faults))


class _Openings:
    """Finds where the next expression begins. Two plain searches are many times faster than one for either."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next = {"{{": -1, "<+": -1}
        self.last = -1
        """Where the last one was found; -1 before the first."""

    def after(self, at: int) -> tuple[int, str] | None:
        """Where, from `at` on, and by which mark. `at` never goes back."""
        for mark, start in self._next.items():
            if start < at:
                found = self._text.find(mark, at)
                self._next[mark] = len(self._text) if found < 0 else found
        start, mark = min((start, mark) for mark, start in self._next.items())
        if start == len(self._text):
            return None
        self.last = start
        return start, mark


@lru_cache(maxsize=1_024)
def _expression(source: str) -> Expression:
    """Where in the text it stands makes no difference here: a fault is told of its beginning."""
    path = grammar.bare_path(source)
    return compile_expression(source) if path is None else path_expression(path)
