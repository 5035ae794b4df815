"""The comparisons. Nothing is converted: a text and a number that look alike are a mistake, and said to be one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runner.errors import TemplateError
from runner.expressions.objects import kind


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(left: object, right: object) -> bool:
    for text, other in ((left, right), (right, left)):
        if isinstance(text, str) and isinstance(other, bool | int | float):
            shown = kind(other)
            raise TemplateError(
                f"a text is never equal to {shown}: variables are text, so compare with a quoted text, or quote {shown}"
                " where it is set"
            )
    return _same(left, right)


def _same(left: object, right: object) -> bool:
    """As `==`, but a boolean is no number."""
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(item, right[key]) for key, item in left.items())
    return isinstance(left, bool) is isinstance(right, bool) and left == right


def _ordered(left: object, right: object) -> None:
    if not (_is_number(left) and _is_number(right)) and not (isinstance(left, str) and isinstance(right, str)):
        raise TemplateError(f"{kind(left)} and {kind(right)} have no order")


def _less(left: Any, right: Any) -> bool:
    _ordered(left, right)
    return bool(left < right)


def _less_or_equal(left: Any, right: Any) -> bool:
    _ordered(left, right)
    return bool(left <= right)


def _contains(item: object, container: object) -> bool:
    if isinstance(container, str):
        if isinstance(item, str):
            return item in container
        raise TemplateError(f"{kind(item)} cannot be in a text")
    if isinstance(container, dict | list | tuple):
        return any(_same(item, other) for other in container)
    raise TemplateError(f"nothing can be in {kind(container)}")


COMPARISONS: dict[str, Callable[[object, object], bool]] = {
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "lt": _less,
    "lteq": _less_or_equal,
    "gt": lambda left, right: _less(right, left),
    "gteq": lambda left, right: _less_or_equal(right, left),
    "in": _contains,
    "notin": lambda item, container: not _contains(item, container),
}
"""By Jinja2's names."""
