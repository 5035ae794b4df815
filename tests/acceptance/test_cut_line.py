"""A line between a node and a caller that is cut without a word, or one of the two that is stopped: the other one finds out."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.client import AsyncClient, Client, Endpoint, Patience
from runner.errors import LimitError, UnreachableError
from tests.acceptance.command import group, shell
from tests.acceptance.mortal import Node
from tests.conftest import Require
from tests.netns import NODE_ADDRESS, Line, line

pytestmark = pytest.mark.timeout(120)

PORT = 7070
FOLLOWER = """
import sys
from runner.client import Client, Endpoint, LogChunk, Patience

patience = Patience(call=60, stream=60, silence=1.5)
with Client(Endpoint(target=sys.argv[1], token=sys.argv[2], insecure=True), patience=patience) as client:
    for happening in client.watch(sys.argv[3]):
        if isinstance(happening, LogChunk):
            text = happening.frame.data.decode()
            print(text, end="", flush=True)
        else:
            print(f"event {happening.number}", flush=True)
"""
"""Prints what it sees."""


@pytest.fixture
def between(require: Require) -> Iterator[Line]:
    require("netns")
    with line() as made:
        yield made


def test_a_cut_line_is_noticed_at_both_ends(between: Line, tmp_path: Path) -> None:
    state = tmp_path / "state"
    node = Node(
        state,
        f"{NODE_ADDRESS}:{PORT}",
        options=["--insecure"],
        environment={"RUNNER_KEEPALIVE": "1", "RUNNER_LIMITS_STREAMS_PER_CALLER": "1"},
        before=between.node,
    )
    script = f"echo one; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo two"
    try:
        node.start()
        token = node.token("ada")
        with Client(Endpoint(target=node.socket, token=token)) as beside:
            id = beside.submit(group([shell("prints", script)])).id
            command = [*between.caller, sys.executable, "-c", FOLLOWER, f"{NODE_ADDRESS}:{PORT}", token, id]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
                assert follower.stdout is not None
                seen = []
                while "one\n" not in seen:
                    seen.append(follower.stdout.readline())
                between.cut()
                # The one stream that its caller may have is given free by the node alone.
                asyncio.run(_until_a_stream_is_free(node.socket, token, id))
                (tmp_path / "go").touch()
                while beside.result(id).status.value == "running":
                    pass
                between.mend()
                rest, _ = follower.communicate(timeout=60)
        seen += rest.splitlines(keepends=True)
        numbers = [int(text.split()[1]) for text in seen if text.startswith("event ")]
        assert numbers == list(range(1, len(numbers) + 1))
        assert [text for text in seen if not text.startswith("event ")] == ["one\n", "two\n"]
        assert follower.returncode == 0
    finally:
        node.remove()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Node]:
    """A node that gives each caller one stream, and asks callers that are silent for a second."""
    node = Node(tmp_path / "state", environment={"RUNNER_KEEPALIVE": "1", "RUNNER_LIMITS_STREAMS_PER_CALLER": "1"})
    try:
        node.start()
        yield node
    finally:
        os.kill(node.pid, signal.SIGCONT)
        node.remove()


@pytest.mark.timeout(45)  # gRPC itself waits for a minute
def test_a_node_that_is_stopped_is_noticed(alone: Node) -> None:
    """Its kernel goes on taking what is sent to it."""
    with Client(Endpoint(target=alone.socket), patience=Patience(call=10, stream=0, silence=1.5)) as client:
        id = client.submit(group([shell("waits", "exec sleep 100")])).id
        happenings = client.watch(id)
        next(happenings)
        os.kill(alone.pid, signal.SIGSTOP)
        with pytest.raises(UnreachableError):
            for _ in happenings:
                pass


@pytest.mark.timeout(45)
def test_a_caller_who_is_stopped_is_noticed(alone: Node) -> None:
    token = alone.token("ada")
    with Client(Endpoint(target=alone.socket, token=token)) as beside:
        id = beside.submit(group([shell("waits", "exec sleep 100")])).id
        command = [sys.executable, "-c", FOLLOWER, alone.socket, token, id]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
            try:
                assert follower.stdout is not None
                follower.stdout.readline()
                follower.send_signal(signal.SIGSTOP)
                asyncio.run(_until_a_stream_is_free(alone.socket, token, id))
            finally:
                follower.kill()


async def _until_a_stream_is_free(target: str, token: str, id: str) -> None:
    """Patience alone would wait five seconds between two tries."""
    async with AsyncClient(Endpoint(target=target, token=token), patience=Patience(call=0, stream=0)) as client:
        refused = 0
        while True:
            try:
                await anext(client.watch(id))
            except LimitError:
                refused += 1
                await asyncio.sleep(0.05)
            else:
                assert refused, "it was free before anything was noticed"
                return
