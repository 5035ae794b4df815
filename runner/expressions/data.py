"""Expressions inside data that somebody else wrote: `{{ … }}`, and Harness's `<+a.b.c>`."""

from __future__ import annotations

import re
from functools import lru_cache

from msgspec import Struct

from runner.errors import TemplateError
from runner.expressions import grammar
from runner.expressions.compiler import Run, compile_expression
from runner.expressions.objects import check_length, check_text, text_of
from runner.expressions.scope import EXPRESSION_COST_CHARS, Lookup
from runner.expressions.template import MAX_EXPRESSIONS

MAX_FAULTS = 1_000
"""The search ends when so many expressions could not be resolved."""

_OPENING = re.compile(r"\{\{|<\+")
# Where in the text an expression stands makes no difference here: a fault is told of its beginning.
_compiled = lru_cache(maxsize=1_024)(compile_expression)


class Resolution(Struct, frozen=True, kw_only=True):
    """The text with its expressions resolved, whether one of them named something confidential, and all that went wrong,
    each with its offset in the text as it was."""

    text: str
    confidential: bool
    faults: tuple[TemplateError, ...]


def resolve_data(text: str, scope: Lookup) -> Resolution:
    """Resolve every expression in `text` once: what they give is not looked at again."""
    faults: list[TemplateError] = []
    pieces: list[str] = []
    confidential = False
    run = Run(scope)
    size = at = count = 0
    trim = False
    while (opening := _OPENING.search(text, at)) is not None and len(faults) < MAX_FAULTS:
        start = opening.start()
        count += 1
        if count > MAX_EXPRESSIONS:
            faults.append(TemplateError(f"the text has more than {MAX_EXPRESSIONS:,} expressions", offset=start))
            break
        try:
            find = grammar.curly_tag if opening[0] == "{{" else grammar.angle_tag
            tag = find(text, start)
        except TemplateError as error:
            faults.append(error)
            at = opening.end()
            continue
        pieces += [grammar.trimmed(text[at:start], trim, tag.trim_before), ""]
        at, trim = tag.end, tag.trim_after
        try:
            expression = _compiled(tag.source)
            confidential = confidential or any(scope.is_confidential(name) for name in expression.names)
            scope.work.pay(EXPRESSION_COST_CHARS)
            value = expression.evaluate(run)
            run.charge(value)
            pieces[-1] = check_text(text_of(value))
            size += len(pieces[-1])
            check_length(size)
        except TemplateError as error:
            error.offset = start
            faults.append(error)
    pieces.append(grammar.trimmed(text[at:], trim, False))
    return Resolution(text="".join(pieces), confidential=confidential, faults=tuple(faults))
