"""What the environment says about the terminal that a command writes to."""

from __future__ import annotations

import os
from collections.abc import Mapping

from msgspec import Struct


class TerminalSettings(Struct, frozen=True, kw_only=True):
    """`steerable` tells whether its cursor can be moved; `coloured` whether colours are wanted; `recorded` whether what is
    written there is kept and read later, as a CI service does, which may give its jobs a terminal."""

    steerable: bool
    coloured: bool
    recorded: bool


class ShellSettings(Struct, frozen=True, kw_only=True):
    """What `runner shell` takes along: the `program` that this user has for a shell, and which kind of terminal there is."""

    program: str
    term: str


def load_shell_settings(environ: Mapping[str, str] | None = None) -> ShellSettings:
    if environ is None:
        environ = os.environ
    return ShellSettings(program=environ.get("SHELL", ""), term=environ.get("TERM", ""))


def load_terminal_settings(environ: Mapping[str, str] | None = None) -> TerminalSettings:
    if environ is None:
        environ = os.environ
    return TerminalSettings(
        steerable=environ.get("TERM", "") not in {"", "dumb", "unknown"},
        coloured=not environ.get("NO_COLOR"),  # https://no-color.org: set, and not empty
        recorded=environ.get("CI", "").lower() not in {"", "0", "false"},
    )
