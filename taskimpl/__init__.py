"""The built-in task types, and the one list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drivers.base import Driver


def built_in_drivers() -> tuple[Driver[Any], ...]:
    """A new driver of every built-in task type. Importing this package alone imports none of them."""
    from taskimpl.expression_evaluation import ExpressionEvaluationDriver

    return (ExpressionEvaluationDriver(),)
