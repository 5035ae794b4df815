"""What may have been meant by a word of a command line that has no place there: the habits of other tools, and letters left out."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

DOCUMENTS = (".yaml", ".yml", ".json")

_COMMANDS: Mapping[str, str] = {
    "help": "--help",
    "version": "--version",
    "start": "run",
    "exec": "run",
    "up": "run",
    "plan": "run --dry-run",
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
    "delete": "rm",
    "remove": "rm",
    "tail": "logs",
    "ssh": "shell",
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

_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*=.*", re.DOTALL)


def nearest(given: str, known: Iterable[str], called: Mapping[str, str] | None = None) -> str:
    """In brackets, with a space before; empty where nothing is like it. It may be told as it is `called`."""
    found = next(iter(get_close_matches(given, known, 1)), "")
    return _asked(called[found] if called and found else found)


def command(given: str, known: Iterable[str]) -> str:
    """In the place of a command, of which there are these."""
    if is_document(given):
        return _asked(f"`runner run {shlex.quote(given)}`")
    if (other := _COMMANDS.get(given)) is not None:
        return _asked(other)
    if found := next((given + ending for ending in DOCUMENTS if os.path.isfile(given + ending)), None):
        return _asked(f"`runner run {shlex.quote(found)}`")
    return nearest(given, known)


def argument(given: str, known: Iterable[str], file: str | None) -> str:
    """Among the arguments of a command that has these options; `file` is the one that was named, where it takes one."""
    known = set(known)
    if given.startswith("-"):
        option = _LETTERS.get(given[:2], "")
        return _asked(option) if option in known else nearest(given.partition("=")[0], known)
    if "--set" in known and _SETTING.fullmatch(given):
        return _asked(f"--set {given}")
    if file is not None and is_document(given) and not is_document(file):
        return f" ({file!r} was taken for the FILE)"
    return ""


def is_document(name: str) -> bool:
    return name.endswith(DOCUMENTS) or (os.sep in name and os.path.isfile(name))


def _asked(meant: str) -> str:
    return f" (is {meant} meant?)" if meant else ""
