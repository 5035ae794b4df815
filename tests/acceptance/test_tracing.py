"""Traces through the death of a node, and from the environment of a command to that of a task."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.model import trace
from runner.v1 import runner_pb2 as pb
from tests.acceptance.command import Command, group, shell
from tests.acceptance.mortal import Node
from tests.acceptance.serving import SECONDS, serving, submit, watched
from tests.acceptance.test_serve import state as state
from tests.collector import collecting, told

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
GIVEN = {"TRACEPARENT": f"00-{TRACE}-{SPAN}-01"}
TELL = 'printf "%s\\n" "$TRACEPARENT"'


def test_a_span_goes_on_through_the_death_of_a_node(runner: Command, state: Path) -> None:
    go = state.parent / "go"
    tasks = [
        shell("first", TELL),
        shell("long", f"{TELL}; while [ ! -e {go} ]; do sleep 0.02; done", depends_on=["first"]),
    ]
    with collecting() as collector:
        arguments = ("--state-dir", str(state))
        environment = {"RUNNER_TRACING_ENDPOINT": f"http://{collector.address}"}
        with serving(runner, *arguments, **environment) as node, node.service() as service:
            id = submit(service, group(tasks, name="whole"))
            for event in watched(service, id):
                if event.HasField("task_started") and event.task == "long":
                    break
            first = collector.until_told_of("first")["first"]
            node.process.send_signal(signal.SIGKILL)
            node.process.wait(SECONDS)
        died = time.time_ns()
        go.touch()
        with serving(runner, *arguments, **environment) as node, node.service() as service:
            list(watched(service, id))
            spans = collector.until_told_of("long", "whole")
            output = {
                name: b"".join(
                    chunk.data
                    for answer in service.ReadLog(pb.ReadLogRequest(id=id, task=name), timeout=SECONDS)
                    for chunk in answer.chunks
                )
                for name in ("first", "long")
            }
            assert node.end() == 0
        whole, long = spans["whole"], spans["long"]
        assert sorted(span.name for span in collector.spans) == ["first", "long", "whole"]  # each is told once
        assert whole.start_time_unix_nano <= first.start_time_unix_nano <= long.start_time_unix_nano <= died
        assert died <= long.end_time_unix_nano <= whole.end_time_unix_nano
        assert first.trace_id == long.trace_id == whole.trace_id
        assert first.parent_span_id == long.parent_span_id == whole.span_id
        assert told(long)["runner.status"] == "success"
        for name, span in (("first", first), ("long", long)):
            assert output[name].decode() == f"00-{whole.trace_id.hex()}-{span.span_id.hex()}-01\n"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "state")
    node.start()
    yield node
    node.remove()


def _is_passed_on(line: str) -> bool:
    parent = trace.parse(line)
    return parent is not None and parent.trace_id == TRACE and parent.span_id != SPAN


def test_submit_passes_its_environment_on(runner: Command, node: Node) -> None:
    document = runner.write(group([shell("t", TELL)], name="demo"))
    place = {"RUNNER_TO": node.socket}
    said = runner("submit", document, "--follow", "--id", "a", environment={**GIVEN, **place})
    assert said.status == 0, said.stderr
    assert _is_passed_on(runner("logs", "a", "t", environment=place).stdout.rstrip("\n"))
    said = runner("submit", document, "--follow", "--id", "b", environment={"TRACEPARENT": "nonsense", **place})
    assert said.status == 0, said.stderr
    assert runner("logs", "b", "t", environment=place).stdout == "\n"


def test_run_passes_its_environment_on(runner: Command) -> None:
    document = runner.write(group([shell("t", TELL)], name="demo"))
    assert runner("run", document, "--id", "a", environment=GIVEN).status == 0
    assert _is_passed_on(runner("logs", "a", "t").stdout.rstrip("\n"))
    assert runner("run", document, "--id", "b").status == 0
    assert runner("logs", "b", "t").stdout == "\n"


def test_a_node_says_which_groups_it_accepts_and_which_are_over(runner: Command, state: Path) -> None:
    with serving(runner, "--state-dir", str(state)) as node, node.service() as service:
        document = group([shell("t", "exit 1"), shell("u", "true")], name="demo")
        list(watched(service, submit(service, document, id="g")))
        accepted, over = node.until_said("group_accepted"), node.until_said("group_finished")
        assert (accepted["group_id"], accepted["tasks"]) == ("g", 2)
        assert accepted["caller"] == over["caller"]
        assert (over["group_id"], over["status"], over["reason"]) == ("g", "failed", None)
        assert 0 <= over["seconds"] < SECONDS
