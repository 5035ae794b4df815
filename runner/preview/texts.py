"""Templates of which some names are known at run time alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner import expressions
from runner.errors import TemplateError
from runner.expressions import grammar
from runner.model.fault import Path, spell_path
from runner.model.value import MASK, Value


class OpenError(TemplateError):
    """A name was asked for that is known at run time alone."""


class Open:
    """Stands in the place of a value that is not known."""


OPEN = Open()


class OpenScope(expressions.DataScope):
    """Data in which `OPEN` stands for what is not known."""

    def resolve(self, path: tuple[str, ...]) -> object:
        found = super().resolve(path)
        if _is_open(found):
            raise OpenError(f"{'.'.join(path)} is known only at run time")
        return found

    def leaves_open(self, path: tuple[str, ...]) -> bool:
        """Whether what is at `path`, or something below, is not known. False for a path that leads nowhere."""
        try:
            return _is_open(super().resolve(path))
        except TemplateError:
            return False


def _is_open(value: object) -> bool:
    return value is OPEN or (isinstance(value, Mapping) and any(map(_is_open, value.values())))


class Texts:
    """Renders data with one scope, as far as it can be, and remembers in `open` which names it could not, e.g. `build.url`."""

    def __init__(self, scope: OpenScope) -> None:
        self._scope = scope
        self._open: dict[str, None] = {}

    @property
    def open(self) -> tuple[str, ...]:
        return tuple(self._open)

    def rendered(self, value: Any, path: Path) -> Any:
        """`value` with each template in it replaced: by what it gives, by `***` where that is confidential, or by its source in ‹…› where it is not
        known. Raises TemplateError, which names the place."""
        if isinstance(value, str):
            try:
                return "".join(self._pieces(value)) if expressions.has_template(value) else value
            except TemplateError as error:
                raise TemplateError(f"{spell_path(path)}: {error.message}", offset=error.offset) from error
        if isinstance(value, Mapping):
            return {key: self.rendered(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.rendered(item, (*path, index)) for index, item in enumerate(value)]
        return value

    def note(self, text: str) -> None:
        """Remember what the templates of `text` name that is not known."""
        for name in expressions.parse(text).names:
            if self._scope.leaves_open(name):
                self._open[".".join(name)] = None

    def value(self, text: str, path: Path) -> Value | Open:
        """What `text` gives. Raises TemplateError, which names the place."""
        try:
            return expressions.render(text, self._scope)
        except OpenError:
            return OPEN
        except TemplateError as error:
            raise TemplateError(f"{spell_path(path)}: {error.message}", offset=error.offset) from error

    def _pieces(self, text: str) -> Iterator[str]:
        at, trim = 0, False
        for tag in grammar.tags(text):
            yield grammar.trimmed(text[at : tag.start], trim, tag.trim_before)
            source = text[tag.start : tag.end]
            try:
                value = expressions.render(source, self._scope)
                yield MASK if value.confidential else value.text
            except OpenError:
                self.note(source)
                yield f"‹{'.'.join(tag.path) if tag.path else tag.source.strip()}›"
            at, trim = tag.end, tag.trim_after
        yield grammar.trimmed(text[at:], trim, False)
