"""Runners and supervisors killed at any moment: `python -m tests.chaos` for a minute. Seeds that fail fail again."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runner.process.host import SupervisorHost
from runner.process.supervised import SupervisedProcess
from tests import hostile
from tests.chaos import stops

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


def said(*arguments: str) -> str:
    command = [sys.executable, "-W", "error", "-m", "tests.chaos", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def chaos(*arguments: str) -> tuple[int, int]:
    """How many runners and supervisors were killed without harm."""
    found = re.search(r"(\d+) runners and (\d+) supervisors killed", said(*arguments))
    assert found is not None
    return int(found[1]), int(found[2])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("first", range(0, 15, 5))
def test_runners_killed_at_random(first: int) -> None:
    runners, _ = chaos("--seeds", f"{first}:{first + 5}")
    assert runners >= 3


@pytest.mark.timeout(240)
def test_runners_killed_at_one_call_after_the_other() -> None:
    runners, _ = chaos("--sweep", "--first", "5", "--every", "21")
    assert runners >= 5


@pytest.mark.timeout(240)
def test_supervisors_killed_at_random() -> None:
    _, supervisors = chaos("--kill", "supervisor", "--seeds", "0:6")
    assert supervisors >= 3


@pytest.mark.timeout(240)
def test_supervisors_killed_at_one_call_after_the_other() -> None:
    _, supervisors = chaos("--kill", "supervisor", "--sweep", "--first", "3", "--every", "19")
    assert supervisors >= 3


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("containment", "seeds"), [("auto", "0:5"), ("marker", "300:303")])
def test_both_killed_at_random(monkeypatch: pytest.MonkeyPatch, containment: str, seeds: str) -> None:
    monkeypatch.setenv("RUNNER_CONTAINMENT", containment)
    runners, supervisors = chaos("--kill", "both", "--seeds", seeds)
    assert min(runners, supervisors) >= 1


@pytest.mark.timeout(240)
def test_programs_that_do_not_want_to_end() -> None:
    assert "0 failed" in said("--stops", "0:12")


def test_every_kind_of_stop_is_among_those_that_are_played() -> None:
    played = stops.everything()
    assert len(set(played)) == len(played) >= 189
    for name, values in (("program", hostile.PROGRAMS), ("way", stops.WAYS), ("moment", stops.MOMENTS)):
        assert {getattr(stop, name) for stop in played[:100]} == set(values)


def test_a_stop_that_leaves_something_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end that is waited for is not one."""

    async def nothing(way: str, host: SupervisorHost) -> None:
        return

    monkeypatch.setattr(stops, "_ask", nothing)
    monkeypatch.setattr(stops, "_told", lambda stop, exit: [])
    monkeypatch.setattr(SupervisedProcess, "wait", lambda process: asyncio.sleep(0))
    stop = stops.Stop(program="ignores SIGTERM", way="stop", moment="once it is ready", containment="marker")
    (fault,) = stops.play(stop)
    assert fault.startswith("alive: ")


def test_what_is_wrong_is_seen() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WRONGLY_JUDGED], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
