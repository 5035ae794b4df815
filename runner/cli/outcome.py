"""What a command says at the end about a group, and its exit status."""

from __future__ import annotations

import json

from runner.cli.report import summary
from runner.model.result import Status, TaskGroupResult

SUCCESS, FAILED = 0, 1


def told(result: TaskGroupResult, *, machine: bool, reveal: bool = False) -> str:
    if machine:
        return json.dumps(result.as_json(reveal=reveal), indent=2, ensure_ascii=False)
    return "\n".join(summary(result, reveal=reveal))


def status(result: TaskGroupResult) -> int:
    return SUCCESS if result.status is Status.SUCCESS else FAILED
