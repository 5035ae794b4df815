"""A shell on a node, where a task runs or ran."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import grpc
from grpc import aio
from grpc.aio import AioRpcError
from msgspec.structs import replace

from runner.client.aio import AsyncClient
from runner.client.channel import error_of, metadata, open_channel
from runner.errors import NoShellError, ShellEndedError, StartError
from runner.model.endpoint import Endpoint
from runner.model.log import Stream
from runner.model.shell import Shell, ShellRequest, Size
from runner.rpc.wire import ADMITTED, STREAMS_BACK
from runner.v1 import runner_pb2 as pb
from runner.v1.peer_pb2_grpc import PeerServiceStub

PIECE_BYTES = 32 << 10


@asynccontextmanager
async def opened(client: AsyncClient, id: str, request: ShellRequest) -> AsyncIterator[Shell]:
    """A shell where an attempt at a task of this group runs or ran, for as long as this is entered: it ends with that, and with
    the line to the node. Raises GroupNotFoundError, ForbiddenError, NoShellError, LimitError, and StartError where its program cannot be
    started. Its conversation raises ShellEndedError where the node has ended it, and UnreachableError where the line is cut."""

    async def begin() -> tuple[Any, pb.ShellResponse]:
        return await _begun(client._stub.Shell(metadata=client._metadata()), start_of(id, request))

    call, first = await client._try(begin)
    with _told(call, first, client._endpoint) as shell:
        yield shell


@asynccontextmanager
async def passed_on(name: str, endpoint: Endpoint, start: pb.ShellStart, silence: float) -> AsyncIterator[Shell]:
    """A shell on the peer of this name at `endpoint`, which is asked as its origin: see `opened`. Where it is, no error tells."""
    told_as = replace(endpoint, target=name)
    async with open_channel(endpoint, silence) as channel:
        stub: Any = PeerServiceStub(channel)  # its stubs are those of the blocking one
        try:
            call, first = await _begun(stub.Shell(metadata=metadata(endpoint)), start)
        except AioRpcError as error:
            raise error_of(error, told_as) from error
        with _told(call, first, told_as) as shell:
            yield shell


async def _begun(call: Any, start: pb.ShellStart) -> tuple[Any, pb.ShellResponse]:
    """The call, and the first that is said. Raises AioRpcError."""
    try:
        # Who writes into a call that is being refused is not told why it was.
        if any(key == ADMITTED for key, _ in await call.initial_metadata()):
            await call.write(pb.ShellRequest(start=start))
        else:
            await call.code()
        return call, await _response(call)
    except AioRpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise NoShellError("that runner is older than this one, and has no shells") from error
        raise
    except BaseException:
        call.cancel()
        raise


@contextmanager
def _told(call: Any, first: pb.ShellResponse, endpoint: Endpoint) -> Iterator[Shell]:
    try:
        if first.WhichOneof("response") == "ended":
            if first.ended.cut:
                raise ShellEndedError(f"{endpoint.target} has ended the shell: {first.ended.cut}")
            raise StartError(first.ended.error, exit_code=first.ended.exit_code)
        yield Shell(RemoteConversation(call, endpoint), tuple(first.started.withheld))
    finally:
        call.cancel()


class RemoteConversation:
    """Implements runner.model.shell.Conversation. What gRPC does not take waits, and what nobody reads is not taken from it."""

    def __init__(self, call: Any, endpoint: Endpoint) -> None:
        self._call = call
        self._endpoint = endpoint
        self._sending = asyncio.Lock()
        self._ended: pb.ShellEnded | None = None

    async def read(self) -> tuple[Stream, bytes] | None:
        """Raises ShellEndedError, UnreachableError, and whatever else its caller may not do any more."""
        try:
            response = await _response(self._call)
        except AioRpcError as error:
            raise error_of(error, self._endpoint) from error
        kind = response.WhichOneof("response")
        if kind == "ended":
            self._ended = response.ended
            if response.ended.cut:
                raise ShellEndedError(f"{self._endpoint.target} has ended the shell: {response.ended.cut}")
        return (STREAMS_BACK[response.output.stream], response.output.data) if kind == "output" else None

    async def write(self, data: bytes) -> None:
        for at in range(0, len(data), PIECE_BYTES):
            await self._send(pb.ShellRequest(input=data[at : at + PIECE_BYTES]))

    async def end_input(self) -> None:
        await self._send(pb.ShellRequest(input_end=pb.InputEnd()))

    async def resize(self, size: Size) -> None:
        await self._send(pb.ShellRequest(size=pb.TerminalSize(rows=size.rows, columns=size.columns)))

    async def _send(self, request: pb.ShellRequest) -> None:
        async with self._sending:
            with suppress(AioRpcError, asyncio.InvalidStateError):  # it is over: who reads is told
                await self._call.write(request)

    async def exit_code(self) -> int:
        while self._ended is None:
            await self.read()
        return self._ended.exit_code


async def _response(call: Any) -> pb.ShellResponse:
    """The next one. Raises AioRpcError at the end, for there is a last one that says so."""
    response = await call.read()
    if response is not aio.EOF:
        return response  # type: ignore[no-any-return]  # gRPC for asyncio has no types of its own
    code, trailing = await call.code(), await call.trailing_metadata()
    if code is grpc.StatusCode.OK:
        code = grpc.StatusCode.UNAVAILABLE
    raise AioRpcError(code, await call.initial_metadata(), trailing, await call.details())


def start_of(id: str, request: ShellRequest) -> pb.ShellStart:
    """What is asked of a node."""
    size = None if request.size is None else pb.TerminalSize(rows=request.size.rows, columns=request.size.columns)
    return pb.ShellStart(
        id=id,
        task=request.task,
        attempt=request.attempt,
        command=request.command,
        secrets=request.secrets,
        size=size,
        term=request.term,
    )
