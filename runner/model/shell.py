"""What is asked of a shell: a program that somebody converses with, where an attempt at a task ran."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

USUAL_PROGRAM = "sh"
LARGEST_MEASURE = 9999


class Size(NamedTuple):
    """Of a terminal, in characters."""

    rows: int
    columns: int


class ShellRequest(Struct, frozen=True, kw_only=True):
    """`attempt` 0 is the last one at the task. Without a `command` it is a shell. `size` is that of the terminal of whoever
    asks, `term` of which kind that is; None for pipes. With `secrets` it is given what is confidential of the task as well."""

    task: str
    attempt: int = 0
    command: tuple[str, ...] = ()
    secrets: bool = False
    size: Size | None = None
    term: str = ""
