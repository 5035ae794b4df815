"""What templates may cost. They are rendered on the runner's one loop, which nobody else can use meanwhile.

Work is counted in nanoseconds of one processor, but is not measured: every kind of step has its price, from the slowest case
that was found on a machine of 2023, so that a task that is refused is refused everywhere, and one that is not never will be. With
the default limit the most hostile spec that is known took 49 ms of the loop on that machine (many small expressions, each another
one), and the most hostile text of an `expression_evaluation` 41 ms more.
"""

from __future__ import annotations

from runner.errors import TemplateError
from runner.expressions.objects import cost

DEFAULT_MILLISECONDS = 40
"""For all templates of an attempt: some 5,000 paths, or 300 different expressions of five words, or 2 MiB of JSON that is read."""

PATH = 8_000
"""`{{ a.b }}`, found in its text and looked up."""

TEXT = 14_000
"""A text with anything in it beside one path."""

EXPRESSION = 60_000
"""Anything else between braces, beside its words."""

WORD = 14_000
"""A name, a constant or a mark in an expression, which has to be parsed."""

SOURCE_CHAR = 1
"""A character of an expression."""

RESULT_CHAR = 3
"""A character of what a template gives."""

LOOKED_UP_ITEM = 350
"""An item of a list or mapping that a path leads to."""

SEARCHED_CHAR = 1
"""A character of data in which expressions are looked for."""

UNCLOSED_CHAR = 60
"""A character behind braces that are not closed, which is searched for their end."""


class TooMuchWorkError(TemplateError):
    """The templates would keep the loop from everybody else for too long."""


class Work:
    """What the templates of one scope may still cost, all together: there may be very many of them in one task."""

    __slots__ = ("_left", "_limit")

    def __init__(self, milliseconds: int = DEFAULT_MILLISECONDS) -> None:
        self._limit = milliseconds
        self._left = milliseconds * 1_000_000

    @property
    def left(self) -> int:
        return self._left

    def charge(self, value: object, weight: int = 1) -> None:
        """Pay for looking at all of `value`, at `weight` a character. Raises TemplateError."""
        self.pay(weight * cost(value, self._left))

    def pay(self, price: int) -> None:
        """Raises TemplateError where that is more than is left."""
        self._left -= price
        if self._left < 0:
            raise self.too_much()

    def too_much(self) -> TooMuchWorkError:
        return TooMuchWorkError(
            f"the templates here are too much work: they may take {self._limit} ms of the processor, by an estimate"
            " (RUNNER_TEMPLATE_MILLISECONDS sets another limit)"
        )
