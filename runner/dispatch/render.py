"""Renders what an attempt is given: its spec, and the group's environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from drivers.base import Driver, Spec
from runner import expressions
from runner.dispatch.secrets import Secrets
from runner.errors import DriverError, TemplateError
from runner.model import wording
from runner.model.fault import Path, spell_path
from runner.model.task import Task
from runner.model.value import Bindings


class SpecError(Exception):
    """The rendered spec was refused by the driver's model."""


def rendered_env(bindings: Bindings, secrets: Secrets, work: expressions.Work) -> Mapping[str, str]:
    """The group's environment. Raises TemplateError, which names the variable."""
    if not bindings.env:
        return {}
    scope = expressions.env_scope(bindings, work)
    return {name: _rendered(text, ("env", name), scope, secrets) for name, text in bindings.env.items()}


def rendered_spec(task: Task, driver: Driver[Any], scope: expressions.Lookup, secrets: Secrets) -> Spec:
    """The task's spec as its driver wants it. Every rendered value is a text; the model reads numbers and booleans from it.

    Raises TemplateError, which names the place, and SpecError.
    """
    spec = _rendered(task.spec, ("spec",), scope, secrets) if task.template else task.spec
    try:
        return driver.spec_model.model_validate(spec)
    except ValidationError as error:
        problems = wording.problems(error.errors(include_input=False, include_url=False), spec)
        told = [f"{spell_path(('spec', *problem.path))}: {problem.message}" for problem in problems]
        raise SpecError("; ".join(told)) from None
    except SystemExit as error:  # which would end the runner
        raise DriverError(f"the spec model of {task.type!r} tried to end the runner (sys.exit)") from error


def _rendered(value: Any, path: Path, scope: expressions.Lookup, secrets: Secrets) -> Any:
    if isinstance(value, str):
        return _text(value, path, scope, secrets) if "{{" in value else value
    if isinstance(value, Mapping):
        return {key: _rendered(item, (*path, key), scope, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rendered(item, (*path, index), scope, secrets) for index, item in enumerate(value)]
    return value


def _text(source: str, path: Path, scope: expressions.Lookup, secrets: Secrets) -> str:
    place = spell_path(path)
    try:
        value = expressions.render(source, scope, lambda text: secrets.add(place, text))
    except TemplateError as error:
        raise TemplateError(f"{place}: {error.message}", offset=error.offset) from error
    if value.confidential:
        secrets.know(value.text)
    return value.text
