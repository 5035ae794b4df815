"""A variable's value, and the places that templates read values from."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

MASK = "***"


class Value(Struct, frozen=True, gc=False):
    """A small text and whether it is confidential. UTF-8 encodable, no NUL."""

    text: str
    confidential: bool = False

    def __repr__(self) -> str:
        return f"Value({MASK if self.confidential else self.text!r})"


class Bindings(Struct, frozen=True, kw_only=True):
    """All that the templates of one attempt may name.

    `imports` maps a task to its imported variables, e.g. `{"fetch": {"password": Value("…", True)}}`. `env` holds the
    group's environment as written: its own templates (which may name `inputs` and `group`) are rendered on first use. `matrix` holds the
    values of an instance.
    """

    imports: Mapping[str, Mapping[str, Value]] = {}
    inputs: Mapping[str, Value] = {}
    env: Mapping[str, str] = {}
    matrix: Mapping[str, str] = {}
    group_id: str
    group_name: str
    task_name: str
    task_attempt: int
