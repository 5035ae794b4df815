"""`runner explain ID [TASK]`: why a group, or a task of it, is as it is."""

from __future__ import annotations

import json
import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from runner.cli import ids, plain
from runner.cli.groups import Groups
from runner.cli.options import add_output_argument
from runner.cli.place import add_place_arguments, with_groups
from runner.cli.terminal import STDOUT, Output, visible
from runner.model.explanation import Cause, Explanation
from runner.model.result import Status, Waiting

INDENT = "  "


def run(options: Namespace) -> int:
    """0 when it could be told, whatever it is."""
    return with_groups(options, _explain)


async def _explain(groups: Groups, options: Namespace) -> int:
    id = await ids.resolve(groups, options.id)
    explanation = await groups.explain(id, options.task)
    stdout = Output(STDOUT)
    if options.output == "json":
        stdout.print(json.dumps(plain.explanation(explanation), indent=2, ensure_ascii=False))
    else:
        stdout.print("\n".join(told(explanation)))
    return stdout.status(0)


def told(explanation: Explanation) -> Iterator[str]:
    """A line for each statement, those that explain it below it, further in; and what shows more."""
    yield from _lines(explanation.cause, "")
    held = next(_held(explanation.cause), None)
    if held is not None:
        command = f"runner signal {explanation.id} {shlex.quote(held)}"
        yield f"what follows: {command} retry, or {command} continue; runner cancel {explanation.id} ends the group"
    failed = held or next(_failures(explanation.cause), None)
    if failed is not None:
        yield f"what it printed: runner logs {explanation.id} {shlex.quote(failed)}"


def _lines(cause: Cause, indent: str) -> Iterator[str]:
    first, *more = cause.text.splitlines() or [""]
    yield indent + visible(first)
    yield from (f"{indent}{INDENT}{INDENT}{visible(line)}" for line in more)
    for each in cause.because:
        yield from _lines(each, indent + INDENT)


def _held(cause: Cause) -> Iterator[str]:
    """The tasks that failed, and for which their group stands still."""
    if cause.kind == Waiting.DECISION and cause.task:
        yield cause.task
    for each in cause.because:
        yield from _held(each)


def _failures(cause: Cause) -> Iterator[str]:
    """The tasks that failed when they should not, and have printed something perhaps."""
    is_allowed = any(each.kind == "allowed" for each in cause.because)
    if cause.kind in (Status.FAILED, Status.ERRORED) and cause.task and cause.attempt and not is_allowed:
        yield cause.task
    for each in cause.because:
        yield from _failures(each)


def add_arguments(parser: ArgumentParser) -> None:
    parser.description = (
        "Tell why a group, or a task of it, is as it is: what it waits for, why it was skipped, failed, was tried again or ended, "
        "or runs where it runs. What explains a statement stands below it."
    )
    parser.add_argument("id", metavar="ID", help=ids.HELP)
    parser.add_argument("task", metavar="TASK", nargs="?", help="one of its tasks; without it, the group as a whole")
    add_output_argument(parser, "the statements, each with those `because` of which it is so")
    add_place_arguments(parser)
