"""A node that is killed again and again, with its callers: `python -m tests.chaos.serving` for half a minute. Seeds that fail fail again."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(240)
ROOT = Path(__file__).parents[3]

# The same play with something wrong in the product: the judge has to see it.
WRONG = """
from runner.client.resuming import WatchProgress
from runner.engine.engine import Engine
from tests.chaos.sabotage import Point
from tests.chaos.serving import cast, play

{wrong}

doomed = cast.Cast(scene=cast.Scene(groups=[]), doomed=cast.small_cast(1.0).doomed)
for _ in range(4):  # whether a watch is on at the moment of a kill is chance
    faults = play.play(play.Plan(cast=doomed, nodes={nodes})).faults
    if any({told!r} in fault for fault in faults):
        break
else:
    raise AssertionError(faults)
"""
WRONGS = {
    "a cancel is forgotten": (
        "Engine.cancel_once = lambda self, id, at_once=False: None",
        "[]",
        "cancelled was acknowledged at ",
    ),
    "everybody sees everything": (
        "Engine.find = lambda self, caller, id: self._store.find('ada', id)",
        "[]",
        "eve is told of get ",
    ),
    "a watch begins anew": (
        """
request = WatchProgress.request
def anew(self):
    asked = request(self)
    self._last = asked.after_event = 0
    self._positions.clear()
    del asked.positions[:]
    return asked
WatchProgress.request = anew
""",
        "[Point('rpc', 40)] * 3",
        "it was told [[1, 'group_accepted', None, None], ",
    ),
}


def python(*arguments: str) -> str:
    command = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def killed(*arguments: str) -> list[int]:
    """How many nodes, callers and supervisors were killed without harm."""
    said = python("-m", "tests.chaos.serving", *arguments)
    found = re.search(r"(\d+) nodes, (\d+) callers and (\d+) supervisors killed", said)
    assert found is not None
    return [int(count) for count in found.groups()]


def test_nodes_and_callers_killed_at_random() -> None:
    nodes, callers, _ = killed("--seeds", "0:2")
    assert min(nodes, callers) >= 1


def test_nodes_callers_and_supervisors_killed_at_random() -> None:
    nodes, _, supervisors = killed("--kill", "both", "--seeds", "1:2")
    assert nodes + supervisors >= 1


def test_nodes_killed_at_one_call_after_the_other() -> None:
    nodes, _, _ = killed("--sweep", "rpc", "--first", "20", "--every", "80")
    assert nodes >= 1


@pytest.mark.parametrize("name", WRONGS)
def test_what_is_wrong_is_seen(name: str) -> None:
    wrong, nodes, told = WRONGS[name]
    python("-c", WRONG.format(wrong=wrong, nodes=nodes, told=told))
