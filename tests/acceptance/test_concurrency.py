"""`concurrency` of a group, as its users meet it: real nodes, one of which is killed, two callers, and a runner that it is forwarded to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.client.blocking import Client
from runner.model.endpoint import Endpoint
from runner.model.event import Kind
from runner.model.result import Status, TaskGroupResult
from tests.acceptance.command import Command, Done, group, shell
from tests.acceptance.mortal import Node
from tests.acceptance.test_forward import ONPREM, Pair, pair

__all__ = ["pair"]

Ask = Callable[..., Done]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "node" / "state", "127.0.0.1:0")
    (tmp_path / "node").mkdir()
    node.start()
    yield node
    node.remove()


@pytest.fixture
def ask(runner: Command, node: Node) -> Ask:
    def ask(*arguments: str) -> Done:
        return runner(*arguments, environment={"RUNNER_TO": node.socket})

    return ask


def deploy(folder: Path, concurrency: Any = "deploy-{{ .inputs.site }}", **more: Any) -> str:
    """Writes down when it begins and ends, in between waits until `go` is there, and cleans up in any case."""
    put = shell(
        "put",
        f"echo begin $ID >> {folder}/ran; until [ -e {folder}/go ]; do sleep 0.02; done; echo end $ID >> {folder}/ran",
    )
    put["spec"]["envs"] = {"ID": "{{ .group.id }}"}
    clean = shell("clean", f"echo clean $ID >> {folder}/ran", when="always", depends_on=["put"])
    clean["spec"]["envs"] = {"ID": "{{ .group.id }}"}
    return group([put, clean], name="deploy", inputs={"site": {"default": "eu"}}, concurrency=concurrency, **more)


def ran(folder: Path) -> list[str]:
    path = folder / "ran"
    return path.read_text().splitlines() if path.exists() else []


def begun(folder: Path, id: str) -> None:
    while f"begin {id}" not in ran(folder):
        pass


def test_order_and_turn_outlive_the_node_that_is_killed(runner: Command, node: Node, ask: Ask, tmp_path: Path) -> None:
    name = runner.write(deploy(tmp_path))
    for id in ("one", "two", "three"):
        assert ask("submit", name, "--id", id).status == 0
    begun(tmp_path, "one")
    assert ask("submit", name, "--id", "elsewhere", "--set", "site=us").status == 0
    begun(tmp_path, "elsewhere")
    node.end()
    node.start()
    assert ask("submit", name, "--id", "two").status == 0  # the same again is the same
    listed = {line.split()[0]: line for line in ask("ls").stdout.splitlines()[1:]}
    assert "pending (waits for group one)" in listed["two"]
    assert "pending (waits for group two)" in listed["three"]
    told = ask("get", "three", "--output", "json").json
    assert (told["status"], told["concurrency"], told["waits_for"]) == ("pending", "deploy-eu", "two")
    assert told["results"]["put"]["waiting"] == "concurrency"
    assert "(waits for group two, concurrency key deploy-eu)" in ask("get", "three").stdout
    why = "it waits for group two (concurrency key deploy-eu): of the groups with this key one runs at a time; 2 groups stand before it, one at the front"
    assert why in ask("explain", "three").stdout
    assert [line for line in ran(tmp_path) if line.endswith(("two", "three"))] == []
    (tmp_path / "go").touch()
    followed = ask("watch", "three")
    assert followed.status == 0
    assert "group -- waits for group two (concurrency key deploy-eu)\n" in followed.stdout
    assert "group -- its turn has come\n" in followed.stdout
    lines = [line for line in ran(tmp_path) if not line.endswith("elsewhere")]
    assert lines == [f"{what} {id}" for id in ("one", "two", "three") for what in ("begin", "end", "clean")]


def test_a_newer_one_takes_the_place_of_those_that_run_and_wait(
    runner: Command, node: Node, ask: Ask, tmp_path: Path
) -> None:
    name = runner.write(deploy(tmp_path, {"key": "deploy", "cancel_previous": True}))
    assert ask("submit", runner.write(deploy(tmp_path, "deploy"), "wait.yaml"), "--id", "one").status == 0
    begun(tmp_path, "one")
    assert ask("submit", "wait.yaml", "--id", "two").status == 0
    assert ask("submit", name, "--id", "three").status == 0
    begun(tmp_path, "three")
    assert ran(tmp_path) == ["begin one", "clean one", "begin three"]
    for id in ("one", "two"):
        told = ask("get", id, "--output", "json").json
        assert (told["status"], told["reason"], told["replaced_by"]) == ("aborted", "replaced", "three")
        assert "aborted (group three took its place)" in ask("get", id).stdout
        assert (
            "group three with the same concurrency key (deploy) and `cancel_previous` took its place at "
            in ask("explain", id).stdout
        )
    assert "aborted (group three took its place)" in ask("ls").stdout
    (tmp_path / "go").touch()
    assert ask("watch", "three").status == 0


def test_what_waits_is_cancelled_and_what_is_no_key_is_refused(
    runner: Command, node: Node, ask: Ask, tmp_path: Path
) -> None:
    name = runner.write(deploy(tmp_path))
    for id in ("one", "two", "three"):
        ask("submit", name, "--id", id)
    begun(tmp_path, "one")
    assert ask("cancel", "two").status == 0
    while ask("get", "two", "--output", "json").json["status"] != "aborted":
        pass
    assert ask("get", "three", "--output", "json").json["waits_for"] == "one"
    refused = ask("submit", name, "--set", f"site={'x' * 300}")
    assert refused.status == 2
    assert "concurrency.key: a concurrency key has at most 256 bytes, and this one has 307" in refused.stderr
    (tmp_path / "go").touch()
    assert ask("watch", "three").status == 0
    assert [line for line in ran(tmp_path) if line.endswith("two")] == []


def test_callers_neither_wait_for_each_other_nor_end_what_is_not_theirs(node: Node, tmp_path: Path) -> None:
    document = deploy(tmp_path, {"key": "deploy", "cancel_previous": True})
    with (
        Client(Endpoint(target=node.socket, token=node.token("ada"))) as ada,
        Client(Endpoint(target=node.socket, token=node.token("bob"))) as bob,
    ):
        ada.submit(document, id="of-ada")
        begun(tmp_path, "of-ada")
        bob.submit(document, id="of-bob")
        begun(tmp_path, "of-bob")
        assert (ada.result("of-ada").status, bob.result("of-bob").status) == (Status.RUNNING, Status.RUNNING)
        told = [
            bob.explain("of-bob"),
            bob.result("of-bob"),
            list(bob.list()),
            [list(piece) for piece in bob.events("of-bob", follow=False)],
        ]
        assert "of-ada" not in repr(told)
        (tmp_path / "go").touch()
        while not (ada.result("of-ada").status.terminal and bob.result("of-bob").status.terminal):
            pass
        assert ada.result("of-ada").status is bob.result("of-bob").status is Status.SUCCESS


def test_the_runner_that_carries_it_out_holds_the_key(pair: Pair) -> None:
    """And its origin tells for whom it waits, through the end of both."""

    def submit(id: str, concurrency: Any = "deploy-{{ .labels.team }}") -> None:
        with pair.client() as client:
            client.submit(deploy(pair.folder, concurrency, forward=ONPREM, labels={"team": "web"}), id=id)

    def result(id: str) -> TaskGroupResult:
        return pair.result(id)

    submit("one")
    begun(pair.folder, "one")
    submit("two")
    pair.until(lambda: result("two").waits_for)
    assert (result("two").waits_for, result("two").concurrency) == ("one", "deploy-web")
    with pair.client() as client:
        assert "it waits for group one (concurrency key deploy-web)" in client.explain("two").cause.because[-1].text
    pair.onprem.end()
    pair.cloud.end()
    pair.onprem.start()
    pair.cloud.start()
    assert result("two").waits_for == "one"
    submit("three", {"key": "deploy-web", "cancel_previous": True})
    begun(pair.folder, "three")
    (pair.folder / "go").touch()
    assert pair.finished("three").status is Status.SUCCESS
    for id in ("one", "two"):
        ended = pair.finished(id)
        assert (ended.status, ended.reason, ended.replaced_by) == (Status.ABORTED, "replaced", "three")
    assert pair.grown("ran") == ["begin one", "clean one", "begin three", "end three", "clean three"]
    assert [event.fields["waits_for"] for event in pair.events("two", Kind.GROUP_WAITING)] == ["one"]


def test_a_run_on_this_machine_says_that_it_waits_for_nobody(runner: Command, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    name = runner.write(deploy(tmp_path))
    said = "concurrency: has no effect in `runner run`: groups take turns on the node that they are submitted to (`runner submit` it)"
    assert said in runner("run", name).stderr
    assert said in runner("validate", name).stderr
