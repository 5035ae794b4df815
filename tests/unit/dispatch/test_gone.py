"""An attempt that was given to a peer, and is asked of this runner because that is none any more."""

from __future__ import annotations

import pytest

from drivers.base import Recovery
from runner.dispatch import verdict
from runner.model.dispatch import AttemptId, Dispatch
from runner.model.result import Reason
from runner.model.task import Task
from tests.unit.dispatch.harness import bindings


@pytest.mark.parametrize("recovery", list(Recovery))
def test_whatever_its_driver_could_do_again_it_was_to_be_done_there(recovery: Recovery) -> None:
    dispatch = Dispatch(
        id=AttemptId("g", "t", 1),
        instance="514da8470b88f243d16323709ae400a4",
        task=Task(name="t", type="probe"),
        bindings=bindings(),
        workspace="/w",
        resumed=True,
    )
    outcome = verdict.lost(dispatch, "boot/incarnation", recovery)
    assert outcome is not None
    assert outcome.reason == Reason.RUNNER_LOST
