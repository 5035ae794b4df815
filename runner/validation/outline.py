"""What a template reads, without parsing it whole: of a thousand templates that differ only in the names and quoted texts in
them one is parsed.

A template's outline has `.p0`, `.p1`, … in place of its dotted paths and `''` in place of its quoted texts. Neither
decides whether it is well formed, so that the outline can be judged in its place, and is parsed once for all of its kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from runner import expressions
from runner.errors import TemplateError
from runner.expressions import grammar
from runner.expressions.template import MAX_EXPRESSIONS

Names = tuple[str, ...]
"""A path that a template reads, e.g. `("build", "url")`. The grammar keeps these words printable."""

LONGEST_CHARS = 1000

_PATH = r"\.([A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z_][A-Za-z0-9_-]*)*)"
_PATH_ALONE = re.compile(rf"\{{\{{ *{_PATH} *\}}\}}")
# Quoted texts with escapes or braces, and subscripts (whose quoted text is a name), are left to the parser.
_TAG = re.compile(r"""\{\{((?:[^'"{}\\\[]++|'[^'{}\\\0]*+'|"[^"{}\\\0]*+")*+)\}\}""")
_PART = re.compile(rf"""'[^']*'|"[^"]*"|(?<![\w)'".-]){_PATH}(?![\w.])""")


class Outline(NamedTuple):
    """As of `expressions.Template`."""

    names: tuple[Names, ...]
    whole: bool


def read(text: str) -> Outline:
    """Raises TemplateError as `expressions.parse` does."""
    if len(text) <= LONGEST_CHARS and "{{{" not in text and "__" not in text:
        alone = _PATH_ALONE.fullmatch(text)
        if alone is not None:  # as most templates are
            return Outline((tuple(alone[1].split(".")),), True)
        tags = list(_TAG.finditer(text))
        if len(tags) == text.count("{{"):
            try:
                names = dict.fromkeys(name for tag in tags for name in _names(tag[1]))
            except TemplateError:
                pass  # to be told with its place in the text
            else:
                return Outline(tuple(names), len(tags) == 1 and tags[0].span() == (0, len(text)))
    template = expressions.parse(text)
    return Outline(template.names, template.whole)


def each(text: str) -> Iterator[tuple[int, tuple[Names, ...] | TemplateError]]:
    """Every template of a text by itself: its offset and what it reads, or the offset of what is wrong with it, and that.
    Of a text that has too many nothing is said."""
    if text.count("{{") > MAX_EXPRESSIONS:
        return
    try:
        for tag in grammar.tags(text):
            try:
                yield tag.start, expressions.parse(text[tag.start : tag.end]).names
            except TemplateError as error:
                yield tag.start + error.offset, error
    except TemplateError as error:
        yield error.offset, error


def _names(source: str) -> list[Names]:
    paths: list[Names] = []

    def outlined(match: re.Match[str]) -> str:
        if match[1] is None:
            return "''"
        paths.append(tuple(match[1].split(".")))
        return f".p{len(paths) - 1}"

    template = expressions.parse("{{" + _PART.sub(outlined, source) + "}}")
    known = {f"p{number}": path for number, path in enumerate(paths)}
    return [known.get(name[0], name[:1]) + name[1:] for name in template.names]
