"""What a running group is given by its engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from runner.clock import Clock
from runner.dispatch.base import Dispatcher
from runner.engine.abroad import Abroad
from runner.engine.journal import Journal
from runner.engine.lanes import Lanes
from runner.engine.pace import Pace
from runner.engine.slots import SlotQueue
from runner.engine.targets import Targets
from runner.model import codec
from runner.model.dispatch import Report
from runner.model.value import Value
from runner.sealing import Sealer

CONFIRM_SECONDS = 10.0
"""How long beyond its grace an attempt may take to confirm that it stopped, before the engine goes on without it."""

MAX_OUTPUT_BYTES = 16 << 20
"""What the outputs of one group may hold together."""


class Services(Struct, frozen=True, kw_only=True):
    """`grace` is in seconds. `sink` takes the reports of all attempts, with whoever has sent them. With `traced` every attempt is told of its
    trace."""

    clock: Clock
    journal: Journal
    pace: Pace
    targets: Targets
    abroad: Abroad
    lanes: Lanes
    sealer: Sealer
    slots: SlotQueue
    sink: Callable[[Dispatcher, Report], None]
    grace: float
    traced: bool = False
    max_output_bytes: int = MAX_OUTPUT_BYTES


def group_digest(group: bytes, inputs: Mapping[str, Value], sealer: Sealer) -> str:
    """What tells a submission from others, and says nothing to who has not the key. `group` as `codec.encode_group` gives it."""
    return codec.digest(group, inputs, key=sealer.mac_key("group digest"))


def input_context(group: str) -> str:
    """What the confidential inputs of a group are sealed for."""
    return f"{group} inputs"


def output_context(group: str, task: str) -> str:
    """What the confidential outputs of a task are sealed for."""
    return f"{group} outputs of {task}"
