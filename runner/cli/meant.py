"""What may have been meant by a word of a command line that has no place there: the habits of other tools, and letters left out."""

from __future__ import annotations

import os
import re
import shlex
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module

DOCUMENTS = (".yaml", ".yml", ".json")

_COMMANDS: Mapping[str, str] = {
    "help": "--help",
    "version": "--version",
    "start": "run",
    "execute": "run",
    "exec": "run",
    "up": "run",
    "plan": "run --dry-run",
    "dry": "run --dry-run",
    "check": "validate",
    "lint": "validate",
    "format": "fmt",
    "list": "ls",
    "ps": "ls",
    "history": "ls",
    "status": "get",
    "show": "get",
    "describe": "get",
    "why": "explain",
    "retry": "rerun",
    "resume": "rerun",
    "stop": "cancel",
    "kill": "cancel",
    "abort": "cancel",
    "delete": "rm",
    "remove": "rm",
    "tail": "logs",
    "ssh": "shell",
    "hijack": "shell",
    "attach": "shell",
    "node": "serve",
    "server": "serve",
    "daemon": "serve",
}
"""What others call it."""

_LETTERS: Mapping[str, str] = {
    "-j": "--max-parallel",
    "-n": "--dry-run",
    "-o": "--output",
    "-q": "--quiet",
    "-w": "--watch",
}
"""As `make`, `kubectl` and their like have them."""

BEGINNERS = ("run", "submit", "rerun")
"""The commands that begin a group."""

_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*=.*", re.DOTALL)


def nearest(given: str, known: Iterable[str], called: Mapping[str, str] | None = None) -> str:
    """In brackets, with a space before; empty where nothing is like it. It may be told as it is `called`."""
    found = next(iter(get_close_matches(given, known, 1)), "")
    return _asked(called[found] if called and found else found)


def command(given: str, known: Iterable[str]) -> str:
    """In the place of a command, of which there are these."""
    if is_document(given) or given == "-":
        return _asked(f"`runner run {shlex.quote(given)}`")
    if (other := _COMMANDS.get(given)) is not None:
        return _asked(other)
    if found := next((given + ending for ending in DOCUMENTS if os.path.isfile(given + ending)), None):
        return _asked(f"`runner run {shlex.quote(found)}`")
    return nearest(given, known)


def argument(given: str, known: Iterable[str], prog: str, file: str | None) -> str:
    """Among the arguments of the command `prog`, which has these options; `file` is the one that was named, where it takes one."""
    known = set(known)
    if given.startswith("-"):
        option = _LETTERS.get(given[:2], "")
        return _asked(option) if option in known else _option(given.partition("=")[0], known, prog)
    if "--set" in known and _SETTING.fullmatch(given):
        return _asked(f"--set {shlex.quote(given)}")
    if file is not None and is_document(given) and not is_document(file):
        return f" ({file!r} was taken for the FILE)"
    return ""


def _option(given: str, known: Iterable[str], prog: str) -> str:
    """One that a command of the same kind has is no slip of the pen."""
    for name in BEGINNERS if prog.removeprefix("runner ") in BEGINNERS else ():
        parser = ArgumentParser(add_help=False)
        import_module(f"runner.cli.{name}").add_arguments(parser)
        if given in parser._option_string_actions:
            return f" (`runner {name}` has it)"
    return nearest(given, known)


def is_document(name: str) -> bool:
    return name.endswith(DOCUMENTS) or (os.sep in name and os.path.isfile(name))


def _asked(meant: str) -> str:
    return f" (is {meant} meant?)" if meant else ""
