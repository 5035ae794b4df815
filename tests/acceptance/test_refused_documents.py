"""What the command says, word by word, of a document that cannot be run, or not as it was meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.command import Command
from tests.acceptance.test_refusals import Say, _forked, say

__all__ = ["_forked", "say"]


def task(**spec: object) -> str:
    return json.dumps({"name": "a", "type": "os_exec", "spec": {"command": "true", **spec}, "exports": [{"name": "x"}]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (task(workdir="out"), "the working folder 'out' lies outside the workspace: name one below it"),
        (
            task(command="head -c 20000000 /dev/zero | tr '\\0' x > $OUTPUT_FILE"),
            "$OUTPUT_FILE: more than the 1,048,576 bytes that are allowed; export less, or write a file in the workspace",
        ),
    ],
)
def test_a_task_that_cannot_be(say: Say, tmp_path: Path, text: str, message: str) -> None:
    """It is told with the task, once the group is over."""
    (tmp_path / "out").symlink_to("/")
    (tmp_path / "group.yaml").write_text(f"taskGroup: [{text}]")
    done = say("run", "group.yaml", "--output", "json")
    assert (json.loads(done.stdout)["results"]["a"]["error"], done.status) == (message, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{name: a, type: os_exec, spec: {command: x}, forward: {to: b}}",
            (
                "group.yaml:2:57: warning: taskGroup[0].forward: whether there is such a runner is known to the node that the group "
                "is submitted to (`runner run` has no peers; a node says so before anything runs)\n"
            ),
        ),
    ],
)
def test_what_is_warned_of(say: Say, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "group.yaml").write_text(f"taskGroup:\n- {text}\n")
    done = say("validate", "group.yaml")
    assert (done.stderr, done.status) == (message, 0)


def test_a_run_that_lacks_an_input_is_not_announced(runner: Command) -> None:
    path = runner.write(
        "inputs: {who: {required: true}}\ntaskGroup:\n- {name: t, type: os_exec, spec: {command: 'true'}}\n"
    )
    done = runner("run", path)
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr == "runner: input 'who' is required; give it with --set who=…\n"
