"""Inputs from the command line: `--set name=value` and `--set-secret name=@file|env:VAR|-`."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.cli.document import STDIN, read_small_file
from runner.cli.options import filled_path
from runner.cli.terminal import complain
from runner.config import environment_value
from runner.errors import DocumentError, UsageError
from runner.model import fields
from runner.model.fault import Faults
from runner.model.group import Input
from runner.model.limits import Limits

MAX_VALUE_BYTES = 1 << 20


def read_inputs(
    inputs: Sequence[Input], plain: Sequence[str], secret: Sequence[str], files: Sequence[Path] = ()
) -> Mapping[str, str]:
    """The values by name; `inputs` are those that the document declares. What is given by name wins over `files`, and a later file over an earlier
    one. Raises UsageError for an assignment that cannot be read, a name given twice, and a secret for an input that the document does not treat as
    one; DocumentError for a file that is wrong."""
    values: dict[str, str] = {}
    from_files = {name: text for file in files for name, text in read_input_file(file).items()}
    for option, assignments in (("--set", plain), ("--set-secret", secret)):
        for assignment in assignments:
            name, found, value = assignment.partition("=")
            if not found or not name:
                raise UsageError(f"{option} {assignment}: expected name=value")
            if name in values:
                raise UsageError(f"{option} {name}: this input is given twice; give it once")
            values[name] = value if option == "--set" else _secret(inputs, name, value)
            if option == "--set" and any(item.name == name and item.confidential for item in inputs):
                complain(
                    f"warning: --set {name}: this input is confidential, and a command line is seen in `ps` and kept by shells;"
                    f" give it with --set-secret {name}=env:VARIABLE, @file or -"
                )
    values = {**from_files, **values}
    for name, value in values.items():
        _check(name, value)
    return values


def read_input_file(path: Path) -> Mapping[str, str]:
    """The inputs in a YAML or JSON file, names to texts. Raises DocumentError, UsageError."""
    limits = Limits()
    from runner.model import document  # not for those who give none

    read = document.read(read_small_file("--input-file", path), source=str(path), limits=limits)
    faults = Faults(limits.faults)
    values = fields.texts(faults, (), read.data) if read.complete and not read.faults else {}
    told = [*read.faults, *faults.all()]
    if told:
        raise DocumentError(read.locate(told))
    return values


def check_standard_input(options: Namespace) -> None:
    """Raises UsageError where it should be two things at once."""
    if options.file == STDIN and any(item.endswith("=-") for item in options.set_secret):
        raise UsageError("standard input cannot be both the document and a secret; write one of them to a file")


def add_input_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--input-file", metavar="FILE", action="append", default=[], type=filled_path,
        help="inputs from a YAML or JSON file, names to values; --set wins",
    )  # fmt: skip
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="give an input")
    parser.add_argument(
        "--set-secret",
        metavar="NAME=SOURCE",
        action="append",
        default=[],
        help="give a confidential input from a file (@FILE), a variable (env:VAR) or standard input (-; at a terminal it is not shown)",
    )


def _secret(inputs: Sequence[Input], name: str, source: str) -> str:
    declared = next((item for item in inputs if item.name == name), None)
    if declared is not None and not declared.confidential:
        raise UsageError(
            f"--set-secret {name}: the document would not keep it secret; declare the input `confidential: true`"
        )
    return read_secret(f"--set-secret {name}", source)


def read_secret(option: str, source: str) -> str:
    """The value behind `@file`, `env:VAR` or `-`, without the newline that ends it; `option` is what asked for it."""
    if source.startswith("env:"):
        return environment_value(source.removeprefix("env:"))
    if source == "-":
        return _typed(option) if os.isatty(0) else _text(option, 0)
    if source.startswith("@"):
        return _text(option, Path(source[1:]))
    # The source is not repeated: it may be the secret itself, written here by mistake.
    raise UsageError(
        f"{option}: expected @file, env:VARIABLE or - (standard input); a value here would be seen in `ps`"
    )


def _typed(option: str) -> str:
    """A line that somebody types at the terminal, which does not show it."""
    import getpass  # not for those who type nothing

    try:
        return getpass.getpass(f"{option}: ")
    except EOFError:
        raise UsageError(
            f"{option}: nothing was typed; type the value and Enter, or give @file or env:VARIABLE"
        ) from None


def _text(option: str, source: Path | int) -> str:
    try:
        with open(source, "rb", closefd=source != 0) as file:
            data = file.read(MAX_VALUE_BYTES + 3)
    except OSError as error:
        raise UsageError(f"{option}: {source} cannot be read: {os.strerror(error.errno or 0)}") from None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{option}: the value is no UTF-8 text; encode it, e.g. with base64") from None
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def _check(name: str, value: str) -> None:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise UsageError(f"the input {name!r} is no UTF-8 text; encode it, e.g. with base64") from None
    if size > MAX_VALUE_BYTES:
        raise UsageError(f"the input {name!r} is over {MAX_VALUE_BYTES:,} bytes; pass a file in the workspace instead")
    if "\0" in value:
        raise UsageError(f"the input {name!r} contains a NUL character; encode it, e.g. with base64")
