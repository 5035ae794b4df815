"""Shells on a node, as a caller of its own asks for them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from runner.rpc.wire import ADMITTED
from runner.v1 import runner_pb2 as pb
from tests.integration.test_callers import Code, waits
from tests.rpc import Desk, desk


def start(id: str, task: str = "waits", *command: str, **more: Any) -> pb.ShellRequest:
    return pb.ShellRequest(start=pb.ShellStart(id=id, task=task, command=command, **more))


class Talk:
    """A call of `Shell`. `ended` is its last response."""

    def __init__(self, stub: Any, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        self.call = stub.Shell(metadata=metadata, timeout=60)
        self.ended: pb.ShellEnded | None = None
        self.withheld: list[str] = []

    async def begin(self, request: pb.ShellRequest) -> Talk:
        """Raises AioRpcError."""
        if any(key == ADMITTED for key, _ in await self.call.initial_metadata()):
            await self.call.write(request)
        else:
            await self.call.code()
        await self._next()
        return self

    async def _next(self) -> bytes | None:
        response = await self.call.read()
        if response is grpc.aio.EOF:
            raise grpc.aio.AioRpcError(
                await self.call.code(),
                await self.call.initial_metadata(),
                await self.call.trailing_metadata(),
                await self.call.details(),
            )
        kind = response.WhichOneof("response")
        if kind == "ended":
            self.ended = response.ended
            return None
        if kind == "started":
            self.withheld = list(response.started.withheld)
            return b""
        return bytes(response.output.data)

    async def type(self, text: bytes) -> None:
        await self.call.write(pb.ShellRequest(input=text))

    async def until(self, word: bytes) -> bytes:
        seen = b""
        while not seen or word not in seen:
            piece = await self._next()
            assert piece is not None, (seen, self.ended)
            seen += piece
        return seen

    async def end(self) -> pb.ShellEnded:
        """All that comes, to the end, and that."""
        self.said = b""
        while (piece := await self._next()) is not None:
            self.said += piece
        await self.call.done_writing()
        assert await self.call.code() is Code.OK
        assert self.ended is not None
        return self.ended


async def refused(stub: Any, request: pb.ShellRequest, metadata: tuple[tuple[str, str], ...] = ()) -> tuple[Any, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await Talk(stub, metadata).begin(request)
    return caught.value.code(), caught.value.details() or ""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def gone(*pids: int) -> None:
    while any(map(is_alive, pids)):  # noqa: ASYNC110 - they tell nobody
        await asyncio.sleep(0.01)


@asynccontextmanager
async def waiting(state: Path, **more: Any) -> AsyncIterator[Desk]:
    """A node on which the task `waits` of the group `g` runs; it is set free at the end."""
    async with desk(state, **more) as at:
        await at.submit(waits(state), id="g")
        await until_running(at)
        yield at
        (state / "go").touch()
        await at.serving.server.drain(30)


async def until_running(at: Desk, id: str = "g") -> None:
    async for message in at.stub.WatchTaskGroup(pb.WatchTaskGroupRequest(id=id), timeout=30):
        if any(happening.event.HasField("task_started") for happening in message.happenings):
            return


async def pids_of(talk: Talk) -> list[int]:
    """Of a shell that hears nothing of its end, and of what it has left behind."""
    await talk.type(b"trap '' HUP TERM; setsid sh -c \"trap '' HUP TERM; sleep 1000; :\" & echo pids $! $$ end\n")
    seen = b""
    while (found := re.search(rb"pids (\d+) (\d+) end", seen)) is None:
        seen += await talk.until(b"")
    return [int(found[1]), int(found[2])]
