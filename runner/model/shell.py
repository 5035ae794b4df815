"""A shell: a program that somebody converses with, where an attempt at a task runs or ran."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from runner.model.log import Stream
from runner.model.task import Task
from runner.model.value import Bindings

USUAL_PROGRAM = "sh"
LARGEST_MEASURE = 9999
UNKNOWN_TERMINAL = "dumb"
_TERM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


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

    @property
    def known_term(self) -> str:
        """`term`, if that can be the name of a kind of terminal."""
        return self.term if _TERM.fullmatch(self.term) else UNKNOWN_TERMINAL


class ShellPlace(Struct, frozen=True, kw_only=True):
    """Where the attempt runs or ran, and what its templates may name. `group` is the id that its engine knows its group by; `runner` is
    who has carried it out."""

    group: str
    task: Task
    attempt: int
    bindings: Bindings
    workspace: str
    runner: str
    whole: bool = False
    """The group was forwarded there as a whole."""

    @property
    def peer(self) -> str:
        """What this runner calls that one, where it is another: it may have passed it on to a third."""
        return self.runner.partition("/")[0]


class Conversation(Protocol):
    """What somebody says to a program, and what that says. One reads at a time, and one writes."""

    async def read(self) -> tuple[Stream, bytes] | None:
        """Some of what it says, by a terminal all as stdout; None at the end of all of it."""

    async def write(self, data: bytes) -> None:
        """Returns when it was taken, or when nothing more is taken."""

    async def end_input(self) -> None:
        """Nothing more is written, to pipes."""

    async def resize(self, size: Size) -> None:
        """Of a terminal."""

    async def exit_code(self) -> int:
        """Once it has ended. Raises ProcessHostError where that cannot be known, and ShellEndedError where it was ended."""


class ShellCaller(Struct, frozen=True, kw_only=True):
    """For whom another runner is asked for a shell: `on_behalf_of` whom, by this runner, which is `name` on the state `node`; `hops` are
    the runners that it came by, with this one."""

    node: str
    name: str
    on_behalf_of: str
    hops: tuple[str, ...] = ()


class Shell(NamedTuple):
    """`withheld` names what the attempt had in its environment and the shell has not."""

    conversation: Conversation
    withheld: Sequence[str]
