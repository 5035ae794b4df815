"""An origin whose state directory there is twice: from a backup, and as a mere copy."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from runner.model.result import Reason, Status
from runner.rpc.peering import SUPERSEDED
from tests.acceptance.command import RUNNER, shell
from tests.acceptance.mortal import Node
from tests.acceptance.test_forward import ONPREM, Pair, pair

__all__ = ["pair"]


@pytest.fixture
def twin(pair: Pair) -> Iterator[Pair]:
    """Another origin with the peers of `pair`'s, which is not running yet and has no state."""
    twin = Pair.__new__(Pair)
    twin.folder, twin.onprem = pair.folder, pair.onprem
    (pair.folder / "twin").mkdir()
    options = ["--config", str(pair.folder / "cloud" / "runner.toml")]
    twin.cloud = Node(pair.folder / "twin" / "state", options=options)
    yield twin
    twin.cloud.remove()


def test_one_from_a_backup_begins_nothing_that_the_other_has_begun(pair: Pair, twin: Pair) -> None:
    """And leaves to the other what is the other's, whether it is still there or not."""
    wait = f"while [ ! -e {pair.folder}/go ]; do sleep 0.05; done"
    near = shell("near", f"echo near >> {pair.folder}/lines; {wait}", forward=ONPREM)
    far = shell("far", f"echo far >> {pair.folder}/lines", forward=ONPREM, depends_on=["near"])
    single = pair.submit(near, far)
    whole = pair.submit(shell("inside", f"echo inside >> {pair.folder}/lines; {wait}"), forward=ONPREM)
    pair.until(lambda: len(pair.grown("lines")) == 2)
    archive = str(pair.folder / "backup.tar")
    _runner("backup", "--with-key", "--state-dir", str(pair.folder / "cloud" / "state"), archive)
    _runner("restore", "--state-dir", str(pair.folder / "twin" / "state"), archive)
    twin.cloud.start()
    for id, task in ((single, "near"), (whole, "inside")):
        given_up = twin.finished(id).results[task]
        assert (given_up.status, given_up.reason) == (Status.ERRORED, Reason.RUNNER_LOST)
        assert given_up.error is not None
        assert given_up.error.endswith("was given to another life of this runner, which may have begun it")
    (pair.folder / "go").touch()
    assert {pair.finished(id).status for id in (single, whole)} == {Status.SUCCESS}
    assert (
        twin.finished(twin.submit(shell("own", f"echo own >> {pair.folder}/lines", forward=ONPREM))).status
        is Status.SUCCESS
    )
    assert sorted(pair.grown("lines")) == ["far", "inside", "near", "own"]


def test_two_that_are_one_to_their_peer_take_turns_and_say_so(pair: Pair, twin: Pair) -> None:
    task = shell(
        "far", f"echo far >> {pair.folder}/lines; while [ ! -e {pair.folder}/go ]; do sleep 0.05; done", forward=ONPREM
    )
    id = pair.submit(task)
    pair.until(lambda: pair.grown("lines"))
    pair.cloud.end()
    shutil.copytree(
        pair.folder / "cloud" / "state", pair.folder / "twin" / "state", ignore=shutil.ignore_patterns("*.sock")
    )
    pair.cloud.start()
    twin.cloud.start()
    pair.until(lambda: SUPERSEDED in (pair.folder / "cloud" / "node.log").read_text())
    own = {
        each.submit(shell(name, f"echo {name} >> {pair.folder}/lines", forward=ONPREM)): each
        for name, each in (("a", pair), ("b", twin))
    }
    assert {each.finished(id).status for id, each in own.items()} == {Status.SUCCESS}
    (pair.folder / "go").touch()
    assert {pair.finished(id).status, twin.finished(id).status} == {Status.SUCCESS}
    assert sorted(pair.grown("lines")) == ["a", "b", "far"]


def _runner(*arguments: str) -> None:
    subprocess.run([*RUNNER, *arguments], check=True, stdout=subprocess.DEVNULL)
