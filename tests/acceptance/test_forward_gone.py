"""A peer that is none any more while it carries something out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.model.result import Reason, Status
from tests.acceptance.command import shell
from tests.acceptance.test_forward import ONPREM, Pair


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    pair.onprem.start()
    pair.cloud.start()
    pair.until(lambda: pair.has_said("peer_back"))
    yield pair
    pair.cloud.remove()
    pair.onprem.remove()


def test_a_peer_that_was_renamed_is_lost_and_nothing_is_begun_here(nodes: Pair) -> None:
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
