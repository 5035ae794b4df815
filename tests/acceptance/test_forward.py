"""A task that another node carries out: two real nodes, one of which forwards to the other over its socket."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from runner.client.blocking import Client
from runner.config.service import Scope
from runner.errors import GroupInUseError
from runner.model.endpoint import Endpoint
from runner.model.event import Event, Kind
from runner.model.result import Status, TaskGroupResult
from tests.acceptance.command import group, shell
from tests.acceptance.mortal import Node

T = TypeVar("T")

SECRET = "s3cr3t-that-stays-there"
ONPREM = {"to": "onprem"}


class Pair:
    """`cloud` takes groups, `onprem` the tasks that it forwards."""

    def __init__(self, folder: Path, *, lost_after: str = "10m", **onprem: Any) -> None:
        """`onprem` is what is special about its node. With a short `lost_after` a machine that is busy loses it where that is not to be."""
        self.folder = folder
        for name in ("cloud", "onprem"):
            (folder / name).mkdir()
        self.onprem = Node(folder / "onprem" / "state", options=["--name", "on-premises"], **onprem)
        config = folder / "cloud" / "runner.toml"
        config.write_text(
            f'name = "cloud"\nlost_after = "{lost_after}"\n[peers.onprem]\ntarget = "{self.onprem.socket}"\n'
        )
        self.cloud = Node(folder / "cloud" / "state", options=["--config", str(config)])

    def dispatch_token(self) -> str:
        """With which a caller `cloud` may dispatch to `onprem`."""
        return self.onprem.token("cloud", frozenset({Scope.DISPATCH}))

    def client(self) -> Client:
        return Client(Endpoint(target=self.cloud.socket))

    def submit(self, *tasks: dict[str, Any], **more: Any) -> str:
        with self.client() as client:
            return client.submit(group(tasks, **more)).id

    def result(self, id: str) -> TaskGroupResult:
        with self.client() as client:
            return client.result(id)

    def finished(self, id: str) -> TaskGroupResult:
        self.until(lambda: self.result(id).status.terminal)
        return self.result(id)

    def events(self, id: str, *kinds: Kind) -> list[Event]:
        with self.client() as client:
            return [event for piece in client.events(id) for event in piece if not kinds or event.kind in kinds]

    def log(self, id: str, task: str) -> bytes:
        """What it has printed on stdout."""
        with self.client() as client:
            return b"".join(chunk.frame.data for chunk in client.logs(id, task, stream="stdout"))

    @staticmethod
    def until(holds: Callable[[], T], seconds: float = 40) -> T:
        end = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < end, "it never came to that"
            time.sleep(0.02)
        return found

    def is_removed(self, id: str) -> bool:
        """Whether the group is gone now; it stays while anybody reads it, or something of it may still be told."""
        with self.client() as client, suppress(GroupInUseError):
            client.remove(id)
            return True
        return False

    def has_nowhere(self, secret: str) -> None:
        """Assert that no file of the two has it; both are ended for that."""
        self.cloud.end()
        self.onprem.end()
        for name in ("cloud", "onprem"):
            for path in (self.folder / name).rglob("*"):
                assert not path.is_file() or secret.encode() not in path.read_bytes(), path

    def has_said(self, action: str) -> bool:
        """Whether the cloud's node has said this in its present life."""
        return f'"action": "{action}"' in (self.folder / "cloud" / "node.log").read_text()

    def grown(self, name: str) -> list[str]:
        """The lines of a file that tasks append to."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []


@contextmanager
def started(pair: Pair) -> Iterator[Pair]:
    pair.onprem.start()
    pair.cloud.start()
    pair.until(lambda: pair.has_said("peer_back"))
    yield pair
    pair.cloud.remove()
    pair.onprem.remove()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with started(Pair(tmp_path)) as pair:
        yield pair


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Pair]:
    """A pair for which it is to be lost."""
    with started(Pair(tmp_path, lost_after="5s")) as pair:
        yield pair


def test_it_looks_like_a_task_that_runs_here(pair: Pair) -> None:
    far = shell(
        "far",
        "echo out; echo err >&2; echo url=there >> $OUTPUT_FILE; test \"$A\" = 'x y'",
        forward=ONPREM,
        exports=[{"name": "url", "scope": "global"}],
    )
    far["spec"]["envs"] = {"A": "{{ .inputs.a }}"}
    near = shell("near", "echo {{ .far.url }}", imports=[{"from": "far", "variable": "url"}])
    here = {name: part for name, part in far.items() if name != "forward"} | {"name": "here"}
    id = pair.submit(far, near, here, inputs={"a": {"default": "x y"}})
    result = pair.finished(id)
    assert result.status is Status.SUCCESS, result
    assert {name: task.runner for name, task in result.results.items()} == {
        "far": "onprem",
        "near": "cloud",
        "here": "cloud",
    }
    assert result.results["far"].outputs["url"].text == "there"
    assert pair.log(id, "far") == b"out\n"
    assert pair.log(id, "near") == b"there\n"
    told = {
        name: [(event.kind, {**event.fields, "runner": ""}) for event in pair.events(id) if event.task == name]
        for name in ("far", "here")
    }
    assert told["far"] == [one for one in told["here"] if one[0] is not Kind.TASK_READY]


def test_a_failure_is_told_as_it_was(pair: Pair) -> None:
    id = pair.submit(shell("far", "exit 7", forward=ONPREM), shell("gone", "kill -9 $$", forward=ONPREM))
    far, gone = pair.finished(id).results.values()
    assert (far.status, far.exit_code) == (Status.FAILED, 7)
    assert (gone.status, gone.signal) == (Status.FAILED, 9)


def test_a_secret_is_masked_everywhere(pair: Pair) -> None:
    exports = [{"name": "password", "confidential": True}]
    (pair.folder / "vault").write_text(SECRET)
    script = (
        f'p=$(cat {pair.folder}/vault); echo "it is $p"; sleep 0.3; echo "password=$p" >> $OUTPUT_FILE; echo behind'
    )
    far = shell("far", script, forward=ONPREM, exports=exports)
    use = shell("use", 'echo "got $P"; test ${#P} = 23', imports=[{"from": "far", "variable": "password"}])
    use["spec"]["envs"] = {"P": "{{ .far.password }}"}
    back = dict(use, name="back", forward=ONPREM)
    id = pair.submit(far, use, back)
    result = pair.finished(id)
    assert result.status is Status.SUCCESS, result
    assert pair.log(id, "far") == b"it is ***\nbehind\n", "it was exported behind what it had printed"
    assert (pair.log(id, "use"), pair.log(id, "back")) == (b"got ***\n", b"got ***\n")
    assert pair.events(id, Kind.LOG_REDACTED)
    pair.has_nowhere(SECRET)


def test_it_waits_for_a_peer_that_is_away_and_says_why(pair: Pair) -> None:
    pair.onprem.end()
    pair.until(lambda: pair.has_said("peer_lost"))
    id = pair.submit(shell("far", "true", forward=ONPREM), shell("near", "true"))
    pair.until(lambda: pair.result(id).results["far"].waiting == "peer_unreachable")
    [waiting] = pair.events(id, Kind.TASK_WAITING)
    assert waiting.fields["why"].startswith("onprem is away since 20")
    pair.until(lambda: pair.result(id).results["near"].status is Status.SUCCESS)
    pair.onprem.start()
    assert pair.finished(id).status is Status.SUCCESS


@pytest.mark.parametrize("killed", ["cloud", "onprem", "both"])
@pytest.mark.parametrize("after", ["start", "end"])
def test_killed_in_between_it_goes_on_where_it_was(pair: Pair, killed: str, after: str) -> None:
    """Killed while the task runs; and where it ends while nobody is there, that is heard later."""
    script = f"echo started >> {pair.folder}/started; echo begun; read x < {pair.folder}/go; echo done; exit 3"
    os.mkfifo(pair.folder / "go")
    id = pair.submit(shell("far", script, forward=ONPREM))
    pair.until(lambda: pair.grown("started"))
    pair.until(lambda: pair.log(id, "far") == b"begun\n")
    nodes = [pair.cloud, pair.onprem] if killed == "both" else [getattr(pair, killed)]
    for node in nodes:
        node.end()
    if after == "end":
        (pair.folder / "go").write_text("\n")
    for node in nodes:
        node.start()
    if after == "start":
        (pair.folder / "go").write_text("\n")
    task = pair.finished(id).results["far"]
    assert (task.status, task.exit_code, task.attempts) == (Status.FAILED, 3, 1)
    assert pair.log(id, "far") == b"begun\ndone\n"
    assert pair.grown("started") == ["started"]


def test_a_cancel_ends_it_there(pair: Pair) -> None:
    mark = f"echo $$ > {pair.folder}/pid; trap '' TERM; while :; do sleep 0.05; done"
    id = pair.submit(shell("far", mark, forward=ONPREM))
    pid = int(pair.until(lambda: pair.grown("pid"))[0])
    with pair.client() as client:
        client.cancel(id, at_once=True)
    task = pair.finished(id).results["far"]
    assert (task.status, task.reason) == (Status.ABORTED, "cancelled")
    assert task.kill is not None
    assert not Path(f"/proc/{pid}").exists()


def test_a_cancel_reaches_a_peer_that_was_away(pair: Pair) -> None:
    id = pair.submit(shell("far", f"echo $$ > {pair.folder}/pid; sleep 1000", forward=ONPREM))
    pid = int(pair.until(lambda: pair.grown("pid"))[0])
    pair.onprem.end()
    with pair.client() as client:
        client.cancel(id, at_once=True)
    assert Path(f"/proc/{pid}").exists()
    pair.onprem.start()
    assert pair.finished(id).status is Status.ABORTED
    pair.until(lambda: not Path(f"/proc/{pid}").exists())


def test_a_peer_that_stays_away_is_given_up_and_ends_what_it_has_when_it_is_back(impatient: Pair) -> None:
    pair = impatient
    script = f"echo $$ >> {pair.folder}/pids; sleep 1000"
    id = pair.submit(shell("far", script, forward=ONPREM))
    pid = int(pair.until(lambda: pair.grown("pids"))[0])
    pair.onprem.end()
    task = pair.finished(id).results["far"]
    assert (task.status, task.reason) == (Status.ERRORED, "runner_lost")
    pair.onprem.start()
    pair.until(lambda: not Path(f"/proc/{pid}").exists())
    assert len(pair.grown("pids")) == 1


def test_pause_and_go_on(pair: Pair) -> None:
    script = f"while :; do echo x >> {pair.folder}/ticks; sleep 0.01; test -e {pair.folder}/enough && exit 0; done"
    id = pair.submit(shell("far", script, forward=ONPREM))
    pair.until(lambda: pair.grown("ticks"))
    with pair.client() as client:
        client.signal(id, "far", "pause")
        pair.until(lambda: client.result(id).results["far"].waiting == "paused")
        client.signal(id, "far", "start")
    pair.until(lambda: pair.events(id, Kind.TASK_RESUMED))
    (pair.folder / "enough").touch()
    assert pair.finished(id).status is Status.SUCCESS


def test_a_thousand_lines_and_ten_tasks_at_once(pair: Pair) -> None:
    tasks = [shell(f"t{n}", f"seq -f '{n} %g' 1000", forward=ONPREM) for n in range(10)]
    id = pair.submit(*tasks)
    assert pair.finished(id).status is Status.SUCCESS
    for n in range(10):
        assert pair.log(id, f"t{n}") == b"".join(b"%d %d\n" % (n, line) for line in range(1, 1001))


def test_what_is_told_of_a_peer(pair: Pair) -> None:
    with pair.client() as client:
        [peer] = client.describe().peers
        assert (peer.name, peer.own_name, peer.there, peer.trouble) == ("onprem", "on-premises", True, "")
        assert "os_exec" in peer.types
        pair.onprem.end()
        pair.until(lambda: not client.describe().peers[0].there)
        [away] = client.describe().peers
        assert away.since > peer.since
        assert away.trouble


def test_who_is_no_peer_is_told_in_the_document(pair: Pair) -> None:
    with pair.client() as client:
        told = client.validate(json.dumps({"taskGroup": [shell("far", "true", forward={"to": "onprem2"})]}))
    [fault] = told.faults
    assert "onprem2" in str(fault)
    assert "did you mean 'onprem'?" in str(fault)
