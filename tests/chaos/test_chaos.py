"""Runners and supervisors killed at any moment: `python -m tests.chaos` for a minute. Seeds that fail fail again."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The scene is played as it is, but judged by what it is not.
WRONGLY_JUDGED = """
import dataclasses
from tests.chaos import play, scene

small = scene.small()
(group,) = small.groups
first, *others = group.actors
(calm,) = first.tries
wrongs = {
    "stdout: ": {"shown": {**calm.shown, "stdout": calm.shown["stdout"] + b"."}},
    "stderr: ": {"shown": {**calm.shown, "stderr": calm.shown["stderr"][1:]}},
    "it ended as ": {"exit_code": 7},
    "it was started 1 times": {"starts": False},
    "its events do not tell {'mask_skipped": {"unmasked": ["nothing"]},
    "it was started 2 times": {"steps": [["again"], *calm.steps]},
}
for told, wrong in wrongs.items():
    actor = dataclasses.replace(first, tries=[dataclasses.replace(calm, **wrong)])
    groups = [dataclasses.replace(group, actors=[actor, *others])]
    faults = play.play(play.Plan(scene=dataclasses.replace(small, groups=groups))).faults
    assert any(told in fault for fault in faults), (told, faults)
"""


def chaos(*arguments: str) -> tuple[int, int]:
    """How many runners and supervisors were killed without harm."""
    command = [sys.executable, "-W", "error", "-m", "tests.chaos", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"(\d+) runners and (\d+) supervisors killed", done.stdout)
    assert found is not None, done.stdout
    return int(found[1]), int(found[2])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("first", range(0, 24, 8))
def test_runners_killed_at_random(first: int) -> None:
    runners, _ = chaos("--seeds", f"{first}:{first + 8}")
    assert runners >= 4


@pytest.mark.timeout(240)
def test_runners_killed_at_one_call_after_the_other() -> None:
    runners, _ = chaos("--sweep", "--first", "5", "--every", "14")
    assert runners >= 8


@pytest.mark.timeout(240)
def test_supervisors_killed_at_random() -> None:
    _, supervisors = chaos("--kill", "supervisor", "--seeds", "0:10")
    assert supervisors >= 4


@pytest.mark.timeout(240)
def test_supervisors_killed_at_one_call_after_the_other() -> None:
    _, supervisors = chaos("--kill", "supervisor", "--sweep", "--first", "3", "--every", "13")
    assert supervisors >= 4


@pytest.mark.timeout(240)
def test_both_killed_at_random() -> None:
    runners, supervisors = chaos("--kill", "both", "--seeds", "0:8")
    assert min(runners, supervisors) >= 3


def test_what_is_wrong_is_seen() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WRONGLY_JUDGED], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
