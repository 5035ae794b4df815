"""A variable's value, and the places that templates read values from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MASK = "***"


@dataclass(frozen=True, slots=True)
class Value:
    """A small text and whether it is confidential. UTF-8 encodable, no NUL."""

    text: str
    confidential: bool = False

    def __repr__(self) -> str:
        return f"Value({MASK if self.confidential else self.text!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bindings:
    """All that the templates of one attempt may name.

    `imports` maps a task to its imported variables, e.g. `{"fetch": {"password": Value("…", True)}}`. `env` holds the
    group's environment as written: its own templates (which may name `inputs` and `group`) are rendered on first use.
    """

    imports: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    inputs: Mapping[str, Value] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    group_id: str
    group_name: str
    task_name: str
    task_attempt: int
