"""Callers that ask for more than a node has, by number, by size or by sloth: its memory stays bounded, and others are served."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from runner.client import AsyncClient, Client
from runner.config.service import Limits
from runner.model.event import Event
from runner.rpc.receiving import MOST_OF_ONE
from runner.v1 import runner_pb2 as pb
from runner.v1.runner_pb2_grpc import RunnerServiceStub
from tests.acceptance.command import group, shell
from tests.acceptance.mortal import Node
from tests.soak.sampling import memory

pytestmark = pytest.mark.timeout(180)

WATCHERS = 1000
LINES = 2000
"""Of a hundred bytes."""
GIB = 1 << 30
LOG_MIB = int(os.environ.get("TEST_LOG_MIB", "96"))
"""How much is printed to somebody who does not read; a GiB takes half a minute."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Warm, so that its memory tells what is new."""
    node = Node(tmp_path_factory.mktemp("pressure") / "state")
    node.start()
    try:
        with Client(node.socket) as client:
            id = client.submit(group([shell("warms", "seq 20000")])).id
            assert sum(1 for _ in client.watch(id))
        yield node
    finally:
        node.remove()


async def test_a_thousand_watchers_of_one_group(node: Node, tmp_path: Path) -> None:
    line = "x" * 99
    # It prints in pieces while all look on.
    script = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done\n"
    script += f"for i in 1 2 3 4; do yes {line} | head -n {LINES // 4}; sleep 0.1; done"
    before = memory(node.pid)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(AsyncClient(node.socket)) for _ in range(10)]
        id = (await clients[0].submit(group([shell("prints", script)]))).id
        ready, all_ready = Counter[str](), asyncio.Event()

        async def watch(client: AsyncClient) -> tuple[int, int]:
            events = size = 0
            async for happenings in client.watch_in_batches(id):
                for happening in happenings:
                    if isinstance(happening, Event):
                        events += 1
                        assert happening.number == events
                    else:
                        size += len(happening.frame.data)
                if events == 1 or not all_ready.is_set():
                    ready["watchers"] += 1
                    if ready["watchers"] >= WATCHERS:
                        all_ready.set()
                        (tmp_path / "go").touch()
            return events, size

        seen = await asyncio.gather(*[watch(clients[number % 10]) for number in range(WATCHERS)])
    assert set(seen) == {(6, 100 * LINES)}
    # What a stream costs gRPC, and a piece on its way: not what is printed, times a thousand.
    assert memory(node.pid) - before < 300


def test_a_watcher_that_never_reads(node: Node) -> None:
    script = f"head -c {LOG_MIB << 20} /dev/zero | tr '\\0' x"
    with grpc.insecure_channel(node.socket) as channel, Client(node.socket) as client:
        id = client.submit(group([shell("prints", script)])).id
        before = memory(node.pid)
        stub = RunnerServiceStub(channel)
        asked = pb.WatchTaskGroupRequest(id=id, output=True)
        dead: list[Any] = [
            stub.WatchTaskGroup(asked),
            stub.ReadLog(pb.ReadLogRequest(id=id, task="prints", follow=True)),
        ]
        highest, over = before, False
        while not over:
            over = client.summary(id).status.terminal  # somebody else is answered meanwhile
            highest = max(highest, memory(node.pid))
        for call in dead:
            call.cancel()
        assert client.result(id).status.value == "success"
        size = sum(len(chunk.frame.data) for chunk in client.logs(id, "prints"))
    assert size == LOG_MIB << 20
    assert highest - before < 60


def test_a_request_of_a_gibibyte(node: Node) -> None:
    before = memory(node.pid)
    limit = Limits().message_bytes
    with grpc.insecure_channel(node.socket, options=[("grpc.max_send_message_length", -1)]) as channel:
        submit: Any = channel.unary_unary("/runner.v1.RunnerService/SubmitTaskGroup")
        with pytest.raises(grpc.RpcError) as refused:
            submit(bytes(GIB))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert f"{limit}" in str(refused.value.details())
    assert memory(node.pid) - before < 60
    with Client(node.socket) as client:
        assert client.describe().groups == 0


async def test_uploads_that_drip_leave_room_for_others(node: Node, tmp_path: Path) -> None:
    """Places are held by a caller that brings nothing: another has his own."""
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "file").write_bytes(b"x" * 1000)
    eve = (("authorization", f"Bearer {node.token('eve')}"),)
    async with grpc.aio.insecure_channel(node.socket) as channel, AsyncClient(node.socket) as client:
        upload: Any = channel.stream_unary("/runner.v1.RunnerService/UploadWorkspace")
        dripping = [upload(metadata=eve) for _ in range(20)]
        for call in dripping:
            with suppress(asyncio.InvalidStateError):  # it is refused already
                await call.write(b"")
        codes = asyncio.as_completed([call.code() for call in dripping])
        for done in itertools.islice(codes, len(dripping) - MOST_OF_ONE):
            assert await done is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await client.upload_workspace(tmp_path / "given")).bytes == 1000
        for call in dripping:
            call.cancel()
