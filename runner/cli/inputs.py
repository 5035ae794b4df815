"""Inputs from the command line: `--set name=value` and `--set-secret name=@file|env:VAR|-`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.config import environment_value
from runner.errors import UsageError
from runner.model.group import TaskGroup

MAX_VALUE_BYTES = 1 << 20


def read_inputs(group: TaskGroup, plain: Sequence[str], secret: Sequence[str]) -> Mapping[str, str]:
    """The values by name. Raises UsageError for an assignment that cannot be read, a name given twice, and a secret for an
    input that the document does not treat as one."""
    values: dict[str, str] = {}
    for option, assignments in (("--set", plain), ("--set-secret", secret)):
        for assignment in assignments:
            name, found, value = assignment.partition("=")
            if not found or not name:
                raise UsageError(f"{option} {assignment}: expected name=value")
            if name in values:
                raise UsageError(f"{option} {name}: this input is given twice")
            values[name] = value if option == "--set" else _secret(group, name, value)
    for name, value in values.items():
        _check(name, value)
    return values


def _secret(group: TaskGroup, name: str, source: str) -> str:
    """The value behind `@file`, `env:VAR` or `-`, without the newline that ends it."""
    declared = next((item for item in group.inputs if item.name == name), None)
    if declared is not None and not declared.confidential:
        raise UsageError(
            f"--set-secret {name}: the document would not keep it secret; declare the input `confidential: true`"
        )
    if source.startswith("env:"):
        return environment_value(source.removeprefix("env:"))
    if source == "-":
        return _text(name, 0)
    if source.startswith("@"):
        return _text(name, Path(source[1:]))
    # The source is not repeated: it may be the secret itself, written here by mistake.
    raise UsageError(
        f"--set-secret {name}: expected @file, env:VARIABLE or - (standard input); a value here would be seen in `ps`"
    )


def _text(name: str, source: Path | int) -> str:
    try:
        with open(source, "rb", closefd=source != 0) as file:
            data = file.read(MAX_VALUE_BYTES + 3)
    except OSError as error:
        raise UsageError(f"--set-secret {name}: {source} cannot be read: {os.strerror(error.errno or 0)}") from None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"--set-secret {name}: the value is no UTF-8 text; encode it, e.g. with base64") from None
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def _check(name: str, value: str) -> None:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise UsageError(f"the input {name!r} is no UTF-8 text") from None
    if size > MAX_VALUE_BYTES:
        raise UsageError(f"the input {name!r} is over {MAX_VALUE_BYTES:,} bytes; pass a file in the workspace instead")
    if "\0" in value:
        raise UsageError(f"the input {name!r} contains a NUL character; encode it, e.g. with base64")
