"""The suite that authors of drivers are given, over those that are built in."""

from __future__ import annotations

from drivers.conformance import DriverContract
from taskimpl.expression_evaluation import ExpressionEvaluationDriver
from taskimpl.os_exec import OsExecDriver

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


class OsExec(OsExecDriver):
    """As an entry point would have it: made without arguments."""

    def __init__(self) -> None:
        super().__init__(ENVIRONMENT)


class TestOsExec(DriverContract):
    driver = OsExec
    ends = {"command": 'echo "text=$WHO" >> "$OUTPUT_FILE"', "envs": {"WHO": "Ada"}}
    exports = ("text",)
    stays = {"command": "exec sleep 1000"}
    refused = ({}, {"command": []}, {"command": "true", "unknown": 1})


class TestExpressionEvaluation(DriverContract):
    driver = ExpressionEvaluationDriver
    ends = {"string_to_evaluate": "{{ '{{ a }}' }}", "variables": {"a": "b"}}
    exports = ("result",)
    refused = ({}, {"string_to_evaluate": ["x"]})
