"""Why something is as it is with a group, or with one of its tasks: a statement, and what led to it."""

from __future__ import annotations

from msgspec import Struct


class Cause(Struct, frozen=True, kw_only=True):
    """A statement, and the statements that explain it.

    `kind` is a word for programs: a status (`running`, `failed`, …), what is waited for (`slot`, …), or one of those that
    `runner.engine.explaining` names. `text` is for a person, complete in itself, with nothing confidential in it. `at` is when it
    came to be so, in seconds since the epoch.
    """

    kind: str
    text: str
    task: str | None = None
    attempt: int | None = None
    at: float | None = None
    because: tuple[Cause, ...] = ()


class Explanation(Struct, frozen=True, kw_only=True):
    """Of the group `id`, or of one `task` of it."""

    id: str
    name: str
    task: str | None = None
    cause: Cause
