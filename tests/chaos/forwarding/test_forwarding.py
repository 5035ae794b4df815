"""Two nodes that are killed again and again, and the line between them: `python -m tests.chaos.forwarding` for half a minute; and faults that its
judge has to see. Seeds that fail fail again.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.chaos.forwarding.play import Fault, Sabotage, play

pytestmark = pytest.mark.timeout(240)
ROOT = Path(__file__).parents[3]

RESETS = tuple(Fault(after, "reset", 0.1) for after in (0.3, 0.5, 0.5))


class Wrong(NamedTuple):
    """Something that is wrong with a node of one side, and what the judge says of it."""

    sabotage: Sabotage
    told: str


WRONGS = {
    "an executor takes for new what it is sent again": Wrong(
        Sabotage(
            "executor",
            """
from uuid import uuid4
from runner.engine.guests import Origin
Origin.public_id = lambda self, attempt: f"{attempt}@{uuid4()}"
""",
            faults=RESETS,
            patience=10.0,
        ),
        "was started 2 times in place of 1",
    ),
    "an executor ends what it was sent": Wrong(
        Sabotage(
            "executor",
            """
from runner.rpc.reception import Reception
take_in = Reception.take_in
async def forgetful(self, said):
    id = await take_in(self, said)
    self._engine.cancel_once(id, at_once=True)
    return id
Reception.take_in = forgetful
""",
            faults=(),
            patience=8.0,
        ),
        "was started 0 times in place of 1",
    ),
    "an origin loses the last piece of a log": Wrong(
        Sabotage(
            "origin",
            """
from runner.logs.copying import KeptCopy
append, held = KeptCopy.append, {}
def late(self, *piece):
    if (former := held.pop(id(self), None)) is not None:
        append(self, *former)
    held[id(self)] = piece
KeptCopy.append = late
""",
            faults=(),
        ),
        " has printed ",
    ),
    "an origin copies a log from its beginning in each session": Wrong(
        Sabotage(
            "origin",
            """
from runner.logs.copying import KeptCopy
from runner.logs.progress import Progress
KeptCopy.position = property(lambda self: 0)
KeptCopy.append = lambda self, stream, data, position: self._keeper.append(stream, data, Progress(position))
""",
            faults=RESETS,
        ),
        " has printed ",
    ),
    "an executor forgets cancels": Wrong(
        Sabotage(
            "executor",
            "from runner.engine.engine import Engine\nEngine.cancel_once = lambda self, id, at_once=False: None",
            faults=(),
            patience=25.0,
        ),
        "of a task is alive",
    ),
    "an origin sends what goes to another runner nowhere": Wrong(
        Sabotage(
            "origin",
            "from runner.dispatch.remote import RemoteDispatcher\nRemoteDispatcher._hand_over = lambda self, handed: None",
            faults=(),
            patience=5.0,
        ),
        "does not end",
    ),
    "an executor's secrets are not masked": Wrong(
        Sabotage(
            "executor",
            """
from runner.engine import guests
from runner.model.value import Value
flat = guests._flat
guests._flat = lambda dispatch: {name: Value(value.text) for name, value in flat(dispatch).items()}
""",
            faults=(),
        ),
        "the secret stands in ",
    ),
}


def test_nodes_and_their_line_at_random() -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.chaos.forwarding", "--seeds", "0:4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"4 played, \d\d faults, 0 failed", done.stdout)


@pytest.mark.parametrize("name", WRONGS)
def test_what_is_wrong_is_seen(name: str) -> None:
    faults = play(3, WRONGS[name].sabotage)
    assert any(WRONGS[name].told in fault for fault in faults), faults
