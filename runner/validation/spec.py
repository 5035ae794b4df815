"""A task's `spec`, checked by its driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from drivers.registry import Registry
from runner import expressions
from runner.errors import TemplateError
from runner.model import document, environment, foreign, wording
from runner.model.fault import Faults, Path, quote
from runner.model.fields import SAID_ALREADY
from runner.model.parse import Parsed
from runner.model.scalars import resolved
from runner.model.taskparse import Given
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
        task: Given,
        spec: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        driver = self._registry.get(task.type)
        if driver is None:
            if not task.forwarded:  # else its executor may know the type, and looks at it once more
                self._refuse_type(faults, (*path, "type"), task.type)
            # Nobody here can tell where the spec expects text, so unquoted scalars are typed: `1.10` is the number 1.1 to whoever
            # gets it. A model that wanted text refuses a number (`bad_spec`), so it is not taken for something else: it has to be quoted.
            return dict(resolved(spec))
        shaped = shape.of_model(driver.spec_model)
        prepared: dict[str, Any] = shaped.prepare(spec)
        place = (*path, "spec")
        told: set[Path] = set()
        try:
            driver.spec_model.model_validate(prepared)
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
            for problem in wording.problems(errors, prepared, _is_for_later if task.template else None):
                if not problem.about_key and document.holds_bad_text(problem.value):
                    continue  # told already, in more helpful words
                _report(faults, place, problem, driver.spec_model)
                told.add(problem.path)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin's own validators may raise anything
            faults.add(place, f"the driver of {quote(task.type)} failed to read this spec: {wording.exception(error)}")
        for null in shaped.nulls(prepared):
            if null not in told:
                environment.refuse_null(faults, (*place, *null))
        return prepared

    def _refuse_type(self, faults: Faults, path: Path, type: str) -> None:
        trouble = self._registry.trouble(type)
        if trouble is not None:
            hint = "mend or uninstall it; `runner driver ls` tells of all"
            faults.add(path, f"the task type {quote(type)} cannot be used: {trouble}", hint=hint)
            return
        types = self._registry.types
        hint = faults.nearest(type, types) or f"known are {', '.join(types)}"
        faults.add(path, f"unknown task type {quote(type)}", hint=hint)

    def ask_drivers(self, faults: Faults, parsed: Parsed, scopes: Scopes) -> None:
        """Add what the drivers themselves say of the tasks, now that it is known what these import."""
        for index, task in enumerate(parsed.group.tasks):
            driver = self._registry.get(task.type)
            if driver is not None:
                exports = [export.name for export in task.exports]
                for found in driver.check(task.spec, exports, scopes.confidential(task)):
                    if found.warning and found.offset is not None and not task.template:
                        continue  # it is about a template, and there is none
                    place = (*parsed.tasks, index, "spec", *found.path)
                    faults.add(place, found.message, warning=found.warning, offset=found.offset)


def _is_for_later(value: Any, kind: str) -> bool:
    """Whether only the rendered value can be judged."""
    if kind == "extra_forbidden" or not isinstance(value, str) or not expressions.has_template(value):
        return False
    try:
        whole = expressions.parse(value).whole
    except TemplateError:
        return True  # and is reported as what it is
    return whole or (kind.startswith(_JUDGED_WHEN_RENDERED) and kind != "string_type")


def _report(faults: Faults, place: Path, problem: wording.Problem, model: type[BaseModel]) -> None:
    path, value, errors = problem
    message, hint = problem.message, None
    if errors[0]["type"] == "extra_forbidden" and len(path) == 1:
        known = shape.known_keys(model)
        if path[0] in known:
            message = SAID_ALREADY
        else:
            key = str(path[0])
            hint = (
                foreign.key_of_spec(key, known)
                or faults.nearest(key, known)
                or f"known are {', '.join(model.model_fields)}"
            )
    elif problem.wanted and isinstance(value, str) and expressions.has_template(value):
        hint = "a template can be all of this value and not a part of it"
    faults.add((*place, *path), message, hint=hint, about_key=problem.about_key)
