"""A task's `spec`, checked by its driver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from drivers.registry import Registry
from runner import expressions
from runner.errors import TemplateError
from runner.model import wording
from runner.model.fault import Faults, Path, quote
from runner.model.fields import alternatives
from runner.model.parse import Parsed
from runner.model.scalars import resolved
from runner.validation import shape
from runner.validation.scope import Scopes

_JUDGED_WHEN_RENDERED = ("string_", "value_error", "assertion_error")


class Specs:
    """Implements `runner.model.parse.Checks`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def check_spec(
        self,
        faults: Faults,
        path: Path,
        type: str,
        spec: Mapping[str, Any],
        template: bool,
    ) -> Mapping[str, Any]:
        driver = self._registry.get(type)
        if driver is None:
            types = self._registry.types
            hint = faults.nearest(type, types) or f"known are {', '.join(types)}"
            faults.add((*path, "type"), f"unknown task type {quote(type)}", hint=hint)
            return dict(resolved(spec))
        prepared: dict[str, Any] = shape.of_model(driver.spec_model).prepare(spec)
        place = (*path, "spec")
        try:
            driver.spec_model.model_validate(prepared)
        except ValidationError as error:
            for wrong in _problems(error, prepared, template):
                _report(faults, place, wrong, driver.spec_model)
        return prepared

    def ask_drivers(self, faults: Faults, parsed: Parsed, scopes: Scopes) -> None:
        """Add what the drivers themselves say of the tasks, now that it is known what these import."""
        for index, task in enumerate(parsed.group.tasks):
            driver = self._registry.get(task.type)
            if driver is not None:
                exports = [export.name for export in task.exports]
                for path, message, warning in driver.check(task.spec, exports, scopes.confidential(task)):
                    faults.add((*parsed.tasks, index, "spec", *path), message, warning=warning)


class _Problem(NamedTuple):
    """One of pydantic's errors, its place as the document has it."""

    path: Path
    value: Any
    error: Mapping[str, Any]


def _problems(error: ValidationError, spec: Mapping[str, Any], template: bool) -> Iterator[list[_Problem]]:
    """What is to be said, the errors of one place together (a union gives one for each of its members)."""
    by_path: dict[Path, list[_Problem]] = {}
    for item in error.errors(include_url=False, include_input=False):
        path, value = _find(spec, item["loc"], item["type"] == "missing")
        if not (template and _is_for_later(value, item["type"])):
            by_path.setdefault(path, []).append(_Problem(path, value, item))
    for path, problems in by_path.items():
        deeper = any(len(other) > len(path) and other[: len(path)] == path for other in by_path)
        if not (deeper and all(wording.expectation(problem.error) for problem in problems)):
            # Else another member of the union came further, and knows better what is wrong.
            yield problems


def _find(spec: Any, location: Sequence[str | int], missing: bool) -> tuple[Path, Any]:
    """The path in the document and the value there. pydantic's location also names members of unions and validators."""
    path: list[str | int] = []
    here = spec
    for index, part in enumerate(location):
        holds = part < len(here) if isinstance(here, list) and isinstance(part, int) else _has(here, part)
        if holds:
            path.append(part)
            here = here[part]
        elif missing and index == len(location) - 1:
            path.append(part)
            here = None
    return tuple(path), here


def _has(value: Any, key: str | int) -> bool:
    return isinstance(value, Mapping) and key in value


def _is_for_later(value: Any, kind: str) -> bool:
    """Whether only the rendered value can be judged."""
    if not isinstance(value, str) or not expressions.has_template(value):
        return False
    try:
        whole = expressions.parse(value).whole
    except TemplateError:
        return True  # and is reported as what it is
    return whole or (kind.startswith(_JUDGED_WHEN_RENDERED) and kind != "string_type")


def _report(faults: Faults, place: Path, problems: list[_Problem], model: type[BaseModel]) -> None:
    path, value, error = problems[0]
    where = (*place, *path)
    wanted = list(dict.fromkeys(words for problem in problems if (words := wording.expectation(problem.error))))
    if error["type"] == "extra_forbidden":
        top = len(path) == 1
        hint = faults.nearest(str(path[-1]), shape.known_keys(model)) if top else None
        if top and hint is None:
            hint = f"known are {', '.join(model.model_fields)}"
        faults.add(where, "unknown key", hint=hint, about_key=True)
    elif isinstance(value, str) and expressions.has_template(value) and wanted:
        hint = "a template can be all of this value and not a part of it"
        faults.add(where, f"expected {alternatives(wanted)}", hint=hint)
    elif wanted:
        faults.add(where, f"expected {alternatives(wanted)}")
    else:
        faults.add(where, wording.message(error))
