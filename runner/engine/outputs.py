"""What the outputs of one group may hold together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runner.engine.state import NO_OUTPUTS
from runner.model.result import Outcome, Reason, Status
from runner.model.value import Value

if TYPE_CHECKING:
    from runner.engine.group_run import GroupRun


def admitted(run: GroupRun, outcome: Outcome) -> Outcome:
    """How an attempt ends that had this outcome: the outputs of a group have a limit."""
    size = output_bytes(outcome.outputs)
    limit = run.services.max_output_bytes
    if run.output_bytes + size <= limit:
        run.output_bytes += size
        return outcome
    if outcome.status is Status.ABORTED:
        return replace(outcome, outputs=NO_OUTPUTS)
    return replace(
        outcome,
        status=Status.ERRORED,
        reason=Reason.OUTPUTS_TOO_LARGE,
        outputs=NO_OUTPUTS,
        error=f"the outputs of the group would exceed {limit} bytes with the {size} bytes of this task;"
        " pass large data through files in the workspace",
    )


def output_bytes(outputs: Mapping[str, Value]) -> int:
    """What outputs count for against the group's limit."""
    return sum(len(name) + len(value.text.encode()) for name, value in outputs.items())
