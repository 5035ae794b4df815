"""A whole group that another node carries out, when one of the two is down, or its disk is full, or another origin calls its group the same."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from runner.client.blocking import Client
from runner.model.endpoint import Endpoint
from runner.model.event import Kind
from runner.model.result import Status
from tests.acceptance.command import group, shell
from tests.acceptance.mortal import Node
from tests.acceptance.test_forward import ONPREM, SECRET, Pair, impatient, pair
from tests.acceptance.test_full_disk import fill

__all__ = ["impatient", "pair"]


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_fail_fast_needs_no_word_of_the_origin(pair: Pair) -> None:
    os.mkfifo(pair.folder / "go")
    tasks = [
        shell("bad", f"echo x > {pair.folder}/begun; read x < {pair.folder}/go; exit 1"),
        shell("long", f"echo $$ > {pair.folder}/pid; exec sleep 1000"),
    ]
    id = pair.submit(*tasks, forward=ONPREM, failFast=True)
    pid = int(pair.until(lambda: pair.grown("pid"))[0])
    pair.until(lambda: pair.grown("begun"))
    pair.cloud.end()
    (pair.folder / "go").write_text("\n")
    pair.until(lambda: is_gone(pid))
    pair.cloud.start()
    result = pair.finished(id)
    assert (result.status, result.reason) == (Status.FAILED, "fail_fast")
    assert (result.results["long"].status, result.results["long"].because_of) == (Status.ABORTED, "bad")


def test_nor_does_its_timeout(pair: Pair) -> None:
    id = pair.submit(shell("long", f"echo $$ > {pair.folder}/pid; exec sleep 1000"), forward=ONPREM, timeout=2)
    pid = int(pair.until(lambda: pair.grown("pid"))[0])
    pair.cloud.end()
    pair.until(lambda: is_gone(pid))
    pair.cloud.start()
    result = pair.finished(id)
    assert (result.status, result.reason) == (Status.ABORTED, "group_timeout")
    assert result.results["long"].kill is not None


def test_its_timeout_strikes_while_its_runner_is_away(impatient: Pair) -> None:
    pair = impatient
    id = pair.submit(shell("long", f"echo $$ > {pair.folder}/pid; exec sleep 1000"), forward=ONPREM, timeout=2)
    pid = int(pair.until(lambda: pair.grown("pid"))[0])
    pair.onprem.end()
    result = pair.finished(id)
    assert (result.status, result.reason) == (Status.ABORTED, "group_timeout")
    assert (result.results["long"].status, result.results["long"].reason) == (Status.ERRORED, "runner_lost")
    pair.onprem.start()
    pair.until(lambda: is_gone(pid))


def test_files_are_there_for_the_task_and_nowhere_else(pair: Pair) -> None:
    (pair.folder / "secret").write_text(SECRET)
    make = shell("make", f"echo password=$(cat {pair.folder}/secret) >> $OUTPUT_FILE")
    make["exports"] = [{"name": "password", "confidential": True}]
    use = shell(
        "use",
        "cat $FILE_KEY; echo; stat -c %a $FILE_KEY; echo $FILE_KEY > path",
        imports=[{"from": "make", "variable": "password"}],
    )
    use["spec"]["files"] = {"key": "{{ .make.password }}"}
    use["spec"]["command"] += f"; cp path {pair.folder}/path"
    id = pair.submit(make, use, forward=ONPREM)
    assert pair.finished(id).status is Status.SUCCESS
    assert pair.log(id, "use") == b"***\n600\n"
    pair.until(lambda: not Path(pair.grown("path")[0]).exists())
    pair.has_nowhere(SECRET)


def test_two_origins_may_call_their_groups_the_same(pair: Pair) -> None:
    config = pair.folder / "cloud" / "second.toml"
    config.write_text(f'name = "second"\n[peers.onprem]\ntarget = "{pair.onprem.socket}"\n')
    second = Node(pair.folder / "second", options=["--config", str(config)])
    second.start()
    try:
        one = pair.submit(shell("t", f"echo one >> {pair.folder}/ran"), forward=ONPREM, id="same")
        with Client(Endpoint(target=second.socket)) as client:
            two = client.submit(group([shell("t", f"echo two >> {pair.folder}/ran")], forward=ONPREM, id="same")).id
            assert one == two
            pair.until(lambda: client.result(two).status.terminal)
            assert client.result(two).status is Status.SUCCESS
        assert pair.finished(one).status is Status.SUCCESS
        assert sorted(pair.grown("ran")) == ["one", "two"]
    finally:
        second.remove()


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def disks(require: Callable[[str], None], tmp_path: Path) -> Iterator[Pair]:
    """Two nodes, each with a file system of 4 MiB of its own."""
    require("mount")
    pair = Pair(tmp_path)
    with ExitStack() as stack:
        for name in ("cloud", "onprem"):
            state = tmp_path / name / "state"
            state.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", state], check=True)
            stack.callback(unmount, state)
        stack.callback(pair.onprem.remove)
        stack.callback(pair.cloud.remove)
        pair.onprem.start()
        pair.cloud.start()
        pair.until(lambda: pair.has_said("peer_back"))
        yield pair


@pytest.mark.parametrize("full", ["cloud", "onprem"])
def test_a_disk_that_is_full_for_a_while_loses_and_repeats_nothing(disks: Pair, full: str) -> None:
    """While tasks of it run; they end meanwhile, and the next ones are due."""
    os.mkfifo(disks.folder / "go")
    tasks = [
        shell("a", f"echo a >> {disks.folder}/ran; echo begun; read x < {disks.folder}/go; echo done"),
        shell("b", f"echo b >> {disks.folder}/ran; echo b", depends_on=["a"]),
    ]
    id = disks.submit(*tasks, forward=ONPREM)
    disks.until(lambda: disks.log(id, "a") == b"begun\n")
    state = disks.folder / full / "state"
    fill(state)
    (disks.folder / "go").write_text("\n")
    if full == "cloud":  # the edge between the two is the other's affair
        disks.until(lambda: disks.grown("ran") == ["a", "b"])
    else:
        disks.until(lambda: "cannot be written" in (disks.folder / "onprem" / "node.log").read_text())
    (state / "ballast").unlink()
    result = disks.finished(id)
    assert result.status is Status.SUCCESS, result
    assert disks.grown("ran") == ["a", "b"]
    assert (disks.log(id, "a"), disks.log(id, "b")) == (b"begun\ndone\n", b"b\n")


def test_a_group_for_an_executor_whose_disk_is_full_runs_once_when_there_is_space(disks: Pair) -> None:
    state = disks.folder / "onprem" / "state"
    fill(state)
    id = disks.submit(shell("a", f"echo a >> {disks.folder}/ran"), forward=ONPREM)
    disks.until(lambda: disks.events(id, Kind.GROUP_DISPATCHED, Kind.GROUP_WAITING, Kind.GROUP_FINISHED))
    assert disks.grown("ran") == []
    (state / "ballast").unlink()
    result = disks.finished(id)
    assert result.status is Status.SUCCESS, result
    assert disks.grown("ran") == ["a"]
