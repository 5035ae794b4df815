"""What a command says at the end about a group, and its exit status."""

from __future__ import annotations

import json

from runner.cli.closing import closing
from runner.cli.report import summary
from runner.cli.tails import Tails
from runner.cli.terminal import Output
from runner.model.result import Status, TaskGroupResult

SUCCESS, FAILED = 0, 1


def told(result: TaskGroupResult, *, machine: bool, reveal: bool = False) -> str:
    if machine:
        return json.dumps(result.as_json(reveal=reveal), indent=2, ensure_ascii=False)
    return "\n".join(summary(result, reveal=reveal))


def closed(
    result: TaskGroupResult, tails: Tails, place: str, output: Output, *, machine: bool, reveal: bool = False
) -> str:
    """The same to somebody who has looked on, as `runner.cli.closing` has it, for this output."""
    if machine:
        return told(result, machine=True, reveal=reveal)
    return "\n".join(closing(result, tails, place, reveal=reveal, columns=output.columns))


def status(result: TaskGroupResult) -> int:
    return SUCCESS if result.status is Status.SUCCESS else FAILED
