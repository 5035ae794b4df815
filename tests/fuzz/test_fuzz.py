"""What fuzzing has found stays mended, and a few inputs more are tried each time; `make fuzz` tries millions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import targets
from tests.fuzz.__main__ import minimised

EXAMPLES = 40
"""Of each target: a second or two."""


@pytest.mark.parametrize("target", targets.NAMES)
def test_nothing_is_wrong_with_the_corpus(target: str) -> None:
    check = targets.load(target)
    paths = list(targets.corpus(target))
    assert paths
    for path in paths:
        try:
            check(path.read_bytes())
        except BaseException as error:
            error.add_note(f"python -m tests.fuzz {target} {path}")
            raise


@pytest.mark.parametrize("target", targets.NAMES)
def test_nor_with_others(target: str) -> None:
    check = targets.load(target)

    @settings(max_examples=EXAMPLES, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def judge(chance: st.DataObject) -> None:
        check(chance.draw(targets.inputs(target, 160)))

    judge()


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.fuzz", *arguments]
    return subprocess.run(command, cwd=root, env=os.environ, capture_output=True, text=True, timeout=50, check=False)


def test_on_demand_there_are_as_many_as_one_asks_for() -> None:
    done = fuzz("outputs", "--engine", "hypothesis", "--runs", "20")
    assert (done.returncode, done.stdout) == (0, "20 inputs, and nothing is wrong with them\n"), done.stderr


def test_an_input_that_was_found_is_played_again(tmp_path: Path) -> None:
    found = tmp_path / "found"
    found.write_bytes(b"token=hunter2\n")
    done = fuzz("outputs", str(found))
    assert (done.returncode, done.stdout) == (0, f"{found}: nothing is wrong with it\n"), done.stderr


def test_an_input_is_made_as_short_as_it_finds_the_same() -> None:
    def check(data: bytes) -> None:
        assert b"<<" not in data or b">" not in data
        if b"?" in data:
            raise KeyError

    assert minimised(check, b"some << and > and more ?") == b"<<>"
    assert minimised(check, b"what?") == b"?"
