"""What is given to a group on the command line beside its document: inputs and environment from files, labels, a timeout, a part of its tasks."""

from __future__ import annotations

import io
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from runner import selection
from runner.cli.document import read_small_file
from runner.cli.options import filled, filled_path, label, span
from runner.errors import UsageError
from runner.model import environment
from runner.model.fault import Faults
from runner.model.group import TaskGroup


def changed(group: TaskGroup, options: Namespace) -> TaskGroup:
    """The group as the command line has it. Raises UsageError."""
    if options.keep_workspace and not options.isolated:
        raise UsageError("--keep-workspace is for --isolated: without it, the tasks work in the current folder")
    if options.task and options.beginning:
        raise UsageError("--task and --from choose two parts: give one of them")
    if options.task:
        group = selection.with_needs(group, options.task)
    if options.beginning:
        group = selection.from_on(group, options.beginning)
    env = {name: text for path in options.env_file for name, text in read_env(path).items()}
    return replace(
        group,
        env={**group.env, **env},
        labels={**group.labels, **dict(options.label)},
        timeout=group.timeout if options.timeout is None else options.timeout,
    )


def read_env(path: Path) -> Mapping[str, str]:
    """The variables of a file with `NAME=value` lines, as texts of a document. Raises UsageError with the line that is wrong."""
    from dotenv.parser import parse_stream  # not for commands that have no such file

    try:
        text = read_small_file("--env-file", path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"--env-file {path}: it is no UTF-8 text") from None
    found = {}
    for binding in parse_stream(io.StringIO(text)):
        line = f"--env-file {path}, line {binding.original.line}"
        if binding.error or (binding.key is not None and binding.value is None):
            raise UsageError(f"{line}: expected NAME=value")
        if binding.key is not None and binding.value is not None:
            if "\0" in binding.key + binding.value:
                raise UsageError(f"{line}: a NUL character is not allowed in a text")
            faults = Faults(1)
            environment.read(faults, (), {binding.key: binding.value})
            for fault in faults.all():
                raise UsageError(f"{line}: {fault.message}")
            found[binding.key] = binding.value.replace("{{", "{{ '{{' }}")  # it is meant as it stands
    return found


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--task", metavar="NAME", action="append", default=[], type=filled,
        help="run this task and what it depends on, and nothing else; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--from", dest="beginning", metavar="NAME", action="append", default=[], type=filled,
        help="run this task and what depends on it, as if all others had been successful; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--env-file", metavar="FILE", action="append", default=[], type=filled_path,
        help="variables for the environment of all tasks, as NAME=value lines; they win over the document's `env`",
    )  # fmt: skip
    parser.add_argument(
        "--label", metavar="KEY=VALUE", action="append", default=[], type=label, help="label the group; may be repeated"
    )
    parser.add_argument(
        "--timeout", metavar="DURATION", type=span, help="how long the group may take, e.g. 90, 2m30s or 1h"
    )
