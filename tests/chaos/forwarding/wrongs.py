"""What can be wrong with one of two nodes, and what the judge has to say of it."""

from __future__ import annotations

from typing import NamedTuple

from tests.chaos.forwarding.play import Sabotage
from tests.chaos.forwarding.weather import Fault, Weather

NOTHING = Weather([])
RESETS = Weather([Fault(after, "reset", 0.1) for after in (0.3, 0.5, 0.5)])


class Wrong(NamedTuple):
    """Something that is wrong with a node of one side, and what the judge says of it (`told`, a pattern)."""

    sabotage: Sabotage
    told: str
    apart: bool = False
    """Whether it takes nodes that have a machine each."""


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
            patience=6.0,
        ),
        r"was started [2-9] times in place of 1",
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
            faults=NOTHING,
            patience=5.0,
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
            faults=NOTHING,
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
            faults=NOTHING,
            patience=14.0,
        ),
        "of a task is alive",
    ),
    "an origin sends what goes to another runner nowhere": Wrong(
        Sabotage(
            "origin",
            "from runner.dispatch.remote import RemoteDispatcher\nRemoteDispatcher._hand_over = lambda self, handed: None",
            faults=NOTHING,
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
            faults=NOTHING,
        ),
        "the secret stands in ",
    ),
    "an executor leaves descriptors open": Wrong(
        Sabotage(
            "executor",
            """
import os
from runner.rpc.reception import Reception
take_in = Reception.take_in
async def leaky(self, said):
    os.open(os.devnull, os.O_RDONLY)
    return await take_in(self, said)
Reception.take_in = leaky
""",
            faults=NOTHING,
            patience=5.0,
        ),
        r"the executor has open: \{'node /dev/null': ",
    ),
    "an origin leaves workspaces": Wrong(
        Sabotage(
            "origin",
            "from runner.workspaces import Workspaces\nWorkspaces.remove = lambda self, group: None",
            faults=NOTHING,
            patience=5.0,
        ),
        r"the origin has left \['workspaces/",
    ),
    "an executor leaves workspaces for good": Wrong(
        Sabotage(
            "executor",
            """
from runner.workspaces import Workspaces
Workspaces.release = lambda self, origin, group, keep_seconds=0.0: None
Workspaces.expire = lambda self: None
""",
            faults=NOTHING,
            gone=2.0,
        ),
        r"the executor has left for more than a week \['workspaces/",
        apart=True,
    ),
    "an executor leaves a process": Wrong(
        Sabotage(
            "executor",
            'import subprocess\nsubprocess.Popen(["sleep", "1000"], start_new_session=True)',
            faults=NOTHING,
            gone=2.0,
        ),
        "is left: sleep 1000",
        apart=True,
    ),
}
