"""What an `os_exec` task may ask for."""

from __future__ import annotations

import os.path
import shlex
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Struct
from pydantic import AfterValidator, AliasChoices, BeforeValidator, ConfigDict, Field, model_validator

from drivers.base import Says, Spec
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


def _no_boolean(value: Any) -> Any:
    """Pydantic takes `true` for the number 1."""
    if isinstance(value, bool):
        raise ValueError("expected a whole number")
    return value


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


NOTHING = {"type": "null"}
"""A value that is left out, which is the empty text."""

EnvName = Annotated[str, AfterValidator(_env_name), Says(pattern=r"^[^=\u0000]+$")]
EnvText = Annotated[str, BeforeValidator(_env_given), AfterValidator(_env_text), Says(NOTHING)]


class EnvEntry(Spec):
    """One variable of a list."""

    key: EnvName = Field(description="The variable's name, which may be a template here.", examples=["REGION"])
    value: EnvText = Field(default="", description="What it is set to.", examples=["eu", "{{ .build.url }}"])


_Program = Says(minItems=1, **{"not": {"type": "array", "minItems": 1, "items": [{"enum": [""]}]}})
Script = Annotated[str, AfterValidator(_script), Says(pattern=r"\S")]
Arguments = Annotated[list[Annotated[str, AfterValidator(_no_nul)]], AfterValidator(_program), _Program]
Environment = Annotated[
    Annotated[
        dict[Annotated[EnvName, AfterValidator(_env_key)], EnvText],
        Says(propertyNames={"pattern": r"^(?![\s\S]*\{\{)[^=\u0000]+$"}),
    ]
    | list[Annotated[EnvEntry, BeforeValidator(_entry), Says({"type": "string", "pattern": "^[^=]+="})]],
    AfterValidator(_merged),
]


def _sizes(*numbers: Mapping[str, Any]) -> Says:
    """A size in the schema: of these numbers of bytes, or in words, whose amount is not looked at."""
    words = {"type": "string", "pattern": size.PATTERN}
    return Says(anyOf=[*({"type": "integer", **number} for number in numbers), words, {"type": "null"}])


_Number = BeforeValidator(_no_boolean)
_Shell = Says(type=["string", "null"], pattern=rf"^({'|'.join(SHELLS)})$|\{SCRIPT_FILE[0]}0\{SCRIPT_FILE[-1]}|\{{\{{")


class Limits(Spec):
    """What one process of the task may take, each of its children as much again; and `log`, what is kept of all that an attempt
    prints."""

    memory: Annotated[int | None, BeforeValidator(_memory), _sizes({"minimum": LEAST_MEMORY_BYTES})] = Field(
        default=None, description="What a process may write to and shares with nobody.", examples=["512MiB", "2GiB"]
    )
    nofile: Annotated[int, Field(ge=FEWEST_FILES, le=MOST_FILES), _Number] | None = Field(
        default=None, description="How many files it may have open.", examples=[1024]
    )
    nice: Annotated[int, Field(ge=-20, le=19), _Number] | None = Field(
        default=None, description="How much it stands back for others: 19 most, -20 least.", examples=[5]
    )
    oom_score_adj: Annotated[int, Field(ge=-1000, le=1000), _Number] | None = Field(
        default=None, description="How soon it is ended when memory runs out: 1000 first, -1000 never.", examples=[500]
    )
    log: Annotated[int | None, BeforeValidator(_log), _sizes({"minimum": LEAST_LOG_LIMIT_BYTES}, {"enum": [0]})] = (
        Field(
            default=None,
            description="What is kept of all that an attempt prints, its beginning and its end; 0 is all.",
            examples=["100MiB"],
        )
    )


class OsExecSpec(Spec):
    """A command, which runs in the workspace. Its environment is PATH, HOME, LANG, TZ, the group's `env` and `envs`. What it
    writes to $OUTPUT_FILE as NAME=value can be exported."""

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "required": ["command", "shell"],
                "properties": {"command": {"type": "array"}, "shell": {"not": {"type": "null"}}},
            }
        }
    )

    command: Script | Arguments = Field(
        description="A text is a script for the shell (`sh -e`); a list is a program and its arguments.",
        examples=["make test", ["./deploy.sh", "{{ .build.url }}"]],
    )
    shell: Annotated[str | None, AfterValidator(_shell), _Shell] = Field(
        default=None,
        description=f"What runs a script: {', '.join(SHELLS)}, or a command in which {SCRIPT_FILE} is the script's file.",
        examples=[*SHELLS, f"perl {SCRIPT_FILE}"],
    )
    envs: Environment = Field(
        default_factory=dict,
        validation_alias=AliasChoices("envs", "env", "data"),
        description="Variables for its environment: a mapping, or a list of {key, value} and KEY=VALUE.",
        examples=[{"REGION": "eu", "URL": "{{ .build.url }}"}],
    )
    workdir: Annotated[str | None, AfterValidator(_workdir), Says(pattern=r"^(?!\.\.(/|$))[\s\S]")] = Field(
        default=None, description="The folder that it runs in, below the workspace.", examples=["site"]
    )

    files: givenfiles.Files = Field(
        default_factory=dict,
        description="Files that it is given, in memory and 0600: contents by name. The path is in $FILE_ and the name in capitals.",
        examples=[{"kubeconfig": "{{ .login.config }}"}],
    )
    stdin: str | None = Field(default=None, description="What it reads; else nothing.", examples=["yes\n"])
    user: Annotated[str | None, AfterValidator(_user), Says(pattern=r"^[^\s:/]{1,256}(:[^\s:/]{1,256})?$|\{\{")] = (
        Field(default=None, description="Whom it runs as, for a runner that is root.", examples=["build", "1000:1000"])
    )
    limits: Limits | None = Field(
        default=None, description="What it may take.", examples=[{"memory": "512MiB", "nofile": 1024}]
    )

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
