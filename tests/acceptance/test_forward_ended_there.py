"""What is ended on the side of the runner that carries it out, by somebody who may do that there."""

from __future__ import annotations

import pytest

from runner.client.blocking import Client
from runner.model.endpoint import Endpoint
from runner.model.event import Kind
from runner.model.result import Status
from tests.acceptance.command import shell
from tests.acceptance.test_forward import ONPREM, Pair, pair

__all__ = ["pair"]


@pytest.mark.parametrize("whole", [False, True])
def test_it_is_not_said_that_the_group_was_cancelled_here(pair: Pair, whole: bool) -> None:
    far = shell("far", f"echo x > {pair.folder}/started; exec sleep 1000")
    id = pair.submit(far, forward=ONPREM) if whole else pair.submit({**far, "forward": ONPREM})
    pair.until(lambda: pair.grown("started"))
    with Client(Endpoint(target=pair.onprem.socket)) as there:
        [guest] = there.list()
        there.cancel(guest.id)
    far_end = pair.finished(id).results["far"]
    with pair.client() as client:
        told = str(client.explain(id).cause)
    if whole:
        assert (far_end.status, far_end.reason) == (Status.ABORTED, "cancelled")
        assert "the runner that carries it out ended the group, which no caller of this one had asked for at 20" in told
        assert "a caller cancelled" not in told
        [asked] = pair.events(id, Kind.CANCEL_REQUESTED)
        assert "count" not in asked.fields
    else:
        assert (far_end.status, far_end.reason) == (Status.ABORTED, "ended_by_runner")
        assert "it was ended at the runner that it was forwarded to, which this one had not asked for" in told
        assert "the group was cancelled" not in told
