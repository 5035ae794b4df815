"""The built-in task types, and the one list of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drivers.base import Driver


def built_in_drivers(base_env: Mapping[str, str], template_milliseconds: int | None = None) -> tuple[Driver[Any], ...]:
    """A new driver of every built-in task type. `base_env` is what the environment of every program begins with,
    `template_milliseconds` what the expressions in data may cost (None: what is usual).

    Importing this package alone imports none of them.
    """
    from taskimpl.expression_evaluation import ExpressionEvaluationDriver
    from taskimpl.os_exec import OsExecDriver

    return (OsExecDriver(base_env), ExpressionEvaluationDriver(template_milliseconds))
