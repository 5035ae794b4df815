"""The digest of a dispatch tells the same attempt from another, in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from msgspec.structs import replace

from runner.model.dispatch import AttemptId, Dispatch
from runner.model.task import Retry, Task
from runner.model.value import Bindings, Value

ROOT = Path(__file__).parents[3]
WORDS = frozenset({"failed", "errored", "timeout", "host_restarted", "7"})


def dispatch() -> Dispatch:
    return Dispatch(
        id=AttemptId("g", "t", 1),
        instance="i",
        task=Task(name="t", type="os_exec", retry=Retry(attempts=2, on=WORDS)),
        bindings=Bindings(
            imports={"a": {"x": Value("1"), "y": Value("2")}},
            group_id="g",
            group_name="n",
            task_name="t",
            task_attempt=1,
        ),
        workspace="/w",
    )


def test_it_is_the_same_in_every_process() -> None:
    program = "from tests.unit.model.test_dispatch import dispatch; print(dispatch().digest)"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout.strip()
        for seed in (1, 2, 3)
    }
    assert digests == {dispatch().digest}


def test_it_does_not_depend_on_what_only_the_sending_knows() -> None:
    assert replace(dispatch(), resumed=True, handle=b"h", instance="j").digest == dispatch().digest


def test_it_differs_when_something_else_is_asked_for() -> None:
    first = dispatch()
    others = [
        replace(first, id=AttemptId("g", "t", 2)),
        replace(first, workspace="/v"),
        replace(first, task=replace(first.task, spec={"command": ["true"]})),
        replace(first, bindings=replace(first.bindings, inputs={"tag": Value("1")})),
        replace(first, bindings=replace(first.bindings, imports={"a": {"x": Value("2"), "y": Value("2")}})),
    ]
    assert len({first.digest, *(other.digest for other in others)}) == 1 + len(others)


def test_it_says_nothing_of_a_confidential_value() -> None:
    first, second = (
        replace(dispatch(), bindings=replace(dispatch().bindings, inputs={"token": Value(text, True)})).digest
        for text in ("one", "two")
    )
    assert first == second
