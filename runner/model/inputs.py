"""What a group is given for the inputs that it declares."""

from __future__ import annotations

from collections.abc import Mapping

from runner.errors import UsageError
from runner.model.fault import nearest
from runner.model.group import TaskGroup
from runner.model.value import Value

MOST_PROBLEMS = 100
"""Told at once."""


def bind_inputs(group: TaskGroup, given: Mapping[str, str]) -> dict[str, Value]:
    """Every declared input with its value. Raises UsageError that names all that is wrong, of very much the first."""
    declared = {item.name: item for item in group.inputs}
    problems: list[str] = []
    for name, text in given.items():
        if len(problems) >= MOST_PROBLEMS:
            break
        if name not in declared:
            hint = nearest(name, declared)
            known = f"; {hint}" if hint else f"; declared: {', '.join(declared)}" if declared else "; it declares none"
            problems.append(f"input {name!r} is not declared by the document{known}")
        elif "\0" in text or not _encodable(text):
            problems.append(f"input {name!r} is not valid text (UTF-8 without NUL)")
    problems += [
        f"input {item.name!r} is required; give it with --set {item.name}=…"
        if not item.confidential
        else f"input {item.name!r} is required; give it with --set-secret {item.name}=@file, or {item.name}=- to type it unseen"
        for item in group.inputs
        if item.required and item.name not in given
    ]
    if problems:
        raise UsageError("\n".join(problems))
    return {item.name: Value(given.get(item.name, item.default or ""), item.confidential) for item in group.inputs}


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
