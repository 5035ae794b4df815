"""`runner rm`: kept runs, and the groups of a node, that go for good."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command import Command, group, shell
from tests.acceptance.mortal import Node
from tests.acceptance.test_forward import ONPREM, Pair
from tests.acceptance.test_forward import pair as pair
from tests.acceptance.test_kept_runs import WAITS, kept, started

SECRET = "hunter22-hunter22"
DOCUMENT = group(
    [
        shell(
            "t",
            f"echo out; echo token={SECRET} >> $OUTPUT_FILE; touch made",
            exports=[{"name": "token", "scope": "global", "confidential": True}],
        )
    ]
)


@pytest.fixture
def three(runner: Command) -> Command:
    for id in ("a1", "a2", "b"):
        assert runner("run", runner.write(DOCUMENT), "--id", id, "--quiet").status == 0
    return runner


def test_kept_runs_go_with_all_that_is_theirs(three: Command) -> None:
    done = three("rm", "a1", "b")
    assert (done.status, done.stdout, done.stderr) == (0, "a1 is removed\nb is removed\n", "")
    assert os.listdir(kept(three)) == ["a2"]
    assert three("get", "b").status == 2
    assert (three.folder / "made").exists(), "what tasks made in the current folder is nobody's to remove"
    assert three("rm", "@last", "--output", "json").json == {"id": "a2", "removed": True}
    assert os.listdir(kept(three)) == []


def test_one_that_is_not_there_does_not_keep_others(three: Command) -> None:
    done = three("rm", "nobody", "b", "a", "../runs/a1")
    assert (done.status, done.stdout) == (2, "b is removed\n")
    assert "there is no run 'nobody'" in done.stderr
    assert "several groups begin with 'a': a2, a1; give more of the id" in done.stderr
    assert "there is no run '../runs/a1'" in done.stderr
    assert sorted(os.listdir(kept(three))) == ["a1", "a2"]


def test_what_runs_stays_and_one_that_was_killed_may_go(runner: Command) -> None:
    process = started(runner, shell("t", WAITS))
    done = runner("rm", "live")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == "runner: live stays: it runs at this moment: `runner cancel live` ends it\n"
    assert runner("rm", "--all", "--force").stderr == "runner: nothing is over: there is nothing to remove\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert runner("rm", "--all", "--force").stderr == "runner: nothing is over: there is nothing to remove\n"
    assert runner("rm", "live").stdout == "live is removed\n"
    assert os.listdir(kept(runner)) == []
    assert runner("run", runner.write(DOCUMENT), "--id", "live", "--quiet").status == 0


def test_what_is_older(three: Command) -> None:
    assert three("rm", "--older-than", "1h", "--force").stderr.startswith("runner: nothing is over for so long")
    assert len(os.listdir(kept(three))) == 3
    until = time.monotonic() + 0.002
    while time.monotonic() < until:
        pass
    assert sorted(three("rm", "--older-than", "1ms", "--force").stdout.split()[::3]) == ["a1", "a2", "b"]
    assert os.listdir(kept(three)) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "say which: give ids, or --all, or --older-than"),
        (["a", "--all"], "say which"),
        (["--older-than", "soon"], "expected a duration"),
        (["--older-than", "0"], "must be more than nothing"),
        (["--all"], "3 groups would be removed, and nobody can be asked here: give --force"),
        ([""], "an empty id names no group"),
    ],
)
def test_what_is_not_clear_removes_nothing(three: Command, options: list[str], words: str) -> None:
    done = three("rm", *options)
    assert done.status == 2
    assert words in done.stderr
    assert len(os.listdir(kept(three))) == 3


@pytest.mark.parametrize(("answer", "left"), [(b"y\n", 0), (b"\n", 3), (b"no\n", 3), (b"\x04", 3)])
def test_whoever_is_at_the_terminal_is_asked(three: Command, answer: bytes, left: int) -> None:
    terminal, inner = pty.openpty()
    try:
        process = three.start("rm", "--all", stdin=inner, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.write(terminal, answer)
        _, said = process.communicate(timeout=30)
    finally:
        os.close(inner)
        os.close(terminal)
    assert said.startswith(b"remove 3 groups (b, a2 and a1), with outputs and logs, for good? [y/N] ")
    assert len(os.listdir(kept(three))) == left
    assert process.returncode == (0 if not left else 2)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "state")
    node.start()
    yield node
    node.remove()


def test_groups_of_a_node_go_as_well(runner: Command, node: Node, tmp_path: Path) -> None:
    place = {"RUNNER_TO": node.socket}
    document = runner.write(DOCUMENT)
    for id in ("one", "two", "three"):
        assert runner("submit", document, "--follow", "--id", id, environment=place).status == 0
    goes_on = runner.folder / "go"
    waits = runner.write(group([shell("w", f"while [ ! -e {goes_on} ]; do sleep 0.05; done")]), "waits.yaml")
    assert runner("submit", waits, "--id", "runs", environment=place).status == 0
    done = runner("rm", "one", "runs", "none", environment=place)
    assert (done.status, done.stdout) == (2, "one is removed\n")
    assert "runs stays: it is not over: `runner cancel` ends it early" in done.stderr
    assert "there is no group with the id 'none'" in done.stderr
    node.end()  # with all that it has not written
    node.start()
    assert runner("get", "one", environment=place).status == 2
    everything = runner("rm", "--all", "--force", "--output", "json", environment=place)
    assert {json.loads(line)["id"] for line in everything.stdout.splitlines()} == {"two", "three"}
    assert {"one", "two", "three"}.isdisjoint(os.listdir(tmp_path / "state" / "logs"))
    goes_on.touch()
    assert runner("watch", "runs", environment=place).status == 0
    assert runner("rm", "runs", environment=place).status == 0
    assert runner("ls", environment=place).stdout == ""


def test_what_another_runner_has_sent_stays_where_it_is_known_by(pair: Pair, runner: Command) -> None:
    id = pair.submit(shell("far", "echo there", forward=ONPREM))
    assert pair.finished(id).status == "success"
    place = {"RUNNER_TO": pair.onprem.socket}
    guest = runner("ls", "--output", "json", environment=place).json["id"]
    done = runner("rm", guest, environment=place)
    assert (done.status, done.stdout) == (1, "")
    assert "another runner has sent it here, and it is kept for a week after its end" in done.stderr
    some = runner("rm", "--all", "--force", environment=place)
    assert (some.status, some.stdout) == (0, "")
    assert f"1 group stays, e.g. {guest}: another runner has sent it here" in some.stderr
    pair.until(lambda: runner("rm", id, environment={"RUNNER_TO": pair.cloud.socket}).status == 0)
    assert runner("logs", guest, environment=place).status == 0


def test_it_is_completed(three: Command) -> None:
    assert three("__complete", "bash", "runner rm a1 a", "", "=:").stdout.splitlines()[1:] == ["a2\t", "a1\t"]
