"""What an `os_exec` task may ask for."""

from __future__ import annotations

import os.path
import shlex
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Struct
from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, model_validator

from drivers.base import Spec
from runner.model import size
from runner.model.log import LEAST_LOG_LIMIT_BYTES
from taskimpl.os_exec import account, givenfiles

LONGEST_ENV_BYTES = 131_071
"""Linux takes no single `NAME=VALUE` that is longer (MAX_ARG_STRLEN, less the NUL behind it)."""

LEAST_MEMORY_BYTES = 1 << 20
FEWEST_FILES = 4
"""The three that every program has, and one for the libraries that it loads."""
MOST_FILES = 2**31 - 1

SCRIPT_FILE = "{0}"


class Shell(Struct, frozen=True, kw_only=True):
    """How a script is run: given as the last argument, or in a file whose path replaces `{0}`."""

    argv: tuple[str, ...]
    suffix: str = ""

    @property
    def wants_file(self) -> bool:
        return any(SCRIPT_FILE in word for word in self.argv)


# GitHub's shells, where the script is a file; here it is an argument, so that nothing has to be written.
SHELLS: Mapping[str, Shell] = {
    "sh": Shell(argv=("sh", "-e", "-c")),
    "bash": Shell(argv=("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c")),
    "python": Shell(argv=("python3", "-c")),
    "pwsh": Shell(argv=("pwsh", "-command", f". '{SCRIPT_FILE}'"), suffix=".ps1"),
}
DEFAULT_SHELL = "sh"


def _script(text: str) -> str:
    if not text.strip():
        raise ValueError("the command is empty")
    return _no_nul(text)


def _program(words: list[str]) -> list[str]:
    if not words or not words[0]:
        raise ValueError("the program's name (item 0) is empty" if words else "the command is empty")
    return words


def _entry(item: Any) -> Any:
    """`KEY=VALUE` as `{key, value}`."""
    if not isinstance(item, str):
        return item
    name, equals, text = item.partition("=")
    if not equals:
        raise ValueError("expected KEY=VALUE or {key, value}")
    return {"key": name, "value": text}


def _env_name(name: str) -> str:
    if not name:
        raise ValueError("the name of the variable is empty")
    if "=" in name or "\0" in name:
        raise ValueError(f"the name {name!r} must not contain '=' or NUL")
    return name


def _env_key(name: str) -> str:
    if "{{" in name:
        raise ValueError("a name in a mapping is no template; write the variable as {key: …, value: …} in a list")
    return name


def _env_given(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):  # from JSON, which spells it in this way only
        return "true" if value else "false"
    return value


def _env_text(text: str) -> str:
    size = _bytes(text)
    if size > LONGEST_ENV_BYTES:
        raise ValueError(f"{size:,} bytes; at most {LONGEST_ENV_BYTES:,} are possible, with the name: use files")
    return _no_nul(text)


def _merged(envs: Any) -> dict[str, str]:
    """Any of the spellings as one mapping; of equal names the last one wins."""
    environment = dict(envs if isinstance(envs, dict) else ((entry.key, entry.value) for entry in envs))
    for name, text in environment.items():
        size = _bytes(name) + 1 + _bytes(text)
        if size > LONGEST_ENV_BYTES:
            raise ValueError(
                f"{name}: {size:,} bytes with its name; at most {LONGEST_ENV_BYTES:,} are possible: use files"
            )
    return environment


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL byte is not allowed")
    return text


def _shell(value: str | None) -> str | None:
    if value is not None and "{{" not in value:
        parse_shell(value)
    return value


def _workdir(value: str | None) -> str | None:
    if value is None or "{{" in value:
        return value
    _no_nul(value)
    if not value:
        raise ValueError("the folder's name is empty")
    if not os.path.isabs(value) and os.path.normpath(value).split("/")[0] == "..":
        raise ValueError(f"{value!r} lies outside the workspace")
    return value


def _user(value: str | None) -> str | None:
    return value if value is None or "{{" in value else account.check(value)


def _memory(value: Any) -> Any:
    number = _size(value)
    if number is not None and number < LEAST_MEMORY_BYTES:
        raise ValueError(f"{number:,} bytes are too few for any program; expected at least 1MiB")
    return number


def _log(value: Any) -> Any:
    number = _size(value)
    if number is not None and 0 < number < LEAST_LOG_LIMIT_BYTES:
        raise ValueError(f"{number:,} bytes are too few for a log; expected at least 64KiB, or 0 to keep all of it")
    return number


def _size(value: Any) -> int | None:
    """A size as a number of bytes."""
    if value is None:
        return None
    if isinstance(value, bool | float) or not isinstance(value, int | str):
        raise ValueError(f"expected {size.EXAMPLES}")
    return size.parse(str(value))


def parse_shell(value: str) -> Shell:
    """The shell that `value` names or spells out. Raises ValueError."""
    known = SHELLS.get(value)
    if known is not None:
        return known
    try:
        words = tuple(shlex.split(value))
    except ValueError as error:
        raise ValueError(f"the shell {value!r} cannot be read: {error}") from None
    shell = Shell(argv=words)
    if not words or not shell.wants_file or "\0" in value:
        raise ValueError(f"unknown shell {value!r}; expected {', '.join(SHELLS)}, or a command with {SCRIPT_FILE}")
    return shell


EnvName = Annotated[str, AfterValidator(_env_name)]
EnvText = Annotated[str, BeforeValidator(_env_given), AfterValidator(_env_text)]


class EnvEntry(Spec):
    key: EnvName
    value: EnvText = ""


Script = Annotated[str, AfterValidator(_script)]
Arguments = Annotated[list[Annotated[str, AfterValidator(_no_nul)]], AfterValidator(_program)]
Environment = Annotated[
    dict[Annotated[EnvName, AfterValidator(_env_key)], EnvText] | list[Annotated[EnvEntry, BeforeValidator(_entry)]],
    AfterValidator(_merged),
]


# In a schema: a size may be written in words, and as a template.
_Size = Field(json_schema_extra={"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}, {"type": "null"}]})


class Limits(Spec):
    """What one process of the task may take, each of its children as much again; and `log`, what is kept of all that an attempt
    prints."""

    memory: Annotated[int | None, BeforeValidator(_memory), _Size] = None
    nofile: Annotated[int, Field(ge=FEWEST_FILES, le=MOST_FILES)] | None = None
    nice: Annotated[int, Field(ge=-20, le=19)] | None = None
    oom_score_adj: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    log: Annotated[int | None, BeforeValidator(_log), _Size] = None


class OsExecSpec(Spec):
    """The spec of an `os_exec` task; `environment` is `envs` in its one canonical form."""

    command: Script | Arguments
    shell: Annotated[str | None, AfterValidator(_shell)] = None
    envs: Environment = Field(default_factory=dict, validation_alias=AliasChoices("envs", "env", "data"))
    workdir: Annotated[str | None, AfterValidator(_workdir)] = None

    files: givenfiles.Files = Field(default_factory=dict)
    stdin: str | None = None
    user: Annotated[str | None, AfterValidator(_user)] = None
    limits: Limits | None = None

    @model_validator(mode="after")
    def _shell_needs_a_script(self) -> OsExecSpec:
        if self.shell is not None and not isinstance(self.command, str):
            raise ValueError("shell is for a command that is a string; a list is run without one")
        return self

    @model_validator(mode="after")
    def _no_variable_twice(self) -> OsExecSpec:
        faults = [
            (name, f"its path would be in ${givenfiles.variable(name)}, which envs sets: rename one of them")
            for name in self.files
            if givenfiles.variable(name) in self.environment
        ]
        if faults:
            raise givenfiles.refused(faults, "files")
        return self

    @property
    def environment(self) -> Mapping[str, str]:
        assert isinstance(self.envs, dict)  # the validator leaves no other form
        return self.envs

    @property
    def script(self) -> tuple[Shell, str] | None:
        """The shell and its script; None when the command is a program with its arguments."""
        if not isinstance(self.command, str):
            return None
        return parse_shell(self.shell or DEFAULT_SHELL), self.command
