"""A node that answers as a script says, and cuts the line where it says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc

from runner.errors import RunnerError
from runner.model.session import FromOrigin
from runner.rpc import peerwire, status
from runner.v1 import peer_pb2_grpc, runner_pb2_grpc
from runner.v1 import runner_pb2 as pb

Context = Any


class Cut(Exception):  # noqa: N818 - it is no error of the test
    """The line breaks here, without a word."""


class Wait:
    """Nothing comes any more."""


class Hear:
    """One message is taken; of an upload no more than that."""


class ScriptedNode(runner_pb2_grpc.RunnerServiceServicer):
    """Each call takes the next step of the script: messages to answer with, and errors to end with. `asked` are the requests."""

    def __init__(self, *steps: list[Any]) -> None:
        self.asked: list[Any] = []
        self.metadata: list[dict[str, Any]] = []
        self.received = b""
        self.has_heard = asyncio.Event()
        self._steps = list(steps)

    async def _play(self, request: Any, context: Context) -> AsyncIterator[Any]:
        copy = type(request)()
        copy.CopyFrom(request)
        self.asked.append(copy)
        self.metadata.append(dict(context.invocation_metadata()))
        for item in self._steps.pop(0):
            if isinstance(item, RunnerError):
                await status.abort(context, item)
            elif isinstance(item, Cut):
                await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            elif isinstance(item, Wait):
                await asyncio.Event().wait()
            else:
                yield item

    async def _answer(self, request: Any, context: Context) -> Any:
        return await anext(self._play(request, context))

    async def WatchTaskGroup(self, request: Any, context: Context) -> AsyncIterator[Any]:
        async for item in self._play(request, context):
            yield item

    async def ReadLog(self, request: Any, context: Context) -> AsyncIterator[Any]:
        async for item in self._play(request, context):
            yield item

    async def UploadWorkspace(self, request_iterator: Any, context: Context) -> Any:
        if isinstance(self._steps[0][0], Hear):
            self.received = (await anext(request_iterator)).data
            del self._steps[0][0]
            self.has_heard.set()
        else:
            self.received = b"".join([request.data async for request in request_iterator])
        return await self._answer(pb.UploadWorkspaceRequest(), context)

    async def SubmitTaskGroup(self, request: Any, context: Context) -> Any:
        return await self._answer(request, context)

    async def ValidateTaskGroup(self, request: Any, context: Context) -> Any:
        return await self._answer(request, context)

    async def GetTaskGroup(self, request: Any, context: Context) -> Any:
        return await self._answer(request, context)

    async def RerunTaskGroup(self, request: Any, context: Context) -> Any:
        return await self._answer(request, context)

    async def ExplainTaskGroup(self, request: Any, context: Context) -> Any:
        return await self._answer(request, context)

    async def ListTaskGroups(self, request: Any, context: Context) -> Any:
        return await self._answer(request, context)

    async def SignalTask(self, request: Any, context: Context) -> Any:
        return await self._answer(request, context)

    async def DescribeRunner(self, request: Any, context: Context) -> Any:
        return await self._answer(request, context)

    async def Shell(self, request_iterator: Any, context: Context) -> AsyncIterator[Any]:
        async for item in self._play(await anext(request_iterator), context):
            yield item

    async def RemoveTaskGroup(self, request: Any, context: Context) -> Any:
        return await self._answer(request, context)

    async def CancelTaskGroup(self, request: Any, context: Context) -> Any:
        return await self._answer(request, context)


class ScriptedPeer(peer_pb2_grpc.PeerServiceServicer):
    """Each session takes the next step of the script: messages, errors to end with, and `Hear`. `heard` is what it has taken of what
    it was told."""

    def __init__(self, *steps: list[Any]) -> None:
        self.heard: list[FromOrigin] = []
        self._steps = list(steps)

    async def Shell(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:
        nothing: tuple[Any, ...] = ()
        for each in nothing:
            yield each

    async def Session(self, request_iterator: Any, context: Context) -> AsyncIterator[Any]:
        for item in self._steps.pop(0):
            if isinstance(item, Hear):
                self.heard.append(peerwire.from_origin_from_proto(await anext(request_iterator)))
            elif isinstance(item, Wait):
                await asyncio.Event().wait()
            elif isinstance(item, RunnerError):
                await status.abort(context, item)
            elif isinstance(item, Cut):
                await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            else:
                yield peerwire.from_executor_to_proto(item)


@asynccontextmanager
async def cut_line(target: str, folder: Path, *, behind: int, times: int) -> AsyncIterator[str]:
    """A target that leads to `target`; the first `times` connections break when so many bytes have gone there."""
    broken = 0

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal broken
        there, into = await asyncio.open_unix_connection(target.removeprefix("unix:"))
        back = asyncio.ensure_future(_carry(there, writer))
        room = behind if broken < times else None
        if await _carry(reader, into, room):
            broken += 1
        for end in (writer, into):
            end.transport.abort()
        await back

    path = f"{folder}/line.sock"
    server = await asyncio.start_unix_server(relay, path)
    try:
        yield f"unix:{path}"
    finally:
        server.close()
        await server.wait_closed()
        assert broken == times


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, room: int | None = None) -> bool:
    """Up to the end, or so many bytes: True, then."""
    carried = 0
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            carried += len(data)
            if room is not None and carried > room:
                return True
            writer.write(data)
            await writer.drain()
    return False


@asynccontextmanager
async def serving(node: ScriptedNode | ScriptedPeer, folder: Path) -> AsyncIterator[str]:
    """The target that it is reached by."""
    server = grpc.aio.server()
    if isinstance(node, ScriptedPeer):
        peer_pb2_grpc.add_PeerServiceServicer_to_server(node, server)
    else:
        runner_pb2_grpc.add_RunnerServiceServicer_to_server(node, server)
    target = f"unix:{folder}/node.sock"
    server.add_insecure_port(target)
    await server.start()
    try:
        yield target
    finally:
        await server.stop(None)
