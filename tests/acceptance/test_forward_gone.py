"""A peer that is none any more, or elsewhere for too long, while it carries something out."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from runner.client.blocking import Client
from runner.errors import GroupInUseError
from runner.model.endpoint import Endpoint
from runner.model.event import Kind
from runner.model.result import Reason, Status
from tests.acceptance.command import shell
from tests.acceptance.mortal import Node
from tests.acceptance.test_forward import ONPREM, Pair, impatient

__all__ = ["impatient"]


def test_a_peer_that_was_renamed_is_lost_and_nothing_is_begun_here(impatient: Pair) -> None:
    nodes = impatient
    far = shell("far", f"echo $$ >> {nodes.folder}/pids; sleep 1000", forward=ONPREM)
    id = nodes.submit(far)
    pid = int(nodes.until(lambda: nodes.grown("pids"))[0])
    nodes.cloud.end()
    config = nodes.folder / "cloud" / "runner.toml"
    config.write_text(config.read_text().replace("peers.onprem", "peers.other"))
    nodes.cloud.start()
    task = nodes.finished(id).results["far"]
    assert (task.status, task.reason) == (Status.ERRORED, Reason.RUNNER_LOST)
    assert task.error == "the runner that it was given to is no peer of this one any more; it may still run there"
    nodes.until(lambda: not Path(f"/proc/{pid}").exists())
    assert len(nodes.grown("pids")) == 1
    nodes.until(lambda: nodes.is_removed(id))


@pytest.mark.parametrize("whole", [False, True])
def test_what_has_ended_there_while_nobody_heard_of_it_is_told_late(impatient: Pair, whole: bool) -> None:
    """It has been given up by then, and its group can be removed from then on."""
    nodes = impatient
    far = shell("far", f"echo $$ > {nodes.folder}/pid; while [ ! -e {nodes.folder}/go ]; do sleep 0.05; done")
    more: dict[str, Any] = {"forward": ONPREM} if whole else {}
    id = nodes.submit(far if whole else {**far, "forward": ONPREM}, **more)
    nodes.until(lambda: nodes.grown("pid"))
    _point(nodes, nodes.onprem.socket, "unix:/nowhere")
    assert nodes.finished(id).results["far"].reason == Reason.RUNNER_LOST
    with nodes.client() as client, pytest.raises(GroupInUseError):
        client.remove(id)
    (nodes.folder / "go").touch()
    nodes.until(lambda: _statuses(nodes.onprem) == [Status.SUCCESS])
    _point(nodes, "unix:/nowhere", nodes.onprem.socket)
    (late,) = nodes.until(lambda: nodes.events(id, Kind.LATE_RESULT))
    assert (late.task, late.fields["status"]) == (None if whole else "far", "success")
    nodes.until(lambda: nodes.is_removed(id))


@pytest.mark.parametrize("whole", [False, True])
def test_a_later_life_asks_for_nothing_late_and_lets_nothing_run_on(impatient: Pair, whole: bool) -> None:
    nodes = impatient
    far = shell("far", f"echo $$ > {nodes.folder}/pid; exec sleep 1000")
    id = nodes.submit(far, forward=ONPREM) if whole else nodes.submit({**far, "forward": ONPREM})
    pid = int(nodes.until(lambda: nodes.grown("pid"))[0])
    _point(nodes, nodes.onprem.socket, "unix:/nowhere")
    assert nodes.finished(id).results["far"].reason == Reason.RUNNER_LOST
    nodes.cloud.end()
    config = nodes.folder / "cloud" / "runner.toml"
    config.write_text(config.read_text().replace("unix:/nowhere", nodes.onprem.socket))
    nodes.cloud.start()
    nodes.until(lambda: not Path(f"/proc/{pid}").exists())
    assert nodes.events(id, Kind.LATE_RESULT) == []
    nodes.until(lambda: nodes.is_removed(id))


def _statuses(node: Node) -> list[Status]:
    """Of the groups that it has."""
    with Client(Endpoint(target=node.socket)) as client:
        return [each.status for each in client.list()]


def _point(nodes: Pair, old: str, new: str) -> None:
    """Let the cloud look for its peer elsewhere."""
    config = nodes.folder / "cloud" / "runner.toml"
    config.write_text(config.read_text().replace(old, new))
    os.kill(nodes.cloud.pid, signal.SIGHUP)
