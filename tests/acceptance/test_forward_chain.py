"""Three nodes in a row: a group that the second carries out for the first, with a task that the third carries out for the second."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runner.client.blocking import Client
from runner.model.endpoint import Endpoint
from runner.model.event import Kind
from runner.model.result import Status
from tests.acceptance.command import group, shell
from tests.acceptance.mortal import Node
from tests.acceptance.test_forward import Pair

ONPREM, EDGE, CLOUD = {"to": "onprem"}, {"to": "edge"}, {"to": "cloud"}


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[dict[str, Node]]:
    """`cloud` forwards to `onprem`, `onprem` to `edge` and back to `cloud`."""
    peers = {"cloud": ["onprem"], "onprem": ["edge", "cloud"], "edge": []}
    nodes = {}
    for name, those in peers.items():
        (tmp_path / name).mkdir()
        tables = [f'[peers.{peer}]\ntarget = "unix:{tmp_path}/{peer}/state/runner.sock"\n' for peer in those]
        (tmp_path / name / "runner.toml").write_text(f'name = "{name}-1"\n' + "".join(tables))
        nodes[name] = Node(tmp_path / name / "state", options=["--config", str(tmp_path / name / "runner.toml")])
    for node in nodes.values():
        node.start()
    for name, those in peers.items():
        with client(nodes[name]) as asking:
            Pair.until(partial(reaches, asking, len(those)))
    yield nodes
    for node in nodes.values():
        node.remove()


def client(node: Node) -> Client:
    return Client(Endpoint(target=node.socket))


def reaches(asking: Client, count: int) -> bool:
    return sum(peer.there for peer in asking.describe().peers) == count


def play(node: Node, *tasks: dict[str, Any], **more: Any) -> Any:
    with client(node) as asking:
        id = asking.submit(group(tasks, **more)).id
        Pair.until(lambda: asking.result(id).status.terminal)
        logs = {
            name: b"".join(chunk.frame.data for chunk in asking.logs(id, name, stream="stdout"))
            for name, task in asking.result(id).results.items()
            if task.attempts
        }
        return asking.result(id), logs, [event for piece in asking.events(id) for event in piece]


def test_a_task_of_a_forwarded_group_goes_further_and_comes_back(nodes: dict[str, Node]) -> None:
    near = shell("near", "echo key=s3cr3t-of-the-middle >> $OUTPUT_FILE; echo near")
    near["exports"] = [{"name": "key", "confidential": True}]
    far = shell("far", "echo $KEY; echo {{ .group.id }}", forward=EDGE, imports=[{"from": "near", "variable": "key"}])
    far["spec"]["envs"] = {"KEY": "{{ .near.key }}"}
    last = shell("last", "echo last", depends_on=["far"])
    result, logs, events = play(nodes["cloud"], near, far, last, forward=ONPREM, id="the-group")
    assert result.status is Status.SUCCESS, result
    assert {name: task.runner for name, task in result.results.items()} == {
        "near": "onprem",
        "far": "onprem/edge",
        "last": "onprem",
    }
    assert logs == {"near": b"near\n", "far": b"***\nthe-group\n", "last": b"last\n"}
    told = {event.task: event.fields["runner"] for event in events if event.kind is Kind.TASK_DISPATCHED}
    assert told["far"] == "onprem/edge"


def test_a_circle_is_refused_with_the_chain(nodes: dict[str, Node]) -> None:
    back = shell("back", "true", forward=CLOUD)
    result, _, _ = play(nodes["cloud"], back, shell("then", "true", depends_on=["back"]), forward=ONPREM)
    assert (result.results["back"].status, result.results["back"].reason) == (Status.ERRORED, "refused")
    error = result.results["back"].error or ""
    assert "the chain of runners goes in a circle: cloud-1 (" in error
    assert "→ onprem-1 (" in error


def test_whose_it_is_is_told_to_the_last(nodes: dict[str, Node]) -> None:
    result, _, _ = play(nodes["cloud"], shell("far", "true", forward=EDGE), forward=ONPREM)
    assert result.status is Status.SUCCESS
    with client(nodes["onprem"]) as asking:
        [whole] = asking.list()
    with client(nodes["edge"]) as asking:
        [one] = asking.list()
    assert whole.labels["on-behalf-of"] == one.labels["on-behalf-of"] == "local"
    assert (whole.labels["origin"], one.labels["origin"]) == ("cloud-1", "onprem-1")
